"""Processors, history formats, executors, agents and runners with one fault each."""

from __future__ import annotations

import dataclasses
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from gymnasium import Space, spaces
from numpy.typing import NDArray
from typing_extensions import override

from runnerkit import GymRunner, RunSpec
from runnerkit.errors import ArgumentError, EnvError, SpaceError
from runnerkit.executors import EpisodeStart, Outcome, SerialExecutor
from runnerkit.executors.paces import SerialPaces
from runnerkit.history import ArrayHistory, Block, EpisodeLog, Rows
from runnerkit.typing import AnyEnv

Floats = NDArray[np.float32]


# ---- observation processors


class Double:
    """Twice the observation: nothing is wrong with it."""

    def bind(self, space: Space[Any], /) -> Space[Any]:
        if not isinstance(space, spaces.Box) or space.dtype != np.float32 or not space.shape:
            raise SpaceError(f"double needs a Box of float32, not {space}. Leave it out.")
        return spaces.Box(2 * space.low, 2 * space.high, space.shape, np.float32)

    def __call__(self, observations: Floats, /) -> Any:
        return observations * np.float32(2)


class WithoutBind:
    def __call__(self, observations: Floats, /) -> Any:
        return observations.copy()


ONE = Double()


class RefusesWithAttributeError(Double):
    @override
    def bind(self, space: Any, /) -> Space[Any]:
        if isinstance(space, spaces.Box):
            return super().bind(space)
        return space.box  # type: ignore[no-any-return]


class ChangesSpace(Double):
    @override
    def bind(self, space: Space[Any], /) -> Space[Any]:
        bound = super().bind(space)
        assert isinstance(space, spaces.Box)
        space.low -= 1
        return bound


class ReturnsFloat64(Double):
    @override
    def __call__(self, observations: Floats, /) -> Any:
        return observations.astype(np.float64) * 2


class LeavesBounds(Double):
    @override
    def __call__(self, observations: Floats, /) -> Any:
        return observations * np.float32(3)


class DropsRow(Double):
    @override
    def __call__(self, observations: Floats, /) -> Any:
        return super().__call__(observations)[: max(1, len(observations) - 1)]


class InPlace(Double):
    @override
    def __call__(self, observations: Floats, /) -> Any:
        result = super().__call__(observations)
        observations *= 0
        return result


class ReturnsView(Double):
    @override
    def bind(self, space: Space[Any], /) -> Space[Any]:
        super().bind(space)
        return space

    @override
    def __call__(self, observations: Floats, /) -> Any:
        return observations[:]


class ReusesBuffer(Double):
    buffer: Floats = np.zeros(0, np.float32)

    @override
    def __call__(self, observations: Floats, /) -> Any:
        if self.buffer.shape != observations.shape:
            self.buffer = np.zeros_like(observations)
        self.buffer[...] = super().__call__(observations)
        return self.buffer


class Noisy(Double):
    @override
    def __call__(self, observations: Floats, /) -> Any:
        return super().__call__(observations) * np.random.default_rng().uniform(0.5, 1, observations.shape).astype("f4")


class ClassCalls(Double):
    calls: ClassVar = [0]

    @override
    def bind(self, space: Space[Any], /) -> Space[Any]:
        self.calls[0] = 0
        return super().bind(space)

    @override
    def __call__(self, observations: Floats, /) -> Any:
        self.calls[0] += 1
        return super().__call__(observations) / np.float32(self.calls[0])


class BatchMean(Double):
    @override
    def __call__(self, observations: Floats, /) -> Any:
        return observations - observations.mean(axis=0)


class HalfAState(Double):
    calls = 0

    @override
    def __call__(self, observations: Floats, /) -> Any:
        self.calls += 1
        return super().__call__(observations) / np.float32(self.calls)

    def state_dict(self) -> dict[str, int]:
        return {}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Has nothing to load."""


class Previous(Double):
    """The observation before, in the same episode of the same env: nothing is wrong with it."""

    def __init__(self) -> None:
        self.before: dict[int, Floats] = {}
        self.active: Sequence[int] = ()

    @override
    def bind(self, space: Space[Any], /) -> Space[Any]:
        super().bind(space)
        return space

    def set_active_envs(self, env_indices: Sequence[int], /) -> None:
        self.active = env_indices

    def begin_episodes(self, env_indices: Sequence[int], /) -> None:
        for i in env_indices:
            self.before.pop(i, None)

    @override
    def __call__(self, observations: Floats, /) -> Any:
        rows = list(zip(self.active, observations, strict=True))
        result = [self.before.setdefault(i, row) for i, row in rows]
        self.before |= {i: row.copy() for i, row in rows}
        return np.stack(result)

    def final_observations(self, observations: Floats, /) -> Any:
        return self(observations)

    def episode_state(self) -> dict[str, Any]:
        return {"before": [[i, row.tolist()] for i, row in self.before.items()]}

    def load_episode_state(self, state: Mapping[str, Any], /) -> None:
        self.before = {i: np.array(row, np.float32) for i, row in state["before"]}


class StartsAnew(Previous):
    @override
    def load_episode_state(self, state: Mapping[str, Any], /) -> None:
        """Takes each running episode for a new one."""


class RowsForEnvs(Previous):
    @override
    def __call__(self, observations: Floats, /) -> Any:
        self.active = range(len(observations))
        return super().__call__(observations)


class NeverForgets(Previous):
    @override
    def begin_episodes(self, env_indices: Sequence[int], /) -> None:
        """Keeps the frames of the last episode."""


class ForgetsAll(Previous):
    @override
    def begin_episodes(self, env_indices: Sequence[int], /) -> None:
        self.before.clear()


class OtherFinals(Previous):
    @override
    def final_observations(self, observations: Floats, /) -> Any:
        return observations.astype(np.float64)


class MisspeltEpisodes(Double):
    def begin_episode(self, env_indices: Sequence[int], /) -> None:
        """Is never called."""


# ---- action processors


class Halve:
    """Half of the action: nothing is wrong with it."""

    def bind(self, space: Space[Any], /) -> Space[Any]:
        if not isinstance(space, spaces.Box) or space.dtype != np.float32 or not space.shape or not space.is_bounded():
            raise SpaceError(f"halve needs a bounded Box of float32, not {space}. Leave it out.")
        return spaces.Box(2 * space.low, 2 * space.high, space.shape, np.float32)

    def __call__(self, actions: Floats, /) -> Any:
        return actions / np.float32(2)


class DoublesInstead(Halve):
    @override
    def __call__(self, actions: Floats, /) -> Any:
        return actions * np.float32(2)


class ActsInPlace(Halve):
    @override
    def __call__(self, actions: Floats, /) -> Any:
        result = super().__call__(actions)
        actions *= 0
        return result


# ---- reward processors


class RewardSums:
    """The sum of an episode's rewards: nothing is wrong with it."""

    def __init__(self) -> None:
        self.sums = np.zeros(8)
        self.active: Sequence[int] = ()

    def set_active_envs(self, env_indices: Sequence[int], /) -> None:
        self.active = list(env_indices)

    def begin_episodes(self, env_indices: Sequence[int], /) -> None:
        self.sums[list(env_indices)] = 0

    def __call__(self, rewards: NDArray[np.float64], /) -> Any:
        self.sums[self.active] += rewards
        return self.sums[self.active]

    def episode_state(self) -> dict[str, Any]:
        return {"sums": self.sums.tolist()}

    def load_episode_state(self, state: Mapping[str, Any], /) -> None:
        self.sums = np.array(state["sums"])


class HalfTheSums(RewardSums):
    @override
    def episode_state(self) -> dict[str, Any]:
        return {"sums": (self.sums / 2).tolist()}


class SumsByRow(RewardSums):
    @override
    def __call__(self, rewards: NDArray[np.float64], /) -> Any:
        self.active = list(range(len(rewards)))
        return super().__call__(rewards)


class SumsForEver(RewardSums):
    @override
    def begin_episodes(self, env_indices: Sequence[int], /) -> None:
        """Keeps the sums."""


class ScalesInPlace:
    def __call__(self, rewards: NDArray[np.float64], /) -> Any:
        rewards *= 2
        return rewards.copy()


class OneForAll:
    def __call__(self, rewards: NDArray[np.float64], /) -> Any:
        return rewards.mean()


# ---- history formats


class Recorder:
    def __init__(self, spec: RunSpec) -> None:
        self.spec = spec

    def finish(self, block: Block, /) -> Sequence[Any]:
        return [self.history(block, i) for i in range(block.n_envs)]

    def history(self, block: Block, i: int) -> Any:
        return ArrayHistory[Any, Any](block, i, block.lengths[i])

    def close(self) -> None:
        """Has nothing open."""


class Format:
    """The arrays of a rollout: nothing is wrong with it."""

    recorder: type[Recorder] = Recorder

    def open(self, spec: RunSpec, /) -> Recorder:
        return self.recorder(spec)


class WithoutOpen:
    pass


class RefusesWithValueError(Format):
    @override
    def open(self, spec: RunSpec, /) -> Recorder:
        if isinstance(spec.observation_space, spaces.Text):
            raise ValueError("no texts")
        return super().open(spec)


def format_of(kind: type[Recorder]) -> type[Format]:
    return type(f"Format{kind.__name__}", (Format,), {"recorder": kind})


class LosesAnEnv(Recorder):
    @override
    def finish(self, block: Block, /) -> Sequence[Any]:
        return super().finish(block)[1:]


class _Changed:
    """A history with some columns changed."""

    def __init__(self, history: Any, **columns: Any) -> None:
        for name in ("observations", "actions", "rewards", "terminated", "truncated", "next_observations", "episodes"):
            setattr(self, name, columns.get(name, getattr(history, name)))


class Float32Rewards(Recorder):
    @override
    def history(self, block: Block, i: int) -> Any:
        history = super().history(block, i)
        return _Changed(history, rewards=history.rewards.astype(np.float32))


class NextRowAsNext(Recorder):
    """Takes the first observation of the next episode for the final one."""

    @override
    def history(self, block: Block, i: int) -> Any:
        history = super().history(block, i)
        after = block.layout.observation.batch(block.observations, (slice(1, len(history) + 1), i))
        return _Changed(history, next_observations=after)


class OneFlag(Recorder):
    @override
    def history(self, block: Block, i: int) -> Any:
        history = super().history(block, i)
        return _Changed(history, terminated=history.terminated | history.truncated)


class LosesAStep(Recorder):
    @override
    def history(self, block: Block, i: int) -> Any:
        history = super().history(block, i)
        return _Changed(history, rewards=history.rewards[1:])


class LosesWindows(Recorder):
    """Records the last window of a rollout only."""

    def begin(self) -> None:
        """Has nothing half done."""

    def record(self, block: Block, /) -> None:
        """Forgets it."""

    def earlier(self, env_index: int, /) -> Block | None:
        return None


class OtherSeeds(Recorder):
    @override
    def history(self, block: Block, i: int) -> Any:
        history = super().history(block, i)
        return _Changed(history, episodes=[dataclasses.replace(episode, seed=7) for episode in history.episodes])


class Stamped(Recorder):
    @override
    def history(self, block: Block, i: int) -> Any:
        return uuid.uuid4().hex


class GrowingList(Recorder):
    def __init__(self, spec: RunSpec) -> None:
        super().__init__(spec)
        self.rewards: list[list[float]] = [[] for _ in range(spec.n_envs)]

    @override
    def history(self, block: Block, i: int) -> Any:
        self.rewards[i] += block.rewards[: block.lengths[i], i].tolist()
        return self.rewards[i]


class StateInFormat(Format):
    class Counting(Recorder):
        format: StateInFormat

        @override
        def history(self, block: Block, i: int) -> Any:
            self.format.rollouts += 1
            return self.format.rollouts

    rollouts = 0

    @override
    def open(self, spec: RunSpec, /) -> Recorder:
        recorder = self.Counting(spec)
        recorder.format = self
        return recorder


class NeedsAllSteps(Recorder):
    @override
    def history(self, block: Block, i: int) -> Any:
        return float(block.rewards[7, i])


class KindOfBlock(Recorder):
    @override
    def history(self, block: Block, i: int) -> Any:
        return type(block).__name__


# ---- executors


class WithoutWorkers:
    def __init__(self, n_envs: int) -> None:
        self.n_envs = n_envs


class ZeroRewards(SerialExecutor):
    @override
    def step(self, at: int, row: int, actions: Rows, active: Sequence[int], restart: bool, /) -> list[int]:
        ended = super().step(at, row, actions, active, restart)
        assert self._block is not None
        self._block.rewards[at] = 0.0
        return ended


class NeverAlone(SerialExecutor):
    def __init__(self, n_envs: int, workers: int | None = None) -> None:
        if n_envs == 1:
            raise ArgumentError("needs two envs")
        super().__init__(n_envs, None)


class AlwaysRestarts(SerialExecutor):
    @override
    def step(self, at: int, row: int, actions: Rows, active: Sequence[int], restart: bool, /) -> list[int]:
        return super().step(at, row, actions, active, True)


class LosesRewardsOfFew(SerialExecutor):
    @override
    def step(self, at: int, row: int, actions: Rows, active: Sequence[int], restart: bool, /) -> list[int]:
        ended = super().step(at, row, actions, active, restart)
        if self._block is not None and len(active) < len(self.env_indices):
            self._block.rewards[at] = 0.0
        return ended


class LosesInfos(SerialExecutor):
    @override
    def drain(self) -> EpisodeLog:
        log = super().drain()
        log.infos = []
        return log


class LosesRewardsAtOwnPace(SerialExecutor):
    class Paces(SerialPaces):
        @override
        def outcomes(self, least: int, /) -> list[Outcome]:
            found = super().outcomes(least)
            assert self._share._block is not None
            self._share._block.rewards[...] = 0.0
            return found

    @override
    def paces(self) -> SerialPaces:
        return self.Paces(self)


class HidesTheEnv(SerialExecutor):
    @override
    def step(self, at: int, row: int, actions: Rows, active: Sequence[int], restart: bool, /) -> list[int]:
        try:
            return super().step(at, row, actions, active, restart)
        except EnvError:
            raise RuntimeError("an env failed") from None


class ForgetsTheMade(SerialExecutor):
    opened = False

    @override
    def open(self, make_env: Callable[[int], AnyEnv], options: Any, /) -> Any:
        facts = super().open(make_env, options)
        self.opened = True
        return facts

    @override
    def close(self, *, watched: bool = True) -> None:
        if self.opened:
            super().close(watched=watched)


class KeepsThread(SerialExecutor):
    @override
    def open(self, make_env: Callable[[int], AnyEnv], options: Any, /) -> Any:
        threading.Thread(target=threading.Event().wait, args=(8,), name="stepper", daemon=True).start()
        return super().open(make_env, options)


class ResetsToSeedZero(SerialExecutor):
    @override
    def reset(self, row: int, starts: Mapping[int, tuple[int, EpisodeStart]], /) -> None:
        super().reset(row, {i: (episode, EpisodeStart(0)) for i, (episode, _) in starts.items()})


# ---- agents


class Sign:
    """Goes where the first number points: nothing is wrong with it."""

    def act(self, observations: Floats, /) -> Any:
        return (observations[:, 0] > 0).astype(np.int64)


class WithoutAct:
    pass


class OutOfSpace(Sign):
    @override
    def act(self, observations: Floats, /) -> Any:
        return super().act(observations) + 5


class OneAction(Sign):
    @override
    def act(self, observations: Floats, /) -> Any:
        return super().act(observations)[:1]


class UnseededAgent(Sign):
    @override
    def act(self, observations: Floats, /) -> Any:
        return np.random.default_rng().integers(0, 2, len(observations))


class ClassSteps(Sign):
    steps: ClassVar = [0]

    def __init__(self) -> None:
        self.steps[0] = 0

    @override
    def act(self, observations: Floats, /) -> Any:
        self.steps[0] += 1
        return (super().act(observations) + self.steps[0]) % 2


class SpoilsObservations(Sign):
    @override
    def act(self, observations: Floats, /) -> Any:
        actions = super().act(observations)
        observations[...] = 0
        return actions


class BatchAgent(Sign):
    @override
    def act(self, observations: Floats, /) -> Any:
        return (observations[:, 0] > observations[:, 0].mean()).astype(np.int64)


class BatchValues(Sign):
    @override
    def act(self, observations: Floats, /) -> Any:
        return super().act(observations), {"value": observations[:, 0] - observations[:, 0].mean()}


class OneValue(Sign):
    @override
    def act(self, observations: Floats, /) -> Any:
        return super().act(observations), {"value": np.float32(0)}


class Alternating(Sign):
    """Has state, and clears it: nothing is wrong with it."""

    def __init__(self) -> None:
        self.steps: dict[int, int] = {}

    @override
    def act(self, observations: Floats, /) -> Any:
        for i in range(len(observations)):
            self.steps[i] = self.steps.get(i, 0) + 1
        return (super().act(observations) + [self.steps[i] for i in range(len(observations))]) % 2

    def begin_episodes(self, env_indices: Sequence[int], /) -> None:
        for i in env_indices:
            self.steps[i] = 0


class NeverClears(Alternating):
    @override
    def begin_episodes(self, env_indices: Sequence[int], /) -> None:
        """Forgets to clear."""


class ClearsAll(Alternating):
    @override
    def begin_episodes(self, env_indices: Sequence[int], /) -> None:
        self.steps.clear()


# ---- runners


class PlainRunner(GymRunner[Any, Any, Any]):
    """Nothing is wrong with it."""

    def __init__(self) -> None:
        super().__init__("CartPole-v1", 0, 2, executor="serial")


class LeavesARunnersThread(PlainRunner):
    def __init__(self) -> None:
        super().__init__()
        threading.Thread(target=threading.Event().wait, args=(8,), name="logger", daemon=True).start()


class NoSeed(PlainRunner):
    def __init__(self) -> None:
        GymRunner.__init__(self, "CartPole-v1", None, 2, executor="serial")


class OneList(PlainRunner):
    def __init__(self) -> None:
        super().__init__()
        self.rewards: list[list[float]] = [[], []]

    @override
    def rollout(self, *args: Any, **options: Any) -> list[Any]:
        for total, history in zip(self.rewards, super().rollout(*args, **options), strict=True):
            total += history.rewards.tolist()
        return list(self.rewards)


class NeverClosed(PlainRunner):
    @override
    def rollout(self, *args: Any, **options: Any) -> list[Any]:
        try:
            return super().rollout(*args, **options)
        except Exception:
            return []
