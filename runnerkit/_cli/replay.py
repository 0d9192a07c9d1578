"""`runnerkit replay`: stored episodes once more, and whether envs are functions of their seed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from runnerkit._cli.frame import explained, print_json, results
from runnerkit._cli.numbers import INDEX, CountsFrom0
from runnerkit._cli.own_plugins import import_from_current_directory
from runnerkit._cli.places import NEW_FILE

if TYPE_CHECKING:
    from runnerkit.replaying import Divergence, Replay

__all__ = ["replay"]


@click.command(
    cls=CountsFrom0,
    epilog="""\b
Examples:
  runnerkit replay runs
  runnerkit replay runs 3 --video episode.mp4
  runnerkit replay --check CartPole-v1
""",
)
@click.argument("folder", required=False)
@click.argument("episode", required=False, type=INDEX)
@click.option("--env", metavar="ENV", help="The env, if the folder does not know it: an id, or MODULE:FUNCTION.")
@click.option(
    "--video", metavar="OUT.mp4", type=NEW_FILE, help="Draw EPISODE as it is made once more; needs runnerkit-video."
)
@click.option("--check", "checked", metavar="ENV", help="Say on what else than its seed an env depends, if it does.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def replay(
    folder: str | None, episode: int | None, env: str | None, video: str | None, checked: str | None, as_json: bool
) -> None:
    """Make stored episodes once more, and compare them bit by bit.

    They are made from their seeds and actions. FOLDER is one that `runnerkit rollout -o FOLDER`, or a runner with
    history="npz", wrote. EPISODE is an index of `runnerkit ls FOLDER`; without it, all episodes are made.

    The exit code is 1 if one differs, and with --check, if the env depends on something else.
    """
    if (folder is None) == (checked is None):
        raise click.UsageError("Give FOLDER or --check ENV, not both.", click.get_current_context())
    if video is not None and episode is None:
        raise click.UsageError("--video needs EPISODE: a video shows one.", click.get_current_context())
    with explained(), results(as_json) as out:
        import_from_current_directory()
        if checked is not None:
            found = [str(one) for one in _check(checked)]
            text = "\n".join(found) or f"{checked} is a function of its seed and its actions."
            document: dict[str, Any] = {"env": checked, "depends_on": found}
            is_fine = not found
        else:
            assert folder is not None
            replayed = _replay(folder, episode, env, video)
            text, is_fine = str(replayed), replayed.first is None
            document = _document(replayed)
        if as_json:
            print_json(document, out)
        else:
            click.echo(text, file=out)
    if not is_fine:
        click.get_current_context().exit(1)


def _replay(folder: str, episode: int | None, env: str | None, video: str | None) -> Replay:
    from runnerkit._cli.stored_episodes import draw_episode, env_of, episode_of
    from runnerkit.history.npz import load
    from runnerkit.replaying import replay as replay_all

    runs = load(folder)
    if episode is None:
        return replay_all(runs, env=env_of(env))
    parts = [runs[k] for k in episode_of(runs, episode).indices]
    if video is not None:
        draw_episode(parts, video, env)
    return replay_all(parts, env=env_of(env))


def _check(env: str) -> list[object]:
    from runnerkit._cli.stored_episodes import env_of
    from runnerkit.replaying import maker
    from runnerkit.testing import depends_on

    return list(depends_on(maker(env_of(env))))


def _document(replayed: Replay) -> dict[str, Any]:
    return {
        "episodes": len(replayed.episodes),
        "divergences": [_shown(one) for one in replayed.divergences],
        "left_out": [
            {"env": record.env_index, "episode": record.episode_index, "why": why} for record, why in replayed.left_out
        ],
        "without_observations": replayed.unseen,
    }


def _shown(one: Divergence) -> dict[str, Any]:
    where = {"env": one.episode.env_index, "episode": one.episode.episode_index, "seed": one.episode.seed}
    return {
        **where,
        "step": one.step,
        "field": one.field,
        "recorded": repr(one.recorded),
        "replayed": repr(one.replayed),
    }
