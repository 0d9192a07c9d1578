"""A view of a run of another program, from the folder that it writes to.

For example::

    run = FollowedRun("runs", episodes=200)
    while run.take():
        print(run.view.line())
        time.sleep(1)
"""

from __future__ import annotations

import time
from typing import Final

from runnerkit._cli.run_view import Line, RunView, duration
from runnerkit._core.wording import count
from runnerkit.history.npz.following import Following
from runnerkit.records import EnvFault

__all__ = ["FollowedRun"]

_RATE_OVER_S: Final = 60.0  # steps are told of when their episode ends, which may take a while


class FollowedRun:
    """What a folder tells of the run that writes to it. Raises ArgumentError if it is none.

    Args:
        folder: that of the run.
        episodes: how many the run will have; or
        steps: how many steps of each env.

    """

    def __init__(self, folder: str, episodes: int | None = None, steps: int | None = None) -> None:
        self._folder, self._following, self._steps = folder, Following(folder), steps
        self._began: float | None = None
        self._first: float | None = None  # the part of the run that was over when it was seen for the first time
        self.seconds: float = 0.0
        self.view: RunView = RunView([folder], rate_over=_RATE_OVER_S)
        self.view.total_episodes = episodes
        self.view.watched = True

    def take(self) -> bool:
        """Bring the view up to date; return whether the run goes on."""
        goes_on = self._following.is_written()  # asked first, so that all that was written is read
        contents, view = self._following.contents, self.view
        faults = len(contents.faults)
        new = [row.episode for row in self._following.poll()]
        view.add(new)
        steps = view.steps + sum(episode.length for episode in new)
        if self._began is None:
            self._began = time.monotonic()
            view.begin(steps)
        else:
            self.seconds = time.monotonic() - self._began
            view.reach(self.seconds, steps)
        view.restarts = len(contents.faults)
        view.faults.extend(_told(fault) for _, _, fault in contents.faults[faults:])
        if contents.runs:
            spec = contents.runs[-1].spec
            runs = [] if len(contents.runs) == 1 else [count(len(contents.runs), "run")]
            view.title = [self._folder, spec.env_id, f"seed {spec.options.seed}", count(spec.n_envs, "env"), *runs]
            view.total_steps = None if self._steps is None else self._steps * spec.n_envs
        view.left = self._left() if goes_on else None
        written = f"{duration(self._following.silent_for())} ago"
        view.notes = (Line("written", written) if goes_on else Line("run", f"over, last written {written}"),)
        return goes_on

    def _left(self) -> float | None:
        """Return how long the rest will take at the speed since the run was seen for the first time."""
        share = self.view.share_done
        if share is None:
            return None
        if self._first is None:
            self._first = share
        done = share - self._first
        return self.seconds * (1 - share) / done if done > 0 else None


def _told(fault: EnvFault) -> str:
    """Return what happened, and then where: the end of a line may not fit."""
    return f"env {fault.env_index}: {fault.error}; episode {fault.episode_index}, seed {fault.seed}, step {fault.step}"
