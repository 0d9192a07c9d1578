"""The built-in plugin: what RunnerKit itself offers, through the same hooks as everyone."""

from __future__ import annotations

from collections.abc import Iterator

from runnerkit.executors.auto import AutoExecutor
from runnerkit.executors.base import MakeExecutor
from runnerkit.executors.serial import SerialExecutor
from runnerkit.executors.threads import ThreadsExecutor
from runnerkit.history.arrays import ArrayFormat
from runnerkit.history.base import HistoryFormat
from runnerkit.history.transitions import TransitionFormat
from runnerkit.hooks import Contribution, EnvFactory, hookimpl
from runnerkit.processors import ActionPostprocessor, ActionPreprocessor, Clip, Flatten, Normalize, Rescale, ScaleImage


def _torch_format() -> HistoryFormat[object]:
    from runnerkit.history.torch import TorchFormat  # the only way by which torch gets imported

    return TorchFormat()


def _processes() -> MakeExecutor:
    from runnerkit.executors.processes.executor import ProcessesExecutor  # with all that it takes to talk to processes

    return ProcessesExecutor


def _vector_factory() -> EnvFactory:
    from runnerkit._envs.vector import make_vector_env  # it looks plugins up, which this is one of

    return make_vector_env


@hookimpl.env_factories
def env_factories() -> Iterator[Contribution[EnvFactory]]:
    """Offer vector."""
    yield Contribution("vector", _vector_factory, "Gymnasium envs that step n envs at once, such as vector:CartPole-v1")


@hookimpl.action_preprocessors
def action_preprocessors() -> Iterator[Contribution[ActionPreprocessor]]:
    """Offer flatten, normalize and scale-image."""
    yield Contribution("flatten", Flatten, "any space of fixed length as one vector")
    yield Contribution("normalize", Normalize, "running mean 0 and variance 1")
    yield Contribution("scale-image", ScaleImage, "integer images as float32 in [0, 1]")


@hookimpl.action_postprocessors
def action_postprocessors() -> Iterator[Contribution[ActionPostprocessor]]:
    """Offer clip and rescale."""
    yield Contribution("clip", Clip, "clip actions to the env's bounds")
    yield Contribution("rescale", Rescale, "stretch actions in [-1, 1] to the env's bounds")


@hookimpl.history_formats
def history_formats() -> Iterator[Contribution[HistoryFormat[object]]]:
    """Offer arrays, torch and transitions."""
    yield Contribution("arrays", ArrayFormat, "NumPy arrays (the default)")
    yield Contribution("torch", _torch_format, "torch tensors over the same memory")
    yield Contribution("transitions", TransitionFormat, "a list of Transition")


@hookimpl.executors
def executors() -> Iterator[Contribution[MakeExecutor]]:
    """Offer auto, serial, threads and processes."""
    yield Contribution("auto", lambda: AutoExecutor, "serial or threads, whichever turns out faster (the default)")
    yield Contribution("serial", lambda: SerialExecutor, "the calling thread steps all envs")
    yield Contribution("threads", lambda: ThreadsExecutor, "one fixed thread per share of the envs")
    yield Contribution("processes", _processes, "one process per share of the envs, over shared memory")
