"""Every script finds an output folder that cannot be written before it does anything else."""
from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from src.script import run_script
from tests.conftest import ROOT

# How each script is told where to write, and what it needs besides; nothing else of that is there.
SCRIPTS = {
    "src/infer.py": ["--ckpt-path", "none.ckpt", "--output-dir"],
    "src/eval.py": ["--ckpt-path", "none.ckpt", "--output-dir"],
    "src/trainer.py": ["--model-path", "none.ckpt", "--save-dir"],
    "src/average.py": ["--ckpt-path", "none.ckpt", "--output-path"],
    "src/generate_portraits.py": ["--output-dir"],
    "main_prune.py": ["--ckpt-path", "none.ckpt", "--save-dir"],
    "inference_openvino.py": ["--model-path", "none.xml", "--output-dir"],
    "reproduce.py": ["--output-dir"],
    "onnx/export_onnx.py": ["--ckpt-path", "none.ckpt", "--output-path"],
    "onnx/convert_openvino.py": ["--onnx-path", "none.onnx", "--output-path"],
    "bench/latency.py": ["--output-dir"],
    "bench/metrics.py": ["--output-dir"],
    "bench/peers.py": ["--output-dir"],
    "bench/pruning.py": ["--output-dir"],
    "bench/retraining.py": ["--model-path", "none.ckpt", "--data-dir", "none", "--output-dir"],
    "bench/training.py": ["--output-dir"],
    "bench/two_nodes.py": ["--model-path", "none.ckpt", "--data-dir", "none", "--output-dir"],
    "bench/temporal.py": ["--output"],
    "bench/folder.py": ["--output"],
    "bench/scale.py": ["--output"],
    "bench/video.py": ["--video", "none.mp4", "--output"],
    "bench/animation.py": ["--video", "none.mp4", "--output"],
    "bench/cluster.py": ["--output"],
    "bench/page_screenshots.py": ["--video", "none.mp4", "--output-dir"],
    "bench/sizes.py": ["--model", "a=none.xml", "--data-dir", "none", "--output-dir"],
    "bench/late_training.py": ["late", "--ckpt-path", "none.ckpt", "--kept", "none", "--output-path"],
    "bench/gpu_pack.py": ["--data-dir", "none", "--output-dir"],
    "bench/gpu_training.py": ["--pack", "none", "--network", "a=none.ckpt:1e-3:1e-3:0", "--output-dir"],
}
# What is told where to write by a list, and what only writes for a visitor.
OTHERS = {"bench/stages.py", "demo.py"}
SUFFIXES = {"src/average.py": ".ckpt", "onnx/export_onnx.py": ".onnx", "onnx/convert_openvino.py": ".xml",
            "bench/temporal.py": ".json", "bench/video.py": ".json", "bench/animation.py": ".webp",
            "bench/late_training.py": ".ckpt", "bench/cluster.py": ".json", "bench/folder.py": ".json",
            "bench/scale.py": ".json"}


def load(script: str) -> object:
    """The module of a script."""
    spec = importlib.util.spec_from_file_location(f"script_{Path(script).stem}", ROOT / script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("script", SCRIPTS)
def test_an_output_that_cannot_be_written_is_found_first(script: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    if script != "src/trainer.py":
        pytest.importorskip("openvino")
    (tmp_path / "file").touch()
    main = load(script).main
    for folder in (tmp_path / "file" / "out", Path("/proc/out")):
        target = folder / f"x{SUFFIXES[script]}" if script in SUFFIXES else folder
        assert run_script(lambda to=target: main([*SCRIPTS[script], str(to)])) == 2
        line, = capsys.readouterr().err.splitlines()
        option = SCRIPTS[script][-1]
        assert line.startswith(f"error: {option} {folder} cannot be written: "), line
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_every_script_with_an_output_option_is_in_the_list() -> None:
    scripts = [path.relative_to(ROOT).as_posix() for pattern in ("*.py", "src/*.py", "onnx/*.py", "bench/*.py")
               for path in ROOT.glob(pattern)]
    writing = [name for name in scripts if 'run_script(main)' in (ROOT / name).read_text(encoding="utf-8")]
    assert sorted(set(writing) - set(SCRIPTS) - OTHERS) == []
