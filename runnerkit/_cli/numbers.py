"""The numbers that commands are given: what each kind may be, in words that say so.

click's own ranges call a text "not a valid integer range", and let inf and nan pass.
"""

from __future__ import annotations

import math
import re
from typing import Final, SupportsFloat, SupportsIndex, SupportsInt

import click
from click.types import FloatParamType, IntParamType
from typing_extensions import override

__all__ = ["AT_LEAST_1", "INDEX", "SECONDS", "SEED", "CountsFrom0"]


class _Whole(IntParamType):
    """A whole number of at least `least`, and at most `most`: more than anyone counts to, and few enough for C."""

    def __init__(self, least: int, most: float = 1_000_000_000) -> None:
        self.least, self.most = least, most

    @override
    def convert(
        self, value: SupportsInt | SupportsIndex, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        try:
            number = int(value)
        except ValueError:
            number = self.least - 1
        if number < self.least:
            self.fail(f"expects a whole number of at least {self.least}, not {str(value)!r}.", param, ctx)
        if number > self.most:
            self.fail(f"expects a whole number from {self.least} to {self.most:,}, not {number}.", param, ctx)
        return number


class _Seconds(FloatParamType):
    """A finite number above 0."""

    @override
    def convert(
        self, value: SupportsFloat | SupportsIndex, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not 0 < number < math.inf:
            self.fail(f"expects a finite number above 0, not {str(value)!r}.", param, ctx)
        return number


AT_LEAST_1: Final = _Whole(1)
INDEX: Final = _Whole(0)
SEED: Final = _Whole(0, math.inf)
SECONDS: Final = _Seconds()


class CountsFrom0(click.Command):
    """A command with an argument that is an index: -1 is no option that it lacks, but an index that does not exist."""

    @override
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            if not re.fullmatch(r"-\d", error.option_name):
                raise
            raise click.BadParameter("expects a whole number of at least 0.", ctx, param_hint="'EPISODE'") from error
