"""Command lines: numbers that nothing can be computed with are refused by the flag's name, in a short line."""
from __future__ import annotations

import argparse
import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence

from src.console import shown

MOST_WHOLE = 2 ** 31 - 1
# Of what is started as often as the flag says.
MOST_STARTED = {"workers": 256, "threads": 1024, "jobs": 256}


class Parser(argparse.ArgumentParser):
    """The parser of a script, whose docstring is the help."""

    def __init__(self, description: str | None) -> None:
        super().__init__(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)

    def parse_args(self, args: Sequence[str] | None = None,  # type: ignore[override]
                   namespace: argparse.Namespace | None = None) -> argparse.Namespace:
        """Parse as argparse does; whole numbers of more than 31 bits end the script with status 2. Whether a float is finite
        is checked where its range is."""
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

    def error(self, message: str) -> None:
        """End the script with status 2 and a line that is never long."""
        super().error(re.sub(r"\S{100,}", lambda found: shown(found[0]), message))


@contextlib.contextmanager
def told_by_flags(flags: Mapping[str, str]) -> Iterator[None]:
    """Inside, a `ValueError` about a field, `lr is -1`, is about the flag that it came from: `--step-lr is -1`."""
    try:
        yield
    except ValueError as error:
        field, said, rest = str(error).partition(" is ")
        raise ValueError(f"{flags[field]}{said}{rest}" if said and field in flags else str(error)) from None
