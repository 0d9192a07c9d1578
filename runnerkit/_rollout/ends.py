"""Telling those who look on of each episode as it ends, and only then: a step in which none ends costs nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Any

from runnerkit._core.faults import describe
from runnerkit._rollout.env_states import EnvStates
from runnerkit._rollout.ledger import Ledger
from runnerkit.errors import ArgumentError, EnvError, RolloutError
from runnerkit.history.arrays import ArrayHistory
from runnerkit.history.block import Block
from runnerkit.history.ended import EndedEpisode, EpisodeCallback
from runnerkit.history.layout import Mark
from runnerkit.history.log import reason_of
from runnerkit.records import EndReason, Episode, EpisodeStart

__all__ = ["Ends", "TellEnded", "tell_of"]

TellEnded = Callable[[EndedEpisode[Any, Any]], object]
NONE_FAILED: Mapping[int, EndReason] = MappingProxyType({})


def tell_of(on_episode: EpisodeCallback[Any, Any] | None) -> TellEnded | None:
    """Return the function that gets ended episodes, or None. Raises ArgumentError if `on_episode` has none."""
    if on_episode is None or callable(on_episode):
        return on_episode
    put = getattr(on_episode, "put", None)
    if not callable(put):
        raise ArgumentError(
            "on_episode must be a function that takes an EndedEpisode, or a queue with a method put(item), "
            f"not {on_episode!r}."
        )
    tell: TellEnded = put
    return tell


@dataclass(frozen=True, slots=True)
class _Running:
    """The episode that runs in an env: `mark.row` is its first row in the block, of which `rests` are dropped later."""

    mark: Mark
    rests: int = 0


class Ends:
    """Reports ended episodes, in the order of their last steps, and within a step in the order of their envs::

        ends.collect(t, ended)          # after step t: its flags and rewards are there, and no env has begun again
        ends.settle(t, waiting)         # when envs have begun again, but those that wait
        ends.report(t)                  # when the step is complete

    Rows are those of the block. If envs rest for a step before each episode, the rows of these steps are dropped at the
    end of the rollout, so that in the history an episode begins `rests` rows earlier.
    """

    def __init__(self, block: Block, standing: EnvStates, ledger: Ledger, tell: Sequence[TellEnded]) -> None:
        self._block, self._standing, self._ledger, self._tell = block, standing, ledger, tell
        self._running: dict[int, _Running] = {}
        self._bases = [0] * block.n_envs  # for each env, the rows that it has in earlier windows of the rollout
        self._rested: dict[int, int] = {}  # the rests of the running episodes that lie in them
        self._ended: list[tuple[_Running, Episode]] = []

    def start(self, resting: Sequence[int]) -> None:
        """Note which episodes run as the rollout begins; some envs rest in the first step."""
        self._running = {i: _Running(mark) for i, mark in self._block.first_marks.items()}
        for i in resting:
            mark = self._running[i].mark
            self._running[i] = _Running(Mark(1, mark.episode_index, mark.start), rests=1)

    def turn(self, rows: Sequence[int]) -> None:
        """Note that row `rows[i]` of each env becomes the first one, as the next window of the rollout begins."""
        self._bases = [base + row for base, row in zip(self._bases, rows, strict=True)]
        running, self._running, self._rested = self._running, {}, {}
        for i, one in running.items():
            if self._block.lengths[i]:  # it is left out, or is to begin again later
                self._bases[i] -= one.rests
                continue
            self._rested[i] = one.rests - (one.mark.row > rows[i])  # one that is yet to come
            self._running[i] = replace(one, mark=one.mark._replace(row=one.mark.row - rows[i]))

    def begin(self, i: int, row: int) -> None:
        """Note that an episode begins in this row, which no end of another one told of."""
        env, before = self._standing.envs[i], self._running.get(i)
        self._running[i] = _Running(Mark(row, env.episode_index, env.start), 0 if before is None else before.rests)

    def collect(self, t: int, env_indices: Sequence[int], failed: Mapping[int, EndReason] = NONE_FAILED) -> None:
        """Note the episodes that ended in step t; those of envs that failed in it, with the step before."""
        block, row = self._block, self._block.at(t)
        for i in env_indices:
            running = self._running[i]
            mark = running.mark
            if self._ledger.makes_own:  # the block forgets rewards, and the ledger counts them
                return_ = self._standing.envs[i].return_ - mark.return_before
            else:
                rewards = block.rewards[max(mark.row, 0) : t + 1, i]
                return_ = float((self._ledger.with_earlier(i, rewards) if mark.row < 0 else rewards).sum())
            record = Episode(
                env_index=i,
                episode_index=mark.episode_index,
                seed=mark.start.seed,
                options=mark.start.options,
                start=self._bases[i] + mark.row - running.rests,
                length=t + 1 - mark.row - (i in failed),
                return_=return_,
                end_reason=failed.get(i) or _reason(block, row, i),
                steps_before=mark.steps_before,
                return_before=mark.return_before,
            )
            self._ended.append((replace(running, rests=running.rests + (i in failed)), record))

    def settle(self, t: int, waiting: Sequence[int] = ()) -> None:
        """Note which episodes began after those that ended in step t. Envs that wait begin a step late."""
        for k, (before, record) in enumerate(self._ended):
            i = record.env_index
            if record.end_reason is EndReason.CUT:  # no flag: an executor made the env anew, and logged why
                self._ended[k] = before, replace(record, end_reason=self._logged_reason(i, t + 1))
            if i in waiting:
                mark = Mark(t + 2, record.episode_index + 1, EpisodeStart())
                self._running[i] = _Running(mark, before.rests + 1)
            else:
                env = self._standing.envs[i]
                self._running[i] = _Running(Mark(t + 1, env.episode_index, env.start), before.rests)

    def _logged_reason(self, i: int, row: int) -> EndReason:
        table = self._block.log.table()
        found = table[(table[:, 0] == i) & (table[:, 1] == row), 3]
        return (reason_of(int(found[0])) if len(found) else None) or EndReason.CUT

    def report(self, t: int) -> None:
        """Report the episodes that ended in step t, which is complete."""
        ended, self._ended = self._ended, []
        steps = self._standing.steps + self._steps(t + 1)
        for running, record in ended:
            if not record.length and not record.steps_before:  # an env that failed in its first step
                continue
            told: EndedEpisode[Any, Any] = EndedEpisode(record, steps, partial(self._history, running, record))
            try:
                for tell in self._tell:
                    tell(told)
            except Exception as error:
                raise RolloutError(f"on_episode raised {describe(error)}") from error
            finally:
                told.let_go()

    def report_before(self, fault: EnvError, t: int, active: Sequence[int]) -> None:
        """Report the episodes that ended in step t, which is complete, but after which an env failed."""
        block, row = self._block, self._block.at(t)
        self.collect(t, [i for i in active if block.terminated[row, i] or block.truncated[row, i]])
        try:
            self.report(t)
        except RolloutError as error:
            fault.add_note(str(error))

    def _steps(self, row: int) -> int:
        """Return how many steps all envs together have made up to this row of the block."""
        lengths = self._block.lengths  # 0 until an env is left out
        pairs = [(lengths[i] or row, running) for i, running in self._running.items()]
        rests = sum(running.rests for _, running in pairs) - sum(self._rested.values())
        return sum(upto + (running.mark.row > upto) for upto, running in pairs) - rests

    def _history(self, running: _Running, record: Episode) -> ArrayHistory[Any, Any]:
        """Return a copy of the rows of an episode that has just ended."""
        if self._ledger.makes_own:
            raise ArgumentError(
                "There is no history of an ended episode, because the runner overrides process_transition and keeps "
                "no arrays. Use what process_transition returns."
            )
        row = running.mark.row + record.length
        self._ledger.take(upto=row)
        earlier = self._ledger.earlier_rows(record.env_index) if running.mark.row < 0 else None
        part = self._block.episode(record, running.mark, row, earlier)
        if self._standing.vector is not None:
            part.seeding = self._standing.vector.seeding
        return ArrayHistory(part, 0, record.length)


def _reason(block: Block, row: int, i: int) -> EndReason:
    if block.terminated[row, i]:
        return EndReason.TERMINATED
    return EndReason.TRUNCATED if block.truncated[row, i] else EndReason.CUT
