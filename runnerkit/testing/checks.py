"""What a check is, and how a suite of them is run.

A suite is a class with one method per check, in the order in which they run. A method says what it finds by raising
`Fault(seen, fix)`, and `Skip(why)` where there is nothing to check. A check that builds on others is skipped if one of
these has failed, so that each fault is reported once, by the check that names it.
"""

from __future__ import annotations

import time
import unittest
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from typing_extensions import override

from runnerkit import _sentences as sentences
from runnerkit._core.faults import describe
from runnerkit._core.wording import where
from runnerkit.errors import ArgumentError, ConformanceError, MissingDependencyError
from runnerkit.testing.report import CheckResult, Outcome, Report

__all__ = ["Check", "Checks", "Fault", "Skip", "check", "run_checks"]

_MARK: Final = "_runnerkit_check"


class Fault(Exception):
    """Raised by a check: what it has seen, and how to fix it."""

    def __init__(self, seen: str, fix: str) -> None:
        super().__init__(f"Seen: {seen.removesuffix('.')}. Fix: {fix.removesuffix('.')}.")


class Skip(unittest.SkipTest):
    """Raised by a check that finds nothing to check; pytest and unittest know it as a skipped test."""


@dataclass(frozen=True, slots=True)
class _Mark:
    checked: str
    needs: tuple[str, ...]


def check(checked: str, *, needs: Sequence[str] = ()) -> Callable[[Callable[[Any], None]], Callable[[Any], None]]:
    """Mark a method as a check; `checked` is a sentence, `needs` the methods of the checks that it builds on."""

    def mark(method: Callable[[Any], None]) -> Callable[[Any], None]:
        setattr(method, _MARK, _Mark(checked, tuple(needs)))
        return method

    return mark


class Checks:
    """The base of all suites: finds the marked methods, and runs each of them once."""

    def __init__(self) -> None:
        self._done: dict[str, CheckResult] = {}

    def named(self, prefix: str = "") -> list[Check]:
        """Return all checks, with ids that begin with a prefix."""
        return [Check(f"{prefix}{name.replace('_', '-')}", self, name) for name in self._marks()]

    @classmethod
    def _marks(cls) -> dict[str, _Mark]:
        found: dict[str, _Mark] = {}
        for kind in reversed(cls.__mro__):
            found |= {name: getattr(method, _MARK) for name, method in vars(kind).items() if hasattr(method, _MARK)}
        return found

    def run(self, name: str) -> CheckResult:
        """Run one check, after those that it builds on, unless it was run before."""
        if name not in self._done:
            self._done[name] = self._result_of(name, self._marks()[name])
        return self._done[name]

    def _result_of(self, name: str, mark: _Mark) -> CheckResult:
        if broken := self._broken(mark):
            message = f"It builds on {broken.replace('_', '-')}, which failed."
            return CheckResult(name, mark.checked, Outcome.SKIPPED, message)
        began = time.perf_counter()
        outcome, message = _outcome(getattr(self, name))
        return CheckResult(name, mark.checked, outcome, message, time.perf_counter() - began)

    def _broken(self, mark: _Mark) -> str:
        """Return the first check that failed of those that one builds on, at any distance; nothing if none has."""
        marks = self._marks()
        for other in mark.needs:
            if broken := self._broken(marks[other]):
                return broken
            if self.run(other).outcome is Outcome.FAILED:
                return other
        return ""


def _outcome(run: Callable[[], None]) -> tuple[Outcome, str]:
    try:
        run()
    except (Skip, MissingDependencyError) as reason:
        return Outcome.SKIPPED, str(reason)
    except Fault as fault:
        return Outcome.FAILED, str(fault)
    except Exception as error:
        place = where(error)
        seen = f"{describe(error)}{f' (at {place})' if place else ''}"
        return Outcome.FAILED, str(Fault(seen, "make it work without an exception"))
    return Outcome.PASSED, ""


class Check:
    """One check of one part. Call it: it raises ConformanceError if the part fails it."""

    __slots__ = ("_name", "_suite", "id")

    def __init__(self, id: str, suite: Checks, name: str) -> None:
        self.id: str = id
        self._suite = suite
        self._name = name

    def result(self) -> CheckResult:
        """Run the check, unless it was run before, and return its result."""
        done = self._suite.run(self._name)
        return CheckResult(self.id, done.checked, done.outcome, done.message, done.seconds)

    def __call__(self) -> None:
        """Run the check; raises ConformanceError if it fails, `unittest.SkipTest` if there is nothing to check."""
        result = self.result()
        if result.outcome is Outcome.SKIPPED:
            raise Skip(result.message)
        if not result.ok:
            raise ConformanceError(str(result))

    @override
    def __repr__(self) -> str:
        return f"<Check {self.id}>"


def run_checks(subject: str, checks: Iterable[Check], expected_failures: Mapping[str, str] | None = None) -> Report:
    """Run checks, and report what they have shown.

    `expected_failures` gives a reason for each check that is meant to fail, by its id. It is strict: if such a check
    passes, the report fails.

    Raises ArgumentError if one of these ids is not the id of a check.
    """
    all_checks = list(checks)
    expected = dict(expected_failures or {})
    refuse_unknown(expected, all_checks)
    return Report(subject, tuple(_expected(one.result(), expected.get(one.id)) for one in all_checks))


def refuse_unknown(expected: Mapping[str, str], checks: Sequence[Check]) -> None:
    """Raise ArgumentError for an expected failure without a reason, or of a check that is not there."""
    known = sorted(one.id for one in checks)
    for id, reason in expected.items():
        if id not in known:
            raise ArgumentError(f"expected_failures: {sentences.unknown('check', id, known)}")
        if not reason.strip():
            raise ArgumentError(f"expected_failures[{id!r}] must be a reason in words, not {reason!r}.")


def _expected(result: CheckResult, reason: str | None) -> CheckResult:
    if reason is None or result.outcome is Outcome.SKIPPED:
        return result
    if result.outcome is Outcome.FAILED:
        outcome, message = Outcome.EXPECTED, f"Reason: {reason}. {result.message}"
    else:
        outcome, message = Outcome.UNEXPECTED, f"Seen: it passed. Fix: remove it from expected_failures ({reason})."
    return CheckResult(result.id, result.checked, outcome, message, result.seconds)
