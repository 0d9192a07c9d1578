"""CallingRunner: questions to the envs of a runner, between rollouts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from runnerkit._core.types import ActT, ObsT
from runnerkit._rollout.config import is_index
from runnerkit._rollout.stepping import SteppingRunner
from runnerkit.errors import ArgumentError
from runnerkit.executors.env_calls import EnvCall, SupportsEnvCalls
from runnerkit.history.arrays import HistoryT

__all__ = ["CallingRunner"]


class CallingRunner(SteppingRunner[ObsT, ActT, HistoryT]):
    """A runner whose envs can be asked for something between rollouts."""

    def call(self, name: str, /, *args: Any, env_indices: Iterable[int] | None = None, **keywords: Any) -> list[Any]:
        """Call a method of each env, where the env lives, and return what they return::

            runner.call("set_difficulty", 3)                    # of all envs
            runner.call("render", env_indices=[0])

        The method may be one of a wrapper. With "processes", arguments and results are pickled; with "asyncio", an
        `async def` method is awaited. All envs are called, even if one of them raises.

        Args:
            name: the name of the method.
            args: its arguments.
            env_indices: which envs; None for all.
            keywords: its keyword arguments.

        Returns:
            One result per env, in the order of `env_indices`.

        Raises:
            EnvError: an env raised; the env's own exception is the `__cause__`.
            ArgumentError: there is no such env, the executor cannot do it, or a rollout or stream is under way.

        """
        return self._ask(EnvCall("call", name, args, keywords), env_indices)

    def get_attr(self, name: str, env_indices: Iterable[int] | None = None) -> list[Any]:
        """Return the value of an attribute of each env::

            runner.get_attr("gravity")                          # [9.8, 9.8]

        With "processes", the values are copies. See `call` for `env_indices` and errors.
        """
        return self._ask(EnvCall("get_attr", name), env_indices)

    def set_attr(self, name: str, value: Any, env_indices: Iterable[int] | None = None) -> None:
        """Set an attribute of each env to a value::

            runner.set_attr("gravity", 1.6)
            runner.set_attr("masscart", 2.0, env_indices=[1])

        The attribute must be there, in a wrapper or the env itself, so that a misspelt name is an error. See `call` for
        `env_indices` and errors.
        """
        self._ask(EnvCall("set_attr", name, (value,)), env_indices)

    def _ask(self, call: EnvCall, env_indices: Iterable[int] | None) -> list[Any]:
        name: object = call.name  # the value may differ from the annotation
        if not isinstance(name, str) or not name.isidentifier():
            raise ArgumentError(f"{call.kind} needs the name of an attribute, not {name!r}.")
        given: object = range(self.n_envs) if env_indices is None else env_indices
        envs = list(given) if isinstance(given, Iterable) else None
        if envs is None or not all(is_index(i, self.n_envs) for i in envs) or len(set(envs)) < len(envs):
            raise ArgumentError(
                f"env_indices must be a list of different numbers from 0 to {self.n_envs - 1}, not "
                f"{given if envs is None else envs!r}."
            )
        with self._working():
            executor = self._parts.executor
            if not isinstance(executor, SupportsEnvCalls):
                raise ArgumentError(
                    f"{call} needs an executor with a method call_envs, which {type(executor).__name__} does not have. "
                    "Use 'serial', 'threads' or 'processes'."
                )
            return list(executor.call_envs(call, envs))
