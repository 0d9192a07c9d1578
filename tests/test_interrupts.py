"""Whatever ends a rollout early, what was collected travels with what is raised, and the runner can go on."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from envs import summary
from failing_envs import N_ENVS, RUN_SEED, act, zoo
from faulty_envs import build

EXECUTORS: list[dict[str, Any]] = [
    {"executor": "serial"},
    {"executor": "threads", "workers": 3},
    {"executor": "processes", "workers": 2},
]
STEPS = 12


@pytest.fixture
def _sigterm_exits() -> Iterator[None]:
    def leave(*_: object) -> None:
        raise SystemExit(143)

    before = signal.signal(signal.SIGTERM, leave)
    yield
    signal.signal(signal.SIGTERM, before)


def stop_at(count: int, how: str) -> Any:
    """Return a function that ends the rollout as it is called for that many times."""
    calls: list[None] = []

    def stop(*_: object) -> None:
        calls.append(None)
        if len(calls) == count:
            if how == "SIGTERM":
                os.kill(os.getpid(), signal.SIGTERM)
            else:
                raise {"error": OSError("broken"), "sys.exit": SystemExit(3)}[how]

    return stop


@pytest.mark.usefixtures("_sigterm_exits")
@pytest.mark.parametrize("how", ["error", "sys.exit", "SIGTERM"])
@pytest.mark.parametrize("who", ["agent", "progress", "on_episode"])
@pytest.mark.parametrize("options", EXECUTORS, ids=str)
def test_what_the_program_raises_in_a_rollout_has_the_histories(options: dict[str, Any], who: str, how: str) -> None:
    stop = stop_at({"agent": 6, "progress": 1, "on_episode": 2}[who], how)

    def agent(observations: Any) -> Any:
        if who == "agent":
            stop()
        return act(observations)

    looking: dict[str, Any] = {} if who == "agent" else {who: stop}
    with build(zoo(), seed=RUN_SEED, n_envs=N_ENVS, **options) as runner:
        with pytest.raises(BaseException) as caught:  # noqa: PT011  (a SystemExit, or an error of ours)
            runner.rollout(agent, steps=STEPS, **looking)
        assert isinstance(caught.value, SystemExit) == (how != "error")
        histories: list[Any] = caught.value.histories  # type: ignore[attr-defined]
        after = runner.rollout(act, steps=3)
    with build(zoo(), seed=RUN_SEED, n_envs=N_ENVS) as runner:
        whole = runner.rollout(act, steps=STEPS)
    rows = len(histories[0])
    assert 0 < rows <= STEPS
    for history, other in zip(histories, whole, strict=True):
        assert len(history) == rows
        assert (history.observations == other.observations[:rows]).all()
        assert (history.rewards == other.rewards[:rows]).all()
        last = history.episodes[-1].end_reason
        assert last in (("cut", "terminated") if rows == STEPS else ("interrupted", "terminated"))
    assert [len(summary(history)) > 0 and len(history) for history in after] == [3] * N_ENVS
