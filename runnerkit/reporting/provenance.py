"""What made the data: parts, versions and options, run by run, with what differs marked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from runnerkit.records import MadeBy, RunOptions
from runnerkit.reporting.markup import Markup, scrolled, tag
from runnerkit.reporting.numbers import NOTHING
from runnerkit.reporting.runs import Run

__all__ = ["provenance"]

_MOST_RUNS = 8


def provenance(runs: Sequence[Run]) -> Markup:
    """Return a table with a column per run."""
    shown = runs[:_MOST_RUNS]
    facts = [_facts(run) for run in shown]
    names = list(dict.fromkeys(name for found in facts for name in found))
    body = []
    for name in names:
        values = [found.get(name, NOTHING) for found in facts]
        differs = len(set(values)) > 1
        mark = tag("span", " differs", class_="mark") if differs else None
        body.append(tag("tr", tag("th", name, mark, scope="row"), *(tag("td", value) for value in values)))
    head = tag("tr", tag("th", "what", scope="col"), *(tag("th", run.name, scope="col") for run in shown))
    table = tag(
        "table",
        tag("caption", "What made the data", class_="hidden"),
        tag("thead", head),
        tag("tbody", *body),
        class_="facts",
    )
    more = f"The first {_MOST_RUNS} of {len(runs)} runs." if len(runs) > _MOST_RUNS else ""
    return tag(
        "div",
        tag("p", more, class_="said") if more else None,
        scrolled(table, "What made the data"),
    )


def _facts(run: Run) -> dict[str, str]:
    facts = {"env": run.env}
    if run.folder:
        facts["folder"] = run.folder
    if not run.made_by:
        return facts
    facts["seed of the run"] = _once(str(made.seed) for made in run.made_by)
    facts["envs"] = _once(str(made.n_envs) for made in run.made_by)
    for made in run.made_by:
        for name, value in _parts(made).items():
            if value not in facts.get(name, "").split("; "):
                facts[name] = f"{facts[name]}; {value}" if name in facts else value
    if run.options:
        facts["options of the runner"] = _once(map(_changed, run.options))
    for name in dict.fromkeys(name for made in run.made_by for name in made.packages):
        facts[name] = _once(made.packages.get(name, NOTHING) for made in run.made_by)
    return facts


def _parts(made: MadeBy) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in made.parts:
        text = (
            part.name + (f" ({part.distribution} {part.version})" if part.distribution else "") + _options(part.options)
        )
        name = "made of" if part.kind == "env" else part.kind
        found[name] = f"{found[name]}, {text}" if name in found else text
    return found


def _changed(options: RunOptions) -> str:
    """Return the options that differ from the defaults."""
    default = RunOptions(options.seed)
    given = ((name, getattr(options, name)) for name in RunOptions.__dataclass_fields__)
    return ", ".join(f"{name}={value!r}" for name, value in given if value != getattr(default, name)) or "the defaults"


def _options(options: Mapping[str, object]) -> str:
    return f": {', '.join(f'{name}={value!r}' for name, value in options.items())}" if options else ""


def _once(values: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(values))
