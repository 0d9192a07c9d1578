"""The checks of history formats."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any, Final, TypeAlias

from gymnasium import Space, spaces
from typing_extensions import override

from runnerkit._checks.contracts import HISTORY_FORMAT
from runnerkit._core.comparing import difference, exact, row_of
from runnerkit._core.faults import describe
from runnerkit._rollout.gym_runner import GymRunner
from runnerkit.errors import MissingDependencyError, RolloutError, SpaceError
from runnerkit.history.base import HistoryFormat
from runnerkit.records import Transition
from runnerkit.testing.checks import Checks, Fault, Skip, check
from runnerkit.testing.samples import SPACES, HashAgent, SampleEnv

__all__ = ["HistoryFormatChecks", "ReadHistory"]

ReadHistory: TypeAlias = Callable[[Any], Mapping[str, Any]]
"""Reads a history back: its columns by name, as `arrays` has them (observations, actions, rewards, ...)."""

_COLUMNS: Final = ("observations", "actions", "rewards", "terminated", "truncated", "next_observations")
_NEEDED: Final = ("observations", "actions", "rewards", "terminated", "truncated")
_STEPS: Final = 8
_MANY_STEPS: Final = 50  # three windows, the first of which has 16 steps
_N_ENVS: Final = 2
_PLAIN: Final = "float32"


class _Sampled:
    """Makes `SampleEnv` of two spaces; a class, so that it can be pickled."""

    def __init__(self, observation: str, action: str) -> None:
        self._spaces = SPACES[observation], SPACES[action]

    def __call__(self, seed: int | None) -> SampleEnv:
        return SampleEnv(*self._spaces)


class _Crashing(SampleEnv):
    """Fails in its fifth step."""

    steps = 0

    @override
    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        if self.steps == 5:
            raise RuntimeError("crashed on purpose")
        return super().step(action)


def _run(
    history: Any,
    make_env: Callable[[int | None], Any],
    *,
    executor: str = "serial",
    rollouts: int = 2,
    steps: int = _STEPS,
) -> list[list[Any]]:
    """Return the histories of a few rollouts."""
    with GymRunner(make_env, seed=0, n_envs=_N_ENVS, history=history, executor=executor) as runner:
        agent = HashAgent(runner.action_space)
        return [list(runner.rollout(agent, steps=steps)) for _ in range(rollouts)]


@functools.cache
def _reference(pair: tuple[str, str], rollouts: int) -> list[list[Any]]:
    """Return what `arrays` has recorded; the same for all formats that are checked."""
    return _run("arrays", _Sampled(*pair), rollouts=rollouts)


class HistoryFormatChecks(Checks):
    """The checks of a format: on every space of Gymnasium, against what `arrays` has recorded of the same run."""

    def __init__(self, make: Callable[[], HistoryFormat[Any]], read: ReadHistory | None = None) -> None:
        super().__init__()
        self._make = make
        self._read = read

    # ---- runs

    @cached_property
    def _accepted(self) -> dict[str, tuple[str, str]]:
        """The pairs of observation and action space that it can hold, by a name."""
        pairs = {f"observations of {name!r}": (name, "Discrete") for name in SPACES}
        pairs |= {f"actions of {name!r}": (_PLAIN, name) for name in SPACES if _has_samples(SPACES[name])}
        found = {}
        for name, pair in pairs.items():
            with suppress(Exception):  # the check of open says which exceptions may be
                self._open(pair)
                found[name] = pair
        return found

    def _open(self, pair: tuple[str, str]) -> None:
        GymRunner(_Sampled(*pair), seed=0, history=self._make(), executor="serial").close()

    def _first(self) -> tuple[str, str]:
        pair = (_PLAIN, "Discrete")
        return pair if pair in self._accepted.values() else next(iter(self._accepted.values()))

    # ---- checks

    @check("It is an object with open(spec), which returns a recorder with finish(block) and close().")
    def contract(self) -> None:
        """Check its methods."""
        if fault := HISTORY_FORMAT.look(self._make()).fault:
            raise Fault(fault, "give it the methods that runnerkit.typing.HistoryFormat describes")

    @check("open() accepts a run, or raises SpaceError for what the format cannot hold.", needs=["contract"])
    def open(self) -> None:
        """Check what comes of spaces of every kind."""
        for name in SPACES:
            try:
                self._open((name, "Discrete"))
            except (SpaceError, MissingDependencyError):
                continue
            except Exception as error:
                raise Fault(
                    f"for observations of the space {name!r}, {describe(error)}",
                    "raise runnerkit.errors.SpaceError in open() for what it cannot hold, and nothing else",
                ) from error
        if not self._accepted:
            self._open((_PLAIN, "Discrete"))  # a missing dependency is reason to skip
            raise Fault("it refused every space", "accept spaces.Box(-1, 1, (3,), float32) at least")

    @check("A rollout returns one history for each env.", needs=["open"])
    def one_history_per_env(self) -> None:
        """Check how many there are."""
        for histories in _run(self._make(), _Sampled(*self._first())):
            if len(histories) != _N_ENVS:
                raise Fault(
                    f"finish() returned {len(histories)} histories for {_N_ENVS} envs", "return one for each env index"
                )

    @check("Every space comes back as it was recorded, bit by bit.", needs=["one_history_per_env"])
    def round_trip(self) -> None:
        """Check all columns against those of `arrays`."""
        for name, pair in self._accepted.items():
            rollouts = 2 if pair == self._first() else 1
            recorded = _reference(pair, rollouts)
            stored = _run(self._make(), _Sampled(*pair), rollouts=rollouts)
            for k, (reference, histories) in enumerate(zip(recorded, stored, strict=True)):
                for i, (one, history) in enumerate(zip(reference, histories, strict=True)):
                    _compare(f"{name}, rollout {k}, env {i}", one, self._columns(history))

    @check("A long rollout, which some formats get in windows, is recorded as a short one is.", needs=["round_trip"])
    def windows(self) -> None:
        """Check that no window is lost, and none is taken twice."""
        make_env = _Sampled(*self._first())
        recorded, stored = (_run(history, make_env, steps=_MANY_STEPS) for history in ("arrays", self._make()))
        for k, (reference, histories) in enumerate(zip(recorded, stored, strict=True)):
            for i, (one, history) in enumerate(zip(reference, histories, strict=True)):
                _compare(f"rollout {k} of {_MANY_STEPS} steps, env {i}", one, self._columns(history))

    def _columns(self, history: Any) -> Mapping[str, Any]:
        if self._read is not None:
            return self._read(history)
        if isinstance(history, list) and all(isinstance(item, Transition) for item in history):
            return _transposed(history)
        if all(hasattr(history, name) for name in _NEEDED):
            return {name: getattr(history, name) for name in _COLUMNS if hasattr(history, name)}
        raise Skip(
            f"The kit cannot read a {type(history).__name__}. Give read=, a function from a history to its columns: "
            f"{{{', '.join(repr(name) for name in _NEEDED)}, ...}}."
        )

    def _state(self, histories: Any) -> Any:
        """Return what histories hold, in a form that can be compared: their columns, if they can be read."""
        if isinstance(histories, list) and not all(isinstance(item, Transition) for item in histories):
            return [self._state(history) for history in histories]
        try:
            columns = dict(self._columns(histories))
        except Skip:
            return exact(histories)
        return exact({**columns, "episodes": list(getattr(histories, "episodes", ()))})

    @check(
        "The records of episodes are those of the run: seeds, starts, lengths, returns, end reasons.",
        needs=["round_trip"],
    )
    def episodes(self) -> None:
        """Check `history.episodes`, if there is such a thing."""
        pair = self._first()
        recorded = [history for rollout in _reference(pair, 2) for history in rollout]
        stored = [history for rollout in _run(self._make(), _Sampled(*pair)) for history in rollout]
        for one, history in zip(recorded, stored, strict=True):
            if not hasattr(history, "episodes"):
                raise Skip(f"A {type(history).__name__} has no episodes.")
            if seen := difference(exact(list(one.episodes)), exact(list(history.episodes)), "episodes"):
                raise Fault(seen, "take the records from block.episodes(env_index)")

    @check("Two runs of the same seed return the same histories.", needs=["one_history_per_env"])
    def function_of_the_run(self) -> None:
        """Check that nothing but the run is in a history."""
        one, other = (self._state(_run(self._make(), _Sampled(*self._first()))) for _ in range(2))
        if seen := difference(one, other, "histories"):
            raise Fault(seen, "put no time, id or random number into a history, and nothing of another run")

    @check("A history that was handed out does not change in later rollouts.", needs=["one_history_per_env"])
    def keeps_no_hold_of_histories(self) -> None:
        """Check that histories own their memory."""
        with GymRunner(
            _Sampled(*self._first()), seed=0, n_envs=_N_ENVS, history=self._make(), executor="serial"
        ) as runner:
            agent = HashAgent(runner.action_space)
            histories = list(runner.rollout(agent, steps=_STEPS))
            before = self._state(histories)
            runner.rollout(agent, steps=_STEPS)
        if seen := difference(before, self._state(histories), "histories"):
            raise Fault(seen, "make new objects in each finish(), and no views of what the recorder writes into later")

    @check("Two recorders of one format, open at the same time, do not mix their runs.", needs=["function_of_the_run"])
    def no_shared_state(self) -> None:
        """Check that the state is in the recorders, not in the format."""
        alone = self._state(_run(self._make(), _Sampled(*self._first())))
        shared = self._make()
        with GymRunner(_Sampled(*self._first()), seed=5, n_envs=_N_ENVS, history=shared, executor="serial") as other:
            agent = HashAgent(other.action_space)
            other.rollout(agent, steps=_STEPS)
            try:
                together = self._state(_run(shared, _Sampled(*self._first())))
            except Exception as error:
                raise Fault(
                    f"the second recorder failed: {describe(error)}",
                    "keep what a run needs in the recorder that open() returns",
                ) from error
            other.rollout(agent, steps=_STEPS)
        if seen := difference(alone, together, "histories"):
            raise Fault(seen, "keep what a run needs in the recorder that open() returns, not in the format")

    @check("The histories are the same with every executor.", needs=["function_of_the_run"])
    def executors(self) -> None:
        """Check against the serial executor."""
        serial = self._state(_run(self._make(), _Sampled(*self._first())))
        for name in ("threads", "processes"):
            other = self._state(_run(self._make(), _Sampled(*self._first()), executor=name))
            if seen := difference(serial, other, "histories"):
                raise Fault(f"with executor={name!r} instead of 'serial', {seen}", "read all data from the block")

    @check(
        "When an env crashes, the error has what was collected, in this format.",
        needs=["one_history_per_env"],
    )
    def crash(self) -> None:
        """Check that a rollout that breaks off can be finished."""
        observation, action = (SPACES[name] for name in self._first())
        kinds: list[str] = []
        notes = ""

        def make_env(seed: int | None) -> SampleEnv:  # noqa: ARG001  (runners pass it)
            return _Crashing(observation, action)

        regular = _run(self._make(), _Sampled(*self._first()), rollouts=1)[0]
        with GymRunner(make_env, seed=0, n_envs=_N_ENVS, history=self._make(), executor="serial") as runner:
            try:
                runner.rollout(HashAgent(runner.action_space), steps=_STEPS)
            except RolloutError as error:
                kinds = [type(history).__name__ for history in error.histories]
                notes = " ".join(getattr(error, "__notes__", ()))
        if kinds != [type(history).__name__ for history in regular]:
            raise Fault(
                f"the error has histories {kinds} instead. {notes}",
                "let finish() take blocks whose envs have any lengths, 0 too",
            )


def _has_samples(space: Space[Any]) -> bool:
    return not isinstance(space, spaces.Box) or space.shape != (0,)


def _transposed(transitions: Sequence[Transition[Any, Any]]) -> dict[str, list[Any]]:
    return {
        "observations": [transition.observation for transition in transitions],
        "actions": [transition.action for transition in transitions],
        "rewards": [transition.reward for transition in transitions],
        "terminated": [transition.terminated for transition in transitions],
        "truncated": [transition.truncated for transition in transitions],
        "next_observations": [transition.next_observation for transition in transitions],
    }


def _compare(where: str, reference: Any, columns: Mapping[str, Any]) -> None:
    for name in _COLUMNS:
        if name not in columns:
            if name in _NEEDED:
                raise Fault(f"{where}: the history has no {name}", f"let read return {name!r}, too")
            continue
        for t in range(len(reference)):
            try:
                row = row_of(columns[name], t)
            except (IndexError, KeyError) as error:
                raise Fault(f"{where}: {name} has no row {t} of {len(reference)}", "keep every step") from error
            if seen := difference(exact(row_of(getattr(reference, name), t)), exact(row), f"row {t} of {name}"):
                raise Fault(
                    f"{where}: {seen} ('the first time' is what the env returned)",
                    "keep dtype and bits; raise SpaceError in open() for what cannot be kept exactly",
                )
