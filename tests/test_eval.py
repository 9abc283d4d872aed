"""eval.py against the published protocol written with torch, and as a user runs it."""
import csv
import json
import os
import shutil

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from src.checkpoint import load_model, save_model
from src.data.samples import find_pairs, read_pair
from src.data.sources import half_of
from src.eval import evaluate_files, main, parse_args
from src.evaluation.evaluate import evaluate
from src.evaluation.predict import load_predictor, predict_alpha
from src.evaluation.report import format_error
from src.models.modnet import MODNet
from src.models.prune_info import to_prune_info
from src.script import run_script
from tests.conftest import randomise, run, status_of, tiny_config


@pytest.mark.parametrize("size", [(96, 80), (700, 530), (530, 300), (90, 700)])
def test_prediction_equals_the_published_protocol(tiny_model, size):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    h, w = size
    rh, rw = h, w
    if max(h, w) < 512 or min(h, w) > 512:
        rh, rw = (512, int(w / h * 512)) if w >= h else (int(h / w * 512), 512)
    x = (torch.from_numpy(image).permute(2, 0, 1)[None] / 255 - 0.5) / 0.5
    with torch.no_grad():
        _, _, matte = tiny_model(F.interpolate(x, size=(rh - rh % 32, rw - rw % 32), mode="area"))
    expected = F.interpolate(matte, size=(h, w), mode="area")[0, 0].numpy()
    # The mean: single pixels of a random network amplify the rounding of the resize.
    assert np.abs(predict_alpha(tiny_model, image) - expected).mean() < 1e-5


def test_means_over_images(tiny_model, discs):
    result = evaluate(tiny_model, discs, progress=False)
    errors = []
    for pair in find_pairs(discs, "val"):
        image, alpha = read_pair(pair)
        errors.append(np.square(predict_alpha(tiny_model, image) - alpha).mean())
    assert result["n"] == 2 and result["mse"] == pytest.approx(np.mean(errors), rel=1e-5)


def test_script_from_another_folder_writes_json_and_csv(tiny_ckpt, discs, tmp_path):
    done = run("src/eval.py", "--ckpt-path", tiny_ckpt, "--prune-info", tiny_ckpt.with_suffix(".json"), "--data-dir", discs,
               "--limit", 1, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "result/tiny_eval.json").read_text())
    rows = list(csv.DictReader((tmp_path / "result/tiny_eval.csv").open()))
    assert report["n"] == len(rows) == 1 and float(rows[0]["mse"]) == report["mse"] and "torch" in report["versions"]
    assert f"mse: {report['mse']:.6f}" in done.stdout


def test_several_models_in_one_table(tiny_ckpt, discs, tmp_path):
    other = tmp_path / "other.ckpt"
    config = tiny_config()
    save_model(randomise(MODNet(config), seed=5), other, to_prune_info(config))
    results = evaluate_files([tiny_ckpt, other], discs, metrics=("mse", "grad"), unknown_width=3, sheet=1,
                             output_dir=tmp_path / "r")
    table = (tmp_path / "r/eval_table.md").read_text()
    for column in ("mse", "grad", "mse_unknown", "grad_unknown"):
        best = min(result[column] for result in results.values())
        assert table.count(f"**{format_error(column, best)}**") >= 1
    assert table.count("**") == 8 and "| tiny | 2 |" in table and "| other | 2 |" in table
    assert json.loads((tmp_path / "r/eval_table.json").read_text())["results"]["other"]["mse"] == results["other"]["mse"]
    assert {path.name for path in (tmp_path / "r").iterdir()} == {
        "eval_table.md", "eval_table.json", "eval_sheet.png", "tiny_eval.json", "tiny_eval.csv", "other_eval.json",
        "other_eval.csv"}
    alone = evaluate(load_model(other), discs, progress=False)
    assert [row["mse"] for row in alone["images"]] == [row["mse"] for row in results["other"]["images"]]


def test_several_sets_a_half_and_intervals(tiny_ckpt, discs, tmp_path, capsys):
    shutil.copytree(discs, tmp_path / "others")
    for kind in ("fg", "alpha"):
        (tmp_path / f"others/val/{kind}/0.png").rename(tmp_path / f"others/val/{kind}/5.png")
    assert [half_of(stem) for stem in "015"] == ["choose", "choose", "report"]
    args = ["--ckpt-path", str(tiny_ckpt), "--output-dir", str(tmp_path / "r"), "--bootstrap", "100", "--data-dir"]
    assert main([*args, str(discs), str(tmp_path / "others"), "--split-half", "choose"]) == 0
    said = json.loads((tmp_path / "r/tiny_eval.json").read_text())
    assert [said["sets"][name]["n"] for name in ("discs", "others")] == [2, 1] and said["n"] == 3
    assert said["intervals"]["mse"][0] <= said["mse"] <= said["intervals"]["mse"][1] and said["split_half"] == "choose"
    assert [row["set"] for row in csv.DictReader((tmp_path / "r/tiny_eval.csv").open())] == ["discs", "discs", "others"]
    assert "| others | tiny | 1 | **" in capsys.readouterr().out
    assert main([*args, str(tmp_path / "others"), "--split-half", "report"]) == 0
    with pytest.raises(ValueError, match="discs has no pictures in the half 'report'"):
        main([*args, str(discs), "--split-half", "report"])


def test_networks_see_pictures_at_the_size_asked_for(tiny_ckpt, tiny_xml, tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    small = predict_alpha(load_model(tiny_ckpt), image, ref_size=256)
    np.testing.assert_array_equal(load_predictor(tiny_ckpt, ref_size=256)(image), small)
    assert np.abs(predict_alpha(load_model(tiny_ckpt), image) - small).max() > 0.01
    free = tiny_xml["free"]
    by_torch, by_openvino = (load_predictor(path, ref_size=256)(image) for path in (free.with_name("tiny.ckpt"), free))
    assert np.abs(by_torch - by_openvino).mean() < 1e-4
    with pytest.raises(ValueError, match="static.xml is a network of 96x64 alone"):
        load_predictor(tiny_xml["static"], ref_size=256)


def test_openvino_and_onnx_models_have_the_errors_of_their_checkpoint(tiny_xml, tiny_onnx, discs, tmp_path):
    ckpt_path, xml_path = tiny_xml["free"].with_name("tiny.ckpt"), tiny_xml["free"]
    results = evaluate_files([ckpt_path, xml_path, tiny_onnx["free"]], discs, output_dir=tmp_path / "r")
    for name in ("free.xml", "free.onnx"):
        assert results[name]["mse"] == pytest.approx(results["tiny"]["mse"], rel=1e-3) and results["tiny"]["mse"] > 0.01
    for path, kind in ((xml_path, "OpenVINO"), (tiny_onnx["free"], "ONNX")):
        with pytest.raises(ValueError, match=f"{path.name} is an {kind} model"):
            load_predictor(path, ckpt_path.with_suffix(".json"))


def test_names_that_are_no_text_come_through_an_evaluation(tiny_ckpt, discs, tmp_path, capsys):
    for kind in ("fg", "alpha"):
        (discs / "val" / kind / "0.png").rename(discs / "val" / kind / os.fsdecode(b"caf\xe9.png"))
    options = ["--data-dir", str(discs), "--sheet", "2", "--output-dir", str(tmp_path)]
    assert main(["--ckpt-path", str(tiny_ckpt), *options]) == 0
    images = json.loads((tmp_path / "tiny_eval.json").read_text())["images"]
    assert os.fsencode(images[1]["name"]) == b"caf\xe9.png"
    assert "caf\\udce9.png" in (tmp_path / "tiny_eval.csv").read_text(encoding="utf-8")


def test_openvino_model_is_enlarged_by_the_same_protocol(tiny_xml):
    image = np.random.default_rng(0).integers(0, 256, (1200, 900, 3), np.uint8)
    xml_path = tiny_xml["free"]
    by_torch, by_openvino = (load_predictor(path)(image) for path in (xml_path.with_name("tiny.ckpt"), xml_path))
    assert by_torch.std() > 0.05 and np.abs(by_torch - by_openvino).mean() < 1e-4


def test_what_cannot_be_read_is_named_and_nothing_written(tiny_ckpt, discs, tmp_path, capsys):
    def said(*args):
        networks = [] if "--ckpt-path" in args else ["--ckpt-path", str(tiny_ckpt)]
        assert run_script(lambda: main([*networks, "--output-dir", str(tmp_path / "r"), *args])) == 2
        assert not (tmp_path / "r").exists()
        lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
        assert len(lines) == 1
        return lines[0]

    data = ["--data-dir", str(discs)]
    pair = find_pairs(discs, "val")[1]
    for folder in ("fg", "alpha"):
        (tmp_path / "empty" / "val" / folder).mkdir(parents=True)
    assert "no pictures in" in said("--data-dir", str(tmp_path / "empty"))
    assert "no checkpoint at none.ckpt" in said(*data, "--ckpt-path", str(tiny_ckpt), "none.ckpt")
    assert "tiny.ckpt twice" in said(*data, "--ckpt-path", str(tiny_ckpt), str(tiny_ckpt))
    whole = pair.image.read_bytes()
    pair.image.write_bytes(whole[:len(whole) // 2])
    assert f"{pair.image} is not a picture" in said(*data)
    pair.image.write_bytes(whole)
    cv2.imwrite(str(pair.alpha), np.zeros((50, 60), np.uint8))
    assert f"{pair.alpha} is 60x50, but {pair.image} is 80x96" in said(*data)
    pair.alpha.unlink()
    assert f"{pair.image} has no partner" in said(*data)


@pytest.mark.parametrize(("args", "said"), [
    (["--metrics", "psnr"], "'psnr' (choose from"), (["--sheet", "0"], "--sheet is 0, allowed are whole numbers from 1"),
    (["--bootstrap", "99"], "--bootstrap is 99"),
    (["--ref-size", "224"], "--ref-size is 224"), (["--ref-size", "500"], "multiples of 32 from 256 to 1024"),
    (["--unknown-width", "-3"], "--unknown-width is -3"), (["--prune-info", "a.json"], "--prune-info goes with one")])
def test_bad_options(args, said, capsys):
    with pytest.raises(SystemExit) as stop:
        parse_args(["--ckpt-path", "a.ckpt", "b.ckpt", *args])
    assert stop.value.code == 2 and said in capsys.readouterr().err


@pytest.mark.parametrize(("args", "said"), [(["--device", "cuda:7"], "--device cuda:7"), (["--limit", "0"], "--limit"),
                                            (["--data-dir", "nowhere"], "nowhere")])
def test_bad_input_costs_one_line(tiny_ckpt, discs, tmp_path, capsys, args, said):
    data = [] if "--data-dir" in args else ["--data-dir", discs]
    assert status_of(main, "--ckpt-path", tiny_ckpt, *data, "--output-dir", tmp_path / "r", *args) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "r").exists()
