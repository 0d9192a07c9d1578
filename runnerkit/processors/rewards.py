"""The built-in reward processors, which change rewards before a learner sees them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from runnerkit.errors import ArgumentError
from runnerkit.processors.per_env import PerEnv

__all__ = ["ClipReward", "NormalizeReward", "ScaleReward", "SignReward"]

Rewards = NDArray[np.float64]

_PRIOR = 1e-4  # how many observations the first mean and variance, 0 and 1, count for


class ScaleReward:
    """Reward processor `scale`: rewards are multiplied by a factor.

    Args:
        factor: the factor.

    """

    def __init__(self, *, factor: float = 0.01) -> None:
        if not np.isfinite(factor):
            raise ArgumentError(f"ScaleReward needs a finite factor, not {factor}.")
        self.factor: float = factor

    def __call__(self, rewards: Rewards, /) -> Rewards:
        """Return the scaled rewards."""
        return rewards * self.factor


class ClipReward:
    """Reward processor `clip`: rewards are clipped to [low, high].

    Args:
        low: the lowest reward.
        high: the highest reward.

    """

    def __init__(self, *, low: float = -1.0, high: float = 1.0) -> None:
        if not low < high:
            raise ArgumentError(f"ClipReward needs low < high, not {low} and {high}.")
        self.low: float = low
        self.high: float = high

    def __call__(self, rewards: Rewards, /) -> Rewards:
        """Return the clipped rewards."""
        return np.clip(rewards, self.low, self.high)


class SignReward:
    """Reward processor `sign`: rewards become -1, 0 or 1, as in DQN for Atari games."""

    def __call__(self, rewards: Rewards, /) -> Rewards:
        """Return the signs."""
        return np.sign(rewards)


class NormalizeReward(PerEnv):
    """Reward processor `normalize-reward`: rewards are divided by the standard deviation of discounted returns::

        normalize = NormalizeReward(gamma=0.99)
        runner = GymRunner("HalfCheetah-v5", n_envs=8, reward_processors=[normalize])
        ...
        normalize.freeze()
        torch.save(normalize.state_dict(), path)                # or json.dump, or numpy.savez

    Each env has a discounted sum of its rewards since its episode began. The statistics are over these sums of all
    envs, each step once. It does what `VecNormalize` of Stable-Baselines3 does. The mean is not subtracted.

    Args:
        gamma: the discount per step, in [0, 1].
        epsilon: a number above 0 that is added to the variance.
        clip: the bound of the output, above 0.

    Attributes:
        count: how many sums were counted; the first mean and variance, 0 and 1, count for 0.0001.
        mean: the mean of the sums.
        var: their variance.
        is_frozen: whether counting has stopped.
        gamma: as given.
        epsilon: as given.
        clip: as given.

    """

    def __init__(self, *, gamma: float = 0.99, epsilon: float = 1e-8, clip: float = 10.0) -> None:
        super().__init__()
        if not 0 <= gamma <= 1:
            raise ArgumentError(f"NormalizeReward needs a gamma in [0, 1], not {gamma}.")
        if epsilon <= 0 or clip <= 0:
            raise ArgumentError(f"NormalizeReward needs epsilon > 0 and clip > 0, not {epsilon} and {clip}.")
        self.gamma: float = gamma
        self.epsilon: float = epsilon
        self.clip: float = clip
        self.count: float = _PRIOR
        self.mean: float = 0.0
        self.var: float = 1.0
        self.is_frozen: bool = False
        self._sums: Rewards = np.zeros(0)

    def __call__(self, rewards: Rewards, /) -> Rewards:
        """Count the step, unless frozen, and return the rewards normalised. Raises ValueError for NaN and infinity."""
        finite = np.isfinite(rewards)
        if not finite.all():
            row = int(np.argmin(finite))
            raise ValueError(f"rewards must be finite, row {row} has {rewards[row]}")
        envs = self._rows(len(rewards))
        if not self.is_frozen:
            before = np.where(self._take_begins(envs), 0.0, self._sums[envs])
            self._sums[envs] = sums = before * self.gamma + rewards
            self._count(sums)
        scaled: Rewards = rewards / np.sqrt(self.var + self.epsilon)
        return np.clip(scaled, -self.clip, self.clip)

    def _count(self, sums: Rewards) -> None:
        """Add a batch by the parallel update of Chan, Golub and LeVeque (1979)."""
        n = len(sums)
        mean, var = float(sums.mean()), float(sums.var())
        total, delta = self.count + n, mean - self.mean
        spread = self.var * self.count + var * n + delta**2 * (self.count * n / total)
        self.mean, self.var, self.count = self.mean + delta * (n / total), spread / total, total

    @override
    def _tables(self) -> list[Rewards]:
        return [self._sums]

    @override
    def _set_tables(self, tables: Sequence[Rewards]) -> None:
        (self._sums,) = tables

    def freeze(self, frozen: bool = True) -> None:
        """Stop counting; with `frozen=False`, count again."""
        self.is_frozen = frozen

    def frozen(self) -> NormalizeReward:
        """Return a frozen copy, for evaluation."""
        copy = NormalizeReward(gamma=self.gamma, epsilon=self.epsilon, clip=self.clip)
        copy.load_state_dict(self.state_dict())
        copy.freeze()
        return copy

    def state_dict(self) -> dict[str, float]:
        """Return the statistics: `count`, `mean` and `var`."""
        return {"count": self.count, "mean": self.mean, "var": self.var}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Load statistics that `state_dict` returned."""
        missing = {"count", "mean", "var"} - state.keys()
        if missing:
            found = sorted(missing)
            raise ArgumentError(f"NormalizeReward.load_state_dict needs count, mean and var; missing: {found}.")
        self.count, self.mean, self.var = (float(state[name]) for name in ("count", "mean", "var"))
