"""The plugin as mypy sees it: that of hooks, with the parts about runners."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from runnerkit_mypy.part import HOOKIMPL, Part
from runnerkit_mypy.plugin import HooksPlugin
from typing_extensions import override

from runnerkit import _sentences
from runnerkit.mypy.codes import CONTRACT, NAME, OPTION
from runnerkit.mypy.names import NamesPart

CODES: Final = (CONTRACT, HOOKIMPL, NAME, OPTION)
"""What mypy must know from the beginning, as it is told which of them to report."""


class RunnerKitPlugin(HooksPlugin):
    """Knows names, runners, agents and processors, beside hooks."""

    @override
    def read(self) -> list[object]:
        self.names: NamesPart = NamesPart(self, self.config, self.finder)
        return [self.names.config_data(), Path(_sentences.__file__).read_text(encoding="utf-8")]

    @override
    def make_parts(self) -> Sequence[Part]:
        from runnerkit.mypy.agents import AgentsPart
        from runnerkit.mypy.assembly import AssemblyPart
        from runnerkit.mypy.keys import KeysPart
        from runnerkit.mypy.offers import OffersPart
        from runnerkit.mypy.part_options import UsePart

        names = self.names
        about_runners = [AssemblyPart(self, names), AgentsPart(self, names), OffersPart(self, names)]
        return [*super().make_parts(), names, *about_runners, KeysPart(self, names), UsePart(self, names)]
