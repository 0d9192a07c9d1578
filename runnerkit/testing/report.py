"""What came of some checks: one result each, counted, as text, as JSON, or as an error."""

from __future__ import annotations

import enum
import json
from collections.abc import Sequence
from dataclasses import dataclass

from typing_extensions import override

from runnerkit.errors import ConformanceError

__all__ = ["CheckResult", "Outcome", "Report"]


class Outcome(enum.StrEnum):
    """How a check ended."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"
    """There was nothing to check; the message says why."""
    EXPECTED = "failed as expected"
    UNEXPECTED = "passed, but was expected to fail"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What one check has shown."""

    id: str
    """The name of the check, such as `preprocessor/symlog/keeps-its-input`. It does not change between releases."""
    checked: str
    """What was checked, in a sentence."""
    outcome: Outcome
    message: str = ""
    """What was seen, and how to fix it; of a skipped check, why there was nothing to check."""
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether it is as it should be."""
        return self.outcome not in (Outcome.FAILED, Outcome.UNEXPECTED)

    @override
    def __str__(self) -> str:
        return f"{self.id} {self.outcome}. {_checked(self)}{self.message}".rstrip()


def _checked(result: CheckResult) -> str:
    return "" if result.outcome is Outcome.SKIPPED else f"Checked: {result.checked} "


@dataclass(frozen=True, slots=True)
class Report:
    """What the checks of one subject have shown.

    For example::

        report = runnerkit.testing.check_plugin("runnerkit_symlog")
        print(report)
        report.raise_for_failures()
    """

    subject: str
    results: tuple[CheckResult, ...]

    def of(self, outcome: Outcome) -> tuple[CheckResult, ...]:
        """Return the results that ended so."""
        return tuple(result for result in self.results if result.outcome is outcome)

    @property
    def ran(self) -> int:
        """How many checks were run; a skipped one was not."""
        return len(self.results) - len(self.of(Outcome.SKIPPED))

    @property
    def failures(self) -> tuple[CheckResult, ...]:
        """The results that are not as they should be."""
        return tuple(result for result in self.results if not result.ok)

    @property
    def ok(self) -> bool:
        """Whether something was checked, and all of it is as it should be."""
        return self.ran > 0 and not self.failures

    def raise_for_failures(self) -> None:
        """Raise ConformanceError, with all failures in its message, unless all is well."""
        if not self.ok:
            raise ConformanceError(str(self))

    def document(self) -> dict[str, object]:
        """Return all of it as plain values, for JSON."""
        return {
            "subject": self.subject,
            "ok": self.ok,
            "ran": self.ran,
            "failed": len(self.failures),
            "skipped": len(self.of(Outcome.SKIPPED)),
            "checks": [
                {
                    "id": result.id,
                    "outcome": result.outcome.value,
                    "checked": result.checked,
                    "message": result.message,
                    "seconds": round(result.seconds, 4),
                }
                for result in self.results
            ],
        }

    def to_json(self) -> str:
        """Return all of it as a JSON document."""
        return json.dumps(self.document(), indent=2)

    @override
    def __str__(self) -> str:
        counts = _counts(self.results)
        lines = [f"{self.subject}: {counts}."]
        if not self.ran:
            lines.append("No check was run, so nothing is known. The skipped checks say what they need.")
            lines += [f"  {result}" for result in self.of(Outcome.SKIPPED)]
        lines += [f"  {result}" for result in self.failures]
        return "\n".join(lines)


def _counts(results: Sequence[CheckResult]) -> str:
    ran = [result for result in results if result.outcome is not Outcome.SKIPPED]
    failed = sum(not result.ok for result in results)
    parts = [f"{len(ran)} checks run", f"{failed} failed"]
    expected = sum(result.outcome is Outcome.EXPECTED for result in results)
    if expected:
        parts.append(f"{expected} failed as expected")
    if len(ran) < len(results):
        parts.append(f"{len(results) - len(ran)} skipped")
    return ", ".join(parts)
