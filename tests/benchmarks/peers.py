"""The peers beside Gymnasium, each set up as its documentation does for speed, each only where it is installed.

Helper processes are forked: 64 of them start in a second that way, and it makes no difference to a step. They are
imported by name, as the project's type checks run where they are not installed.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gymnasium
from cells import Policy
from contestants import Contestant, Job, Open, Run, stepping, timed


def stable_baselines(name: str, **options: Any) -> Open:
    @contextmanager
    def open_envs(job: Job, policy: Policy) -> Iterator[Run]:
        vec_env: Any = importlib.import_module("stable_baselines3.common.vec_env")
        envs = getattr(vec_env, name)([lambda: gymnasium.make(job.cell.env_id)] * job.cell.n_envs, **options)
        try:
            yield stepping(envs, envs.reset(), job, policy)
        finally:
            envs.close()

    return open_envs


@contextmanager
def stable_baselines_collecting(job: Job, policy: Policy) -> Iterator[Run]:
    """Let A2C collect rollouts of `chunk` steps, for a policy that costs next to nothing."""
    torch: Any = importlib.import_module("torch")
    sb3: Any = importlib.import_module("stable_baselines3")
    vec_env: Any = importlib.import_module("stable_baselines3.common.vec_env")
    cell = job.cell
    envs = vec_env.DummyVecEnv([lambda: gymnasium.make(cell.env_id)] * cell.n_envs)
    zeros = torch.zeros(cell.n_envs)

    class Acting:
        """What `collect_rollouts` asks of a policy."""

        def set_training_mode(self, mode: bool) -> None: ...

        def __call__(self, observations: Any) -> Any:
            return torch.as_tensor(policy.act(observations)), zeros, zeros

        def predict_values(self, observations: Any) -> Any:
            return torch.zeros(len(observations))

    try:
        model = sb3.A2C("MlpPolicy", envs, n_steps=cell.chunk, device="cpu")
        _, callback = model._setup_learn(10**9)
        model.policy = Acting()

        def rollout() -> None:
            for _ in range(job.steps // cell.chunk):
                model.collect_rollouts(envs, callback, model.rollout_buffer, cell.chunk)

        yield lambda: timed(rollout)
    finally:
        envs.close()


def tianshou(name: str) -> Open:
    @contextmanager
    def open_collector(job: Job, policy: Policy) -> Iterator[Run]:
        data: Any = importlib.import_module("tianshou.data")
        base: Any = importlib.import_module("tianshou.algorithm.algorithm_base").Policy

        class Acting(base):  # type: ignore[misc]
            """What Tianshou's collector asks for actions."""

            def forward(self, batch: Any, state: Any = None, **_: Any) -> Any:
                return data.Batch(act=policy.act(batch.obs))

        envs = getattr(importlib.import_module("tianshou.env"), name)(
            [lambda: gymnasium.make(job.cell.env_id)] * job.cell.n_envs
        )
        try:
            acting = Acting(action_space=envs.action_space[0], observation_space=envs.observation_space[0])
            cell = job.cell
            n = (cell.chunk or job.steps) * cell.n_envs
            collector = data.Collector(acting, envs, data.VectorReplayBuffer(max(n, 1024), cell.n_envs))
            collector.reset()

            def rollout() -> None:
                for _ in range(job.steps // (cell.chunk or job.steps)):
                    collector.collect(n_step=n)

            yield lambda: timed(rollout)
        finally:
            envs.close()

    return open_collector


def torchrl(name: str, **options: Any) -> Open:
    @contextmanager
    def open_collector(job: Job, policy: Policy) -> Iterator[Run]:
        torch: Any = importlib.import_module("torch")
        envs_of: Any = importlib.import_module("torchrl.envs")
        collectors: Any = importlib.import_module("torchrl.collectors")

        def make() -> Any:
            return envs_of.GymEnv(job.cell.env_id, categorical_action_encoding=True)

        envs = getattr(envs_of, name)(job.cell.n_envs, make, **options)
        (key,) = {"observation", "pixels"}.intersection(envs.observation_spec.keys())

        def act(batch: Any) -> Any:
            batch["action"] = torch.as_tensor(policy.act(batch[key].numpy()))
            return batch

        collector = collectors.Collector(
            envs, act, frames_per_batch=job.steps * job.cell.n_envs, total_frames=-1, trust_policy=True
        )
        try:
            batches = iter(collector)
            yield lambda: timed(lambda: next(batches))
        finally:
            collector.shutdown()

    return open_collector


_SB3 = ["stable_baselines3.common.vec_env"]
_TIANSHOU = ["tianshou.data", "tianshou.env", "tianshou.algorithm.algorithm_base"]
_TORCHRL = ["torchrl.collectors", "torchrl.envs"]

PEERS = [
    Contestant("SB3 DummyVecEnv", stable_baselines("DummyVecEnv"), _SB3, overhead=3),
    Contestant("SB3 SubprocVecEnv", stable_baselines("SubprocVecEnv", start_method="fork"), _SB3, overhead=45),
    Contestant("Tianshou Dummy collector", tianshou("DummyVectorEnv"), _TIANSHOU, overhead=50),
    Contestant("Tianshou Subproc collector", tianshou("SubprocVectorEnv"), _TIANSHOU, overhead=100),
    Contestant("Tianshou Shmem collector", tianshou("ShmemVectorEnv"), _TIANSHOU, overhead=110),
    Contestant("SB3 A2C collect_rollouts", stable_baselines_collecting, [*_SB3, "torch"], overhead=40, kind="short"),
    Contestant("Tianshou collector, n_step", tianshou("DummyVectorEnv"), _TIANSHOU, overhead=200, kind="short"),
    Contestant("TorchRL SerialEnv collector", torchrl("SerialEnv"), _TORCHRL, overhead=140),
    Contestant("TorchRL ParallelEnv collector", torchrl("ParallelEnv", mp_start_method="fork"), _TORCHRL, overhead=350),
]
