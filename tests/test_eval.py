"""eval.py against the published protocol written with torch, and as a user runs it."""
import csv
import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from src.eval import evaluate
from src.matting_dataset import find_pairs, read_pair
from src.predict import predict_alpha
from tests.conftest import run


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


@pytest.mark.parametrize(("args", "said"), [(["--device", "cuda:7"], "--device cuda:7"), (["--limit", "0"], "--limit"),
                                            (["--data-dir", "nowhere"], "nowhere")])
def test_bad_input_costs_one_line(tiny_ckpt, discs, tmp_path, args, said):
    done = run("src/eval.py", "--ckpt-path", tiny_ckpt, "--data-dir", discs, "--output-dir", tmp_path / "r", *args)
    assert done.returncode == 2 and said in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "r").exists()
