"""The lives of envs: seed, reset, step, end. Nothing else but a spare calls `env.reset` or `env.step`."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import gymnasium
import numpy as np

from runnerkit._core.arrays import copied
from runnerkit._core.faults import close_after, describe
from runnerkit._core.signals import Oddities, SignalError, read_flag, read_reward
from runnerkit._core.spaces import Column, Layout, MisfitError, Rows, RowWriter, ScalarRows, StrictRows, Write
from runnerkit._core.types import AnyEnv
from runnerkit._core.wording import FIX_ENV, result_kind, warn, with_fix
from runnerkit.errors import EnvError, EnvSpaceError, RunnerKitError
from runnerkit.executors.calls import Doing, Phase
from runnerkit.executors.clock import EnvClock, SupportsStep
from runnerkit.executors.env_calls import EnvCall
from runnerkit.executors.hanging import CloseWatch
from runnerkit.executors.seeds import SeedSchedule
from runnerkit.executors.spares import SpareEnv
from runnerkit.executors.step_faults import StepFaultsError, first_fault
from runnerkit.executors.thread_safety import is_thread_safe
from runnerkit.history.block import Block
from runnerkit.history.log import EpisodeLog
from runnerkit.records import EnvFacts, EpisodeStart, RunOptions

__all__ = ["Share"]

_UNPACKED = object()
_NO = np.False_  # NumPy has only one, so that flags are mostly compared by identity
_GOES_ON = (False, False)


ShareT = TypeVar("ShareT", bound="Share")


class Share:
    """The envs that one worker owns: it alone makes, resets, steps, renders and closes them.

    All executors step through this class, so that what they write is the same.
    """

    def __init__(self, env_indices: Sequence[int]) -> None:
        self.env_indices: list[int] = list(env_indices)
        self._envs: dict[int, AnyEnv] = {}
        self._episode: dict[int, int] = {}
        self._seed: dict[int, int | None] = {}
        self.oddities: Oddities = Oddities()
        """What the envs returned against their contract since the log was drained."""
        self._clocks: dict[int, EnvClock] = {}
        """What measures each env; empty if nobody wants to know."""
        self._measures: bool = False
        self._block: Block | None = None
        self._layout: Layout
        self._log: EpisodeLog
        self._active: Sequence[int] = ()  # the last envs that were stepped, and all it takes to step them
        self._stepped: list[tuple[int, SupportsStep, Any]] = []
        self._make_env: Callable[[int], AnyEnv] | None = None
        self.tolerant: bool = False
        """Whether envs go on where one has failed."""
        self._turn: Any = iter(())  # of the step that is under way: how far it is, for those who watch
        self._call: tuple[int, int] | None = None  # another call that is under way: (phase, env index)

    # ---- life

    def open(self, make_env: Callable[[int], AnyEnv], options: RunOptions, /) -> list[EnvFacts]:
        """Make the envs; on a fault, close those already made and raise EnvError."""
        self.prepare(make_env, options)
        try:
            return [self._make(make_env, i) for i in self.env_indices]
        except BaseException as error:
            close_after(error, self.close)
            raise

    def prepare(self, make_env: Callable[[int], AnyEnv], options: RunOptions, /) -> None:
        """Be ready to make envs, without making one; `remake` does, with the option `restarts`."""
        self._seeds: SeedSchedule = SeedSchedule(options.seed)
        self._keep_infos: bool = options.keep_infos
        self._thread_safe: bool | None = options.thread_safe
        self.oddities = Oddities(strict=options.strict_spaces)
        self.tolerant = options.restarts
        self._make_env = make_env if options.restarts else None  # which may hold the runner, to be dropped otherwise
        self._measures = options.timings

    def _make(self, make_env: Callable[[int], AnyEnv], i: int) -> EnvFacts:
        self._call = Phase.MAKE, i
        try:
            env = make_env(i)
            if not isinstance(env, gymnasium.Env):
                raise TypeError(f"the env factory returned a {type(env).__name__}, not a gymnasium.Env")
            self._envs[i] = env
            if self._measures:
                self._clocks.setdefault(i, EnvClock(i))
            return EnvFacts(
                env.observation_space,
                env.action_space,
                env.spec,
                env.render_mode,
                identity=(os.getpid(), id(env)),
                thread_safe=is_thread_safe(env) if self._thread_safe is None else self._thread_safe,
            )
        except RunnerKitError:
            raise  # an unknown env id, say, is no fault of env 0
        except Exception as error:
            raise EnvError(f"could not be made: {describe(error)}", env_index=i) from error
        finally:
            self._call = None

    def attach(self, block: Block | None, /) -> None:
        """Write into this block from now on; None lets go of the last one."""
        self._active, self._stepped = (), []
        if block is None and self._block is None:
            return  # what was raised came before it was attached
        if block is None:
            self._block = None
            del self._raw, self._write, self._rows, self._open_row, self._open_rewards, self._flags
            return
        if block is not self._block:  # one that has only grown goes on with its log
            self._block, self._layout = block, block.layout.raw
            self._log = self._new_log()
        self._raw: list[Column] = block.raw
        self._write: Write = self._layout.writer(block.raw)
        self._rows: RowWriter = self._layout.row_writer(block.raw, block.n_envs)
        self._open_row: Callable[[int], Any] = self._rows.open
        rewards = ScalarRows(block.rewards)
        self._open_rewards: Callable[[int], Any] = StrictRows(rewards).open if self.oddities.strict else rewards.open
        self._flags: tuple[Column, Column] = block.terminated, block.truncated

    def drain(self) -> EpisodeLog:
        """Return, and forget, what was logged since the last call."""
        log, self._log = self._log, self._new_log()
        if self.oddities.found:
            log.oddities, self.oddities.found = self.oddities.found, {}
        if self._clocks:
            log.timings = [self._clocks[i].take() for i in self.env_indices if i in self._clocks]
        return log

    def drain_what_there_is(self) -> EpisodeLog | None:
        """Return, and forget, what was logged; None if there is nothing. For the thread that steps the envs."""
        return None if self._log.is_empty and not self.oddities.found else self.drain()

    def _new_log(self) -> EpisodeLog:
        return EpisodeLog(self._layout)

    @classmethod
    def union(cls, shares: Sequence[Share]) -> Share:
        """Return a share of all envs of these, whose parts may step them while these do not; as `part` does."""
        whole = cls([i for share in shares for i in share.env_indices])
        for share in shares:
            whole._envs.update(share._envs)
            whole._episode.update(share._episode)
            whole._seed.update(share._seed)
            whole._clocks.update(share._clocks)
        whole._take_settings(shares[0])
        return whole

    def open_more(self, make_env: Callable[[int], AnyEnv], env_indices: Sequence[int]) -> list[EnvFacts]:
        """Make further envs, after `open`."""
        self.env_indices += env_indices
        return [self._make(make_env, i) for i in env_indices]

    def part(self, env_indices: Sequence[int]) -> Share:
        """Return a share of some of these envs, through which another thread may step them while this one does not.

        Both know the same envs and episodes; each is attached, and keeps a log, by itself.
        """
        return self._with_envs(Share(env_indices))

    def _with_envs(self, part: ShareT) -> ShareT:
        """Let another share know the same envs and episodes."""
        # No two threads touch the same key at a time, and what is done to a dict is atomic, with the GIL or without.
        part._envs, part._episode, part._seed = self._envs, self._episode, self._seed
        part._clocks = self._clocks
        part._take_settings(self)
        return part

    def _take_settings(self, other: Share) -> None:
        """Do as another share was told to, see `prepare`."""
        self._seeds, self._keep_infos = SeedSchedule(other._seeds.seed), other._keep_infos
        self._thread_safe, self._measures = other._thread_safe, other._measures
        self._make_env, self.tolerant = other._make_env, other.tolerant
        self.oddities = Oddities(strict=other.oddities.strict)

    def take_log(self, log: EpisodeLog) -> None:
        """Go on with the log of those who stepped these envs before."""
        whole = self._new_log()
        whole.extend(log)
        whole.extend(self._log)
        self._log = whole

    def close(self, *, watched: bool = True) -> None:
        """Close all envs, even if some fail or hang until Ctrl-C; raise the first fault at the end.

        If it is not `watched`, whoever waits for it says so if an env hangs.
        """
        self._active, self._stepped = (), []  # keep no env alive that is closed
        faults: list[BaseException] = []
        if not any(i in self._envs for i in self.env_indices):
            return
        with CloseWatch(starts=watched) as watch:
            for i in self.env_indices:
                env = self._envs.pop(i, None)
                if env is None:
                    continue
                watch.begins(f"Env {i}")
                try:
                    self._close_env(i, env)
                except KeyboardInterrupt as pressed:
                    faults.insert(0, pressed)
                except Exception as error:
                    faults.append(EnvError(f"failed to close: {describe(error)}", env_index=i))
                    faults[-1].__cause__ = error
        if faults:
            raise faults[0]

    def _close_env(self, i: int, env: AnyEnv) -> None:
        env.close()

    def remake(self, env_indices: Sequence[int], /) -> list[EnvFacts]:
        """Make envs anew that have failed; what they raise as they close goes to the notes of what may be raised."""
        self._active, self._stepped, facts = (), [], []
        for i in env_indices:
            closing = ""
            if (env := self._envs.pop(i, None)) is not None:
                try:
                    self._close_env(i, env)
                except Exception as error:
                    closing = f"The env before failed to close: {describe(error)}"
            try:
                assert self._make_env is not None
                facts.append(self._make(self._make_env, i))
            except Exception as error:
                if closing:
                    error.add_note(closing)
                raise
            if closing:
                warn(f"Env {i} failed to close before it was made anew. {closing}", RuntimeWarning)
        return facts

    def render(self, env_indices: Sequence[int], /) -> list[object]:
        """Return what each env's `render()` returns."""
        frames: list[object] = []
        for i in env_indices:
            self._call = Phase.RENDER, i
            try:
                frames.append(self._render_env(i))
            except Exception as error:
                raise self._after(self._error(i, f"failed to render: {describe(error)}")) from error
            finally:
                self._call = None
        return frames

    def _render_env(self, i: int) -> object:
        frame: object = self._envs[i].render()
        return frame

    def call_envs(self, call: EnvCall, env_indices: Sequence[int], /) -> list[Any]:
        """Return what each of these envs answers; all are asked, whatever happens to one."""
        answers: list[Any] = []
        faults: list[EnvError] = []
        for i in env_indices:
            self._call = Phase.CALL, i
            try:
                answers.append(self._ask_env(call, self._envs[i]))
            except Exception as error:
                fault = self._after(self._error(i, f"raised in {call}: {describe(error)}"))
                fault.__cause__ = error
                faults.append(fault)
            finally:
                self._call = None
        if faults:
            raise first_fault(faults)
        return answers

    def _ask_env(self, call: EnvCall, env: AnyEnv) -> Any:
        return call.ask_now(env)

    # ---- episodes

    def reset(self, row: int, starts: Mapping[int, tuple[int, EpisodeStart]], /) -> None:
        """Begin the given episodes: {env index: (episode index, start)}; all of them, whatever happens to one."""
        faults: list[EnvError] = []
        for i, (episode_index, start) in starts.items():
            try:
                self._reset(i, row, episode_index, start.seed, start.options)
            except EnvError as fault:
                faults.append(fault)
        if faults:
            raise StepFaultsError(faults) if self.tolerant else first_fault(faults)

    def step(self, at: int, row: int, actions: Rows, active: Sequence[int], restart: bool, /) -> list[int]:
        """Step the given envs, `actions[k]` for env `active[k]`; return those whose episode ended."""
        if active is not self._active:
            self._stepped, self._active = [(i, self._stepper(i), self._rows.slots[i]) for i in active], active
        ended: list[int] = []
        target, rewards = self._open_row(row), self._open_rewards(at)
        i = -1
        action: Any = None
        result: Any = None
        reward: Any = None
        terminated: Any = None
        truncated: Any = None
        self._turn = turn = iter(self._stepped)
        try:
            for (i, env, slot), action in zip(turn, actions):  # noqa: B905  (strict costs)
                try:
                    result = env.step(action)
                except Exception as error:
                    raise self._error(i, f"raised in step: {describe(error)}") from error
                observation, reward, terminated, truncated, info = result
                result = _UNPACKED  # and not kept alive: the next env then finds its memory warm
                try:
                    target[slot] = observation
                except Exception:  # a MisfitError that says what is wrong, unless only the form differs
                    self._write(row, i, observation)
                try:
                    rewards[i] = reward
                except Exception:  # one of a single entry, unless it is wrong
                    rewards[i] = read_reward(reward, f"Env {i}", self.oddities)
                if (terminated is not False and terminated is not _NO) or (
                    truncated is not False and truncated is not _NO
                ):  # or what may mean the same
                    ends = (
                        read_flag(terminated, "terminated", f"Env {i}", self.oddities, reward),
                        read_flag(truncated, "truncated", f"Env {i}", self.oddities, reward),
                    )
                    if ends != _GOES_ON:
                        # rows begin as False, so that only ends need a write
                        self._flags[0][at, i], self._flags[1][at, i] = ends
                        ended.append(i)
                if info and self._keep_infos:
                    self._log.infos.append((i, at, _kept(info)))
        except EnvError as raised:
            self._turn = iter(())
            raised.action = copy.deepcopy(action)
            if self.tolerant:
                raise self._after_others(raised, at, row, actions, active, ended) from raised
            raise
        except Exception as error:
            self._turn = iter(())
            fault = self._bad_step(i, result, (reward, terminated, truncated), error)
            fault.action = copy.deepcopy(action)
            if self.tolerant:
                fault.__cause__ = error
                raise self._after_others(fault, at, row, actions, active, ended) from fault
            raise fault from error
        if restart and ended:
            self.begin_again(ended, at, row)
        return ended

    def _after_others(
        self, fault: EnvError, at: int, row: int, actions: Rows, active: Sequence[int], ended: list[int]
    ) -> StepFaultsError:
        """Step the envs after one that failed, and return what is to be raised then."""
        i = fault.env_index
        k = list(active).index(i) + 1
        faults, ended = [fault], [other for other in ended if other != i]
        if k < len(active):
            try:
                ended += self.step(at, row, actions[k:], active[k:], False)
            except StepFaultsError as more:
                faults += more.faults
                ended += more.ended
        return StepFaultsError(faults, ended)

    def begin_again(self, env_indices: Sequence[int], at: int, row: int) -> None:
        """Begin the next episode of each; all of them, as other workers would not know of a fault, either."""
        faults: list[EnvError] = []
        for i in env_indices:
            episode_index = self._episode[i] + 1
            self._log.begin(i, at + 1, episode_index, self._raw, (row, i))
            try:
                self._reset(i, row, episode_index, self._seeds.episode_seed(i, episode_index), None)
            except EnvError as fault:
                faults.append(fault)
        if faults:
            raise first_fault(faults)

    def _reset(self, i: int, row: int, episode_index: int, seed: int | None, options: Mapping[str, Any] | None) -> None:
        self._episode[i], self._seed[i] = episode_index, seed
        try:
            result: Any = self._reset_env(i, seed, None if options is None else dict(options))
        except Exception as error:
            raise self._after(self._error(i, f"raised in reset: {describe(error)}")) from error
        try:
            if not isinstance(result, tuple):  # an array of two would unpack, too
                raise TypeError("not a tuple")
            observation, info = result
            try:
                self._open_row(row)[self._rows.slots[i]] = observation
            except Exception:  # as in step
                self._write(row, i, observation)
            if info and self._keep_infos:
                self._log.reset_infos.append((i, episode_index, _kept(info)))
        except Exception as error:
            raise self._after(self._bad_reset(i, result, error)) from error

    def _stepper(self, i: int) -> SupportsStep:
        """Return what steps an env."""
        return self._clocks[i].around(self._envs[i]) if i in self._clocks else self._envs[i]

    def _reset_env(self, i: int, seed: int | None, options: dict[str, Any] | None) -> Any:
        self._call = Phase.RESET, i
        try:
            env = self._envs[i]
            if isinstance(env, SpareEnv):
                env.episode_index = self._episode[i]
            if i in self._clocks:
                return self._clocks[i].reset(env, seed, options)
            return env.reset(seed=seed, options=options)
        finally:
            self._call = None

    def call_under_way(self) -> Doing | None:
        """Return which call of an env is under way, for another thread that watches this one."""
        call, turn = self._call, self._turn
        if call is not None:
            return Doing(*call, self._episode.get(call[1]), call)
        _, stepped, *reached = turn.__reduce__()  # a list's iterator tells how far it is, which costs a step nothing
        if not reached or not reached[0]:
            return None
        i = stepped[0][reached[0] - 1][0]
        return Doing(Phase.STEP, i, self._episode.get(i), (turn, reached[0]))

    # ---- faults

    def _bad_step(self, i: int, result: Any, kept: tuple[Any, Any, Any], error: Exception) -> EnvError:
        if isinstance(error, MisfitError):
            return self._misfit(i, f"returned from step what does not fit its observation space: {error}")
        if isinstance(error, SignalError):
            return self._error(i, with_fix(f"returned from step {error}"), EnvSpaceError)
        if result is not _UNPACKED:
            what = "(observation, reward, terminated, truncated, info)"
            return self._misfit(i, f"returned {result_kind(result)} from step, not {what}")
        what = f"returned the reward {kept[0]!r} and the flags {kept[1:]!r} from step"
        wanted = f"A reward must be a number, terminated and truncated bools, the info a dict. {FIX_ENV}."
        return self._error(i, f"{what}; something of it cannot be kept: {describe(error)}. {wanted}", EnvSpaceError)

    def _bad_reset(self, i: int, result: Any, error: Exception) -> EnvError:
        if isinstance(error, MisfitError):
            return self._misfit(i, f"returned from reset what does not fit its observation space: {error}")
        if isinstance(result, tuple) and len(result) == 2:
            return self._error(i, f"returned from reset what cannot be kept: {describe(error)}", EnvSpaceError)
        return self._misfit(i, f"returned {result_kind(result)} from reset, not (observation, info)")

    @staticmethod
    def _after(error: EnvError) -> EnvError:
        error.after_step = True
        return error

    def _misfit(self, i: int, what: str) -> EnvError:
        return self._error(i, f"{what}. {FIX_ENV} (gymnasium.wrappers.TransformObservation).", EnvSpaceError)

    def _error(self, i: int, what: str, kind: type[EnvError] = EnvError) -> EnvError:
        return kind(what, env_index=i, episode_index=self._episode.get(i), seed=self._seed.get(i))


def _kept(info: object) -> dict[str, Any]:
    """Copy an info that is kept, as the env may change it."""
    if not isinstance(info, Mapping):
        raise TypeError(f"the info must be a dict, not a {type(info).__name__}")
    try:
        return dict(copied(info))
    except Exception as error:
        raise TypeError(f"the info cannot be copied ({describe(error)}): leave keep_infos out") from error
