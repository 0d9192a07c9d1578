"""Envs and env factories with one fault each."""

from __future__ import annotations

import copy
import os
import random
import threading
import time
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium import Space, spaces
from numpy.typing import NDArray
from typing_extensions import override

from runnerkit.errors import UnknownNameError
from runnerkit.typing import AnyEnv

Step = tuple[Any, Any, Any, Any, Any]
Reset = tuple[Any, dict[str, Any]]


class Walk(gymnasium.Env[Any, Any]):
    """A random walk of at most seven steps: nothing is wrong with it."""

    observation_space: Space[Any] = spaces.Box(-100.0, 100.0, (2,), np.float32)
    action_space: Space[Any] = spaces.Box(-1.0, 1.0, (2,), np.float32)

    def __init__(self) -> None:
        self.at: NDArray[np.float32] = np.zeros(2, np.float32)
        self.t = 0

    @override
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Reset:
        super().reset(seed=seed)
        self.at = self.np_random.uniform(-1, 1, 2).astype(np.float32)
        self.t = 0
        return self.observation(), {}

    @override
    def step(self, action: Any) -> Step:
        self.at = self.at + action
        self.t += 1
        return self.observation(), float(self.at.sum()), self.t == 7, False, {}

    def observation(self) -> Any:
        return self.at.copy()


class Drifting(Walk):
    """A walk with noise, which says where it stands: nothing is wrong with it."""

    @override
    def step(self, action: Any) -> Step:
        return super().step(action + self.np_random.uniform(-1, 1, 2).astype(np.float32))

    def snapshot(self) -> Any:
        return [self.at.copy(), self.t, self.np_random.bit_generator.state]

    def restore(self, snapshot: Any) -> None:
        self.at, self.t, self.np_random.bit_generator.state = snapshot


class ForgetsItsGenerator(Drifting):
    @override
    def restore(self, snapshot: Any) -> None:
        self.at, self.t, _ = snapshot


class KeepsAnObject(Drifting):
    @override
    def snapshot(self) -> Any:
        return [*super().snapshot()[:2], copy.deepcopy(self.np_random)]

    @override
    def restore(self, snapshot: Any) -> None:
        self.at, self.t, self.np_random = snapshot


class FourTuple(Walk):
    @override
    def step(self, action: Any) -> Any:
        observation, reward, terminated, _, info = super().step(action)
        return observation, reward, terminated, info


class FlagOfInt(Walk):
    @override
    def step(self, action: Any) -> Step:
        observation, reward, terminated, truncated, info = super().step(action)
        return observation, reward, int(terminated), truncated, info


class VectorReward(Walk):
    @override
    def step(self, action: Any) -> Step:
        observation, reward, terminated, truncated, info = super().step(action)
        return observation, np.array([reward, 0.0]), terminated, truncated, info


class NoInfo(Walk):
    @override
    def step(self, action: Any) -> Step:
        return (*super().step(action)[:4], None)


class ResetOfObservation(Walk):
    @override
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        return super().reset(seed=seed)[0]


class Float64(Walk):
    @override
    def observation(self) -> Any:
        return self.at.astype(np.float64)


class OutOfBounds(Walk):
    observation_space: Space[Any] = spaces.Box(-0.5, 0.5, (2,), np.float32)


class OtherShape(Walk):
    @override
    def observation(self) -> Any:
        return self.at[None].copy()


class GlobalNumPy(Walk):
    @override
    def observation(self) -> Any:
        return self.at + np.random.uniform(0, 1, 2).astype(np.float32)


class SeedsRandom(Walk):
    @override
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Reset:
        random.seed(seed)
        return super().reset(seed=seed)


class Unseeded(Walk):
    def __init__(self) -> None:
        super().__init__()
        self.random = np.random.default_rng()

    @override
    def observation(self) -> Any:
        return self.at + self.random.uniform(0, 1, 2).astype(np.float32)


class CountsEpisodes(Walk):
    episodes = 0

    @override
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Reset:
        self.episodes += 1
        return super().reset(seed=seed)

    @override
    def observation(self) -> Any:
        return self.at + np.float32(self.episodes)


class SpoilsActions(Walk):
    @override
    def step(self, action: Any) -> Step:
        result = super().step(action)
        action[...] = 0
        return result


class OneBuffer(Walk):
    def __init__(self) -> None:
        super().__init__()
        self.buffer = np.zeros(2, np.float32)

    @override
    def observation(self) -> Any:
        self.buffer[...] = self.at
        return self.buffer


class ClassState(Walk):
    step_count: ClassVar = [0]

    @override
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Reset:
        self.step_count[0] = 0
        return super().reset(seed=seed)

    @override
    def observation(self) -> Any:
        self.step_count[0] += 1
        return self.at + np.float32(self.step_count[0])


SCRATCH = np.zeros(2, np.float32)


class ModuleScratch(Walk):
    @override
    def observation(self) -> Any:
        SCRATCH[...] = self.at
        time.sleep(0.001)  # as long as a step of a real env
        return SCRATCH.copy()


class HashOfText(Walk):
    @override
    def observation(self) -> Any:
        return self.at + np.float32(hash("left") % 13)


class ProcessId(Walk):
    @override
    def observation(self) -> Any:
        return self.at + np.float32(os.getpid() % 89 / 100)


class ClosesOnce(Walk):
    closed = False

    @override
    def close(self) -> None:
        if self.closed:
            raise RuntimeError("closed already")
        self.closed = True


class LeavesThread(Walk):
    def __init__(self) -> None:
        super().__init__()
        self.stop = threading.Event()
        threading.Thread(target=self.stop.wait, args=(8,), name="simulator", daemon=True).start()


class Same:
    """Returns the env that it made the first time."""

    def __init__(self) -> None:
        self.env = Walk()

    def __call__(self, seed: int | None) -> AnyEnv:
        return self.env


class Locked:
    """Cannot be pickled."""

    def __init__(self) -> None:
        self.lock = threading.Lock()

    def __call__(self, seed: int | None) -> AnyEnv:
        with self.lock:
            return Walk()


def raises_key_error(env_id: str, /, *, seed: int | None, **options: Any) -> AnyEnv:
    return {"Walk": Walk}[env_id]()


def tells_no_ids(env_id: str, /, *, seed: int | None, **options: Any) -> AnyEnv:
    if env_id != "Walk":
        raise UnknownNameError("walk", env_id, ())
    return Walk()


class Maker:
    """Makes envs of a class; it can be pickled."""

    def __init__(self, kind: type[Walk]) -> None:
        self.kind = kind

    def __call__(self, seed: int | None) -> AnyEnv:
        return self.kind()


# ---- vector envs


class WalkVector(gymnasium.vector.SyncVectorEnv):
    """Three walks: nothing is wrong with it."""

    mode = gymnasium.vector.AutoresetMode.NEXT_STEP

    def __init__(self) -> None:
        super().__init__([Walk] * 3, autoreset_mode=self.mode)


class SaysNothing(WalkVector):
    def __init__(self) -> None:
        super().__init__()
        self.metadata = {}


class SaysSameStep(WalkVector):
    def __init__(self) -> None:
        super().__init__()
        self.metadata = {**self.metadata, "autoreset_mode": gymnasium.vector.AutoresetMode.SAME_STEP}


class SaysNextStep(WalkVector):
    mode = gymnasium.vector.AutoresetMode.SAME_STEP

    def __init__(self) -> None:
        super().__init__()
        self.metadata = {**self.metadata, "autoreset_mode": gymnasium.vector.AutoresetMode.NEXT_STEP}


class ColumnOfRewards(WalkVector):
    @override
    def step(self, actions: Any) -> Any:
        observations, rewards, *rest = super().step(actions)
        return observations, rewards[:, None], *rest


class SpoilsBatches(WalkVector):
    @override
    def step(self, actions: Any) -> Any:
        result = super().step(actions)
        actions[...] = 0
        return result


class SameSeeds(WalkVector):
    @override
    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> Any:
        seeds: Any = [seed] * 3 if isinstance(seed, int) else seed
        return super().reset(seed=seeds, options=options)
