"""Env families of the entry-point group `gymnasium.envs`, which Gymnasium itself no longer reads.

Each entry point names a function that registers envs. It is called in a namespace: the entry point's name, or none for
`__root__`. Nothing is imported before an env is asked for.
"""

from __future__ import annotations

import contextlib
import importlib
import operator
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import gymnasium
from gymnasium.envs import registration

from runnerkit._core.types import AnyEnv
from runnerkit.errors import UnknownNameError

__all__ = ["ROOT", "GymnasiumFamily"]

ROOT: Final = "__root__"

_registered: Final[set[GymnasiumFamily]] = set()
_lock: Final = threading.RLock()  # the current namespace is global


@contextlib.contextmanager
def _namespace(name: str | None) -> Iterator[None]:
    """Register envs in a namespace. Gymnasium's own context manager does not leave the namespace after an exception."""
    before, registration.current_namespace = registration.current_namespace, name
    try:
        yield
    finally:
        registration.current_namespace = before


@dataclass(frozen=True)
class GymnasiumFamily:
    """The env factory of an entry point: `"Name:Env-v0"` makes what Gymnasium calls `"Name/Env-v0"`."""

    name: str
    value: str
    """What registers the envs: `module:function`, or a module whose import registers them."""

    def register(self) -> None:
        """Register the envs with Gymnasium, once; raises what the package raises."""
        with _lock:
            if self in _registered:
                return
            module, _, function = self.value.partition(":")
            with _namespace(None if self.name == ROOT else self.name):
                loaded: Any = importlib.import_module(module)
                if function:
                    operator.attrgetter(function)(loaded)()
            _registered.add(self)

    def __call__(self, env_id: str, /, *, seed: int | None, **options: Any) -> AnyEnv:
        """Return the env; raises UnknownNameError if the package registers no env of that name."""
        self.register()
        full = f"{self.name}/{env_id}"
        try:
            spec = gymnasium.spec(full)
        except gymnasium.error.Error as error:
            own = [key.partition("/")[2] for key in list(registration.registry) if key.startswith(f"{self.name}/")]
            raise UnknownNameError(f"env of {self.name}", env_id, own) from error
        env: AnyEnv = gymnasium.make(spec, **options)
        return env
