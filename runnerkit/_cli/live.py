"""`runnerkit rollout --live`: a view of the run while it runs.

For example::

    with canvas(sys.stderr) as drawn:
        live = LiveRun(runner, ["CartPole-v1", "random"], drawn, times=False)
        runner.rollout(agent, steps=1000, progress=live.progress, on_episode=live.on_episode)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from runnerkit._cli.run_view import Line, RunView
from runnerkit._core.wording import count
from runnerkit.history.ended import EndedEpisode
from runnerkit.records import EndReason, Episode, Progress

if TYPE_CHECKING:
    from runnerkit._cli.terminal import Canvas
    from runnerkit._rollout.gym_runner import GymRunner

__all__ = ["LiveRun"]

_FAULTS: Final = (EndReason.CRASHED, EndReason.TIMED_OUT)


class LiveRun:
    """Shows a rollout of a runner: `progress` and `on_episode` are the callbacks that it takes for that.

    With `times`, the runner measures where the time goes. An episode that ends costs an `append`; all else is done a
    few times per second.
    """

    def __init__(self, runner: GymRunner[Any, Any, Any], title: Sequence[str], drawn: Canvas, *, times: bool) -> None:
        self._runner, self._title, self._canvas, self._times = runner, title, drawn, times
        self._view = RunView(title)
        self._ended: list[EndedEpisode[Any, Any]] = []
        self._next = 0.0
        self._is_seen = True
        self.on_episode: Callable[[EndedEpisode[Any, Any]], object] = self._ended.append

    def progress(self, progress: Progress) -> None:
        """Take how far the rollout is, and show it if it is time."""
        ended, view = [told.record for told in self._ended], self._view
        self._ended.clear()
        view.add(ended)
        view.faults.extend(_fault(record) for record in ended if record.end_reason in _FAULTS)
        if not self._is_seen or progress.seconds < self._next:
            return
        self._next = progress.seconds + self._canvas.every
        report = self._runner.executor_report
        chosen = report.name if report.chosen in (None, report.name) else f"{report.name} ({report.chosen})"
        view.title = [*self._title, chosen]
        view.shares = report.shares
        view.reach(progress.seconds, progress.steps)
        view.total_steps, view.total_episodes = progress.total_steps, progress.total_episodes
        view.left, view.restarts = progress.seconds_left, progress.restarts
        view.notes = self._agent(progress)
        try:
            self._canvas.show(view)
        except OSError:  # the terminal was closed, or nobody reads the lines: no reason to end a run
            self._is_seen = False

    def _agent(self, progress: Progress) -> Sequence[Line]:
        """Return which part of the time the agent takes, if that is measured."""
        if not self._times or progress.seconds <= 0:
            return ()
        agent = min(self._runner.timings.agent / progress.seconds, 1.0)
        return (Line("agent", f"{agent:.0%} of the time"),)


def _fault(episode: Episode) -> str:
    steps = count(episode.total_length, "step")
    where = f"episode {episode.episode_index}, seed {episode.seed}"
    return f"env {episode.env_index} {episode.end_reason} after {steps}: {where}"
