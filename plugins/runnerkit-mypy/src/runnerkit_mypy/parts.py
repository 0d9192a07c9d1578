"""The parts of a plugin together, and what they answer to a full name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from mypy.nodes import MypyFile
from mypy.plugin import FunctionContext, FunctionSigContext, MethodContext, MethodSigContext
from mypy.types import FunctionLike, Type
from typing_extensions import TypeVar

from runnerkit_mypy.part import Part

H = TypeVar("H")


class Answers(dict[str, H | None]):
    """The first answer of several parts to a full name. mypy asks for each call that it checks, so it is kept."""

    def __init__(self, parts: Iterable[Callable[[str], H | None]]) -> None:
        super().__init__()
        self._parts = tuple(parts)

    def __missing__(self, fullname: str) -> H | None:
        self[fullname] = answer = next(filter(None, (part(fullname) for part in self._parts)), None)
        return answer


class Parts:
    """All parts; the first that answers wins."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self.all: Sequence[Part] = parts
        self.method_hooks: Answers[Callable[[MethodContext], Type]] = Answers(part.method_hook for part in self.all)
        self.method_signature_hooks: Answers[Callable[[MethodSigContext], FunctionLike]] = Answers(
            part.method_signature_hook for part in self.all
        )
        self.function_hooks: Answers[Callable[[FunctionContext], Type]] = Answers(
            part.function_hook for part in self.all
        )
        self.function_signature_hooks: Answers[Callable[[FunctionSigContext], FunctionLike]] = Answers(
            part.function_signature_hook for part in self.all
        )

    def forget(self) -> None:
        """Forget all answers, as a file is read, which may have changed since the daemon was last asked."""
        for answers in (
            self.method_hooks,
            self.method_signature_hooks,
            self.function_hooks,
            self.function_signature_hooks,
        ):
            answers.clear()

    def set_modules(self, modules: Mapping[str, MypyFile]) -> None:
        """Tell the parts which modules mypy has read."""
        for part in self.all:
            part.modules = modules
