"""`runnerkit video`: chosen episodes of a folder as mp4 files, made once more from their seeds and actions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from runnerkit._cli.frame import explained, print_json, results
from runnerkit._cli.numbers import AT_LEAST_1, INDEX
from runnerkit._cli.own_plugins import import_from_current_directory
from runnerkit._cli.places import NEW_FOLDER

if TYPE_CHECKING:
    from runnerkit.history.npz import StoredRuns
    from runnerkit.replaying import StoredEpisode

__all__ = ["choose", "video"]

_COLUMNS: Final = ("episode", "chosen", "env", "seed", "return", "frames", "file")


@click.command(
    epilog="""\b
Examples:
  runnerkit video runs
  runnerkit video runs --best 2 --worst 1 --last 1 --episode 17 -o videos
"""
)
@click.argument("folder")
@click.option(
    "--best",
    metavar="N",
    type=AT_LEAST_1,
    help="The N episodes with the highest returns.  [default: 1, unless others are chosen]",
)
@click.option("--worst", metavar="N", type=AT_LEAST_1, help="Those with the lowest returns.")
@click.option("--last", metavar="N", type=AT_LEAST_1, help="The N episodes that ended last.")
@click.option(
    "--episode",
    "numbers",
    metavar="K",
    type=INDEX,
    multiple=True,
    help="An index of `runnerkit ls`; repeat it for several.",
)
@click.option(
    "-o",
    "--output",
    metavar="DIR",
    default="videos",
    show_default=True,
    type=NEW_FOLDER,
    help="Where the files go: episode17.mp4.",
)
@click.option("--env", metavar="ENV", help="The env, if the folder does not know it: an id, or MODULE:FUNCTION.")
@click.option("--fps", metavar="N", type=AT_LEAST_1, default=30, show_default=True, help="Frames per second.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def video(
    folder: str,
    best: int | None,
    worst: int | None,
    last: int | None,
    numbers: tuple[int, ...],
    output: str,
    env: str | None,
    fps: int,
    as_json: bool,
) -> None:
    """Make videos of episodes in FOLDER.

    FOLDER is one that `runnerkit rollout -o FOLDER`, or a runner with history="npz", wrote. Each episode is made once
    more from its seed and actions, and becomes an mp4 file: the best one, unless others are chosen. Best, worst and
    last are chosen among the episodes that the env itself ended. An episode that goes another way than it was recorded
    gets no file. It needs runnerkit-video, and no display.

    If an episode cannot be drawn, the others still are, and the exit code is 1.
    """
    with explained(), results(as_json) as out:
        from runnerkit._cli.packages import required
        from runnerkit._cli.stored_episodes import draw_episode, episode_of
        from runnerkit._cli.terminal import print_records
        from runnerkit.errors import RenderError, RunnerKitError
        from runnerkit.history.npz import load

        import_from_current_directory()
        required("runnerkit-video", "A video")
        runs = load(folder)
        if not (best or worst or last or numbers):
            best = 1
        chosen = choose(runs, best or 0, worst or 0, last or 0)
        for number in numbers:
            chosen.append(("chosen", episode_of(runs, number)))
        reasons: dict[tuple[int, ...], list[str]] = {}
        for why, episode in chosen:
            reasons.setdefault(episode.indices, []).append(why)
        drawn, failed = [], []
        for episode in dict.fromkeys(episode for _, episode in chosen):
            index = episode.indices[0]
            path = Path(output) / f"episode{index}.mp4"
            try:
                made = draw_episode([runs[k] for k in episode.indices], path, env, fps)
            except RenderError:  # so will be the others
                raise
            except RunnerKitError as error:
                click.echo(f"Episode {index} cannot be drawn. {error}", err=True)
                failed.append({"episode": index, "error": str(error)})
                continue
            drawn.append(
                {
                    "episode": index,
                    "chosen": ", ".join(reasons[episode.indices]),
                    "env": episode.record.env_index,
                    "seed": episode.record.seed,
                    "return": episode.record.total_return,
                    "frames": made.frames,
                    "file": str(path),
                }
            )
        if as_json:
            print_json({"videos": drawn, "failed": failed}, out)
        elif drawn:
            print_records([{name: _text(value) for name, value in row.items()} for row in drawn], _COLUMNS, out)
    if failed:
        click.get_current_context().exit(1)


def choose(runs: StoredRuns, best: int, worst: int, last: int) -> list[tuple[str, StoredEpisode]]:
    """Return so many of the episodes that ended, each with the reason; raises ArgumentError if there is none."""
    from runnerkit.errors import ArgumentError
    from runnerkit.replaying import whole_episodes

    if not (best or worst or last):
        return []
    ended = [episode for episode in whole_episodes(runs) if episode.record.complete]
    if not ended:
        raise ArgumentError(
            f"{runs.path} has no whole episode that terminated or was truncated. Choose one with --episode: "
            f"`runnerkit ls {runs.path}` lists them."
        )
    by_return = sorted(ended, key=lambda episode: episode.record.total_return)
    found = [("best", episode) for episode in by_return[::-1][:best]]
    found += [("worst", episode) for episode in by_return[:worst]]
    return found + [("last", episode) for episode in ended[::-1][:last]]


def _text(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
