"""Each broken thing is caught by the check that names its fault, and no other check cries."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from zoo import GOOD, ZOO, Specimen

from runnerkit.testing import Report
from runnerkit.testing.checks import Checks


@pytest.mark.parametrize("specimen", ZOO, ids=lambda specimen: specimen.id)
def test_a_broken_thing_is_caught_by_the_check_that_names_its_fault(specimen: Specimen) -> None:
    report = specimen.report()
    assert [result.id.removeprefix("Walk/") for result in report.failures] == [specimen.check], str(report)
    assert re.fullmatch(r"Seen: .+\. Fix: .+\.", report.failures[0].message, re.DOTALL)


@pytest.mark.parametrize("report", GOOD.values(), ids=GOOD)
def test_a_good_thing_passes(report: Callable[[], Report]) -> None:
    report().raise_for_failures()


NOT_SHOWN = {
    "types": "test_cli_new has it pass, and mypy takes too long to have it fail here",
    "makes": "what cannot be made is refused at registration already, or is a plugin of its own in test_plugins",
    "runs": "what fails it fails a check that it builds on",
    "histories": "what fails it raises in GymRunner already",
    "whole-episodes": "what fails it fails a check that it builds on",
}


def suites(kind: type[Checks]) -> Iterator[type[Checks]]:
    for derived in kind.__subclasses__():
        yield derived
        yield from suites(derived)


def test_every_check_has_a_broken_thing() -> None:
    """A check that never failed may be one that cannot fail."""
    ids = {check.id for suite in suites(Checks) for check in Checks.named(suite.__new__(suite))}
    caught = {specimen.check.removeprefix("plugin/") for specimen in ZOO}
    assert ids - caught == NOT_SHOWN.keys()
    assert caught <= ids
    assert len(ZOO) >= 40
