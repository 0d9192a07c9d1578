"""`runnerkit rollout`: one rollout of an agent, and a summary of its episodes."""

from __future__ import annotations

import contextlib
import functools
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import IO, TYPE_CHECKING, Any, Final, Literal, TypedDict, cast

import click

from runnerkit._cli.frame import current_stop, explained, print_json, results, tell_of_stop
from runnerkit._cli.numbers import AT_LEAST_1, INDEX, SEED
from runnerkit._cli.options import (
    AGENT,
    PART,
    Parts,
    executor_option,
    min_batch_option,
    no_progress_option,
    takes_parts,
)
from runnerkit._cli.places import NEW_FOLDER
from runnerkit._core.wording import count
from runnerkit.errors import EnvError, RolloutInterrupted, RunnerKitError

if TYPE_CHECKING:
    from runnerkit._cli.reports import Summary
    from runnerkit._rollout.gym_runner import GymRunner
    from runnerkit.history.ended import EndedEpisode
    from runnerkit.records import ProgressCallback

__all__ = ["rollout"]

_DEFAULT_STEPS: Final = 1000


class _Restarts(TypedDict, total=False):
    on_env_error: Literal["raise", "restart"]
    max_restarts: int | tuple[int, int]


class _Told(TypedDict, total=False):
    progress: ProgressCallback | None
    on_episode: Callable[[EndedEpisode[Any, Any]], object]


def _restarts(context: click.Context, parameter: click.Parameter, value: str | None) -> int | tuple[int, int] | None:
    """Read `N`, or `N,M`."""
    if value is None:
        return None
    match = re.fullmatch(r"(\d+)(?:,(\d+))?", value)
    if match is None:
        raise click.BadParameter(
            f"expects a whole number such as 10, or two such as 10,50, not {value!r}.", context, parameter
        )
    return int(match[1]) if match[2] is None else (int(match[1]), int(match[2]))


@click.command(
    epilog="""\b
Examples:
  runnerkit rollout CartPole-v1 --n-envs 8 --steps 1000
  runnerkit rollout Pendulum-v1 --episodes 20 --agent my_agents:Greedy --json
"""
)
@click.argument("env")
@click.option(
    "--n-envs",
    metavar="N",
    type=AT_LEAST_1,
    default=1,
    show_default=True,
    help="How many envs are stepped side by side.",
)
@click.option(
    "--steps", metavar="T", type=AT_LEAST_1, help=f"Steps per env.  [default: {_DEFAULT_STEPS}, without --episodes]"
)
@click.option(
    "--episodes",
    metavar="K",
    type=AT_LEAST_1,
    help="Instead of steps, run so many whole episodes in all: the first ones to start, so that short ones do not "
    "count for more than their share.",
)
@click.option(
    "--seed",
    metavar="S",
    type=SEED,
    help="Of the envs and the random agent; the same seed gives the same run.  [default: a drawn one, which is shown]",
)
@click.option(
    "--agent",
    "agent_name",
    metavar=AGENT,
    default="random",
    show_default=True,
    help="Who acts. ATTRIBUTE is an object with act(observations), a function of observations, or a class or function "
    "that makes an agent: its parameters called observation_space, action_space and runner are filled in. MODULE may "
    "lie in the current directory. FAMILY is offered by a package: sb3:model.zip with runnerkit-sb3.",
)
@executor_option
@click.option(
    "--workers",
    metavar="W",
    type=AT_LEAST_1,
    help="How many workers step them.  [default: what the executor finds best]",
)
@min_batch_option
@click.option(
    "--spare-envs",
    metavar="M",
    type=INDEX,
    default=0,
    show_default=True,
    help="So many spares for each env, in which its next episodes begin while it is stepped: for slow resets. First it "
    "is checked that ENV is a function of its seed.",
)
@click.option("--repeatable", is_flag=True, help="With --spare-envs: leave the check out, as you know that ENV is one.")
@click.option(
    "--ray",
    "ray_address",
    metavar="ADDRESS|local",
    help="Step the envs on a Ray cluster, the one at HOST:PORT or one that is started on this machine: whole episodes "
    "with --episodes, else all envs in step. It needs runnerkit-ray.",
)
@click.option(
    "--actors",
    metavar="N",
    type=AT_LEAST_1,
    help="With --ray: how many actors.  [default: as many as the cluster has CPUs]",
)
@click.option("--history", metavar=PART, default="arrays", show_default=True, help="The format to record in.")
@click.option(
    "-o",
    "--output",
    "folder",
    metavar="DIR",
    type=NEW_FOLDER,
    help="Write every episode to DIR as it ends, as --history npz does. See `runnerkit ls`, show, verify and convert.",
)
@click.option(
    "--on-env-error",
    type=click.Choice(["raise", "restart"]),
    default="raise",
    show_default=True,
    help="Whether an env that fails ends the run, or is made anew while the others go on.",
)
@click.option(
    "--max-restarts",
    metavar="N[,M]",
    callback=_restarts,
    help="With --on-env-error restart: how often each env may be made anew, and all of them together.  [default: 10]",
)
@takes_parts
@click.option("--render", is_flag=True, help="Draw each step of all envs in one window.")
@click.option(
    "--fps", metavar="N", type=AT_LEAST_1, default=30, show_default=True, help="The most steps drawn per second."
)
@click.option(
    "--video",
    "video_folder",
    metavar="DIR",
    type=NEW_FOLDER,
    help="Write a video of the episode with the highest return to DIR, by replaying it. It needs runnerkit-video.",
)
@click.option(
    "--timings",
    is_flag=True,
    help="Show where the time went: agent, envs, resets, waiting; and the slowest env. With "
    "-o, `runnerkit report` shows it, too.",
)
@click.option(
    "--live",
    "is_live",
    is_flag=True,
    help="Show a view of the run while it runs, on stderr: returns, steps/s per worker, faults, time left; lines where "
    "there is no terminal.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, with the records of all episodes.")
@no_progress_option
def rollout(
    env: str,
    n_envs: int,
    steps: int | None,
    episodes: int | None,
    seed: int | None,
    agent_name: str,
    executor: str,
    workers: int | None,
    min_batch: int | None,
    spare_envs: int,
    repeatable: bool,
    ray_address: str | None,
    actors: int | None,
    history: str,
    folder: str | None,
    on_env_error: Literal["raise", "restart"],
    max_restarts: int | tuple[int, int] | None,
    parts: Parts,
    render: bool,
    fps: int,
    video_folder: str | None,
    timings: bool,
    is_live: bool,
    as_json: bool,
    no_progress: bool,
) -> None:
    """Roll out an agent in ENV and summarise its episodes.

    ENV is a Gymnasium id such as CartPole-v1 or ALE/Pong-v5, MODULE:ID to import a module first, or FAMILY:ID for
    the envs of a plugin. `runnerkit plugins` lists the names that other options take.

    Ctrl-C (exit code 130) or SIGTERM (143) stops the run and summarises what was collected.
    """
    if steps is not None and episodes is not None:
        raise click.UsageError("Give --steps or --episodes, not both.", click.get_current_context())
    if is_live and no_progress:
        raise click.UsageError("Give --live or --no-progress, not both.", click.get_current_context())
    if ray_address is None and actors is not None:
        raise click.UsageError("--actors are those of --ray ADDRESS, which is missing.", click.get_current_context())
    if ray_address is not None and (executor != "auto" or workers is not None):
        raise click.UsageError("Give --ray and --actors, or --executor and --workers.", click.get_current_context())
    if max_restarts is not None and on_env_error != "restart":
        raise click.UsageError("--max-restarts needs --on-env-error restart.", click.get_current_context())
    if repeatable and not spare_envs:
        raise click.UsageError("--repeatable needs --spare-envs M.", click.get_current_context())
    if steps is None and episodes is None:
        steps = _DEFAULT_STEPS
    if folder is not None and history != "arrays":
        raise click.UsageError(
            "-o writes with --history npz: give -o or --history, not both.", click.get_current_context()
        )
    with explained(), results(as_json) as out:
        from runnerkit._cli import spelling
        from runnerkit._cli.agents import agent_maker
        from runnerkit._cli.packages import required
        from runnerkit._cli.ray import (
            agent_for_actors,
            executor_of,
            require_whole_episodes,
            whole_episodes_on_ray,
        )
        from runnerkit._cli.reports import Summary, Tally
        from runnerkit._cli.video import record_best
        from runnerkit._plugins.manager import installed_plugins
        from runnerkit._rollout.gym_runner import GymRunner
        from runnerkit._rollout.parts import find_part
        from runnerkit.keys import Use

        parts.register()
        make_agent = agent_maker(agent_name)
        installed = installed_plugins()
        if video_folder is not None:
            required("runnerkit-video", "--video")
        if ray_address is not None:
            required("runnerkit-ray", "--ray")
        count_in = functools.partial(Tally, keeps=video_folder is not None)
        chosen = spelling.part(history, "--history") if folder is None else Use("npz", {"path": folder})
        recorded = find_part("history_formats", chosen, installed).around(count_in)
        tally = recorded.thing
        restarts: _Restarts = {"on_env_error": on_env_error}
        if max_restarts is not None:
            restarts["max_restarts"] = max_restarts
        runner: GymRunner[Any, Any, Any]
        if ray_address is not None and episodes is not None:
            refused = {"--render": render, "--live": is_live, "--timings": timings, "--lock": parts.lock is not None}
            refused["--spare-envs"], refused["--min-batch"] = spare_envs > 0, min_batch is not None
            require_whole_episodes([option for option, is_given in refused.items() if is_given])
            make_agent = agent_for_actors(agent_name, make_agent)
            runner = whole_episodes_on_ray(
                env,
                seed,
                n_envs,
                address=ray_address,
                actors=actors,
                history=cast(Tally, recorded),
                on_env_error=on_env_error,
                max_restarts=max_restarts,
                parts=parts.keywords(),
            )
        else:
            runner = GymRunner(
                env,
                seed,
                n_envs,
                history=cast(Tally, recorded),
                executor=spelling.part(executor, "--executor") if ray_address is None else executor_of(ray_address),
                workers=workers if ray_address is None else actors,
                min_batch=min_batch,
                spare_envs=spare_envs,
                repeatable=repeatable or None,
                render_mode="rgb_array" if render else None,
                timings=timings,
                plugins=installed,
                **restarts,
                **parts.keywords(),
            )
        with runner:
            agent = make_agent(runner)
            title = [runner.env_id, agent_name, f"seed {runner.seed}", count(n_envs, "env")]
            with _shown(runner, title, is_live=is_live, times=timings, is_quiet=as_json or no_progress) as told:
                began = time.perf_counter()
                # raised all the same if a helper dies with us, as of a signal to the whole process group
                with contextlib.suppress(RolloutInterrupted):
                    runner.rollout(agent, steps, render, fps, episodes=episodes, on_interrupt="return", **told)
                seconds = time.perf_counter() - began
            fault: RunnerKitError | None = None
            videos: list[str] = []
            try:
                if video_folder is not None:
                    videos = record_best(runner, env, parts, tally.histories, video_folder)
            except RunnerKitError as error:  # raised when the summary is printed
                fault = error
            summary = Summary(
                env=tally.version if tally.version.startswith(f"{runner.env_id}-v") else runner.env_id,
                agent=agent_name,
                seed=runner.seed,
                n_envs=n_envs,
                executor=runner.executor_report,
                history=history if folder is None else "npz",
                preprocessors=parts.pre,
                postprocessors=parts.post,
                reward_processors=parts.reward,
                steps=tally.steps,
                seconds=seconds,
                made_by=runner.made_by,
                interrupted=runner.interrupted,
                episodes=sorted(tally.episodes, key=lambda one: (one.env_index, one.episode_index)),  # actors race
                faults=tally.faults,
                timings=runner.timings if timings else None,
                videos=videos,
            )
            # before the runner closes, so that an env that fails to close does not take the results with it
            _print_summary(summary, as_json, out)
            if folder is not None and summary.timings is not None:
                from runnerkit.reporting.stored_timings import keep_timings

                keep_timings(folder, summary.timings)
            if fault is not None:
                raise fault
            if summary.interrupted:
                with contextlib.suppress(EnvError):  # the signal may have ended helpers, too, which then cannot close
                    runner.close()
    if summary.interrupted:
        click.get_current_context().exit(current_stop().code)


@contextlib.contextmanager
def _shown(
    runner: GymRunner[Any, Any, Any], title: Sequence[str], *, is_live: bool, times: bool, is_quiet: bool
) -> Iterator[_Told]:
    """Show how far a rollout is, with a view or a bar, and give what it is to tell."""
    from runnerkit._cli.terminal import canvas, progress_bar

    if is_live:
        from runnerkit._cli.live import LiveRun

        with canvas(sys.stderr) as drawn:
            live = LiveRun(runner, title, drawn, times=times)
            yield {"progress": live.progress, "on_episode": live.on_episode}
        return
    with progress_bar(not is_quiet) as progress:
        yield {"progress": progress}


def _print_summary(summary: Summary, as_json: bool, out: IO[str]) -> None:
    from runnerkit._cli.terminal import print_pairs

    if as_json:
        print_json(summary.document(), out)
        return
    print_pairs(summary.rows(), out)
    if summary.interrupted:
        tell_of_stop("collected", out)
