"""Executors that speak in messages alone: what they say is pickled here, in one process."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from envs import SPACES, HashAgent, SampleEnv, summary
from typing_extensions import override

import runnerkit
from runnerkit.executors import share_out
from runnerkit.executors.messages import FarShare, MessageExecutor
from runnerkit.executors.processes.transport import dumps, pack, unpack
from runnerkit.records import EnvFacts, RunOptions
from runnerkit.testing import check_executor
from runnerkit.typing import AnyEnv


class Pen:
    """A worker that gets and gives nothing but bytes."""

    def __init__(self, env_indices: Sequence[int]) -> None:
        self.env_indices = list(env_indices)
        self._share = FarShare(env_indices)
        self._letter = b""

    def submit(self, method: str, /, *args: Any) -> None:
        self._letter = dumps((method, args))

    def answer(self) -> Any:
        method, args = pickle.loads(self._letter)
        try:
            letter = dumps((getattr(self._share, method)(*args), None))
        except Exception as error:
            letter = dumps((None, pack(error)))
        answer, fault = pickle.loads(letter)
        if fault is not None:
            raise unpack(fault)
        return answer


class Pens(MessageExecutor[Pen]):
    """Steps envs by letter."""

    def __init__(self, n_envs: int, workers: int | None = None, /) -> None:
        super().__init__()
        self._helpers = [Pen(place) for place in share_out(n_envs, workers or 2)]
        self.workers = len(self._helpers)

    def open(self, make_env: Callable[[int], AnyEnv], options: RunOptions, /) -> list[EnvFacts]:
        self._begin(options)
        try:
            return [fact for facts in self._all("open", self._for_all(make_env, options))[1:] for fact in facts]
        except BaseException:
            self.close()
            raise

    def remake(self, env_indices: Sequence[int], /) -> list[EnvFacts]:
        facts = []
        for i in env_indices:
            pen = next(pen for pen in self._helpers if i in pen.env_indices)
            pen.submit("remake", [i])
            facts += pen.answer()
        return facts

    def close(self) -> None:
        self._all("close", self._for_all())


def test_an_executor_of_messages_has_the_bytes_of_the_serial_one() -> None:
    check_executor(Pens).raise_for_failures()


class Failing(SampleEnv):
    """Fails now and then."""

    seen = 0

    @override
    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.seen += 1
        if self.seen % 7 == 5:
            raise RuntimeError("crashed on purpose")
        return super().step(action)


@pytest.mark.parametrize("space", ["float32", "Text"])
def test_envs_that_fail_are_made_anew_by_message_as_in_one_process(space: str) -> None:
    def make(seed: int | None) -> SampleEnv:
        return Failing(SPACES[space], SPACES["Discrete"])

    found = []
    for executor in ("serial", Pens):
        with runnerkit.GymRunner(
            make, 3, 3, executor=executor, on_env_error="restart", max_restarts=99, keep_infos=True
        ) as runner:
            agent = HashAgent(runner.action_space)
            histories = [*runner.rollout(agent, 20), *runner.rollout(agent, 20)]
            assert sum(len(history.faults) for history in histories) > 3
            found.append([summary(history) for history in histories])
    assert found[0] == found[1]
