"""Keys: names that tell a type checker what they stand for; and names with options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeAlias, final, overload

from typing_extensions import TypeVar

from runnerkit import _sentences as sentences
from runnerkit._core.origins import own_name
from runnerkit._core.types import ActT, ObsT
from runnerkit.errors import ArgumentError

if TYPE_CHECKING:
    from runnerkit.history.arrays import ArrayHistory

# Not slots=True: CPython 3.11 cannot call EnvKey[...]("CartPole-v1") of a generic class that is frozen and has slots.

__all__ = ["EnvKey", "HistoryKey", "PartName", "Use", "use"]

KeyedHistoryT = TypeVar("KeyedHistoryT")
PartT_co = TypeVar("PartT_co", covariant=True)


@final
@dataclass(frozen=True)
class EnvKey(Generic[ObsT, ActT]):
    """An env id together with the types of its batches.

    For example::

        CARTPOLE: EnvKey[NDArray[np.float32], NDArray[np.int64]] = EnvKey("CartPole-v1")
        runner = runnerkit.make(CARTPOLE)     # rollout() takes agents of these types, and no others
    """

    name: str


@final
@dataclass(frozen=True)
class HistoryKey(Generic[KeyedHistoryT]):
    """The name of a history format together with the type of its histories.

    For example::

        ARROW: HistoryKey[ArrowHistory] = HistoryKey("arrow")
        histories = runnerkit.make(CARTPOLE, history=ARROW).rollout(agent)     # list[ArrowHistory]
    """

    name: str


@final
@dataclass(frozen=True)
class Use(Generic[PartT_co]):
    """The name of a part together with options for it, as `use` returns it.

    Attributes:
        name: the name under which a plugin offers the part.
        options: the options, by name.

    """

    name: str
    options: Mapping[str, object] = field(default_factory=dict)


@overload
def use(part: Literal["npz"], /, **options: object) -> Use[ArrayHistory[Any, Any]]: ...
@overload
def use(part: HistoryKey[KeyedHistoryT], /, **options: object) -> Use[KeyedHistoryT]: ...
@overload
def use(part: str, /, **options: object) -> Use[object]: ...
def use(part: str | HistoryKey[KeyedHistoryT], /, **options: object) -> Use[KeyedHistoryT] | Use[object]:
    """Name a part, with options for it::

        runnerkit.make("CartPole-v1", history=runnerkit.use("parquet", compression="zstd"))
        runnerkit.make(CARTPOLE, history=use(PARQUET, compression="zstd"))       # a HistoryKey keeps its type
        runnerkit.make("Pendulum-v1", preprocessors=[use("normalize", clip=5.0), "flatten"])
        runnerkit.make("CartPole-v1", executor=use("processes", isolate=True))

    The pair `("parquet", {"compression": "zstd"})` means the same. The options are the keyword arguments of what makes
    the part; `runnerkit plugins parquet` lists them. They are checked when the runner is built.

    Raises:
        ArgumentError: `part` is no name, but the part itself.

    """
    if not isinstance(part, (str, HistoryKey)):
        raise ArgumentError(sentences.no_name_for_use(own_name(part)))
    return Use(part.name if isinstance(part, HistoryKey) else part, options)


PartName: TypeAlias = str | tuple[str, Mapping[str, object]] | Use[object]
"""How parts are named: by a name, by a name with a dict of options, or by `use(name, option=...)`."""
