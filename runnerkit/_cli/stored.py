"""The commands about folders of the format `npz`: `runnerkit ls` and `runnerkit verify`."""

from __future__ import annotations

import click

from runnerkit._cli.frame import explained, print_json, results
from runnerkit._core.wording import count

__all__ = ["ls", "verify"]

_COLUMNS = ("index", "env", "episode", "seed", "length", "return", "end reason", "file")


@click.command()
@click.argument("folder")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def ls(folder: str, as_json: bool) -> None:
    """List the episodes in FOLDER, which `--history npz:path=FOLDER` wrote."""
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


@click.command()
@click.argument("folder")
def verify(folder: str) -> None:
    """Check that each episode in FOLDER is there and unchanged; the exit code is 1 if one is not."""
    with explained(), results(False) as out:
        from runnerkit.history.npz import load

        runs = load(folder)
        faults = list(runs.faults())
        for fault in faults:
            click.echo(fault, file=out)
        click.echo(f"{count(len(runs), 'episode')}, {count(len(faults), 'fault')}.", file=out)
    if faults:
        click.get_current_context().exit(1)
