"""Ctrl-C at any line while units are written to a folder: each episode is listed once, and whole.

The pool makes units in this process, with what runs in an actor, so that this needs no cluster.
"""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any

import cloudpickle  # type: ignore[import-untyped]
import numpy as np
import pytest
import runnerkit_ray.runner
from runnerkit_ray import RayRunner
from runnerkit_ray.actor import EpisodeActor, Hello
from runnerkit_ray.jobs import Done, Job, Outcome, Policy
from runnerkit_ray.policies import Policies
from unit_envs import Thresholds, Walk

import runnerkit
from runnerkit.errors import RolloutInterrupted

N_ENVS, UNITS = 2, 6


class LocalPool:
    """Makes units here, two at a time."""

    restarts = retries = timeouts = 0

    def __init__(self, recipe: Any) -> None:
        self._actor = EpisodeActor(cloudpickle.dumps(recipe), [])
        self._jobs: list[Job] = []

    def greet(self) -> Hello:
        return self._actor.hello(0)

    def require_open(self) -> None:
        pass

    def room(self) -> bool:
        return len(self._jobs) < 2

    def submit(self, job: Job) -> None:
        self._jobs.append(job)

    def wait(self) -> list[Outcome]:
        jobs, self._jobs = self._jobs, []
        before = sys.gettrace()
        sys.settrace(None)  # Ctrl-C does not reach actors
        try:
            return [Done(job, self._actor.play(job.unit, job.policy.agent, None)) for job in jobs]
        finally:
            sys.settrace(before)

    def drop(self) -> None:
        self._jobs = []

    def close(self) -> None:
        self._actor.close()


@pytest.fixture(autouse=True)
def _without_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(undo: contextlib.ExitStack, address: object, recipe: Any, *_: object) -> tuple[Any, Any]:
        pool = LocalPool(recipe)
        undo.callback(pool.close)
        return SimpleNamespace(address="here"), pool

    def send(self: object, agent: object) -> Policy:
        return Policy(0, np.frombuffer(cloudpickle.dumps(agent), np.uint8))

    monkeypatch.setattr(runnerkit_ray.runner, "start", start)
    monkeypatch.setattr(Policies, "send", send)


@contextlib.contextmanager
def pressed_at(*lines: int) -> Iterator[Callable[[], int]]:
    """Press Ctrl-C at these lines of RunnerKit, counted from here on; give how many were executed."""
    executed = 0

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal executed
        if not str(frame.f_globals.get("__name__")).startswith(("runnerkit_ray.", "runnerkit.history.")):
            return None
        if event == "line":
            executed += 1
            if executed in lines:
                signal.raise_signal(signal.SIGINT)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield lambda: executed
    finally:
        sys.settrace(before)


def walk(seed: int | None) -> Walk:
    return Walk()


def runner_in(folder: Path) -> RayRunner[Any, Any, Any]:
    return RayRunner(walk, 7, N_ENVS, actors=1, episodes_per_unit=2, history=("npz", {"path": folder}))


def stored(folder: Path, *, is_tidy: bool = True) -> list[tuple[tuple[int, int], bytes]]:
    """Return the episodes of a folder, which must be without a fault: their numbers, and their bytes."""
    runs = runnerkit.load(folder)
    assert not list(runs.faults())
    assert not (is_tidy and list(runs.unlisted()))
    assert not runs.torn
    found = []
    for row, history in zip(runs.rows, runs, strict=True):
        (whole,) = history.split()
        columns = (whole.observations, whole.actions, whole.rewards, whole.extras["score"])
        numbers = row.episode.env_index, row.episode.episode_index
        found.append((numbers, b"".join(np.ascontiguousarray(column).tobytes() for column in columns)))
    return sorted(found)


@pytest.fixture(scope="module")
def reference() -> dict[tuple[int, int], bytes]:
    """The bytes of the first episodes of each env, by their numbers, as one process makes them."""
    with runnerkit.make(walk, seed=7, n_envs=N_ENVS, executor="serial") as runner:
        histories = runner.rollout(Thresholds(), steps=300)
    return {
        (e.record.env_index, e.record.episode_index): b"".join(
            np.ascontiguousarray(column).tobytes()
            for column in (e.observations, e.actions, e.rewards, e.extras["score"])
        )
        for history in histories
        for e in history.split()
    }


def collected(runner: RayRunner[Any, Any, Any], units: int, *lines: int) -> tuple[list[Any], int]:
    """Collect units until Ctrl-C; return the histories, also those of the exception, and how many lines there were."""
    found: list[Any] = []
    with pressed_at(*lines) as executed:
        try:
            for one in runner.collect(units, Thresholds()):
                found.append(one.history)
        except KeyboardInterrupt as stop:  # a plain one before the first unit
            found += stop.histories if isinstance(stop, RolloutInterrupted) else []
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    return found, executed()


def test_each_episode_is_listed_once_at_whichever_line_ctrl_c_comes(
    tmp_path: Path, reference: dict[tuple[int, int], bytes]
) -> None:
    with runner_in(tmp_path / "whole") as runner:
        _, lines = collected(runner, UNITS)
    whole = stored(tmp_path / "whole")
    assert whole == sorted((numbers, reference[numbers]) for numbers, _ in whole)
    assert len(whole) == 2 * UNITS
    for at in range(1, lines, lines // 12):
        folder = tmp_path / str(at)
        with runner_in(folder) as runner:
            histories, _ = collected(runner, UNITS, at)
            state, n = runner.state_dict(), len(histories)
            if n < UNITS:
                histories += [one.history for one in runner.collect(1, Thresholds())]
                state, n = runner.state_dict(), n + 1
        with runner_in(folder) as again:  # it opens again, and appends
            again.load_state_dict(state)
            histories += [one.history for one in again.collect(UNITS - n, Thresholds())] if n < UNITS else []
        assert stored(folder) == whole, at
        assert sorted(len(one.episodes) for one in histories) == [2] * UNITS


def test_what_is_listed_is_exact_though_ctrl_c_is_pressed_twice(
    tmp_path: Path, reference: dict[tuple[int, int], bytes]
) -> None:
    for at in range(50, 3000, 427):
        folder = tmp_path / str(at)
        with runner_in(folder) as runner:
            collected(runner, UNITS, at, at + 29)
            collected(runner, 2)
        assert all(content == reference[numbers] for numbers, content in stored(folder, is_tidy=False))
