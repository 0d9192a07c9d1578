"""What goes wrong with actors and units; `runnerkit.errors` has all else."""

from __future__ import annotations

from collections.abc import Sequence

from runnerkit.errors import RolloutError
from runnerkit_ray.units import Poisoned

__all__ = ["ActorsLostError", "PoisonError"]


class ActorsLostError(RolloutError):
    """Raised when actors cannot be replaced any more. `histories` has what was collected but not handed out."""


class PoisonError(RolloutError):
    """Raised at the end, when all other units are handed out, if units ended every actor that tried them::

        except PoisonError as error:
            for poisoned in error.poisoned:
                print(poisoned.unit, poisoned.seeds, poisoned.reasons)

    Attributes:
        poisoned: the units that were given up.

    """

    def __init__(self, poisoned: Sequence[Poisoned]) -> None:
        self.poisoned: tuple[Poisoned, ...] = tuple(poisoned)
        which = "; ".join(
            f"unit {one.unit.index}: env {one.unit.env_index}, episodes {one.unit.first} to "
            f"{one.unit.episode_indices[-1]}, seeds {list(one.seeds)} ({'; '.join(one.reasons)})"
            for one in self.poisoned
        )
        super().__init__(
            f"{len(self.poisoned)} unit{'s' * (len(self.poisoned) != 1)} ended or blocked each actor that tried: "
            f"{which}. All others were made. Reset the env with one of these seeds to see why, or raise max_attempts "
            "or unit_timeout."
        )
