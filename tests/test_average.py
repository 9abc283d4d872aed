"""The mean of checkpoints, as a user makes it."""
from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from src.average import main
from src.checkpoint import load_model, save_model
from src.models.modnet import MODNet
from src.models.prune_info import to_prune_info
from src.script import run_script
from tests.conftest import randomise, run, tiny_config


@pytest.fixture
def members(tmp_path: Path) -> list[Path]:
    """Three networks of the same widths and other weights, each with a note of its training."""
    paths = []
    for seed in range(3):
        model = randomise(MODNet(tiny_config()), seed)
        for key, value in model.state_dict().items():
            if key.endswith("num_batches_tracked"):
                value.fill_(seed + 5)
        paths.append(tmp_path / f"m{seed}.ckpt")
        save_model(model, paths[-1], to_prune_info(model.config, ratio=0.5, training={"seed": seed}))
    return paths


def test_as_a_user_runs_it_from_elsewhere(tmp_path: Path, members: list[Path]) -> None:
    done = run("src/average.py", "--ckpt-path", *[path.name for path in members], "--weights", 1, 2, 1, "--output-path",
               "out/mean.ckpt", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "") and "out/mean.ckpt" in done.stdout
    mean = load_model(tmp_path / "out" / "mean.ckpt").state_dict()
    states = [torch.load(path, weights_only=True) for path in members]
    for key, value in mean.items():
        numbers = [state[key].numpy() for state in states]
        expected = np.average(numbers, axis=0, weights=[1, 2, 1]) if value.is_floating_point() else numbers[0]
        np.testing.assert_allclose(value.numpy(), expected, rtol=1e-6, atol=1e-7)
    info = json.loads((tmp_path / "out" / "mean.json").read_text())
    assert "training" not in info and info["ratio"] == 0.5
    assert [(m["ckpt_path"], m["weight"], m["training"]["seed"]) for m in info["average"]] == [
        ("m0.ckpt", 1, 0), ("m1.ckpt", 2, 1), ("m2.ckpt", 1, 2)]


def test_one_checkpoint_becomes_its_fp16_copy(tmp_path: Path, members: list[Path]) -> None:
    out = tmp_path / "half.ckpt"
    assert main(["--ckpt-path", str(members[0]), "--output-path", str(out), "--half"]) == 0
    halves = torch.load(out, weights_only=True)
    for key, value in torch.load(members[0], weights_only=True).items():
        assert torch.equal(halves[key], value.half() if value.is_floating_point() else value)
    # An average of averages still says what it was made of.
    assert main(["--ckpt-path", str(out), str(members[1]), "--output-path", str(tmp_path / "more.ckpt")]) == 0
    first = json.loads((tmp_path / "more.json").read_text())["average"][0]
    assert first["average"][0]["training"] == {"seed": 0}


def test_a_dense_checkpoint_without_json_gets_one(tmp_path: Path) -> None:
    path = tmp_path / "dense.ckpt"
    torch.save(MODNet().state_dict(), path)
    assert main(["--ckpt-path", str(path), str(path), "--output-path", str(tmp_path / "mean.ckpt")]) == 0
    assert json.loads((tmp_path / "mean.json").read_text())["source"] == str(path)


def test_bad_input_is_one_line_and_nothing_is_written(tmp_path: Path, members: list[Path],
                                                      capsys: pytest.CaptureFixture) -> None:
    other = tiny_config().with_widths({**{g: tiny_config().width(g) for g in tiny_config().groups()}, "lr8x": 4})
    save_model(MODNet(other), tmp_path / "other.ckpt", to_prune_info(other))
    before = members[0].read_bytes()
    for paths, out, said in (([members[0], tmp_path / "other.ckpt"], "x.ckpt", "other.ckpt has other widths"),
                             ([members[0], tmp_path / "none.ckpt"], "x.ckpt", "none.ckpt"),
                             ([members[0], members[1]], "m0.ckpt", "m0.ckpt is an input")):
        argv = ["--ckpt-path", *map(str, paths), "--output-path", str(tmp_path / out)]
        assert run_script(lambda: main(argv)) == 2  # noqa: B023
        err = capsys.readouterr().err
        assert said in err and err.count("\n") == 1
    for extra, said in ((["--weights", "1"], "--weights has 1 numbers"), (["--weights", "1", "nan"], "--weights has nan"),
                        (["--weights", "1", "0"], "--weights has 0.0")):
        with pytest.raises(SystemExit) as exit_:
            main(["--ckpt-path", *map(str, members[:2]), "--output-path", str(tmp_path / "x.ckpt"), *extra])
        assert exit_.value.code == 2 and said in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["--ckpt-path", str(members[0]), "--output-path", str(tmp_path / "x.pt")])
    assert "must end in .ckpt" in capsys.readouterr().err
    assert not (tmp_path / "x.ckpt").exists() and not (tmp_path / "x.json").exists()
    assert members[0].read_bytes() == before
