"""The commands about folders of the format `npz`: `runnerkit ls`, `show`, `verify` and `convert`."""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING, Final, get_args

import click

from runnerkit._cli.frame import explained, print_json, results
from runnerkit._cli.numbers import INDEX, CountsFrom0
from runnerkit._core.wording import count
from runnerkit.errors import ArgumentError

if TYPE_CHECKING:
    from runnerkit._plugins.manager import Plugins
    from runnerkit.history.npz import StoredRuns
    from runnerkit.records import PartRecord

__all__ = ["convert", "ls", "show", "verify"]

_SHOWN: Final = (
    *("observations", "actions", "env_actions", "rewards", "processed_rewards", "terminated", "truncated"),
    "raw_observations",
)
_COLUMNS = ("index", "env", "episode", "seed", "length", "return", "end reason", "file")


@click.command()
@click.argument("folder")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def ls(folder: str, as_json: bool) -> None:
    """List the episodes in FOLDER.

    FOLDER is one that `runnerkit rollout -o FOLDER`, or a runner with history="npz", wrote.
    """
    with explained(), results(as_json) as out:
        from runnerkit._cli.terminal import print_records
        from runnerkit.history.npz import load

        runs = load(folder)
        records = [
            {
                "index": index,
                "env": episode.env_index,
                "episode": episode.episode_index,
                "seed": episode.seed,
                "length": episode.length,
                "return": episode.return_,
                "end reason": str(episode.end_reason),
                "file": file,
            }
            for index, (episode, file) in enumerate(zip(runs.episodes, runs.files, strict=True))
        ]
        if as_json:
            print_json({"episodes": records}, out)
        else:
            texts = [{name: _text(value) for name, value in record.items()} for record in records]
            print_records(texts, _COLUMNS, out)


def _text(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


@click.command(cls=CountsFrom0)
@click.argument("folder")
@click.argument("episode", type=INDEX)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def show(folder: str, episode: int, as_json: bool) -> None:
    """Show an episode: its record, who made it, and its columns.

    EPISODE is an index of `runnerkit ls FOLDER`.
    """
    with explained(), results(as_json) as out:
        from runnerkit._cli.stored_episodes import check_index
        from runnerkit._cli.terminal import print_pairs
        from runnerkit.history.npz import load

        runs = load(folder)
        check_index(runs, episode)
        document = _shown(runs, episode)
        if as_json:
            print_json(document, out)
        else:
            print_pairs([(name, _lines(value)) for name, value in document.items()], out)


def _shown(runs: StoredRuns, index: int) -> dict[str, object]:
    from runnerkit._core.origins import plain

    row, record, history = runs.rows[index], runs.episodes[index], runs[index]
    run = runs.runs[row.run]
    (columns,) = history.split()
    found = {name: getattr(columns, name) for name in _SHOWN}
    return {
        "env": run.spec.env_id,
        "run seed": run.spec.seed,
        "env index": record.env_index,
        "episode": record.episode_index,
        "seed": record.seed,
        "options": None if record.options is None else plain(record.options),
        "steps before": record.steps_before,
        "length": record.length,
        "return": record.return_,
        "end reason": str(record.end_reason),
        "file": row.file,
        "columns": {name: _kind_of(column) for name, column in found.items() if column is not None},
        "extras": {name: _kind_of(column) for name, column in history.extras.items()},
        "infos": len(columns.infos),
        "faults": [fault.error for fault in history.faults],
        "made by": [_maker(part) for part in run.made_by.parts],
        "packages": dict(run.made_by.packages),
    }


def _maker(part: PartRecord) -> str:
    """Return a part, and its package if it has one."""
    return f"{part.kind} {part.name}" + (f" ({part.distribution} {part.version})" if part.distribution else "")


def _kind_of(column: object) -> str:
    """Return dtype and shape of a column, or of its parts."""
    if isinstance(column, dict):
        return ", ".join(f"{key}: {_kind_of(part)}" for key, part in column.items())
    if isinstance(column, tuple):
        return ", ".join(_kind_of(part) for part in column)
    if isinstance(column, list):
        return f"{len(column)} objects"
    import numpy as np

    array = np.asarray(column)
    return f"{array.dtype} {list(array.shape)}"


def _lines(value: object) -> str:
    if isinstance(value, dict):
        return "\n".join(f"{name}: {part}" for name, part in value.items()) or "none"
    if isinstance(value, list):
        return "\n".join(map(str, value)) or "none"
    return _text(value)


@click.command()
@click.argument("folder")
@click.option(
    "--mend", is_flag=True, help="Cut a torn line off, and remove files that a killed program had not listed yet."
)
def verify(folder: str, mend: bool) -> None:
    """Check that each episode in FOLDER is there and unchanged.

    The exit code is 1 if one is not, or if the last line of the manifest is torn, as of a program that was killed.
    """
    with explained(), results(False) as out:
        from runnerkit.history.npz import load, mend_folder

        if mend:
            for done in mend_folder(folder):
                click.echo(done, file=out)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a torn line, which is told below
            runs = load(folder)
        faults = list(runs.faults())
        if runs.torn:
            faults.append(f"the manifest ends in {runs.torn} bytes of a torn line; --mend cuts them off")
        for fault in faults:
            click.echo(fault, file=out)
        for name in runs.unlisted():
            click.echo(f"{name} is not listed, as its program was killed, or runs; --mend removes it", file=out)
        click.echo(f"{count(len(runs), 'episode')}, {count(len(faults), 'fault')}.", file=out)
    if faults:
        click.get_current_context().exit(1)


@click.command(
    epilog="""\b
Examples:
  runnerkit convert runs --to minari:cartpole/random-v0
  runnerkit convert runs --to arrow:runs.arrow
"""
)
@click.argument("folder")
@click.option("--to", "target", metavar="NAME:PLACE", required=True, help="A history format, and where it is to write.")
def convert(folder: str, target: str) -> None:
    """Write the episodes in FOLDER in another format.

    NAME is a history format that writes, such as npz, or minari with runnerkit-minari. PLACE is a path, or the name of
    a data set. More options come after it: NAME:PLACE,OPTION=VALUE.
    """
    with explained(), results(False) as out:
        from runnerkit._cli import spelling
        from runnerkit._plugins.manager import installed_plugins
        from runnerkit._rollout.parts import find_part
        from runnerkit.history.npz import load
        from runnerkit.history.npz.convert import convert as converted
        from runnerkit.keys import Use

        installed = installed_plugins()
        name, _, value = target.partition(":")
        option = _place_option(name, folder, installed)
        if value and "=" not in value.partition(",")[0]:
            target = f"{name}:{option}={value}"
        chosen = spelling.part(target if value else name, "--to")
        part = find_part("history_formats", chosen, installed)
        place = chosen.options.get(option) if isinstance(chosen, Use) else None
        if not isinstance(place, str) or not place:
            raise ArgumentError(f"--to {target} does not say where to write. Write --to {name}:{option.upper()}.")
        runs = load(folder)
        if os.path.realpath(place) == os.path.realpath(folder):
            raise ArgumentError(f"{folder} cannot be converted into itself. Choose another path.")
        if os.path.isdir(place) and os.listdir(place):
            raise ArgumentError(f"{place} is a folder that has files already. Choose another path.")
        if not len(runs):
            raise ArgumentError(f"{folder} has no episodes to convert.")
        for _ in converted(runs, part.thing):
            pass
        click.echo(f"Wrote {count(len(runs), 'episode')} of {folder} to {place} ({name}).", file=out)


def _place_option(name: str, folder: str, installed: Plugins) -> str:
    """Return the option of a format that says where it writes: the first one that takes a text."""
    offer = installed.get("history_formats", name)
    for option in offer.options().known:
        if option.annotation is str or str in get_args(option.annotation):
            return option.name
    raise ArgumentError(
        f"{offer.title} keeps histories in memory only, so that nothing would be written. In Python, "
        f"runnerkit.load({folder!r}) gives them as arrays."
    )
