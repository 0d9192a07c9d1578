"""What is measured: cells (an env, how many of them, a policy), and the policies, the same ones for all contestants."""

from __future__ import annotations

import dataclasses
import importlib
from dataclasses import dataclass
from typing import Any, Literal, Protocol, cast, get_args

import gymnasium
import numpy as np
from typing_extensions import override

PolicyName = Literal["random", "mlp"]


@dataclass(frozen=True)
class Cell:
    """`CartPole-v1:8` is 8 of them under random actions, `:mlp` a network, `:vector` one native vector env."""

    env_id: str
    n_envs: int
    policy: PolicyName = "random"
    vector: bool = False
    micros: float = 20.0
    """About what the bare loop takes per env and step, to know how many steps make a measurement."""

    @override
    def __str__(self) -> str:
        extras = (["mlp"] if self.policy == "mlp" else []) + (["vector"] if self.vector else [])
        return ":".join([self.env_id, str(self.n_envs), *extras])

    @property
    def title(self) -> str:
        """As a heading: `CartPole-v1 N=8, MLP`."""
        vector = " native vector env" if self.vector else ""
        return f"{self.env_id}{vector} N={self.n_envs}" + (", MLP" if self.policy == "mlp" else "")

    def steps(self, seconds: float, overhead: float = 0.0) -> int:
        """Return how many steps take about so long for one who needs `overhead` microseconds more per env and step."""
        return max(4, round(seconds * 1e6 / (self.n_envs * (self.micros + overhead))))


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


def parse_cell(text: str) -> Cell:
    """Return the cell of that name; raises ValueError for what is none."""
    for cell in CELLS:
        if str(cell) == text:
            return cell
    rest, vector = text.removesuffix(":vector"), text.endswith(":vector")
    policies = [name for name in get_args(PolicyName) if rest.endswith(f":{name}")]
    env_id, _, n_envs = rest.removesuffix(f":{policies[0]}" if policies else "").rpartition(":")
    if not env_id or not n_envs.isdecimal() or int(n_envs) < 1:
        raise ValueError(f"A cell is ENV:N, ENV:N:mlp or ENV:N:vector, such as CartPole-v1:8, not {text!r}.")
    return Cell(env_id, int(n_envs), policies[0] if policies else "random", vector)


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


class MlpPolicy:
    """A network of two layers of 64, of which actions are sampled."""

    def __init__(self, cell: Cell) -> None:
        import torch

        env = _spaces(cell)
        inputs = int(np.prod(env.observation_space.shape or ()))
        outputs = cast(gymnasium.spaces.Discrete[Any], env.action_space).n
        torch.manual_seed(0)
        self._torch = torch
        self._inputs = inputs
        self._network = torch.nn.Sequential(
            torch.nn.Linear(inputs, 64),
            torch.nn.Tanh(),
            torch.nn.Linear(64, 64),
            torch.nn.Tanh(),
            torch.nn.Linear(64, int(outputs)),
        )

    def act(self, observations: Any) -> Any:
        torch = self._torch
        with torch.inference_mode():
            rows = np.asarray(observations, np.float32).reshape(-1, self._inputs)
            logits = self._network(torch.from_numpy(rows))
            gumbel = torch.empty_like(logits).exponential_().log_()  # the cheapest way to sample
            return (logits - gumbel).argmax(1).numpy()


def make_policy(cell: Cell) -> Policy:
    """Return the policy of a cell; its env is known to Gymnasium from then on."""
    if cell.env_id.startswith("ALE/"):
        gymnasium.register_envs(importlib.import_module("ale_py"))
    return MlpPolicy(cell) if cell.policy == "mlp" else TablePolicy(cell)


def _spaces(cell: Cell) -> gymnasium.Env[Any, Any]:
    env = gymnasium.make(cell.env_id)
    env.close()
    return env
