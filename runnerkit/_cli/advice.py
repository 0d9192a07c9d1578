"""The findings of `tune`, as a table, as Python and as a command.

For example::

    tuning = measure("CartPole-v1", agent_maker("random"), preprocessors=["flatten"])
    summary = TuningSummary(
        env="CartPole-v1", agent="random", parts=Parts(pre=("flatten",)), seconds=15.0, tuning=tuning
    )
    print(dict(summary.rows())["command"])
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from runnerkit._cli import spelling
from runnerkit._cli.options import Parts
from runnerkit._core.cores import available_cores
from runnerkit._core.faults import describe
from runnerkit._plugins.options import read_literal
from runnerkit.keys import Use
from runnerkit.tuning import Measurement, Tuning

__all__ = ["TuningSummary"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningSummary:
    """What `tune` measured, and what it recommends."""

    env: str
    agent: str
    parts: Parts
    seconds: float
    tuning: Tuning
    min_batch: int | None = None

    columns: ClassVar[Sequence[str]] = ("n_envs", "executor", "workers", "env steps/s", "ratio to serial", "note")
    """The keys of the records."""

    def document(self) -> dict[str, object]:
        """Return all of it for JSON."""
        recommended = self.tuning.recommended()
        return {
            "env": self.env,
            "agent": self.agent,
            **self.parts.document(),
            "min_batch": self.min_batch,
            "cores": available_cores(),
            "seconds": self.seconds,
            "interrupted": self.tuning.interrupted,
            "measurements": [
                {
                    **_who(found),
                    "steps_per_second": found.steps_per_second,
                    "ratio_to_serial": self.tuning.ratio_to_serial(found),
                    "rounds": list(found.rounds),
                    "error": None if found.error is None else describe(found.error),
                }
                for found in self.tuning.measurements
            ],
            "recommended": None
            if recommended is None
            else {
                **_who(recommended.measurement),
                "reason": recommended.reason,
                "python": self.python(recommended.measurement),
                "command": self.command(recommended.measurement),
            },
        }

    def records(self) -> Iterator[dict[str, str]]:
        """Yield a line of the table for each measurement."""
        recommended = self.tuning.recommended()
        for found in self.tuning.measurements:
            rate, ratio = found.steps_per_second, self.tuning.ratio_to_serial(found)
            note = "recommended" if recommended is not None and found is recommended.measurement else ""
            values = (
                str(found.n_envs),
                found.executor,
                "default" if found.workers is None else str(found.workers),
                "-" if rate is None else f"{rate:,.0f}",
                "-" if ratio is None else f"{ratio:.2f}",
                note if found.error is None else " ".join(describe(found.error).split()),
            )
            yield dict(zip(self.columns, values, strict=True))

    def rows(self) -> Iterator[tuple[str, str]]:
        """Yield (what, value) pairs to print: what to use, and why."""
        recommended = self.tuning.recommended()
        if recommended is None:
            yield "recommended", "- (nothing was measured)"
            return
        found = recommended.measurement
        yield "recommended", f"{found.name}: {recommended.reason}"
        yield "Python", self.python(found)
        yield "command", self.command(found)

    def python(self, found: Measurement) -> str:
        """Return the line that builds such a runner."""
        executor = spelling.part(found.executor, "--executor")
        arguments = [_quoted(self.env), f"n_envs={found.n_envs}", f"executor={_named(executor)}"]
        if _names_workers(found):
            arguments.append(f"workers={found.workers}")
        if self.min_batch is not None:
            arguments.append(f"min_batch={self.min_batch}")
        given = self.parts.keywords()
        for what in ("preprocessors", "postprocessors", "reward_processors"):
            if given[what]:
                arguments.append(f"{what}=[{', '.join(map(_named, given[what]))}]")
        if given["env_options"]:
            arguments.append(f"env_options={_options(given['env_options'])}")
        if given["wrappers"]:
            arguments.append(f"wrappers=[{', '.join(map(_named, given['wrappers']))}]")
        if given["lock"] is not None:
            arguments.append(f"lock={_quoted(given['lock'])}")
        return f"runnerkit.make({', '.join(arguments)})"

    def command(self, found: Measurement) -> str:
        """Return the command that rolls out such a runner."""
        words = ["runnerkit", "rollout", self.env, "--n-envs", str(found.n_envs), "--executor", found.executor]
        if _names_workers(found):
            words += ["--workers", str(found.workers)]
        if self.min_batch is not None:
            words += ["--min-batch", str(self.min_batch)]
        if self.agent != "random":
            words += ["--agent", self.agent]
        words += self.parts.words()
        return shlex.join(words)


def _named(part: str | Use[Any]) -> str:
    """Return the Python code for a part."""
    return _quoted(part) if isinstance(part, str) else f"({_quoted(part.name)}, {_options(part.options)})"


def _options(options: Mapping[str, object]) -> str:
    pairs = ((name, read_literal(str(value))) for name, value in options.items())
    written = (f"{_quoted(name)}: {_quoted(v) if isinstance(v, str) else repr(v)}" for name, v in pairs)
    return f"{{{', '.join(written)}}}"


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)  # in double quotes, as most people write Python


def _names_workers(found: Measurement) -> bool:
    return found.executor != "serial" and found.workers is not None


def _who(found: Measurement) -> dict[str, object]:
    return {"executor": found.executor, "workers": found.workers, "n_envs": found.n_envs}
