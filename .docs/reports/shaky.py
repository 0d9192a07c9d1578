"""CartPole in a simulator that loses its connection in every twentieth episode or so."""

from __future__ import annotations

from typing import Any

import gymnasium
from typing_extensions import override

__all__ = ["Shaky", "shaky_cartpole"]


class Shaky(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Fails in the ninth step of some episodes; which ones, the seed says."""

    @override
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self.left = 9 if seed is not None and seed % 20 == 0 else -1
        return self.env.reset(seed=seed, options=options)

    @override
    def step(self, action: Any) -> Any:
        self.left -= 1
        if self.left == 0:
            raise ConnectionError("the simulator does not answer any more")
        return self.env.step(action)


def shaky_cartpole(_seed: int | None) -> gymnasium.Env[Any, Any]:
    """Return such an env."""
    return Shaky(gymnasium.make("CartPole-v1"))
