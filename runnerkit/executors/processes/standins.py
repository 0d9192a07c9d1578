"""What helpers know of the modules that they cannot import: the caller's script, above all.

Classes and functions of such a module travel by value, whole. What looks them up by name, as `pickle` and
`inspect.getsource` do, finds them in a stand-in of the same name.
"""

from __future__ import annotations

import functools
import importlib.machinery
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FunctionType, ModuleType
from typing import Any

from typing_extensions import override

__all__ = [
    "StandIn",
    "Travelled",
    "be_helper",
    "install",
    "is_helper",
    "is_importable",
    "loading",
    "module_being_loaded",
    "note",
]

_MAIN = "__main__"


@dataclass
class Travelled:
    """What was sent of one module: its file, and its classes and functions by name."""

    file: str | None = None
    named: dict[str, object] = field(default_factory=dict)


def note(travelled: dict[str, Travelled], thing: type[Any] | FunctionType) -> None:
    """Note a class or function that is about to be pickled by value, if its module knows it by that name."""
    name, module = thing.__qualname__, sys.modules.get(thing.__module__)
    if module is not None and vars(module).get(name) is thing:
        of = travelled.setdefault(thing.__module__, Travelled(getattr(module, "__file__", None)))
        of.named[name] = thing


def is_importable(name: str) -> bool:
    """Whether another process that has the same `sys.path` gets a loaded module by importing it."""
    module, top = sys.modules.get(name), sys.modules.get(name.partition(".")[0])
    if name == _MAIN or module is None or not hasattr(module, "__file__"):
        return name != _MAIN  # built in, or made by one that is: as good as it gets
    if getattr(module, "__spec__", None) is None:  # what multiprocessing and runpy make of a script
        return False
    spec: importlib.machinery.ModuleSpec | None = getattr(top, "__spec__", None)
    return spec is None or _is_found(spec.name, spec.origin)


@functools.lru_cache(maxsize=1024)
def _is_found(name: str, origin: str | None) -> bool:
    """Whether a module is found, and in that file; one that was loaded from a path of its own may not be."""
    for finder in sys.meta_path:
        found = finder.find_spec(name, None) if hasattr(finder, "find_spec") else None
        if found is not None:
            return found.origin == origin
    return False


class StandIn(ModuleType):
    """Stands for a module of the caller that cannot be imported here; it knows what was sent."""

    @classmethod
    def of(cls, name: str) -> StandIn:
        """Return the one of that name; there is one from now on."""
        module = sys.modules.get(name)
        if not isinstance(module, cls):
            module = sys.modules[name] = cls(name)
        return module

    @override
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise AttributeError(f"{name!r} is not known in {self!r}", name=name, obj=self)

    @override
    def __repr__(self) -> str:
        return (
            f"<module {self.__name__!r} in a helper process: it has only what the env factory uses. "
            "Define the rest in a module that can be imported>"
        )


def install(travelled: Mapping[str, Travelled]) -> None:
    """Let what was sent be found by name."""
    for name, sent in travelled.items():
        module = StandIn.of(name)
        if sent.file is not None:
            module.__file__ = sent.file
        for thing in sent.named.values():
            if isinstance(thing, FunctionType):  # whatever else it uses came with it
                found = {key: value for key, value in thing.__globals__.items() if not key.startswith("__")}
                vars(module).update(found)
        vars(module).update(sent.named)


def be_helper() -> None:
    """Let this process be a helper, whose `__main__` stands for the caller's."""
    StandIn.of(_MAIN)


def is_helper() -> bool:
    """Whether this process is a helper."""
    return isinstance(sys.modules.get(_MAIN), StandIn)


_loading = 0


@contextmanager
def loading() -> Iterator[None]:
    """Note that what the caller sent is being loaded, and modules are imported for it."""
    global _loading
    _loading += 1
    try:
        yield
    finally:
        _loading -= 1


def module_being_loaded() -> str | None:
    """Return the module that is being imported for something that came from the caller; None if there is none."""
    if not _loading:
        return None
    frame, name = sys._getframe(), "a module"
    while frame.f_back is not None:
        frame = frame.f_back
        if frame.f_code.co_name == "<module>":
            name = f"module {frame.f_globals.get('__name__')!r}"
            break
    return name
