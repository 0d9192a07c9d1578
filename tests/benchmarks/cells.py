"""What is measured: cells (an env, how many of them, a policy), and the policies, the same ones for all contestants."""

from __future__ import annotations

import dataclasses
import importlib
import re
from dataclasses import dataclass
from typing import Any, Literal, Protocol, cast

import gymnasium
import numpy as np
from typing_extensions import override

PolicyName = Literal["random", "mlp", "cnn"]
Kind = Literal["single", "vector", "short"]


@dataclass(frozen=True)
class Cell:
    """`CartPole-v1:8` is 8 of them under random actions.

    `:mlp` and `:cnn` are networks, `:vector` is one native vector env, `:by4` are many short rollouts of 4 steps each.
    """

    env_id: str
    n_envs: int
    policy: PolicyName = "random"
    vector: bool = False
    chunk: int = 0
    """The steps of each short rollout."""
    micros: float = 20.0
    """About what the bare loop takes per env and step, to know how many steps make a measurement."""

    @override
    def __str__(self) -> str:
        extras: list[str] = [self.policy] if self.policy != "random" else []
        extras += ["vector"] if self.vector else []
        extras += [f"by{self.chunk}"] if self.chunk else []
        return ":".join([self.env_id, str(self.n_envs), *extras])

    @property
    def kind(self) -> Kind:
        """Which contestants it is for."""
        return "vector" if self.vector else "short" if self.chunk else "single"

    @property
    def title(self) -> str:
        """As a heading: `CartPole-v1 N=8, MLP`."""
        name = self.env_id.removeprefix("bench_envs:") + (" native vector env" if self.vector else "")
        network = f", {self.policy.upper()}" if self.policy != "random" else ""
        return f"{name} N={self.n_envs}{network}" + (f", by {self.chunk}" if self.chunk else "")

    def steps(self, seconds: float, overhead: float = 0.0) -> int:
        """Return how many steps take about so long for one who needs `overhead` microseconds more per env and step."""
        steps = max(4, round(seconds * 1e6 / (self.n_envs * (self.micros + overhead))))
        return max(1, steps // self.chunk) * self.chunk if self.chunk else steps


CELLS = [
    Cell("CartPole-v1", 8, micros=5),
    Cell("CartPole-v1", 64, micros=5),
    Cell("Acrobot-v1", 8, micros=25),
    Cell("HalfCheetah-v5", 8, micros=50),
    Cell("Humanoid-v5", 8, micros=200),
    Cell("ALE/Pong-v5", 8, micros=200),
    Cell("CartPole-v1", 8, "mlp", micros=14),
    Cell("Acrobot-v1", 8, "mlp", micros=33),
    Cell("CartPole-v1", 64, vector=True, micros=1),
]
SLOW_RESET = "bench_envs:SlowReset-v0"
UNEVEN = "bench_envs:Uneven-v0"
WAITING = "bench_envs:Waiting-v0"
SHORT = [Cell("CartPole-v1", n, chunk=k, micros=8) for n in (1, 8) for k in (1, 4, 16)]
ODD = [
    Cell(UNEVEN, 8, micros=220),
    Cell(SLOW_RESET, 8, micros=1500),
    Cell(WAITING, 8, micros=4200),
    Cell("ALE/Pong-v5", 8, "cnn", micros=900),
]
"""Envs that are hard to step together: see `bench_envs`."""


_CELL = re.compile(r"(?P<env_id>.+?):(?P<n>[1-9]\d*)(:(?P<policy>mlp|cnn))?((?P<vector>:vector)|:by(?P<k>[1-9]\d*))?")


def parse_cell(text: str) -> Cell:
    """Return the cell of that name; raises ValueError for what is none."""
    for cell in [*CELLS, *SHORT, *ODD]:
        if str(cell) == text:
            return cell
    found = re.fullmatch(
        r"(?P<env_id>.+?):(?P<n>[1-9]\d*)(:(?P<policy>mlp|cnn))?((?P<vector>:vector)|:by(?P<k>[1-9]\d*))?", text
    )
    if found is None:
        raise ValueError(f"A cell is ENV:N, ENV:N:mlp, ENV:N:vector or ENV:N:by4, such as CartPole-v1:8, not {text!r}.")
    policy = cast(PolicyName, found["policy"] or "random")
    return Cell(found["env_id"], int(found["n"]), policy, found["vector"] is not None, int(found["k"] or 0))


def over_envs(env_id: str) -> list[Cell]:
    """Return cells of 1, 2, 4 ... 256 such envs."""
    known = next((cell for cell in CELLS if cell.env_id == env_id), Cell(env_id, 1))
    return [dataclasses.replace(known, n_envs=2**k) for k in range(9)]


class Policy(Protocol):
    def act(self, observations: Any) -> Any:
        """Return one action per row of a batch of observations: an array, or a list of them."""
        ...


class TablePolicy:
    """Random actions out of a table: the same for all, and next to no work."""

    def __init__(self, cell: Cell) -> None:
        space = _spaces(cell).action_space
        space.seed(0)
        self._table = [np.stack([space.sample() for _ in range(cell.n_envs)]) for _ in range(1024)]
        self._next = 0

    def act(self, observations: Any) -> Any:
        self._next = (self._next + 1) % 1024
        return self._table[self._next][: len(observations)]


class NetworkPolicy:
    """A network, of whose outputs actions are sampled: two layers of 64, or the three convolutions of DQN's authors.

    V. Mnih and others, "Human-level control through deep reinforcement learning", 2015. Its input is every other row
    and column in grey, which costs next to nothing to make.
    """

    def __init__(self, cell: Cell) -> None:
        import torch

        env = _spaces(cell)
        outputs = int(cast("gymnasium.spaces.Discrete[Any]", env.action_space).n)
        torch.manual_seed(0)
        self._torch: Any = torch
        self._is_image: bool = cell.policy == "cnn"
        self._inputs = int(np.prod(env.observation_space.shape or ()))
        nn: Any = torch.nn
        if self._is_image:
            image = nn.Sequential(
                *(nn.Conv2d(1, 32, 8, 4), nn.ReLU(), nn.Conv2d(32, 64, 4, 2), nn.ReLU()),
                *(nn.Conv2d(64, 64, 3, 1), nn.ReLU(), nn.Flatten(), nn.LazyLinear(512), nn.ReLU()),
            )
            self._network: Any = nn.Sequential(image, nn.Linear(512, outputs))
        else:
            hidden = [nn.Linear(self._inputs, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh()]
            self._network = nn.Sequential(*hidden, nn.Linear(64, outputs))

    def act(self, observations: Any) -> Any:
        torch = self._torch
        with torch.inference_mode():
            logits = self._network(self._input(np.asarray(observations)))
            gumbel = torch.empty_like(logits).exponential_().log_()  # the cheapest way to sample
            return (logits - gumbel).argmax(1).numpy()

    def _input(self, observations: Any) -> Any:
        if not self._is_image:
            return self._torch.from_numpy(np.asarray(observations, np.float32).reshape(-1, self._inputs))
        grey = observations[:, None, ::2, ::2, 1]
        return self._torch.from_numpy(grey.astype(np.float32) / 255)


def make_policy(cell: Cell) -> Policy:
    """Return the policy of a cell; its env is known to Gymnasium from then on."""
    if cell.env_id.startswith("ALE/"):
        gymnasium.register_envs(importlib.import_module("ale_py"))
    return TablePolicy(cell) if cell.policy == "random" else NetworkPolicy(cell)


def _spaces(cell: Cell) -> gymnasium.Env[Any, Any]:
    env = gymnasium.make(cell.env_id)
    env.close()
    return env
