"""Command lines: numbers that nothing can be computed with are refused by the flag's name, in a short line."""
from __future__ import annotations

import argparse
import contextlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence

from src.console import as_line, shown

MOST_WHOLE = 2 ** 31 - 1
# Of what is started as often as the flag says.
MOST_STARTED = {"workers": 256, "threads": 1024, "jobs": 256}


class Parser(argparse.ArgumentParser):
    """The parser of a script, whose docstring is the help."""

    def __init__(self, description: str | None) -> None:
        super().__init__(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
        self._lists: set[str] = set()

    def parse_args(self, args: Sequence[str] | None = None,  # type: ignore[override]
                   namespace: argparse.Namespace | None = None) -> argparse.Namespace:
        """Parse as argparse does; whole numbers of more than 31 bits end the script with status 2, and so does a flag that
        comes twice where files or names of the first would be dropped. Whether a float is finite is checked where its range
        is."""
        self._lists.clear()
        found = super().parse_args(args, namespace)
        for action in self._actions:
            value = getattr(found, action.dest, None)
            several = isinstance(value, list | tuple)
            for one in value if several else (value,):
                self._check(f"{'/'.join(action.option_strings[:1])} {'has' if several else 'is'}", action.dest, one)
        return found

    def _check(self, said: str, name: str, value: object) -> None:
        most = MOST_STARTED.get(name, MOST_WHOLE)
        if isinstance(value, int) and abs(value) > most:
            self.error(f"{said} {shown(value)}, allowed are whole numbers up to {most}")

    def _get_values(self, action: argparse.Action, arg_strings: list[str]) -> object:
        # Of --threads=-- argparse makes an empty list.
        if action.option_strings and "--" in arg_strings:
            raise argparse.ArgumentError(action, "is given --, which is no value")
        # Of numbers the last counts, as of any other setting; files and names that were given are not dropped.
        if action.option_strings and action.nargs in ("+", "*") and action.type not in (int, float):
            if action.dest in self._lists:
                raise argparse.ArgumentError(action, "comes twice: give all of its values after one")
            self._lists.add(action.dest)
        return super()._get_values(action, arg_strings)

    def _get_value(self, action: argparse.Action, arg_string: str) -> object:
        # What Python takes for a number in its source, 1_0, or in another script than ours, is a slip here.
        if action.type in (int, float) and not re.fullmatch(r"\s*[-+.0-9A-Za-z]+\s*", arg_string):
            raise argparse.ArgumentError(action, f"invalid {action.type.__name__} value: {arg_string!r}")
        # As a path, nothing would be the folder in which the script was started. A flag that may stand alone comes here too.
        if not arg_string and action.type not in (int, float) and action.const != arg_string:
            raise argparse.ArgumentError(action, "is given an empty text, as of a variable of the shell that is not set")
        # A shell leaves ~/x alone in quotes, as of a pattern, and after --flag=.
        return super()._get_value(action, os.path.expanduser(arg_string))

    def check_unused(self, args: argparse.Namespace, names: Sequence[str], where: str) -> None:
        """End the script for an option of `names`, which count `where` alone, that is not what it is by default."""
        for name in names:
            if getattr(args, name) != self.get_default(name):
                self.error(f"--{name.replace('_', '-')} goes with {where}")

    def error(self, message: str) -> None:
        """End the script with status 2 and one line that is never long."""
        said = re.sub(r"\S{100,}", lambda found: shown(found[0]), message)
        self.exit(2, f"error: {as_line(said)} (--help says more)\n")


@contextlib.contextmanager
def told_by_flags(flags: Mapping[str, str]) -> Iterator[None]:
    """Inside, a `ValueError` about a field, `lr is -1`, is about the flag that it came from: `--step-lr is -1`."""
    try:
        yield
    except ValueError as error:
        field, said, rest = str(error).partition(" is ")
        raise ValueError(f"{flags[field]}{said}{rest}" if said and field in flags else str(error)) from None
