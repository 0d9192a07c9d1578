"""Executors that speak in messages alone: what they say is pickled here, in one process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from envs import SPACES, HashAgent, SampleEnv, summary
from numpy.typing import NDArray
from typing_extensions import override

from runnerkit import GymRunner
from runnerkit.executors import RunOptions
from runnerkit.executors.messages import FarWorker, LostError, MessageExecutor, MessageHandle, Patience, share
from runnerkit.testing import check_executor


@pytest.fixture(autouse=True)
def _stays_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(share, "be_helper", lambda: None)  # the workers here have no process of their own


class Pen(MessageHandle):
    """A worker that gets and gives nothing but bytes."""

    def __init__(self, env_indices: Sequence[int], options: RunOptions, patience: Patience) -> None:
        super().__init__(env_indices, options, patience)
        self._worker: FarWorker | None = FarWorker(*self.far)
        self._letters: list[bytes] = []
        self._answer = b""

    @override
    def send(self, letter: bytes, /) -> None:
        self._letters.append(letter)

    @override
    def receive(self, seconds: float, /) -> bytes:
        if self._worker is None:
            raise LostError("on purpose")
        self._answer = self._worker.call(self._letters.pop()) if self._letters else self._answer
        if b"die on purpose" in self._answer:
            self._worker = None
        return self.receive(seconds) if self._worker is None else self._answer

    @override
    def kill(self) -> None:
        self._worker = None

    @override
    def place(self, envs: str, /) -> str:
        return f"pen ({envs})"


class Pens(MessageExecutor[Pen]):
    """Steps envs by letter."""

    name = "pens"

    @override
    def start(self, env_indices: Sequence[int], options: RunOptions, patience: Patience, /) -> Pen:
        return Pen(env_indices, options, patience)


def test_an_executor_of_messages_has_the_bytes_of_the_serial_one() -> None:
    check_executor(Pens).raise_for_failures()


class Failing(SampleEnv):
    """Fails now and then."""

    seen = 0

    @override
    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.seen += 1
        if self.seen % 7 == 5:
            raise RuntimeError("crashed on purpose" if self.seen % 2 else "die on purpose")
        return super().step(action)


@pytest.mark.parametrize("space", ["float32", "Text"])
def test_envs_that_fail_are_made_anew_by_message_as_in_one_process(space: str) -> None:
    def make(seed: int | None) -> SampleEnv:
        return Failing(SPACES[space], SPACES["Discrete"])

    found = []
    for executor in ("serial", Pens):
        with GymRunner(
            make, 3, 3, executor=executor, on_env_error="restart", max_restarts=99, keep_infos=True
        ) as runner:
            agent = HashAgent(runner.action_space)
            histories = [*runner.rollout(agent, 20), *runner.rollout(agent, 20)]
            assert sum(len(history.faults) for history in histories) > 3
            found.append([summary(history) for history in histories])
    assert found[0] == found[1]


@pytest.mark.parametrize("on_env_error", ["raise", "restart"])
def test_a_worker_that_dies_while_its_envs_rest_takes_no_history_along(on_env_error: str) -> None:
    class Mortals(Pens):
        @override
        def start(self, env_indices: Sequence[int], options: RunOptions, patience: Patience, /) -> Pen:
            pens.append(super().start(env_indices, options, patience))
            return pens[-1]

    def agent(observations: NDArray[np.float32]) -> NDArray[np.int64]:
        pens[1].kill()  # of env 1, which has nothing to do
        return np.zeros(len(observations), np.int64)

    pens: list[Pen] = []
    here: Any = {"executor": Mortals, "workers": 2, "on_env_error": on_env_error, "timings": True}
    with GymRunner("CartPole-v1", 0, 2, **here) as runner:
        runner.maybe_reset()
        some, none = runner.rollout(agent, episodes=1)
        assert (some.episodes[0].end_reason, len(none)) == ("terminated", 0)
        assert runner.timings.steps >= len(some)
