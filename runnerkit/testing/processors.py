"""The checks of observation processors and action processors, which differ in where their spaces come from."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, Final, TypeAlias

import numpy as np
from gymnasium import Space, spaces
from typing_extensions import override

from runnerkit._checks.contracts import POSTPROCESSOR, PREPROCESSOR
from runnerkit._core.batches import BatchReader
from runnerkit._core.comparing import difference, exact, row_of
from runnerkit._core.faults import describe
from runnerkit._core.spaces import Column, Layout, MisfitError
from runnerkit.agents import SupportsBeginEpisodes
from runnerkit.errors import SpaceError
from runnerkit.processors import (
    ActionPostprocessor,
    ActionPreprocessor,
    SupportsEpisodeState,
    SupportsFinalObservations,
    SupportsSetContext,
    SupportsStateDict,
)
from runnerkit.testing.checks import Checks, Fault, Skip, check
from runnerkit.testing.samples import SPACES
from runnerkit.testing.told import Told, sample_context

__all__ = ["GO_ON", "ActionProcessorChecks", "ObservationProcessorChecks", "close_enough"]

Processor: TypeAlias = ActionPreprocessor | ActionPostprocessor

_ROWS: Final = 5
GO_ON: Final = "put all that running episodes depend on into episode_state(), and what outlives them into state_dict()"
_OWN: Final = "keep what a processor knows in attributes of its own, and return a new object each time it is made"


class _ProcessorChecks(Checks):
    """What is checked of both kinds, on every space that the processor accepts."""

    what: str

    def __init__(self, make: Callable[[], Processor], given: Mapping[str, Space[Any]] | None = None) -> None:
        super().__init__()
        self._make = make
        self._given = SPACES if given is None else given

    def _ways(self, space: Space[Any], bound: Space[Any]) -> tuple[Space[Any], Space[Any]]:
        """Return the space of the batches that come in, and that of those that go out."""
        raise NotImplementedError

    def _fault(self, made: Processor) -> str:
        raise NotImplementedError

    def _bound(self, space: Space[Any]) -> tuple[Told, Layout, Layout]:
        """Return a new processor that is bound to a space, and the layouts of what comes in and goes out."""
        made = self._new()
        into, out = self._ways(space, made.bind(copy.deepcopy(space)))
        return Told(made), Layout(into, "batch"), Layout(out, "result")

    def _new(self) -> Processor:
        """Return a new processor that knows its runner."""
        made = self._make()
        if isinstance(made, SupportsSetContext):
            made.set_context(sample_context())
        return made

    @cached_property
    def _accepted(self) -> dict[str, Space[Any]]:
        """The spaces that it can be bound to."""
        found = {}
        for name, space in self._given.items():
            try:
                self._new().bind(copy.deepcopy(space))
            except Exception:  # the check of bind says which exceptions may be
                continue
            found[name] = space
        return found

    @check("It is an object with bind(space) and __call__(batch), and a new one each time that it is made.")
    def contract(self) -> None:
        """Check its methods."""
        one, other = self._make(), self._make()
        if fault := self._fault(one):
            raise Fault(fault, "give it the methods that runnerkit.typing describes")
        if one is other:
            raise Fault("it was made twice, and is the same object", _OWN)

    @check("bind() accepts a space and returns a Space, or raises SpaceError.", needs=["contract"])
    def bind(self) -> None:
        """Check what comes of spaces of every kind."""
        for name, space in self._given.items():
            try:
                bound: object = self._new().bind(copy.deepcopy(space))
            except SpaceError:
                continue
            except Exception as error:
                raise Fault(
                    f"bind() of the space {name!r}, {space}, raised {describe(error)}",
                    "raise runnerkit.errors.SpaceError for a space that it cannot process",
                ) from error
            if not isinstance(bound, Space):
                raise Fault(f"bind() of the space {name!r} returned {bound!r}", "return a gymnasium Space")
        if not self._accepted:
            raise Fault(
                f"it refused all of {len(self._given)} spaces, so that nothing could be checked",
                "give the check a space that it accepts: spaces={'mine': Box(...)}",
            )

    @check("bind() does not change the space that it gets.", needs=["bind"])
    def keeps_its_space(self) -> None:
        """Check that a space stays what it is."""
        for name, space in self._accepted.items():
            mine = copy.deepcopy(space)
            self._new().bind(mine)
            if mine != space:
                raise Fault(f"the space {name!r} was {space}, and is {mine} now", "make a new space")

    @check("Every batch that it returns has the rows, shape, dtype and bounds of its space.", needs=["bind"])
    def announced_space(self) -> None:
        """Check what it returns against what `bind` announced, for several numbers of rows."""
        for name, space in self._accepted.items():
            process, into, out = self._bound(space)
            for n in (1, 2, _ROWS):
                _check_result(name, process(_batch(into, n)), out, n)

    @check("It does not change the batch that it gets.", needs=["bind"])
    def keeps_its_input(self) -> None:
        """Check that its argument stays what it is."""
        for name, space in self._accepted.items():
            process, into, _ = self._bound(space)
            batch = _batch(into, _ROWS)
            before = exact(batch)
            process(batch)
            if seen := difference(before, exact(batch), "the batch"):
                raise Fault(f"of the space {name!r}, {seen}", "compute a new array; no +=, no out=, no [...] =")

    @check("What it returned does not change later, and is no view of what it got.", needs=["bind", "keeps_its_input"])
    def keeps_no_hold_of_results(self) -> None:
        """Check that results are its caller's own."""
        for name, space in self._accepted.items():
            process, into, _ = self._bound(space)
            batch = _batch(into, _ROWS)
            result = process(batch)
            if _shares_memory(batch, result):
                raise Fault(f"of the space {name!r}, the result is a view of the batch", "return a new array: .copy()")
            before = exact(result)
            process(_batch(into, _ROWS, seed=1))
            if seen := difference(before, exact(result), "the result"):
                raise Fault(f"of the space {name!r}, the next call changed it: {seen}", "return a new array each time")

    @check("Two new ones return the same for the same batches.", needs=["bind"])
    def function_of_its_input(self) -> None:
        """Check that nothing is random."""
        for name, space in self._accepted.items():
            one, other = self._results(space), self._results(space)
            if seen := difference(one, other):
                raise Fault(f"of the space {name!r}, {seen}", f"draw no random numbers, and {_OWN}")

    @check("Two of them that take turns return what each returns alone.", needs=["bind", "function_of_its_input"])
    def no_shared_state(self) -> None:
        """Check that two runners can have one each."""
        for name, space in self._accepted.items():
            alone = self._results(space)
            mine, into, _ = self._bound(space)
            theirs, _, _ = self._bound(space)
            together = []
            for seed in range(3):
                theirs(_batch(into, 3, seed=seed + 10))
                together.append(exact(mine(_batch(into, 3, seed=seed))))
            if seen := difference(alone, together):
                raise Fault(f"of the space {name!r}, {seen}", _OWN)

    @check(
        "Each row of a result depends on the same row of the batch only.", needs=["announced_space", "no_shared_state"]
    )
    def row_independence(self) -> None:
        """Check that envs do not influence each other."""
        self._skip_if_it_draws()
        for name, space in self._accepted.items():
            process, into, _ = self._bound(space)
            batch = _batch(into, _ROWS)
            together = process(copy.deepcopy(batch))
            for i in range(_ROWS):
                alone, _, _ = self._bound(space)
                single = row_of(alone(_rows(into, batch, i)), 0)
                if not close_enough(row_of(together, i), single):
                    raise Fault(
                        f"of the space {name!r}, row {i} of {_ROWS} is {row_of(together, i)!s}, alone it is {single!s}",
                        "compute with axis=1 and later axes, or expect this failure with the reason why rows must mix",
                    )

    @check("After load_state_dict(state_dict()) another one returns the same.", needs=["bind", "function_of_its_input"])
    def state(self) -> None:
        """Check that its state can be stored."""
        for name, space in self._accepted.items():
            one, into, _ = self._bound(space)
            if not isinstance(one.processor, SupportsStateDict):
                raise Skip("It has no state_dict and load_state_dict, so there is no state to store.")
            for seed in range(3):
                one(_batch(into, _ROWS, seed=seed))
            other, _, _ = self._bound(space)
            other.load(one)
            batch = _batch(into, _ROWS, seed=9)
            if seen := difference(exact(one(copy.deepcopy(batch))), exact(other(batch)), "the result"):
                raise Fault(f"of the space {name!r}, {seen}", "put all that the result depends on into state_dict()")

    @check(
        "What an env's rows become does not depend on other envs, nor on who else is active.",
        needs=["row_independence", "state"],
    )
    def keeps_envs_apart(self) -> None:
        """Check that state belongs to envs, and not to rows."""
        self._skip_if_it_draws()
        turns: list[list[int]] = [[0, 1, 2, 3], [1, 3], [0, 3], [3], [0, 1, 2, 3]]
        for name, space in self._accepted.items():
            together, into, _ = self._bound(space)
            alone = [self._bound(space)[0] for _ in turns[0]]
            for t, envs in enumerate(turns):
                batch = _batch(into, _ROWS, seed=t)
                result = together(_pick(into, batch, envs), envs)
                for row, i in enumerate(envs):
                    single = row_of(alone[i](_pick(into, batch, [i]), [i]), 0)
                    if not close_enough(row_of(result, row), single):
                        raise Fault(
                            f"of the space {name!r}, after steps of changing envs, the row of env {i} is "
                            f"{row_of(result, row)!s}, without other envs it is {single!s}",
                            "have set_active_envs(env_indices): row i belongs to env env_indices[i]",
                        )

    @check(
        "begin_episodes(env_indices) forgets the last episode of these envs.",
        needs=["announced_space", "function_of_its_input"],
    )
    def begin_episodes_clears(self) -> None:
        """Check that an episode does not depend on the one before."""
        for name, space in self._accepted.items():
            one, into = self._some_steps_on(space)
            fresh, _, _ = self._bound(space)
            if isinstance(one.processor, SupportsStateDict):
                fresh.load(one)
            one.begin_episodes(range(_ROWS))
            batch = _batch(into, _ROWS, seed=9)
            if seen := difference(exact(fresh(copy.deepcopy(batch))), exact(one(batch)), "the result"):
                raise Fault(
                    f"of the space {name!r}, after begin_episodes of all envs, {seen} ('the first time' is a new one)",
                    "set the state of these envs to its first value",
                )

    @check("begin_episodes(env_indices) leaves the state of other envs.", needs=["begin_episodes_clears"])
    def begin_episodes_keeps_others(self) -> None:
        """Check that an env that goes on is not disturbed by one that begins anew."""
        for name, space in self._accepted.items():
            one, into = self._some_steps_on(space)
            undisturbed, _ = self._some_steps_on(space)
            one.begin_episodes([0])
            batch = _batch(into, _ROWS, seed=9)
            ones, others = undisturbed(copy.deepcopy(batch)), one(batch)
            for i in range(1, _ROWS):
                if not close_enough(row_of(ones, i), row_of(others, i)):
                    raise Fault(
                        f"of the space {name!r}, after begin_episodes([0]) row {i} is {row_of(others, i)!s}, "
                        f"without it {row_of(ones, i)!s}",
                        "clear the state of the named envs, and no other",
                    )

    @check(
        "After load_episode_state(episode_state()) another one goes on with the running episodes.",
        needs=["begin_episodes_keeps_others", "state"],
    )
    def episode_state(self) -> None:
        """Check that a runner can go on in the middle of episodes."""
        for name, space in self._accepted.items():
            one, into, _ = self._bound(space)
            if not isinstance(one.processor, SupportsEpisodeState):
                raise Skip("It has no episode_state: if it keeps a state, runner.state_dict() refuses it.")
            for seed in range(3):
                one(_batch(into, _ROWS, seed=seed))
            one.begin_episodes([0])
            other, _, _ = self._bound(space)
            other.go_on_from(one)
            for seed in (8, 9):
                batch = _batch(into, _ROWS, seed=seed)
                if seen := difference(exact(one(copy.deepcopy(batch))), exact(other(batch)), "the result"):
                    raise Fault(f"of the space {name!r}, {seen}", GO_ON)

    def _some_steps_on(self, space: Space[Any]) -> tuple[Told, Layout]:
        """Return a processor that has state, some steps on."""
        one, into, _ = self._bound(space)
        if not isinstance(one.processor, SupportsBeginEpisodes):
            raise Skip("It has no begin_episodes, so there is no state of episodes.")
        self._skip_if_it_draws()
        for seed in range(3):
            one(_batch(into, _ROWS, seed=seed))
        return one, into

    def _skip_if_it_draws(self) -> None:
        for space in self._accepted.values():
            process, into, _ = self._bound(space)
            result = process(_pick(into, _batch(into, 1), [0] * _ROWS))
            if any(exact(row_of(result, i)) != exact(row_of(result, 0)) for i in range(_ROWS)):
                raise Skip("It makes different rows of equal ones, so rows cannot be compared.")

    def _results(self, space: Space[Any]) -> list[Any]:
        process, into, _ = self._bound(space)
        return [exact(process(_batch(into, 3, seed=seed))) for seed in range(3)]


class ObservationProcessorChecks(_ProcessorChecks):
    """The checks of what stands between env and agent."""

    @override
    def _ways(self, space: Space[Any], bound: Space[Any]) -> tuple[Space[Any], Space[Any]]:
        return space, bound

    @override
    def _fault(self, made: Processor) -> str:
        return PREPROCESSOR.look(made).fault

    @check("final_observations() returns batches as __call__ does.", needs=["announced_space", "keeps_its_input"])
    def final_observations(self) -> None:
        """Check what it returns for final observations."""
        for name, space in self._accepted.items():
            process, into, out = self._bound(space)
            if not isinstance(process.processor, SupportsFinalObservations):
                raise Skip("It has no final_observations, so that __call__ gets them.")
            process(_batch(into, _ROWS))
            batch = _batch(into, _ROWS, seed=1)
            before = exact(batch)
            _check_result(f"{name} (final observations)", process.finals(batch), out, _ROWS)
            if seen := difference(before, exact(batch), "the batch"):
                raise Fault(f"of the space {name!r}, {seen}", "compute a new array; no +=, no out=, no [...] =")


class ActionProcessorChecks(_ProcessorChecks):
    """The checks of what stands between agent and env: `bind` gets the space of what goes out."""

    @override
    def _ways(self, space: Space[Any], bound: Space[Any]) -> tuple[Space[Any], Space[Any]]:
        return bound, space

    @override
    def _fault(self, made: Processor) -> str:
        return POSTPROCESSOR.look(made).fault


def _batch(layout: Layout, n: int, seed: int = 0) -> Any:
    """Return a batch of samples, as runners hand it out; the second and third row of a Box are its finite bounds."""
    space = copy.deepcopy(layout.space)
    space.seed(seed)
    samples = [space.sample() for _ in range(n)]
    if isinstance(space, spaces.Box) and space.is_bounded():
        for row, edge in zip(range(1, n), (space.low, space.high), strict=False):
            samples[row] = edge.copy()
    columns = layout.allocate(1, n)
    write = layout.writer(columns)
    for i, sample in enumerate(samples):
        write(0, i, sample)
    return layout.batch(columns, 0)


def _rows(layout: Layout, batch: Any, i: int) -> Any:
    """Return a batch of one row of a batch."""
    return _pick(layout, batch, [i])


def _pick(layout: Layout, batch: Any, rows: Sequence[int]) -> Any:
    """Return a batch of some rows of a batch."""
    columns: list[Column] = layout.allocate(1, len(rows))
    write = layout.writer(columns)
    for k, i in enumerate(rows):
        write(0, k, row_of(batch, i))
    return layout.batch(columns, 0)


def _check_result(name: str, result: Any, out: Layout, n: int) -> None:
    try:
        BatchReader(out, bounded=True)(result, n)
    except MisfitError as error:
        raise Fault(
            f"of {n} rows of the space {name!r}, {error}",
            f"return batches of the space that bind() announced, {out.space}",
        ) from error
    if out.is_array and isinstance(result, np.ndarray) and result.dtype != out.leaves[0].dtype:
        raise Fault(
            f"of the space {name!r}, the result is of dtype {result.dtype}, bind() announced {out.leaves[0].dtype}",
            f"return .astype({out.leaves[0].dtype}), or announce {result.dtype}",
        )


def _arrays(value: Any) -> list[Column]:
    if isinstance(value, np.ndarray):
        return [value]
    if isinstance(value, (dict, list, tuple)):
        parts: Sequence[Any] = list(value.values()) if isinstance(value, dict) else value
        return [array for part in parts for array in _arrays(part)]
    return []


def _shares_memory(one: Any, other: Any) -> bool:
    return any(np.may_share_memory(a, b) for a in _arrays(one) for b in _arrays(other))


def close_enough(one: Any, other: Any) -> bool:
    """Whether two values are equal but for the last bits of floats, which may depend on the number of rows."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(close_enough(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(close_enough, one, other))
    a, b = exact(one), exact(other)
    if a == b:
        return True
    if isinstance(one, (str, bytes)) or not hasattr(a, "dtype") or np.dtype(a.dtype).kind != "f" or a[:2] != b[:2]:
        return False
    tolerance = 1e-2 if a.dtype == "float16" else 1e-5
    first, second = (np.frombuffer(e.data, e.dtype).astype(np.float64) for e in (a, b))
    return bool(np.allclose(first, second, rtol=tolerance, atol=tolerance * 1e-2, equal_nan=True))
