"""The command line of the trainer."""
from pathlib import Path

import pytest

from src.training.options import make_recipe, parse_train_args
from src.training.recipe import Recipe

START = ["--model-path", "x.ckpt"]


def test_the_published_command_means_the_defaults():
    args = parse_train_args("", [*START, "--batch-size", "2", "--epoch", "2"])
    assert make_recipe(args) == Recipe() and (args.workers, args.save_step, args.val_every) == (0, 1, 1)


def test_every_option_reaches_the_recipe():
    given = dict(batch_size=3, epoch=5, steps_per_epoch=7, accumulate=2, lr=0.1, backbone_lr=0.2, optimizer="adamw",
                 weight_decay=0.3, schedule="cosine", warmup_steps=4, clip_norm=1.5, freeze_bn_steps=-1, ema=0.9,
                 semantic_scale=1.0, detail_scale=2.0, matte_scale=3.0, input_size=64, background_dir="b",
                 composition_prob=0.1, two_people_prob=0.2, distractor_prob=0.3, stretch=1.3,
                 semantic_only_dir="s", teacher="t",
                 distill_scale=4.0, feature_scale=5.0,
                 unlabeled_dir="u", soc_scale=6.0, mode="scratch-e", precision="bf16", int8_every=3,
                 seed=8)
    argv = [text for name, value in given.items() for text in (f"--{name.replace('_', '-')}", str(value))]
    recipe = make_recipe(parse_train_args("", [*START, *argv, "--scale", "1.1", "1.2", "--soc",
                                                "--person-scale", "0.3", "0.9", "--aspect", "0.8", "1.2"]))
    expected = Recipe(**{("epochs" if name == "epoch" else name): value for name, value in given.items()},
                      scale=(1.1, 1.2), soc=True, person_scale=(0.3, 0.9), aspect=(0.8, 1.2))
    assert recipe == expected
    same = [name for name in Recipe.__dataclass_fields__ if getattr(recipe, name) == getattr(Recipe(), name)]
    assert not same, "a field that no option of this test changes"


def test_input_size_takes_one_side_or_the_smallest_and_the_largest():
    for given, expected in ((["96"], 96), (["64", "128"], (64, 128))):
        assert make_recipe(parse_train_args("", [*START, "--input-size", *given])).input_size == expected
    with pytest.raises(ValueError, match="--input-size has 3 numbers"):
        make_recipe(parse_train_args("", [*START, "--input-size", "64", "96", "128"]))


def test_data_sets_have_weights_and_a_single_folder_is_what_it_was():
    args = parse_train_args("", [*START, "--data-dir", "a=2", "b", "--val-dir", "c", "--val-half", "choose",
                                 "--semantic-only-dir", "d=0.5", "e"])
    assert args.data_dir == [(Path("a"), 2.0), (Path("b"), 1.0)] and args.val_dir == [(Path("c"), 1.0)]
    assert make_recipe(args).semantic_only_dir == ("d=0.5", "e") and args.val_half == "choose"
    args = parse_train_args("", [*START, "--semantic-only-dir", "d"])
    assert args.data_dir == [(Path("data/PPM-100"), 1.0)] and make_recipe(args).semantic_only_dir == "d"
    for given in (["a=0"], ["a=x"], ["=1"], ["a", "./a"]):
        with pytest.raises(ValueError, match="weight|given twice"):
            parse_train_args("", [*START, "--data-dir", *given])


@pytest.mark.parametrize(("argv", "said"), [
    (["--backbone", "y", "--mode", "scratch-e"], "--mode scratch-e starts from new weights: leave --backbone y out"),
    ([], "give one of --model-path and --backbone"), ([*START, "--backbone", "y"], "give one of"),
    ([*START, "--workers", "-1"], "--workers is -1"), ([*START, "--val-every", "0"], "--val-every is 0"),
    ([*START, "--val-limit", "0"], "--val-limit is 0"), ([*START, "--schedule", "x"], "invalid choice: 'x'")])
def test_bad_options_end_with_status_2(argv, said, capsys):
    with pytest.raises(SystemExit) as caught:
        parse_train_args("", argv)
    assert caught.value.code == 2 and said in capsys.readouterr().err
