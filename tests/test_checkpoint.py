"""Checkpoints of all layouts become the same network; everything else is refused by name."""
import json

import pytest
import torch

from src.checkpoint import clean_key, load_model, load_state, save_model
from src.files import write_atomically
from src.models.config import MODNetConfig
from src.models.modnet import MODNet
from src.models.prune_info import to_prune_info
from tests.conftest import no_larger_files, upstream_state

IMAGE = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(3))


def outputs(path, **kwargs):
    with torch.no_grad():
        return load_model(path, **kwargs)(IMAGE)


@pytest.mark.parametrize("key", [
    "module.lr_branch.backbone.model.features.0.cbr.0.weight", "lr_branch.backbone.model.features.0.0.weight",
    "module.backbone.model.features.0.0.weight", "backbone.model.features.0.cbr.0.weight",
    "module._orig_mod.backbone.model.features.0.0.weight", "_orig_mod.module.backbone.model.features.0.0.weight"])
def test_every_spelling_of_a_key_is_ours(key):
    assert clean_key(key) == "backbone.model.features.0.0.weight"


def test_layouts_prefixes_and_aliases_give_identical_outputs(tmp_path):
    variants = {}
    for layout in ("official", "seed"):
        for prefix in ("", "module."):
            state = upstream_state(layout, 11, prefix)
            variants[f"{layout}{prefix}"] = state
            variants[f"{layout}{prefix}short"] = {k: v for k, v in state.items() if "lr_branch.backbone." not in k}
    results = []
    for name, state in variants.items():
        torch.save(state, tmp_path / f"{name}.ckpt")
        results.append(outputs(tmp_path / f"{name}.ckpt"))
    for result in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], result, strict=True))


def test_fp16_weights_are_lifted(tmp_path):
    state = {k: v.half() if v.is_floating_point() else v for k, v in upstream_state("official", 11).items()}
    torch.save(state, tmp_path / "half.ckpt")
    model = load_model(tmp_path / "half.ckpt")
    assert {v.dtype for v in model.state_dict().values()} == {torch.float32, torch.int64}
    assert not model.training


def test_saved_model_loads_by_its_sibling_json(tmp_path, tiny_model):
    save_model(tiny_model, tmp_path / "a.ckpt", to_prune_info(tiny_model.config))
    loaded = load_model(tmp_path / "a.ckpt")
    assert loaded.config == tiny_model.config
    with torch.no_grad():
        assert all(torch.equal(a, b) for a, b in zip(loaded(IMAGE), tiny_model(IMAGE), strict=True))
    state = torch.load(tmp_path / "a.ckpt", weights_only=True)
    assert not any(key.startswith(("module.", "lr_branch.backbone.")) for key in state)


def test_a_json_elsewhere_is_used_when_given(tmp_path, tiny_ckpt):
    json_path = tmp_path / "other.json"
    tiny_ckpt.with_suffix(".json").rename(json_path)
    assert load_model(tiny_ckpt, json_path).config.stem == 8
    with pytest.raises(ValueError, match="dense MODNet.*backbone.model.features.0.0.weight is"):
        load_model(tiny_ckpt)


def test_a_json_that_contradicts_the_checkpoint_names_the_first_tensor_and_both_shapes(tmp_path, tiny_model):
    info = to_prune_info(tiny_model.config.with_widths({"hr.1x": 12}))
    save_model(tiny_model, tmp_path / "a.ckpt", info)
    with pytest.raises(ValueError, match=r"hr_branch.conv_hr.0.layers.0.weight is \(8, 11, 3, 3\), expected \(12,"):
        load_model(tmp_path / "a.ckpt")


def test_what_is_no_modnet_is_refused_by_name(tmp_path):
    path = tmp_path / "x.ckpt"
    with pytest.raises(FileNotFoundError, match="x.ckpt"):
        load_model(path)
    for content in (b"", b"hello", b"PK\x03\x04broken"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="x.ckpt"):
            load_model(path)
    for value in ([1], {"a": 1}, {"a": torch.zeros(2)}, torch.zeros(3)):
        torch.save(value, path)
        with pytest.raises(ValueError, match="x.ckpt"):
            load_model(path)


def test_a_pickle_that_would_run_code_is_refused(tmp_path):
    torch.save({"a": print}, tmp_path / "x.ckpt")
    with pytest.raises(ValueError, match="not a checkpoint of tensors"):
        load_state(tmp_path / "x.ckpt")


def test_copies_of_the_backbone_that_differ_are_refused(tmp_path):
    state = upstream_state("official", 11)
    state["lr_branch.backbone.model.features.0.0.weight"] = state["lr_branch.backbone.model.features.0.0.weight"] + 1
    torch.save(state, tmp_path / "x.ckpt")
    with pytest.raises(ValueError, match="two copies of backbone.model.features.0.0.weight differ"):
        load_model(tmp_path / "x.ckpt")


def test_a_hostile_json_allocates_nothing(tmp_path, tiny_model, monkeypatch):
    widths = {"enc32x": 4096, "block17": 4096, "block17.hidden": 4096, "lr16x": 4096}
    save_model(tiny_model, tmp_path / "a.ckpt", to_prune_info(MODNetConfig().with_widths(widths)))
    on_cpu = []
    original = MODNet.__init__

    def spy(self, config=None):
        original(self, config)
        on_cpu.extend(p for p in self.parameters() if p.device.type != "meta")

    monkeypatch.setattr(MODNet, "__init__", spy)
    with pytest.raises(ValueError, match="expected"):
        load_model(tmp_path / "a.ckpt")
    assert not on_cpu


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "x.json"
    path.write_text("old")

    def fail(to):
        to.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, fail)
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_what_the_disk_does_not_take_is_said_in_its_words_and_the_old_checkpoint_stays(tmp_path, tiny_model):
    path = tmp_path / "a.ckpt"
    save_model(tiny_model, path, to_prune_info(tiny_model.config))
    before = path.read_bytes()
    with no_larger_files(len(before) // 2), pytest.raises(OSError, match=rf"File too large: '{path}'"):
        save_model(tiny_model, path, to_prune_info(tiny_model.config))
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 2


def test_json_beside_a_checkpoint_is_readable(tiny_ckpt):
    assert json.loads(tiny_ckpt.with_suffix(".json").read_text())["new_cfg"] == [8] * 19
