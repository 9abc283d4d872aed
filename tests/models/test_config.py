"""The config validates itself and survives the pruning JSON."""
import json

import pytest

from src.models.config import MODNetConfig, hr_width, is_ibn, paper_config
from src.models.prune_info import PUBLISHED_KEYS, from_prune_info, read_prune_info, to_prune_info
from tests.conftest import FIXTURES, tiny_config

EXAMPLES = json.loads((FIXTURES / "paper_rule_examples.json").read_text())


def published(config: MODNetConfig) -> dict:
    return {key: value for key, value in to_prune_info(config).items() if key in PUBLISHED_KEYS}


def test_defaults_are_mobilenet_v2():
    config = MODNetConfig()
    assert [b.residual for b in config.blocks] == [n in (3, 5, 6, 8, 9, 10, 12, 13, 15, 16) for n in range(1, 18)]
    assert config.width("block17.hidden") == 960 and config.width("rgb") == 3 and config.width("alpha") == 1


def test_json_round_trip_keeps_every_width():
    for config in (MODNetConfig(), tiny_config(), MODNetConfig().with_widths({"hr.2x.a": 10, "block9.hidden": 100})):
        assert from_prune_info(json.loads(json.dumps(to_prune_info(config)))) == config


def test_published_keys_alone_rebuild_the_dense_network():
    assert from_prune_info(published(MODNetConfig())) == MODNetConfig()


@pytest.mark.parametrize("example", EXAMPLES)
def test_published_json_is_read(example):
    info = example["expect"]
    config = from_prune_info(info)
    assert published(config) | {"ratio": info["ratio"], "threshold": info["threshold"]} == info
    assert config.hr_4x == 2 * hr_width(info["ratio"]) and config.se == info["new_cfg"][-1] // 4


def test_published_rule_for_residuals_is_stride_1_and_equal_widths():
    info = EXAMPLES[0]["expect"]
    config = from_prune_info(info)
    cfg = info["new_cfg"]
    assert config.blocks[2].residual == (cfg[2] == cfg[3])
    assert not config.blocks[1].residual


def test_ibn_groups():
    assert is_ibn("hr.4x") and is_ibn("f.1x") and is_ibn("lr8x")
    assert not any(map(is_ibn, ("enc32x", "se", "block3", "stem", "rgb", "alpha")))


@pytest.mark.parametrize(("change", "said"), [
    ({"new_cfg": [8] * 18}, "new_cfg"), ({"new_cfg": [8.5] + [8] * 18}, "new_cfg"),
    ({"new_cfg": [-8] + [8] * 18}, "new_cfg"), ({"new_cfg": "x"}, "new_cfg"),
    ({"new_expansion_cfg": [1] + [10**9] * 16}, "new_expansion_cfg"), ({"ratio": "a"}, "ratio"),
    ({"ratio": float("nan")}, "ratio"), ({"threshold": 3}, "threshold"), ({"new_f_channels": [16]}, "new_f_channels"),
    ({"new_hr_channels": [1, 1]}, "new_hr_channels"), ({"new_lr_channels": None}, "new_lr_channels"),
    ({"residual": [True]}, "residual"), ({"widths": {"stem": 1}}, "widths"), ({"widths": 3}, "widths"),
])
def test_a_wrong_value_is_named(change, said):
    with pytest.raises(ValueError, match=said):
        from_prune_info(to_prune_info(MODNetConfig()) | change)


def test_a_missing_key_is_named():
    with pytest.raises(ValueError, match="'new_cfg' is missing"):
        from_prune_info({"ratio": 0.5, "threshold": 0.5})


def test_widths_that_contradict_the_published_keys_are_refused():
    info = to_prune_info(MODNetConfig())
    info["widths"]["lr16x"] = 48
    with pytest.raises(ValueError, match="new_lr_channels"):
        from_prune_info(info)


def test_a_residual_over_unequal_widths_is_refused():
    with pytest.raises(ValueError, match="block3"):
        MODNetConfig().with_widths({"block3": 16})


def test_an_ibn_group_needs_two_channels():
    with pytest.raises(ValueError, match="hr.2x is 1"):
        MODNetConfig().with_widths({"hr.2x": 1})


def test_a_block_without_expansion_filters_its_input():
    config = paper_config([16, 8, 8, 8] + [8] * 15, [1, 1] + [2] * 15, lr16x=8, lr8x=8, hr=8)
    assert not config.blocks[1].expand and config.blocks[1].hidden == 8 and config.blocks[2].hidden == 16


def test_a_broken_file_is_named(tmp_path):
    path = tmp_path / "x.json"
    path.write_text("{")
    with pytest.raises(ValueError, match=str(path)):
        read_prune_info(path)
    path.write_text("[" * 100_000)
    with pytest.raises(ValueError, match=str(path)):
        read_prune_info(path)
    with pytest.raises(FileNotFoundError, match="nothing.json"):
        read_prune_info(tmp_path / "nothing.json")
