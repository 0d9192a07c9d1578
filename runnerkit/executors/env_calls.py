"""What is asked of envs between rollouts: a call of a method, the value of an attribute or a new one, a snapshot."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

from typing_extensions import override

from runnerkit._core.types import AnyEnv
from runnerkit._core.wording import result_kind
from runnerkit.executors.snapshots import restore, snapshot
from runnerkit.executors.spares import SpareEnv

__all__ = ["EnvCall", "SupportsEnvCalls"]


@dataclass(frozen=True, slots=True)
class EnvCall:
    """One question for each of several envs; wrappers are looked at first, from the outside in."""

    kind: Literal["call", "get_attr", "set_attr", "snapshot", "restore"]
    name: str = ""
    args: tuple[Any, ...] = ()
    keywords: Mapping[str, Any] = field(default_factory=dict)

    def ask(self, env: AnyEnv) -> Any:
        """Return the env's answer."""
        if isinstance(env, SpareEnv):
            return env.ask(self.ask, changes=self.kind in ("call", "set_attr"))
        if self.kind == "set_attr":
            if not env.set_wrapper_attr(self.name, *self.args, force=False):
                raise AttributeError(f"neither {env} nor what it wraps has an attribute {self.name!r}")
            return None
        if self.kind == "snapshot":
            return snapshot(env)
        if self.kind == "restore":
            return restore(env, *self.args)
        found = env.get_wrapper_attr(self.name)
        return found(*self.args, **self.keywords) if self.kind == "call" else found

    def ask_now(self, env: AnyEnv) -> Any:
        """Return the env's answer; raises TypeError for a coroutine, which only executor="asyncio" awaits."""
        answer = self.ask(env)
        if inspect.iscoroutine(answer):
            raise TypeError(f"it returned {result_kind(answer)}")
        return answer

    @override
    def __str__(self) -> str:
        return f"{self.kind}({self.name!r})" if self.name else self.kind


@runtime_checkable
class SupportsEnvCalls(Protocol):
    """An executor that can ask its envs for something between rollouts, for `runner.call` and its like."""

    def call_envs(self, call: EnvCall, env_indices: Sequence[int], /) -> Sequence[Any]:
        """Return each env's answer; all are asked, whatever happens to one. Raises EnvError where an env raised."""
        ...
