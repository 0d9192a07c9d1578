"""Tensors on a GPU: agents, envs and learners that live there. Skipped where there is none.

`RUNNERKIT_TEST_DEVICE=cpu` runs the same on the CPU.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from typing_extensions import override

import runnerkit
import runnerkit.agents

torch: Any = pytest.importorskip("torch")
DEVICE = os.environ.get("RUNNERKIT_TEST_DEVICE", "cuda")
pytestmark = pytest.mark.skipif(DEVICE == "cuda" and not torch.cuda.is_available(), reason="needs a GPU")


class Policy(torch.nn.Module):  # type: ignore[misc]
    """A network that chooses and values, wherever it lives. Its numbers are small integers, so that all agree."""

    def __init__(self, device: str) -> None:
        super().__init__()
        self.device = device
        self.scale = torch.nn.Parameter(torch.tensor([0.0, 0.0, 1.0, 1.0], device=device))

    def value(self, observations: Any) -> Any:
        rows = torch.as_tensor(observations, device=self.device)
        return torch.floor((rows * self.scale).sum(1) * 8)  # with a gradient, as in training

    def act(self, observations: Any) -> Any:
        values = self.value(observations)
        return (values > 0).long(), {"value": values, "log_prob": values.detach().double() / 4}


@pytest.fixture(params=["serial", "threads", "processes"])
def executor(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def columns(history: Any) -> list[bytes]:
    """Return all that there is of a history."""
    arrays = [history.observations, history.actions, history.rewards, history.terminated, history.next_observations]
    return [array.tobytes() for array in (*arrays, *history.extras.values())]


def test_an_agent_on_the_gpu_gives_the_data_of_one_on_the_cpu(executor: str) -> None:
    with runnerkit.make("CartPole-v1", n_envs=4, seed=1, executor=executor) as runner:
        on_device = runner.rollout(Policy(DEVICE), steps=60)
    with runnerkit.make("CartPole-v1", n_envs=4, seed=1) as runner:
        on_cpu = runner.rollout(Policy("cpu"), steps=60)
    assert [columns(history) for history in on_device] == [columns(history) for history in on_cpu]
    assert on_device[0].extras["value"].dtype == np.float32
    assert on_device[0].extras["log_prob"].dtype == np.float64


@pytest.mark.parametrize("history", ["arrays", "torch"])
def test_advantages_by_a_critic_on_the_gpu_are_those_of_one_on_the_cpu(history: Any) -> None:
    targets: list[Any] = []
    batch: Any = None
    for device in (DEVICE, "cpu"):
        policy = Policy(device)
        with runnerkit.make("CartPole-v1", n_envs=3, seed=2, history=history) as runner:
            batch = runnerkit.stack(runner.rollout(policy, steps=50))
        for values in (None, "value"):
            targets.append(runnerkit.gae(batch, value=policy.value, values=values))
    for other in targets[1:]:
        assert np.array_equal(np.asarray(targets[0].advantages), np.asarray(other.advantages))
    if history == "torch":
        assert targets[0].advantages.device.type == "cpu"
        assert batch.observations.to(DEVICE).device.type == DEVICE


class OnDevice(gymnasium.Wrapper[Any, Any, Any, Any]):
    """All that the env returns are tensors."""

    @override
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        observation, _ = self.env.reset(seed=seed, options=options)
        return torch.as_tensor(observation, device=DEVICE), {"height": torch.ones(2, device=DEVICE)}

    @override
    def step(self, action: Any) -> Any:
        observation, reward, terminated, truncated, _ = self.env.step(action)
        flags = (torch.tensor(flag, device=DEVICE) for flag in (terminated, truncated))
        info = {"height": torch.full((2,), 0.5, device=DEVICE)}
        return torch.as_tensor(observation, device=DEVICE), torch.tensor(reward, device=DEVICE), *flags, info


def test_a_single_env_may_return_tensors_on_the_gpu(executor: str) -> None:
    if executor == "processes" and DEVICE == "cuda":
        pytest.skip("a CUDA context per helper takes seconds")
    balance = lambda observations: (observations[:, 2] + observations[:, 3] > 0).astype(np.int64)  # noqa: E731

    def collect(make: Callable[[int | None], Any], **options: Any) -> list[Any]:
        with runnerkit.make(make, n_envs=2, seed=3, executor=executor, **options) as runner:
            return list(runner.rollout(balance, steps=80))

    on_device = collect(lambda _: OnDevice(gymnasium.make("CartPole-v1")), keep_infos=True)
    plain = collect(lambda _: gymnasium.make("CartPole-v1"))
    assert [columns(history) for history in on_device] == [columns(history) for history in plain]
    assert on_device[0].infos[5]["height"].tolist() == [0.5, 0.5]


class Simulator(VectorEnv[Any, Any, Any]):
    """A simulator whose envs all live on the device, and which resets within the step, as those on GPUs do."""

    metadata: dict[str, Any] = {"autoreset_mode": AutoresetMode.SAME_STEP}  # noqa: RUF012

    def __init__(self, device: str, n: int) -> None:
        self.num_envs = n
        self.single_observation_space = spaces.Box(-9, 99, (2,), np.float32)
        self.single_action_space = spaces.Box(-1, 1, (1,), np.float32)
        self._lengths = torch.arange(2, n + 2, device=device)
        self._state = torch.zeros((n, 2), device=device)

    @classmethod
    def of(cls, seed: int | None, n_envs: int, device: str) -> Simulator:
        return cls(device, n_envs)

    @override
    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        self._state.zero_()
        return self._state.clone(), {}

    @override
    def step(self, actions: Any) -> Any:
        self._state[:, 0] += 1
        self._state[:, 1] += torch.as_tensor(actions, device=self._state.device)[:, 0]
        over = self._state[:, 0] >= self._lengths
        infos = {"final_obs": self._state.clone(), "_final_obs": over, "speed": self._state[:, 1] * 2}
        self._state[over] = 0
        return self._state.clone(), self._state[:, 1].double() + 1, over, torch.zeros_like(over), infos


def halves(observations: Any) -> Any:
    return np.full((len(observations), 1), 0.5, np.float32)


def test_a_simulator_on_the_gpu_gives_the_data_of_one_on_the_cpu() -> None:
    found = []
    for device in (DEVICE, "cpu"):
        make: Any = functools.partial(Simulator.of, device=device)
        with runnerkit.make(make, n_envs=5, keep_infos=True) as runner:
            found.append(runner.rollout(halves, steps=12))
    assert [columns(history) for history in found[0]] == [columns(history) for history in found[1]]
    assert found[0][0].next_known.all()
    assert [record.length for record in found[0][1].episodes] == [3, 3, 3, 3]
    assert float(found[0][2].infos[0]["speed"]) == 1.0


def network() -> Any:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, 64), torch.nn.Tanh(), torch.nn.Linear(64, 2))


@pytest.mark.parametrize("sample", [True, False])
def test_a_module_on_the_gpu_becomes_an_agent_as_one_on_the_cpu_does(sample: bool) -> None:
    found = []
    for device in (DEVICE, "cpu"):
        with runnerkit.make("CartPole-v1", n_envs=4, seed=4) as runner:
            agent = runnerkit.agents.from_module(network().to(device), runner.action_space, sample=sample)
            found.append(runner.rollout(agent, steps=50))
    for on_device, on_cpu in zip(*found, strict=True):
        assert on_device.observations.tobytes() == on_cpu.observations.tobytes()
        if sample:  # whose last bits are those of the device's matrix products
            np.testing.assert_allclose(on_device.extras["log_prob"], on_cpu.extras["log_prob"], rtol=1e-4)


def test_a_fixed_batch_on_the_gpu_gives_the_last_bits_of_lockstep() -> None:
    model = network().to(DEVICE)

    def act(observations: Any) -> Any:
        with torch.no_grad():
            logits = model(torch.as_tensor(observations, device=DEVICE))
        return logits.argmax(1), {"logit": logits[:, 0]}

    found = []
    for least in (None, 2):
        with runnerkit.make("CartPole-v1", n_envs=5, seed=5, executor="threads") as runner:
            agent = runnerkit.agents.FixedBatch(act, n_envs=5)
            found.append([columns(history) for history in runner.rollout(agent, steps=60, min_batch=least)])
    assert found[0] == found[1]
