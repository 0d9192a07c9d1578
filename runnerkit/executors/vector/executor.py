"""The executor of native vector envs: one `gymnasium.vector.VectorEnv` steps all envs by itself.

Not asked for by name: a runner uses it when the factory makes a vector env. Whatever the env's auto-reset mode,
each env's transitions are the same:

* NEXT_STEP: an env *rests* in the step in which it resets itself: the agent is not asked, and nothing is recorded.
* SAME_STEP: the final observation is read from the infos; where they do not have it, or the reset may have written over
  it, it is marked as unknown.
* DISABLED: an env whose episode ended is reset alone, by a mask, with the seed and options of its next episode.
"""

from __future__ import annotations

import copy
import functools
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AsyncVectorEnv, AutoresetMode
from numpy.typing import NDArray

from runnerkit._core.arrays import without_tensors
from runnerkit._core.faults import describe
from runnerkit._core.signals import NUMBERS, Oddities, SignalError, read_flags, read_rewards
from runnerkit._core.spaces import Column, MisfitError, Rows
from runnerkit._core.types import AnyEnv, AnyVectorEnv
from runnerkit._core.wording import result_kind
from runnerkit.errors import ArgumentError, EnvError
from runnerkit.executors.env_calls import EnvCall
from runnerkit.executors.hanging import CloseWatch
from runnerkit.executors.seeds import SeedSchedule
from runnerkit.executors.vector.actions import Actions
from runnerkit.executors.vector.faults import fault, misfit, never_rested
from runnerkit.executors.vector.seeding import Resets
from runnerkit.executors.vector.unpacking import Finals, Infos, Unpacker, by_key
from runnerkit.executors.vector.validation import autoreset_mode, check
from runnerkit.history.block import Block
from runnerkit.history.layout import BlockLayout
from runnerkit.history.log import EpisodeLog
from runnerkit.records import EnvFacts, EpisodeStart, ExecutorReport, RunOptions, Seeding

__all__ = ["VectorExecutor"]

_BOOL: Final = np.dtype(np.bool_)
_WHO: Final = "The vector env"
_Step: TypeAlias = "Callable[[int, int, Any], tuple[NDArray[np.bool_], Any]]"


class VectorExecutor:
    """Steps all envs of a `gymnasium.vector.VectorEnv` with one call, and copies what it returns into the block."""

    workers: int = 1

    def __init__(self, env: AnyVectorEnv, n_envs: int) -> None:
        self._env: Any = env
        self._n: int = n_envs
        self._mode: AutoresetMode = autoreset_mode(env)
        # envs whose episode is over: the env resets them in the next step, or waits for us to do it
        self._over: NDArray[np.bool_] = np.zeros(n_envs, np.bool_)
        self._rests: bool = self._mode is AutoresetMode.NEXT_STEP
        self._resets_itself: bool = self._mode is not AutoresetMode.DISABLED
        self._first: dict[int, tuple[list[Any], dict[str, Any]]] = {}  # what begins episodes not yet asked for
        self._is_reset: bool = False
        self._episode: NDArray[np.int64] = np.zeros(n_envs, np.int64)
        self._block: Block | None = None
        self._has_learned: bool = False
        self._failed: bool = False
        self._returned: Any = None  # the last observations of a SAME_STEP env, which it may write over

    # ---- what it is

    def report(self, name: str, /) -> ExecutorReport:
        """Return that there was nothing to choose."""
        return ExecutorReport(name, "vector", self.workers, f"{type(self._env).__name__} steps all its envs itself")

    @property
    def seeding(self) -> Seeding:
        """What can be told of the envs."""
        return Seeding(seeded=self._resets.seeded, every_step=not self.rests)

    @property
    def rests(self) -> bool:
        """Whether an env rests for a step before its next episode."""
        return self._rests

    @property
    def begins_alone(self) -> bool:
        """Whether some envs can begin an episode while others go on with theirs."""
        return not self._resets_itself

    @property
    def takes_schedule(self) -> bool:
        """Whether each episode can be given its own seed and options."""
        return self.begins_alone and self._resets.takes_seeds

    @property
    def _waiting(self) -> NDArray[np.intp]:
        return self._over.nonzero()[0]

    # ---- life

    def open(self, make_env: Callable[[int], AnyEnv], options: RunOptions, /) -> list[EnvFacts]:
        """Look at the env, which is there already: nothing is made."""
        env = self._env
        check(env, self._n)
        self._keep_infos: bool = options.keep_infos
        self._oddities: Oddities = Oddities(strict=options.strict_spaces)
        self._schedule = SeedSchedule(options.seed)
        self._resets: Resets = Resets(env, self._schedule, each=self.begins_alone)
        spec = env.spec if isinstance(env.spec, EnvSpec) else None
        mode = env.render_mode
        return [
            EnvFacts(env.single_observation_space, env.single_action_space, spec, mode, (os.getpid(), id(env) + i))
            for i in range(self._n)
        ]

    def attach(self, block: Block | None, /) -> None:
        """Write into this block from now on; None lets go of the last one."""
        if block is None:
            self._block = None
            del self._raw, self._actions, self._advance
            return
        if block is not self._block:  # one that has only grown goes on with its log
            self._block, self._log = block, EpisodeLog(block.layout.raw)
        if not self._has_learned:
            self._learn(block.layout)
        self._raw: list[Column] = block.raw
        self._actions: list[Column] = block.env_actions
        self._advance: _Step = self._make_stepper(block)

    def _learn(self, layout: BlockLayout) -> None:
        """Prepare for the spaces of the env, once they are laid out."""
        self._layout = layout.raw
        self._has_learned = True
        self._unpack = Unpacker(layout.raw, self._n)
        self._finals = Finals(layout.raw, self._env)
        self._infos = Infos(self._env)
        self._batches = Actions(layout.env_action, self._n)

    def drain(self) -> EpisodeLog:
        """Return, and forget, what was logged since the last call."""
        log, self._log = self._log, EpisodeLog(self._layout)
        log.oddities, self._oddities.found = self._oddities.found, {}
        return log

    def close(self) -> None:
        """Close the env."""
        env, self._env = self._env, None
        if env is None:
            return
        helpers = env.unwrapped.processes if self._failed and isinstance(env.unwrapped, AsyncVectorEnv) else []
        for process in helpers:  # it would wait for answers that do not come
            process.terminate()
            process.join()
        try:
            with CloseWatch() as watch:
                watch.begins("The vector env")
                env.close()
        except Exception as error:
            if not helpers:
                raise EnvError(f"failed to close: {describe(error)}") from error
            env.unwrapped.closed = True  # or it would try again when it is let go

    def render(self, env_indices: Sequence[int], /) -> list[object]:
        """Return what the env renders for each of these envs."""
        try:
            frames = self._env.render()
        except Exception as error:
            raise EnvError(f"failed to render: {describe(error)}", after_step=True) from error
        if not isinstance(frames, (tuple, list, np.ndarray)) or len(frames) != self._n:
            raise EnvError(
                f"rendered {result_kind(frames)}, not one frame for each of its {self._n} envs. Leave render out.",
                after_step=True,
            )
        return [frames[i] for i in env_indices]

    def call_envs(self, call: EnvCall, env_indices: Sequence[int], /) -> list[Any]:
        """Return what each env answers. Gymnasium's vector envs ask all of them at once, or none."""
        if list(env_indices) != list(range(self._n)):
            raise ArgumentError(
                f"{call} asks all envs of a vector env at once. Leave env_indices out, or use single envs."
            )
        missing = [kind for kind in ("get_attr", call.kind) if not hasattr(self._env, kind)]
        if missing:
            raise ArgumentError(
                f"{call} needs a vector env with {missing[0]}, which {type(self._env).__name__} does not have. Use "
                "single envs, or a vector env that makes them, such as Gymnasium's SyncVectorEnv."
            )
        try:
            if call.kind == "set_attr":
                self._env.get_attr(call.name)  # which must be there
                self._env.set_attr(call.name, list(call.args) * self._n)
                return [None] * self._n
            return list(getattr(self._env, call.kind)(call.name, *call.args, **call.keywords))
        except Exception as error:
            raise EnvError(f"raised in {call}: {describe(error)}", after_step=True) from error

    # ---- episodes

    def reset(self, row: int, starts: Mapping[int, tuple[int, EpisodeStart]], /) -> None:
        """Begin the given episodes, where they do not rest first."""
        self.begin(row, starts, False)

    def begin(
        self, row: int, starts: Mapping[int, tuple[int, EpisodeStart]], alone: bool, /
    ) -> dict[int, EpisodeStart]:
        """Begin the given episodes and return how; what is missing rests first, as the env resets it in a step."""
        for i, (episode_index, _) in starts.items():
            self._episode[i] = episode_index
        if self._is_reset:
            if self._first and all(i in self._first for i in starts):
                return self._begin_prepared(row, starts)
            if self.rests and len(starts) < self._n and set(self._waiting.tolist()).issuperset(starts):
                self._episode[list(starts)] -= 1  # counted when they begin
                return {}
            if self.begins_alone:
                return self._begin_masked(row, starts)
        if not alone:
            raise EnvError(
                f"can only begin new episodes in all of its envs, as its auto-reset mode is {self._mode.name}; others "
                "than the given ones go on with theirs"
            )
        return self._begin_all(row, starts)

    def step(self, at: int, row: int, actions: Rows, active: Sequence[int], restart: bool, /) -> list[int]:
        """Step all envs; return those of the active ones whose episode ended.

        An env that rests before its next episode only ended, whatever `restart` is: it begins with the next step.
        """
        idle = self._waiting
        some_ignored = len(active) + (len(idle) if self.rests else 0) != self._n
        if some_ignored:
            idle = np.setdiff1d(np.arange(self._n), np.fromiter(active, np.intp, len(active)))
        if not self._resets_itself and len(self._waiting):  # nobody asks for them, but they must not go over their end
            self._reset_ignored(self._waiting)
        waited, batch = self._waiting, self._batches.batch(self._actions, at, idle)
        self._first.clear()
        over, infos = self._advance(at, row, batch)
        ended: list[int] = over.nonzero()[0].tolist()
        if some_ignored:
            mine = set(active)
            ended = [i for i in ended if i in mine]
        if self._rests and not set(ended).isdisjoint(waited.tolist()):
            raise never_rested()
        self._is_reset = False  # until all is done: who knows where the envs stand after a fault
        self._settle(at, row, idle, waited, ended, infos, restart)
        self._is_reset = True
        return ended

    def stepper(self) -> _Step:
        """Return what steps all envs: (row of rewards, row of observations, actions) -> (whose episode ended, infos).

        For the block that is attached, and for envs that rest where nobody asks for infos: all else needs `step`.
        """
        return self._advance

    def _make_stepper(self, block: Block) -> _Step:
        """Make a function of all that a step takes, as a microsecond counts here."""
        step, unpack, put = self._env.step, self._unpack, self._put
        n, oddities, same_step = self._n, self._oddities, self._mode is AutoresetMode.SAME_STEP
        is_array, items = self._layout.is_array, (n,)
        leaf = self._layout.leaves[0] if is_array else None
        shape, dtype = (None, None) if leaf is None else ((n, *leaf.shape), leaf.dtype)
        first = block.raw[0] if is_array else block.rewards
        all_rewards, all_terminated, all_truncated = block.rewards, block.terminated, block.truncated

        def advance(at: int, row: int, actions: Any) -> tuple[NDArray[np.bool_], Any]:
            try:
                try:
                    result = step(actions)
                except Exception as error:
                    raise self._raised("step", error) from error
                try:
                    observations, rewards, terminated, truncated, infos = result
                except (TypeError, ValueError):
                    what = "(observations, rewards, terminations, truncations, infos)"
                    raise misfit(f"returned {result_kind(result)} from step, not {what}") from None
                try:
                    if type(observations) is np.ndarray and observations.shape == shape and observations.dtype == dtype:
                        first[row] = observations
                    else:
                        put(row, unpack.observations(observations))
                    if not (
                        type(rewards) is type(terminated) is type(truncated) is np.ndarray
                        and rewards.shape == terminated.shape == truncated.shape == items
                        and terminated.dtype is truncated.dtype is _BOOL
                        and rewards.dtype.kind in NUMBERS
                    ):
                        rewards = read_rewards(rewards, n, _WHO, oddities)
                        terminated = read_flags(terminated, n, "terminations", _WHO, oddities, rewards)
                        truncated = read_flags(truncated, n, "truncations", _WHO, oddities, rewards)
                except (MisfitError, SignalError) as error:
                    raise misfit(f"returned from step what does not fit: {error}") from error
                all_rewards[at] = rewards
                all_terminated[at] = terminated
                all_truncated[at] = truncated
                self._over = over = terminated | truncated
                if same_step:
                    self._returned = observations
            except BaseException:
                self._is_reset = False  # who knows where the envs stand
                raise
            return over, infos

        return advance

    def _put(self, row: int, values: Sequence[Column]) -> None:
        for column, value in zip(self._raw, values, strict=True):
            column[row] = value

    def _settle(
        self,
        at: int,
        row: int,
        idle: NDArray[np.intp],
        waited: NDArray[np.intp],
        ended: list[int],
        infos: Any,
        restart: bool,
    ) -> None:
        """Do what is left to do after a step, but for envs that rest and are not asked for infos."""
        if not isinstance(infos, Mapping):
            infos = by_key(infos, self._n)
        if self._keep_infos:
            infos = without_tensors(infos)  # once, and not env by env
        if self._rests:
            self._episode[waited] += 1
        elif self._mode is AutoresetMode.SAME_STEP:
            self._over = np.zeros(self._n, np.bool_)
            if ended:
                self._end_in_step(ended, at, row, infos, restart)
        if infos and self._keep_infos:
            self._log_infos(infos, at, idle, waited, ended)
        if self.begins_alone and restart and ended:
            self._begin_again(ended, at, row)

    # ---- how episodes begin

    def _begin_all(self, row: int, starts: Mapping[int, tuple[int, EpisodeStart]]) -> dict[int, EpisodeStart]:
        given = {i: start for i, (_, start) in starts.items()} if self.takes_schedule else None
        seeds = {i: self._schedule.episode_seed(i, k) for i, (k, _) in starts.items()}
        self._over, self._first = np.zeros(self._n, np.bool_), {}
        values, infos, how = self._ask(lambda: self._resets.all_at_once(seeds, given))
        self._put(row, values)
        if self._mode is AutoresetMode.SAME_STEP:
            self._finals.note_first(self._raw, row, starts)
        self._is_reset, self._failed = True, False
        rest = {i: starts[i] for i in starts if i not in how}
        if rest:  # those with options of their own
            how |= self._begin_masked(row, rest)
        self._log_reset_infos(infos, [i for i in starts if i not in rest], after_step=True)
        return how

    def _begin_masked(self, row: int, starts: Mapping[int, tuple[int, EpisodeStart]]) -> dict[int, EpisodeStart]:
        begun = {i: start for i, (_, start) in starts.items()}
        for group in self._resets.groups(begun):
            values, infos, how = self._ask(functools.partial(self._resets.masked, group))
            which = list(group)
            for column, value in zip(self._raw, values, strict=True):
                column[row, which] = value[which]
            self._log_reset_infos(infos, which, after_step=True)
            begun |= how
        self._over[list(starts)] = False
        return begun

    def _begin_prepared(self, row: int, starts: Mapping[int, tuple[int, EpisodeStart]]) -> dict[int, EpisodeStart]:
        """Hand out first observations that the env gave together with the final ones."""
        for i, (episode_index, _) in starts.items():
            values, info = self._first.pop(i)
            for column, value in zip(self._raw, values, strict=True):
                column[row, i] = value
            if info:
                self._log.reset_infos.append((i, episode_index, info))
        return dict.fromkeys(starts, EpisodeStart())

    def _begin_again(self, env_indices: list[int], at: int, row: int) -> None:
        """Begin the next episode of each in the step in which the last one ended, as `Share` does."""
        starts = {}
        for i in env_indices:
            episode_index = int(self._episode[i]) + 1
            self._episode[i] = episode_index
            self._log.begin(i, at + 1, episode_index, self._raw, (row, i))
            starts[i] = episode_index, self._schedule(i, episode_index)
        self._begin_masked(row, starts)

    def _reset_ignored(self, waiting: NDArray[np.intp]) -> None:
        try:
            self._ask(lambda: self._resets.masked(dict.fromkeys(waiting.tolist(), EpisodeStart())))
        except EnvError as error:
            error.after_step = False  # it comes before the next one
            raise
        self._over = np.zeros(self._n, np.bool_)

    def _end_in_step(self, env_indices: list[int], at: int, row: int, infos: Any, restart: bool) -> None:
        """Put final observations where they belong, as the env has already begun the next episodes."""
        assert self._block is not None
        for i in env_indices:
            final = self._final(infos, i, row)
            if final is None and self._block.layout.preprocessed:
                raise misfit(
                    f"did not say how the episode of env {i} ended: there is no infos['final_obs'] for it, or it was "
                    "written over, and preprocessors have to see it. Leave these out, or use another auto-reset mode"
                )
            if final is None:
                self._log.unknown.append((i, at + 1))
                final = self._finals.unknown()
            if restart:
                self._episode[i] += 1
                self._log.begin(i, at + 1, int(self._episode[i]), final, (0, 0))
            else:
                info = self._infos.of_reset(infos, i) if self._keep_infos and infos else {}
                self._first[i] = [copy.deepcopy(column[row, i]) for column in self._raw], info
                for column, value in zip(self._raw, final, strict=True):
                    column[row, i] = value[0, 0]

    def _final(self, infos: Any, i: int, row: int) -> list[Column] | None:
        final = self._finals.of(infos, i)
        return None if final is None or self._finals.is_wrong(i, self._raw, row, self._returned) else final

    # ---- asking the env

    def any_actions(self) -> Column:
        """Return a batch of valid actions, the same for all envs; only of a space that is one array."""
        return self._batches.idle()

    def _ask(
        self, reset: Callable[[], tuple[Any, dict[int, EpisodeStart]]]
    ) -> tuple[list[Column], Any, dict[int, EpisodeStart]]:
        """Reset envs; return what they observe as one array per leaf, the infos, and how they began."""
        try:
            result, how = reset()
        except Exception as error:
            raise self._raised("reset", error, after_step=True) from error
        if not isinstance(result, tuple) or len(result) != 2:
            raise misfit(f"returned {result_kind(result)} from reset, not (observations, infos)", after_step=True)
        try:
            return self._unpack.observations(result[0]), result[1], how
        except MisfitError as error:
            raise misfit(f"returned from reset what does not fit: {error}", after_step=True) from error

    # ---- infos

    def _log_infos(
        self, infos: Any, at: int, idle: NDArray[np.intp], waited: NDArray[np.intp], ended: list[int]
    ) -> None:
        same_step = self._mode is AutoresetMode.SAME_STEP
        left_out, over = set(idle.tolist()), set(ended if same_step else ())
        for i in range(self._n):
            if i in left_out:
                continue
            info = (self._infos.of_end if i in over else self._infos.of_step)(infos, i)
            if info:
                self._log.infos.append((i, at, info))
        if same_step:
            self._log_reset_infos(infos, [i for i in ended if i not in self._first])
        elif self.rests:
            self._log_reset_infos(infos, waited.tolist())

    def _log_reset_infos(self, infos: Any, env_indices: Sequence[int], *, after_step: bool = False) -> None:
        if not infos or not self._keep_infos:
            return
        infos = without_tensors(by_key(infos, self._n))
        for i in env_indices:
            info = self._infos.of_reset(infos, i, after_step=after_step)
            if info:
                self._log.reset_infos.append((i, int(self._episode[i]), info))

    def _raised(self, where: str, error: Exception, *, after_step: bool = False) -> EnvError:
        self._failed = True
        return fault(self._env, f"raised in {where}: {describe(error)}", error, after_step=after_step)
