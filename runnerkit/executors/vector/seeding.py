"""How the envs of a vector env are reset, and which of them can be seeded."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterator, Mapping
from typing import Any, Literal, TypeAlias

import numpy as np

from runnerkit._core.types import AnyVectorEnv
from runnerkit.executors.seeds import SeedSchedule
from runnerkit.records import EpisodeStart, Seeded

__all__ = ["Resets"]

_SPARE_BITS = 32  # of a seed; the other 31 are what every env takes

_Form: TypeAlias = Literal["list", "array", "one", "none"]
_Starts: TypeAlias = "dict[int, EpisodeStart]"


class Resets:
    """Resets a vector env with what seeds it takes, and says which of its episodes began with theirs.

    It takes a seed per env if it says so: in the annotation of `seed` in its `reset`, as `list[int]` or as an array.
    Others get one seed, once, and go on with their random numbers from there; by it no episode can be begun again.
    Seeds are those of the schedule, or their upper 31 bits where the env takes no more.

    Args:
        env: the env.
        schedule: of the run.
        each: whether envs are reset one by one, in auto-reset mode DISABLED.

    """

    def __init__(self, env: AnyVectorEnv, schedule: SeedSchedule, *, each: bool) -> None:
        self._env: Any = env
        self._n: int = env.num_envs
        self._schedule = schedule
        self._each = each
        self._form: _Form = _seed_form(env)
        self._asked = False
        self._only_small = False

    @property
    def takes_seeds(self) -> bool:
        """Whether each env takes a seed of its own."""
        return self._form in ("list", "array")

    @property
    def seeded(self) -> Seeded:
        """Which episodes begin with the seed of their record."""
        if not self.takes_seeds:
            return Seeded.NONE
        return Seeded.ALL if self._each else Seeded.SOME

    def all_at_once(self, seeds: Mapping[int, int], given: Mapping[int, EpisodeStart] | None) -> tuple[Any, _Starts]:
        """Reset all envs; return what the env returned, and how the episodes in `seeds` began.

        `given` starts, if any, come before the seeds. Those with reset options have yet to be reset by themselves.
        """
        if not self.takes_seeds:
            seed = None if self._asked or self._form == "none" else self._schedule.env_seed(0) >> _SPARE_BITS
            return self._reset(seed), dict.fromkeys(seeds, EpisodeStart())
        if given is not None:
            how = {i: start for i, start in given.items() if start.options is None}
            return self._reset_each(how), how
        if not self._only_small:
            how = {i: EpisodeStart(seed) for i, seed in seeds.items()}
            try:
                result = self._reset_each(how)
            except (TypeError, ValueError, OverflowError):
                self._only_small = True  # as of envs written in C, which take 32 bits
            else:
                return result, self._known(how)
        how = {i: EpisodeStart(seed >> _SPARE_BITS) for i, seed in seeds.items()}
        return self._reset_each(how), how

    def _known(self, how: _Starts) -> _Starts:
        """Return how episodes began, if the env was serious about taking their seeds."""
        return how if self.takes_seeds else dict.fromkeys(how, EpisodeStart())

    def _reset_each(self, how: Mapping[int, EpisodeStart]) -> Any:
        others = [self._schedule.episode_seed(i, 0) >> _SPARE_BITS for i in range(self._n)]
        return self._reset(self._as_form([how[i].seed if i in how else others[i] for i in range(self._n)]))

    def groups(self, starts: Mapping[int, EpisodeStart]) -> Iterator[_Starts]:
        """Part starts into those that one reset can serve: reset options are for all of a reset."""
        plain = {i: start for i, start in starts.items() if start.options is None}
        if plain:
            yield plain
        for i, start in starts.items():
            if start.options is not None:
                yield {i: start}

    def masked(self, group: Mapping[int, EpisodeStart]) -> tuple[Any, _Starts]:
        """Reset the envs of a group, and no others; return what the env returned, and how they began."""
        mask = np.zeros(self._n, np.bool_)
        mask[list(group)] = True
        seed: Any = None
        if self.takes_seeds and any(start.seed is not None for start in group.values()):
            every = range(self._n) if self._form == "list" else sorted(group)
            seed = self._as_form([group[i].seed if i in group else None for i in every])
        options = next(iter(group.values())).options
        result = self._env.reset(seed=seed, options={**(options or {}), "reset_mask": mask})
        return result, dict(group) if self.takes_seeds else dict.fromkeys(group, EpisodeStart())

    def _as_form(self, seeds: list[int | None]) -> Any:
        return seeds if self._form == "list" else np.array([seed or 0 for seed in seeds], np.int64)

    def _reset(self, seed: Any) -> Any:
        if self._form == "none":
            return self._env.reset()
        if self._asked or seed is None:
            return self._env.reset(seed=seed)
        self._asked = True
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            result = self._env.reset(seed=seed)
        for warning in caught:
            text = str(warning.message)
            if "seed" in text and "ignored" in text:  # as EnvPool, which takes its seed when it is made
                self._form = "none"
            else:
                warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
        return result


def _seed_form(env: AnyVectorEnv) -> _Form:
    parameters = inspect.signature(env.unwrapped.reset).parameters
    if "seed" not in parameters:
        takes_any = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())
        return "one" if takes_any else "none"
    annotation = str(parameters["seed"].annotation).lower()
    if any(word in annotation for word in ("list", "sequence", "tuple")):
        return "list"
    return "array" if "array" in annotation else "one"
