"""The options of `main_prune.py` that say how widths are chosen, and the choice that they make."""
from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from src.pruning.budget import Budget
from src.pruning.choice import ByBudget, ByHand, ByLatency, ByRatio, BySearch, Choice
from src.pruning.latency_cost import PRECISIONS
from src.pruning.rules import RULES, SCOPES

# Options that count in some of the ways to choose, as fields of their own, and where that is.
GOES = {"ratio": "without targets and --widths", "threshold": "without targets and --widths",
        "round_to": "with --rule tied, --search and --target-latency", "threads": "with --target-latency",
        "precision": "with --target-latency", "calib_dir": "with --target-latency and --precision int8",
        "round_branches_to": "with --search and --target-latency"}


def add_choice_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that `make_choice` reads."""
    parser.add_argument("--ratio", type=float, help="share of the HR and fusion channels to cut, from 0 to 0.875 (default: "
                        f"{ByRatio.ratio})")
    parser.add_argument("--threshold", type=float, help="threshold on the normalised L1 norms of the encoder, between 0 and "
                        f"1 (default: {ByRatio.threshold})")
    parser.add_argument("--rule", choices=RULES, default=None, help="paper: the published widths; tied: keeps every "
                        "residual and expansion (default: paper; tied with --search)")
    parser.add_argument("--scope", choices=SCOPES, default="whole", help="what is cut; branches leaves the encoder as it "
                        "is, backbone cuts it alone (default: %(default)s)")
    parser.add_argument("--target-params", type=float, metavar="N", help="find ratio and threshold for at most this many "
                        "parameters, and at most 2 %% fewer")
    parser.add_argument("--target-macs", type=float, metavar="N",
                        help="the same for multiply-accumulates of one 512x512 image, as deployed")
    parser.add_argument("--target-latency", type=float, metavar="MS", help="search for a network that OpenVINO runs in at "
                        "most this many milliseconds on this CPU (one 512x512 image), and at most 5 %% less; rule tied")
    parser.add_argument("--threads", type=int, help=f"for --target-latency (default: {ByLatency.threads})")
    parser.add_argument("--precision", choices=PRECISIONS, help="of the computation, for --target-latency (default: "
                        f"{ByLatency.precision})")
    parser.add_argument("--calib-dir", type=Path, help="pictures that int8 takes its ranges from, for --precision int8")
    parser.add_argument("--search", action="store_true", help="meet the target by a width of its own for each channel "
                        "group, where least is lost for what is saved; rule tied")
    parser.add_argument("--widths", type=parse_width, nargs="+", metavar="GROUP=N", help="cut these channel groups to so "
                        "many channels, with those that residuals tie to them, and nothing else: f.1x=8; the pruning JSON "
                        "names the groups")
    parser.add_argument("--round-to", type=int, help="rule tied: widths are multiples of this (default: "
                        f"{ByRatio.round_to})")
    parser.add_argument("--round-branches-to", type=int, metavar="N", help="--search and --target-latency: the same for "
                        "the branches alone; 16 fills the vectors of a CPU with AVX-512, where 8 channels take nearly as "
                        "long (default: --round-to; --target-latency: what fills a vector of this machine)")


def parse_width(text: str) -> tuple[str, int]:
    """Read `GROUP=N`. Raises `argparse.ArgumentTypeError`."""
    group, _, number = text.rpartition("=")
    if not group or not (number.isascii() and number.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r}, allowed is GROUP=N, as f.1x=8")
    return group, int(number)


def make_choice(args: argparse.Namespace) -> Choice:
    """Make the choice that the options of `add_choice_options` ask for.

    Raises `ValueError` for options that exclude one another and for a number out of range.
    """
    budget, timed = Budget(args.target_params, args.target_macs), args.target_latency is not None
    counted = budget != Budget()
    if args.widths and (timed or counted or args.search or args.rule == "paper" or args.scope != "whole"):
        raise ValueError("--widths says all that is cut: it goes without targets, --search, --scope and --rule paper")
    if timed and counted:
        raise ValueError("--target-latency goes without --target-params and --target-macs")
    if (timed or counted) and args.scope != "whole" and not args.search:
        raise ValueError("a target is met over the whole network: leave --scope out, or search for it with --search")
    if args.search and not (timed or counted):
        raise ValueError("--search needs --target-params or --target-macs")
    if (timed or args.search) and args.rule == "paper":
        raise ValueError("a search goes with --rule tied: rule paper ties widths by formulas")
    if args.widths:
        return choice_of(ByHand, args, widths=tuple(args.widths))
    if timed:
        return choice_of(ByLatency, args, milliseconds=args.target_latency)
    if args.search:
        return choice_of(BySearch, args, budget=budget, scope=args.scope)
    rule = args.rule or "paper"
    if counted:
        return choice_of(ByBudget, args, budget=budget, rule=rule)
    return choice_of(ByRatio, args, rule=rule, scope=args.scope)


def choice_of(kind: type[Choice], args: argparse.Namespace, **chosen: object) -> Choice:
    """Make a choice of a kind, of `chosen` and of the options that it has as fields.

    Raises `ValueError` for an option that is given and says nothing in such a choice, and for a number out of range.
    """
    given = {name: getattr(args, name) for name in GOES if getattr(args, name) is not None}
    fields = {field.name for field in dataclasses.fields(kind)} - ({"round_to"} if chosen.get("rule") == "paper" else set())
    for name in given:
        if name not in fields:
            raise ValueError(f"--{name.replace('_', '-')} goes {GOES[name]}")
    return kind(**given, **chosen)
