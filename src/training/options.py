"""The command line of `src/trainer.py`: every number of a recipe, and where files are."""
from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from src.command_line import Parser, told_by_flags
from src.data.samples import CACHE_DIR
from src.data.shards import is_shards
from src.data.sources import HALVES, Shards, Source, as_sources, parse_source
from src.media.picture_decoder import add_max_pixels
from src.training.recipe import MODES, OPTIMIZERS, PRECISIONS, SCHEDULES, Recipe

# Numbers of the recipe: option, type, help.
NUMBERS = (
    ("batch-size", int, "images a step"),
    ("steps-per-epoch", int, "an epoch is this many steps, going on through one shuffle after another, instead of once "
                             "through the data"),
    ("accumulate", int, "batches whose gradients are added up for one step"),
    ("lr", float, "learning rate"),
    ("backbone-lr", float, "learning rate of the encoder, if not --lr"),
    ("weight-decay", float, "if not 0.01 with adamw, 0 with sgd"),
    ("warmup-steps", int, "steps in which the learning rate rises; schedules step and cosine"),
    ("clip-norm", float, "longest gradient; a longer one is shortened"),
    ("freeze-bn-steps", int, "steps in which the encoder's batch norms keep their statistics; -1: all"),
    ("ema", float, "decay of the average of the weights that is evaluated and saved, for instance 0.999"),
    ("semantic-scale", float, "weight of this loss"),
    ("detail-scale", float, "weight of this loss"),
    ("matte-scale", float, "weight of this loss; with this and detail-scale 0, only encoder and low-resolution branch run"),
    ("stretch", float, "a crop is up to this many times longer along the longer side of the picture and squeezed to a "
                       "square, so that whole portraits are seen; 1: squares"),
    ("composition-prob", float, "share of foregrounds that are put on a picture of --background-dir"),
    ("two-people-prob", float, "share of composed pictures with a second person, of another picture"),
    ("distractor-prob", float, "share of composed pictures with things that are no people, from the pictures of "
                               "--background-dir whose names begin with coco_ or flic_"),
    ("distill-scale", float, "weight of the errors against the --teacher's three heads"),
    ("feature-scale", float, "weight of the errors against the --teacher's features, through 1x1 convolutions"),
    ("soc-scale", float, "weight of --soc"),
    ("int8-every", int, "one step in so many, the network computes as its INT8 version will (quantisation-aware training); "
                        "0: none"),
    ("seed", int, "seed of every random choice"),
)
CHOICES = (("optimizer", OPTIMIZERS), ("schedule", SCHEDULES), ("precision", PRECISIONS))
FOLDERS = ("background_dir", "unlabeled_dir", "teacher")


def add_recipe_options(parser: argparse.ArgumentParser) -> None:
    """Add an option for each field of `Recipe`."""
    recipe = parser.add_argument_group("recipe")
    default = Recipe()
    recipe.add_argument("--epoch", type=int, default=default.epochs, help="number of epochs (default: %(default)s)")
    for name, kind, text in NUMBERS:
        value = getattr(default, name.replace("-", "_"))
        said = " (default: %(default)s)" if value is not None else ""
        recipe.add_argument(f"--{name}", type=kind, default=value, help=text + said)
    for name, choices in CHOICES:
        recipe.add_argument(f"--{name}", choices=choices, default=getattr(default, name), help="default: %(default)s")
    recipe.add_argument("--scale", type=float, nargs=2, default=default.scale, metavar=("LOW", "HIGH"),
                        help="a crop's side is the short side of the picture divided by a number between (default: 1 1.6)")
    recipe.add_argument("--aspect", type=float, nargs=2, default=default.aspect, metavar=("LOW", "HIGH"),
                        help="a crop's width over its height is a number between, and it is squeezed to a square: for sets "
                        "whose pictures were squeezed before, for instance 0.75 1.34 (default: 1 1)")
    recipe.add_argument("--input-size", type=int, nargs="+", default=[default.input_size], metavar="SIDE", help="side of "
                        f"crops; with two, each step draws a multiple of 32 between them (default: {default.input_size})")
    recipe.add_argument("--person-scale", type=float, nargs=2, default=default.person_scale, metavar=("LOW", "HIGH"),
                        help="longer side of a composed person as a share of the picture's side, at any place; over 1 it is "
                        "cut off; 1 1: as it is in its crop (default: 1 1)")
    recipe.add_argument("--background-dir", type=Path, help="pictures without people, to put foregrounds on")
    recipe.add_argument("--teacher", type=Path, help="checkpoint of a network to learn from, its pruning JSON beside it")
    recipe.add_argument("--unlabeled-dir", type=Path, help="pictures without alpha, for --teacher and --soc")
    recipe.add_argument("--soc", action="store_true", help="on --unlabeled-dir the three heads teach each other "
                        "(MODNet's self-supervised consistency); goes on from a trained network")
    recipe.add_argument("--mode", choices=MODES, default=default.mode, help="scratch-e: new random weights, the same "
                        "epochs; scratch-b: as many times more epochs as the dense network has multiply-accumulates more")
    recipe.add_argument("--semantic-only-dir", nargs="+", metavar="FOLDER[=WEIGHT]", help="data sets whose mattes are rough "
                        "masks: their samples teach nothing about detail and matte near the outline")


def make_recipe(args: argparse.Namespace) -> Recipe:
    """Make the recipe that the options ask for. Raises `ValueError` for a number out of range."""
    values = {field.name: getattr(args, field.name) for field in dataclasses.fields(Recipe) if field.name != "epochs"}
    folders = {name: None if values[name] is None else str(values[name]) for name in FOLDERS}
    if len(args.input_size) > 2:
        raise ValueError(f"--input-size has {len(args.input_size)} numbers, allowed are one or two")
    pairs = {name: tuple(getattr(args, name)) for name in ("scale", "aspect", "person_scale")}
    sizes = args.input_size[0] if len(args.input_size) == 1 else tuple(args.input_size)
    rough = args.semantic_only_dir
    folders["semantic_only_dir"] = rough if rough is None else rough[0] if len(rough) == 1 else tuple(rough)
    with told_by_flags({"epochs": "--epoch"}):
        return Recipe(**values | folders | pairs | {"epochs": args.epoch, "input_size": sizes})


def parse_data(texts: list[str], *, strict: bool = False) -> Shards | list[Source]:
    """Return the data sets, or shards, that `--data-dir` means. Raises `ValueError` for a mixture of both or a bad
    weight."""
    if any(map(is_shards, texts)):
        if not all(map(is_shards, texts)):
            raise ValueError(f"--data-dir {' '.join(texts)} mixes shards and folders: src/data/pack.py "
                             "makes shards of folders")
        return Shards(tuple(texts), strict)
    if strict:
        raise ValueError("--strict goes with shards: of folders every pair is looked at before training")
    return as_sources([parse_source(text) for text in texts])


def parse_train_args(description: str, argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line. Raises `ValueError` for data sets with a bad weight or given twice."""
    parser = Parser(description)
    parser.add_argument("--model-path", type=Path, help="checkpoint to start from, its pruning JSON beside it")
    parser.add_argument("--backbone", help="start a dense network from an ImageNet encoder instead: a file, or `imagenet` "
                        "to let torchvision fetch one")
    parser.add_argument("--save-dir", type=Path, help="where files go (default: the folder of the model, or result)")
    parser.add_argument("--name", help="stem of the files (default: that of the model, or modnet)")
    parser.add_argument("--data-dir", nargs="+", default=["data/PPM-100"], metavar="FOLDER[=WEIGHT]", help="data sets; "
                        "the weight is how many times a set is drawn in an epoch, fractions too; or WebDataset shards, "
                        "'people-{000..099}.tar' (default: data/PPM-100)")
    parser.add_argument("--strict", action="store_true", help="end where a sample of shards cannot be used, instead of "
                        "naming it and leaving it out")
    parser.add_argument("--val-dir", nargs="+", metavar="FOLDER", help="data sets whose val is validated on (default: "
                        "those of --data-dir that have one)")
    parser.add_argument("--val-half", choices=HALVES, help="validate on this half of val, and leave the other half for "
                        "what eval.py --split-half reports")
    parser.add_argument("--cache-dir", type=Path, default=CACHE_DIR, help="where estimated foreground colours and, "
                        "with --workers, decoded pictures are kept (default: %(default)s)")
    parser.add_argument("--save-step", type=int, default=1, help="epochs between checkpoints (default: %(default)s)")
    parser.add_argument("--val-every", type=int, default=1, help="epochs between validations (default: %(default)s)")
    parser.add_argument("--val-limit", type=int, help="validate on the first N pictures only")
    parser.add_argument("--workers", type=int, default=0, help="data loading processes (default: %(default)s)")
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:0, ... (default: a GPU if there is one)")
    parser.add_argument("--tensorboard", action="store_true", help="a log for TensorBoard too, in NAME_tensorboard")
    parser.add_argument("--resume", action="store_true", help="go on where the same command was interrupted")
    parser.add_argument("--overwrite", action="store_true", help="begin anew where a run of that name is, and replace it")
    add_recipe_options(parser)
    add_max_pixels(parser)
    args = parser.parse_args(argv)
    if (args.model_path is None) == (args.backbone is None):
        parser.error("give one of --model-path and --backbone")
    if args.backbone is not None and args.mode != "finetune":
        parser.error(f"--mode {args.mode} starts from new weights: leave --backbone {args.backbone} out, or take finetune")
    if args.resume and args.overwrite:
        parser.error("--resume goes on with what is there, --overwrite replaces it: give one of them")
    for name, least in (("save_step", 1), ("val_every", 1), ("val_limit", 1), ("workers", 0)):
        value = getattr(args, name)
        if value is not None and value < least:
            parser.error(f"--{name.replace('_', '-')} is {value}, allowed are whole numbers from {least}")
    args.data_dir = parse_data(args.data_dir, strict=args.strict)
    args.val_dir = None if args.val_dir is None else as_sources([Source(Path(text)) for text in args.val_dir])
    return args
