"""Measure images per second of training: the published loop and ours, taking turns, on generated pictures, same batch and
size.

    python bench/training.py

times the data path alone; `--network` also whole training steps (by default where there is a GPU). Writes
`result/training_bench.json` and `.md`. The published data path is written anew after what MODNet-ModelCompression's
`src/data/samples.py` does: in every epoch it decodes both files with Pillow, squeezes them to a square, draws a trimap by
repeated dilation and erosion, and converts; it does not augment. Ours is timed as it trains, with crops, colours, blur,
noise and JPEG; and as `Squeezed`, which puts out what the published one does.
"""
from __future__ import annotations

import argparse
import dataclasses
import itertools
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent.parent)]

import cv2
import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import functional as TF

from src.checkpoint import load_model, torch_device
from src.command_line import Parser
from src.data.batches import Batches, make_loader
from src.data.crops import Crops
from src.data.layouts import find_pairs, read_pair
from src.data.pack import pack
from src.data.portraits.generate import generate_data_set
from src.data.samples import MattingDataset, make_trimap
from src.data.scene import PLAIN
from src.data.shards import ShardDataset
from src.files import check_writable, write_json, write_text
from src.media.preprocess import normalise
from src.models.modnet import MODNet
from src.script import provenance, run_script
from src.training.loading import load_training
from src.training.losses import modnet_losses
from src.training.recipe import Recipe
from src.training.state import start_state
from src.training.step import train_epoch

PUBLISHED, OURS, SQUEEZED = "published", "ours, with augmentation", "ours, same outputs as published"
STREAMED = "ours, with augmentation, streamed from shards"


class Published(Dataset):
    """The published data path: image (3, S, S) in [-1, 1], trimap and alpha (1, S, S) in [0, 1], float32."""

    def __init__(self, data_dir: Path, size: int, *, seed: int = 0) -> None:
        self.pairs, self.size, self.rng = find_pairs(data_dir, "train"), size, np.random.default_rng(seed)

    def __len__(self) -> int:
        return len(self.pairs)

    def trimap(self, alpha: Image.Image) -> np.ndarray:
        """Make a trimap of 0, 0.5 and 1: a kernel of 2 to 4 pixels, 5 to 14 times."""
        matte, width, times = np.array(alpha), int(self.rng.integers(2, 5)), int(self.rng.integers(5, 15))
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width))
        out = np.full(matte.shape, 0.5)
        out[cv2.erode(matte, kernel, iterations=times) > 254.5] = 1.0
        out[cv2.dilate(matte, kernel, iterations=times) < 0.5] = 0.0
        return out

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        pair = self.pairs[index]
        image, alpha = (TF.resize(Image.open(path), [self.size, self.size]) for path in pair)
        trimap = Image.fromarray(self.trimap(alpha))
        image, trimap, alpha = (TF.convert_image_dtype(TF.pil_to_tensor(x), torch.float) for x in (image, trimap, alpha))
        return TF.normalize(image, [0.5] * 3, [0.5] * 3), trimap, alpha


class Squeezed(Dataset):
    """What `Published` gives by our means: decoded once and kept as bytes, the trimap by one distance transform a side."""

    def __init__(self, data_dir: Path, size: int, *, seed: int = 0) -> None:
        self.pairs, self.size, self.rng = find_pairs(data_dir, "train"), size, np.random.default_rng(seed)
        self.kept: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def __len__(self) -> int:
        return len(self.pairs)

    def load(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Read picture (S, S, 3) and alpha (S, S), uint8; from memory after the first time."""
        if index not in self.kept:
            image, alpha = read_pair(self.pairs[index])
            how = cv2.INTER_AREA if min(alpha.shape) > self.size else cv2.INTER_LINEAR
            image, alpha = (cv2.resize(x, (self.size, self.size), interpolation=how) for x in (image, alpha))
            self.kept[index] = image, np.rint(alpha * 255).astype(np.uint8)
        return self.kept[index]

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        image, alpha = self.load(index)
        alpha = alpha.astype(np.float32) / 255
        trimap = make_trimap(alpha, int(self.rng.integers(3, 22)))
        return torch.from_numpy(normalise(image)), torch.from_numpy(trimap)[None], torch.from_numpy(alpha)[None]


def published_epoch(model: MODNet, loader: DataLoader, optimizer: torch.optim.Optimizer, device: torch.device) -> None:
    """Return the published training loop: float32, SGD, batches moved to the device when they are used."""
    model.train()
    for batch in loader:
        image, trimap, alpha = (x.to(device) for x in batch)
        optimizer.zero_grad()
        modnet_losses(model(image), image, alpha, trimap).total.backward()
        optimizer.step()


def data_ways(data_dir: Path, shards: Path, *, size: int, batch_size: int,
              workers: int) -> dict[str, Callable[[int], None]]:
    """Return for each data path what goes once through the data, given the number of the epoch; its shards are written to
    the folder `shards`."""
    loaders = {PUBLISHED: DataLoader(Published(data_dir, size), batch_size, shuffle=True),
               SQUEEZED: DataLoader(Squeezed(data_dir, size), batch_size, shuffle=True)}
    dataset = MattingDataset(data_dir, size=size)
    batches = Batches(len(dataset), batch_size, seed=0)
    loaders[OURS] = load_training(dataset, batches, workers=workers)
    count = min(4, len(dataset))
    pattern = str(shards / f"s-{{1..{count}}}.tar")
    pack(data_dir, pattern, overwrite=True)
    streamed = ShardDataset([pattern], Crops(size, (1.0, 1.6), 1.0, (1.0, 1.0), 0.0, PLAIN, None))
    loaders[STREAMED] = load_training(streamed, batches, workers=workers)

    def go_through(loader: DataLoader, epoch: int) -> None:
        batches.epoch = streamed.epoch = epoch
        # A stream of shards has no end.
        for _ in itertools.islice(loader, batches.steps):
            pass

    return {name: lambda epoch, loader=loader: go_through(loader, epoch) for name, loader in loaders.items()}


def network_ways(data_dir: Path, ckpt_path: Path | None, recipe: Recipe, *, device: str,
                 workers: int) -> dict[str, Callable[[int], None]]:
    """Return the same with the training steps: the published loop, and ours by `recipe`."""
    models = [(MODNet() if ckpt_path is None else load_model(ckpt_path)).to(device) for _ in range(2)]
    loader = DataLoader(Published(data_dir, recipe.input_size), recipe.batch_size, shuffle=True)
    optimizer = torch.optim.SGD(models[0].parameters(), lr=recipe.lr, momentum=0.9)
    dataset = MattingDataset(data_dir, size=recipe.input_size)
    batches = Batches(len(dataset), recipe.batch_size, seed=0)
    own = make_loader(dataset, batches, workers=workers, pin=device != "cpu")
    state = start_state(models[1].to(memory_format=torch.channels_last), recipe, batches.steps)

    def ours(epoch: int) -> None:
        batches.epoch = epoch
        train_epoch(state, own, batches, recipe, title=OURS)

    return {PUBLISHED: lambda _: published_epoch(models[0], loader, optimizer, torch.device(device)), OURS: ours}


def race(ways: dict[str, Callable[[int], None]], images: int, *, rounds: int, device: str = "cpu") -> dict[str, dict]:
    """Measure images per second: of the first epoch, and quartiles of `rounds` later ones, the ways taking turns."""
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for epoch in range(rounds + 1):
        for name, go in ways.items():
            start = time.perf_counter()
            go(epoch)
            if device != "cpu":
                torch.cuda.synchronize()
            rates[name].append(images / (time.perf_counter() - start))
    out = {}
    for name, (first, *later) in rates.items():
        q1, median, q3 = statistics.quantiles(later, n=4, method="inclusive") if len(later) > 1 else later * 3
        out[name] = {"first_epoch": first, "q1": q1, "median": median, "q3": q3, "rates": [first, *later]}
    return out


def table(results: dict[str, dict[str, dict]]) -> str:
    """Format a Markdown table: images per second of each way, and how many times the published loop's."""
    base = "ours" if any(PUBLISHED not in ways for ways in results.values()) else "published"
    lines = [f"| images a second | first epoch | later epochs, median (quartiles) | / {base} |", "|---|---:|---:|---:|"]
    for what, ways in results.items():
        for name, rate in ways.items():
            times = rate["median"] / ways.get(PUBLISHED, ways[OURS])["median"]
            lines.append(f"| {what}: {name} | {rate['first_epoch']:.1f} | {rate['median']:.1f} ({rate['q1']:.1f}-"
                         f"{rate['q3']:.1f}) | {times:.2f} |")
    return "\n".join(lines) + "\n"


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = Parser(__doc__)
    parser.add_argument("--data-dir", type=Path, help="data set (default: generated portraits)")
    parser.add_argument("--images", type=int, default=32, help="portraits to generate (default: %(default)s)")
    parser.add_argument("--height", type=int, default=1200, help="of a generated portrait (default: %(default)s)")
    parser.add_argument("--width", type=int, default=900, help="of a generated portrait (default: %(default)s)")
    parser.add_argument("--size", type=int, default=512, help="of the network's input (default: %(default)s)")
    parser.add_argument("--batch-size", type=int, default=8, help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=5, help="epochs after the first (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=0, help="our loading processes; the published loop has none")
    parser.add_argument("--threads", type=int, help="CPU threads of torch and OpenCV (default: theirs)")
    parser.add_argument("--streams", action="store_true", help="only our way from a folder and from shards, see --workers")
    parser.add_argument("--network", action=argparse.BooleanOptionalAction, help="time whole training steps too (default: "
                        "if there is a GPU)")
    parser.add_argument("--ckpt-path", type=Path, help="network to train (default: the dense one, new)")
    parser.add_argument("--precision", choices=("fp32", "bf16", "fp16"), help="of our steps (default: bf16 on a GPU)")
    parser.add_argument("--device", default="auto", help="cpu, cuda, ... (default: a GPU if there is one)")
    parser.add_argument("--output-dir", type=Path, default=Path("result"), help="default: %(default)s")
    args = parser.parse_args(argv)
    for name in ("images", "batch_size", "rounds", "threads"):
        if getattr(args, name) is not None and getattr(args, name) < 1:
            parser.error(f"--{name.replace('_', '-')} is {getattr(args, name)}, allowed are whole numbers from 1")
    return args


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    args = parse_args(argv)
    check_writable(args.output_dir, "--output-dir")
    device = torch_device(args.device)
    recipe = Recipe(epochs=args.rounds + 1, batch_size=args.batch_size, lr=1e-3, input_size=args.size,
                    precision=args.precision or ("fp32" if device == "cpu" else "bf16"))
    if args.threads:
        torch.set_num_threads(args.threads)
        cv2.setNumThreads(args.threads)
    data_dir = args.data_dir or args.output_dir / f"training_bench_{args.images}_{args.height}x{args.width}"
    if args.data_dir is None:
        generate_data_set(data_dir, train=args.images, val=0, height=args.height, width=args.width)
    images = len(find_pairs(data_dir, "train"))
    # Beside the results: beside a user's data set, shards of the same name may be his own.
    ways = data_ways(data_dir, args.output_dir / "training_bench_shards", size=args.size, batch_size=args.batch_size,
                     workers=args.workers)
    if args.streams:
        ways = {name: ways[name] for name in (OURS, STREAMED)}
    results = {"data path": race(ways, images, rounds=args.rounds)}
    if args.network if args.network is not None else device != "cpu":
        ways = network_ways(data_dir, args.ckpt_path, recipe, device=device, workers=args.workers)
        results["training step"] = race(ways, images, rounds=args.rounds, device=device)
    else:
        print("training steps are not timed: no GPU here, and --network was not given")
    setting = {"data_dir": str(data_dir), "images": images, "recipe": dataclasses.asdict(recipe), "device": device,
               "workers": args.workers, "threads": torch.get_num_threads()}
    write_json(args.output_dir / "training_bench.json", {"setting": setting, "results": results, **provenance()})
    text = (f"{images} pictures of `{data_dir}` at {args.size} px, batch {args.batch_size}, {args.rounds} epochs after "
            f"the first, {device}, {torch.get_num_threads()} threads, workers: ours {args.workers}, published 0\n\n"
            f"{table(results)}")
    write_text(args.output_dir / "training_bench.md", text)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
