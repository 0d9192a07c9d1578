"""Room for actors: whether the cluster has what one of them asks for, while none could begin."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from typing import Final

import ray

from runnerkit_ray.options import ActorOptions

__all__ = ["PATIENCE_S", "Room"]

PATIENCE_S: Final = 5.0
"""How long actors may wait before that is told. To start the process of an actor takes a second or two."""

_EVERY_S: Final = 1.0
_LAG_S: Final = 0.3  # Ray knows what was given back after a tenth of a second


class Room:
    """Watches whether actors wait for room which others hold::

        room = Room({"num_cpus": 1.0})      # before the first actor starts, as that takes room itself
        while nobody_has_begun:
            room.look()
        room.taken()

    An actor that starts takes room before it can tell that it is there. So there is a lack only if no look has found
    room, the first one included.

    Args:
        options: what each actor asks for.

    """

    def __init__(self, options: ActorOptions) -> None:
        named = {"CPU": options.get("num_cpus", 0.0), "GPU": options.get("num_gpus", 0.0)}
        named |= {"memory": options.get("memory", 0), **options.get("resources", {})}
        self._asked = {name: float(amount) for name, amount in named.items() if amount}
        self._since, self._not_before = time.monotonic(), 0.0
        self._may_warn = True
        self._looked = False
        self.is_lacking: bool = False
        """Whether each look has found too little, since the last time that an actor had begun."""
        self.look()
        if self.is_lacking:  # perhaps another runner was closed just before
            time.sleep(_LAG_S)
            self._not_before = 0.0
            self.look()

    def look(self) -> None:
        """See whether there is room, but not too often; warn if there was none for some seconds."""
        now = time.monotonic()
        if now < self._not_before or (self._looked and not self.is_lacking):
            return
        self._not_before = now + _EVERY_S
        self._looked, self.is_lacking = True, bool(self._lack(_free()))
        if self.is_lacking and self._may_warn and now - self._since > PATIENCE_S:
            self._may_warn = False
            said = f"No actor could begin for {PATIENCE_S:g} s: {self.told()} They begin as soon as there is room."
            warnings.warn(said, RuntimeWarning, stacklevel=7)  # where the runner is built

    def taken(self) -> None:
        """Note that an actor has begun."""
        self._looked = self.is_lacking = self._may_warn = False

    def told(self) -> str:
        """Return what an actor asks for, what is free, and the way out."""
        free, total = _free(), _total()
        has = ", ".join(f"{name}={free.get(name, 0.0):.12g} of {total.get(name, 0.0):.12g}" for name in self._asked)
        facts = f"each asks for {_listed(self._asked)}, and free in the cluster are {has}."
        if self._lack(total):
            return f"{facts} The cluster does not have it at all: add a machine, or ask for less with actor_options."
        return (
            f"{facts} Others hold the rest, perhaps another RayRunner. Close it, use fewer actors there, or let the "
            "actors of both ask for less: actor_options={'num_cpus': 0.5}."
        )

    def _lack(self, there: Mapping[str, float]) -> dict[str, float]:
        return {name: amount for name, amount in self._asked.items() if there.get(name, 0.0) < amount}


def _free() -> dict[str, float]:
    found: dict[str, float] = ray.available_resources()  # type: ignore[no-untyped-call]
    return found


def _total() -> dict[str, float]:
    found: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return found


def _listed(amounts: Mapping[str, float]) -> str:
    return ", ".join(f"{name}={amount:.12g}" for name, amount in amounts.items())
