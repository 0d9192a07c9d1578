"""The built-in plugin: what RunnerKit itself offers, through the same hooks as everyone.

A table: nothing of it is imported before it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator

from runnerkit.executors.base import MakeExecutor
from runnerkit.history.base import HistoryFormat
from runnerkit.hooks import Contribution, EnvFactory, hookimpl
from runnerkit.processors import ActionPostprocessor, ActionPreprocessor, RewardProcessor

_PROCESSORS = "runnerkit.processors"
_EXECUTORS = "runnerkit.executors"
_HISTORY = "runnerkit.history"


@hookimpl.env_factories
def env_factories() -> Iterator[Contribution[EnvFactory]]:
    """Offer vector."""
    vector = "runnerkit._envs.vector:make_vector_env"
    yield Contribution("vector", vector, "Gymnasium envs that step n envs at once, such as vector:CartPole-v1")


@hookimpl.action_preprocessors
def action_preprocessors() -> Iterator[Contribution[ActionPreprocessor]]:
    """Offer flatten, frame-stack, last-action, normalize, scale-image and time-aware."""
    yield Contribution("flatten", f"{_PROCESSORS}:Flatten", "any space of fixed length as one vector")
    yield Contribution("frame-stack", f"{_PROCESSORS}:FrameStack", "the last k observations of the episode")
    yield Contribution("last-action", f"{_PROCESSORS}:LastAction", "the observation with the agent's last action")
    yield Contribution("normalize", f"{_PROCESSORS}:Normalize", "running mean 0 and variance 1")
    yield Contribution("scale-image", f"{_PROCESSORS}:ScaleImage", "integer images as float32 in [0, 1]")
    yield Contribution("time-aware", f"{_PROCESSORS}:TimeAware", "the observation with the steps since the reset")


@hookimpl.action_postprocessors
def action_postprocessors() -> Iterator[Contribution[ActionPostprocessor]]:
    """Offer clip and rescale."""
    yield Contribution("clip", f"{_PROCESSORS}:Clip", "clip actions to the env's bounds")
    yield Contribution("rescale", f"{_PROCESSORS}:Rescale", "stretch actions in [-1, 1] to the env's bounds")


@hookimpl.reward_processors
def reward_processors() -> Iterator[Contribution[RewardProcessor]]:
    """Offer clip, normalize-reward, scale and sign."""
    yield Contribution("clip", f"{_PROCESSORS}:ClipReward", "clip rewards to [-1, 1], or to other bounds")
    yield Contribution("normalize-reward", f"{_PROCESSORS}:NormalizeReward", "unit variance of discounted returns")
    yield Contribution("scale", f"{_PROCESSORS}:ScaleReward", "multiply rewards by a factor")
    yield Contribution("sign", f"{_PROCESSORS}:SignReward", "only the sign of rewards")


@hookimpl.history_formats
def history_formats() -> Iterator[Contribution[HistoryFormat[object]]]:
    """Offer arrays, torch, transitions and npz."""
    yield Contribution("arrays", f"{_HISTORY}.arrays:ArrayFormat", "NumPy arrays (the default)")
    yield Contribution("torch", f"{_HISTORY}.torch:TorchFormat", "torch tensors over the same memory")
    yield Contribution("transitions", f"{_HISTORY}.transitions:TransitionFormat", "a list of Transition")
    yield Contribution("npz", f"{_HISTORY}.npz:NpzFormat", "a folder of NumPy files, which survives kill -9")


@hookimpl.executors
def executors() -> Iterator[Contribution[MakeExecutor]]:
    """Offer auto, serial, threads, processes and asyncio."""
    yield Contribution("auto", f"{_EXECUTORS}.auto:AutoExecutor", "the faster one of serial and threads (the default)")
    yield Contribution("serial", f"{_EXECUTORS}.serial:SerialExecutor", "the calling thread steps all envs")
    yield Contribution("threads", f"{_EXECUTORS}.threads:ThreadsExecutor", "one fixed thread per share of the envs")
    processes = f"{_EXECUTORS}.processes.executor:ProcessesExecutor"
    yield Contribution("processes", processes, "one process per share of the envs, over shared memory")
    asynchronous = f"{_EXECUTORS}.asynchronous:AsyncioExecutor"
    yield Contribution("asyncio", asynchronous, "one event loop for envs with async def step")
