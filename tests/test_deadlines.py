"""Envs that hang: what a timeout raises, what a deadline returns, and that nobody waits without an end."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from envs import summary
from failing_envs import N_ENVS, RUN_SEED, Place, act, zoo
from faulty_envs import build, forget_threads, runnerkit_threads, wait_for_those_left_behind
from programs import program

from runnerkit.errors import ArgumentError, EnvTimeoutError
from runnerkit.executors.hanging import WATCH

TIMEOUTS = {"step_timeout": 0.3, "reset_timeout": 0.3, "make_timeout": 0.3}
LEFT_BEHIND = pytest.mark.filterwarnings("ignore:runnerkit-envs-1-1 did not end in time:RuntimeWarning")


@pytest.fixture(autouse=True)
def _threads_are_left_behind() -> Iterator[None]:
    forget_threads()
    yield
    forget_threads()


def run(env: Any, executor: str, **options: Any) -> list[Any]:
    with build(env, seed=RUN_SEED, n_envs=N_ENVS, executor=executor, **options) as runner:
        return runner.rollout(act, steps=12)


@LEFT_BEHIND
@pytest.mark.parametrize(
    ("executor", "call"),
    [*itertools.product(["threads", "processes"], ["step", "reset", "make"]), ("auto", "step")],
)
def test_an_env_that_takes_too_long_is_given_up_and_named(executor: str, call: str) -> None:
    began = time.monotonic()
    with pytest.raises(EnvTimeoutError) as caught:
        run(zoo("hangs", Place(call)), executor, **TIMEOUTS)
    error = caught.value
    assert time.monotonic() - began < 20  # it hangs for 30 s
    assert error.env_index == 1
    assert f"within 0.3 s ({call}_timeout)" in str(error)
    if call == "make":
        return
    whole: list[Any] = run(zoo(), "serial")
    histories: list[Any] = error.histories
    rows = len(histories[0])
    assert rows > 2
    for history, other in zip(histories, whole, strict=True):
        assert (history.observations == other.observations[:rows]).all()
        assert (history.rewards == other.rewards[:rows]).all()
    reasons = [history.episodes[-1].end_reason for history in histories]
    if call == "step":
        assert (error.episode_index, error.step, error.action) == (1, 1, histories[1].actions.dtype.type(error.action))
        assert reasons == ["interrupted", "timed out", "interrupted"]
    else:
        assert (error.episode_index, error.step) == (1, None)


@pytest.mark.parametrize("executor", ["threads", "processes"])
def test_with_timeouts_that_nobody_exceeds_the_data_are_those_of_serial(executor: str) -> None:
    timed = run(zoo(), executor, step_timeout=60, reset_timeout=60.0)
    assert [summary(history) for history in timed] == [summary(history) for history in run(zoo(), "serial")]


@LEFT_BEHIND
@pytest.mark.parametrize("executor", ["threads", "processes"])
def test_a_runner_with_an_env_that_was_given_up_says_so_and_closes(executor: str) -> None:
    runner = build(zoo("hangs", Place("step")), seed=RUN_SEED, n_envs=N_ENVS, executor=executor, step_timeout=0.1)
    with runner:
        with pytest.raises(EnvTimeoutError):
            runner.rollout(act, steps=12)
        with pytest.raises(Exception, match=r"(?s)earlier.*Env 1 .*did not return from step within 0.1 s"):
            runner.rollout(act, steps=12)
        began = time.monotonic()
    assert time.monotonic() - began < 15


def test_what_an_env_returns_after_it_was_given_up_changes_no_history() -> None:
    go_on, seen = multiprocessing.Event(), []

    def make(seed: int | None, env_index: int) -> Any:
        env = zoo()(seed, env_index)
        step, close = env.step, env.close

        def slow(action: Any) -> Any:
            if env_index == 1 and env.episode == 1:
                go_on.wait(30)
            return step(action)

        def noted() -> None:
            seen.append(env_index)
            close()

        env.step, env.close = slow, noted
        return env

    runner = build(make, seed=RUN_SEED, n_envs=N_ENVS, executor="threads", step_timeout=0.1)
    with pytest.raises(EnvTimeoutError) as caught:
        runner.rollout(act, steps=12)
    kept = [summary(history) for history in caught.value.histories]
    threads = runnerkit_threads()
    go_on.set()
    wait_for_those_left_behind(runner)
    assert 1 in seen, threads
    assert [summary(history) for history in caught.value.histories] == kept
    runner.close()
    assert runnerkit_threads() == []


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"executor": "serial", "step_timeout": 1}, r"step_timeout cannot be kept by executor='serial'.*'processes'"),
        ({"executor": "threads", "workers": 2, "step_timeout": 1}, "a thread for each env.* Leave workers=2 out"),
        ({"step_timeout": 0}, "step_timeout must be a positive number of seconds, or None for no limit, not 0"),
        ({"make_timeout": "1"}, "make_timeout must be a positive number"),
        ({"reset_timeout": float("inf")}, "reset_timeout must be a positive number"),
    ],
)
def test_a_timeout_that_cannot_be_kept_is_refused(options: dict[str, Any], what: str) -> None:
    with pytest.raises(ArgumentError, match=f"(?s){what}"):
        build(zoo(), n_envs=N_ENVS, **options)
    assert runnerkit_threads() == []


def test_a_vector_env_cannot_have_a_timeout() -> None:
    with pytest.raises(ArgumentError, match="there cannot be step_timeout"):
        build("vector:CartPole-v1", n_envs=2, step_timeout=1)


# ---- rollout(deadline=...)


class Late:
    """Acts, and lets the deadline pass in its fifth action."""

    def __init__(self) -> None:
        self.calls = 0

    def act(self, observations: Any, /) -> Any:
        self.calls += 1
        while self.calls == 5 and any(thread.name == "runnerkit-deadline" for thread in threading.enumerate()):
            time.sleep(0.01)
        return act(observations) % 2


@pytest.mark.parametrize("env", [zoo(), "vector:CartPole-v1"], ids=["single", "vector"])
@pytest.mark.parametrize("arguments", [{}, {"episodes": 50}, {"progress": lambda progress: None}])
def test_at_its_deadline_a_rollout_returns_what_there_is_and_the_next_one_goes_on(env: Any, arguments: Any) -> None:
    def rollouts(*calls: dict[str, Any]) -> Any:
        agent = Late()
        with build(env, seed=RUN_SEED, n_envs=N_ENVS) as runner:
            return [[summary(history) for history in runner.rollout(agent, **call)] for call in calls]

    options = {**arguments, "deadline": 0.4}
    if "episodes" in arguments:
        ((first, *_),) = rollouts(options)
        assert len(first) > 0
        return
    assert rollouts(options, {"steps": 9}) == rollouts({"steps": 5}, {"steps": 9})


def test_a_deadline_that_is_not_reached_changes_nothing_and_leaves_no_thread() -> None:
    with build(zoo(), seed=RUN_SEED, n_envs=N_ENVS) as runner:
        histories = runner.rollout(act, steps=12, deadline=1e12)  # more than a timer can wait
    assert [summary(history) for history in histories] == [summary(history) for history in run(zoo(), "serial")]
    assert runnerkit_threads() == []
    with build(zoo(), n_envs=1) as runner, pytest.raises(ArgumentError, match="deadline must be a positive number"):
        runner.rollout(act, steps=1, deadline=-1)


# ---- a call that takes long is told of


@pytest.fixture
def _soon(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    WATCH._end()
    monkeypatch.setattr("runnerkit.executors.hanging._LONG_S", 0.2)
    yield
    WATCH._end()


@pytest.mark.usefixtures("_soon")
@pytest.mark.parametrize("call", ["step", "reset"])
@pytest.mark.parametrize("options", [{}, {"executor": "threads"}, {"executor": "processes", "workers": 2}], ids=str)
def test_a_long_call_is_warned_of_once_with_env_and_episode(options: dict[str, Any], call: str) -> None:
    def make(seed: int | None, env_index: int) -> Any:
        env = zoo()(seed, env_index)
        before = getattr(env, call)

        def slow(*args: Any, **keywords: Any) -> Any:
            if env_index == 1 and env.episode == 0 and env.t == (2 if call == "step" else env.length):
                time.sleep(0.6)
            return before(*args, **keywords)

        setattr(env, call, slow)
        return env

    with build(make, seed=RUN_SEED, n_envs=N_ENVS, **options) as runner, pytest.warns(RuntimeWarning) as warned:
        runner.rollout(act, steps=8)
    (message,) = [str(one.message) for one in warned]
    episode = 0 if call == "step" else 1
    assert message.startswith(f"Env 1 (episode {episode}, step "), message
    assert f" of the rollout) has been in {call} for 0." in message
    assert f"{call}_timeout sets a limit" in message


def watches() -> int:
    return sum(thread.name == "runnerkit-watch" for thread in threading.enumerate())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_the_watch_is_gone_in_a_fork_and_after_the_last_runner() -> None:
    with build(zoo(), seed=RUN_SEED, n_envs=1) as runner:
        runner.rollout(act, steps=2)
        assert watches() == 1
        pid = os.fork()
        if not pid:
            os._exit(watches())
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        runner.rollout(act, steps=2)
        assert watches() == 1
    assert watches() == 0


# ---- nothing waits for an env that hangs

PROGRAM = """
    import os, signal, threading, time
    from faulty_envs import build
    from failing_envs import act, zoo, Place
    from runnerkit.executors.waiting import Patience

    Patience._AFTER_EXCEPTION_S = 1.0

    def alarm(*_):
        times.append(time.monotonic())
        raise TimeoutError("deadline")

    def press():
        time.sleep(0.5)
        for _ in range(2):
            times.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.2)

    times = []
    runner = build(zoo("hangs", Place("step")), n_envs=3, workers=3, seed=3, executor="threads")
    if {how!r} == "exit":
        threading.Thread(target=lambda: runner.rollout(act, steps=12), daemon=True).start()
        time.sleep(0.5)
        print("end", flush=True)
    else:
        if {how!r} == "alarm":
            signal.signal(signal.SIGALRM, alarm)
            signal.setitimer(signal.ITIMER_REAL, 0.5)
        else:
            threading.Thread(target=press, daemon=True).start()
        try:
            runner.rollout(act, steps=12)
        except BaseException as error:
            rows = set(map(len, getattr(error, "histories", [])))
            print(type(error).__name__, *rows, round(time.monotonic() - times[-1], 2), flush=True)
        begin = time.monotonic()
        runner.close()
        print(round(time.monotonic() - begin), flush=True)
"""


@pytest.mark.parametrize("how", ["presses", "alarm", "exit"])  # with processes: test_processes*.py
def test_no_env_that_hangs_in_a_thread_keeps_anybody_waiting(how: str) -> None:
    began = time.monotonic()
    done = program(PROGRAM.format(how=how))
    took = time.monotonic() - began
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    if how == "exit":
        assert (lines, took < 25) == (["end"], True), done.stderr
        return
    name, *rows, seconds = lines[0].split()
    assert int(lines[1]) <= 5, done.stderr
    if how == "presses":
        assert (name, rows) == ("KeyboardInterrupt", [])
        assert float(seconds) < 5  # as soon as the thread gets a core
    else:
        assert name == "TimeoutError"
        assert len(rows) == 1
        assert float(seconds) < 15


def test_a_left_behind_env_cannot_spoil_what_an_alarm_collected() -> None:
    done = program(
        """
        import signal, time
        from faulty_envs import build
        from failing_envs import act, zoo
        from runnerkit.executors.waiting import Patience

        Patience._AFTER_EXCEPTION_S = 0.5

        def alarm(*_):
            raise TimeoutError("deadline")

        def make(seed, env_index):
            env = zoo()(seed, env_index)
            step = env.step
            def slow(action):
                if env_index == 1 and env.episode == 1:
                    time.sleep(1.5)
                return step(action)
            env.step = slow
            return env

        runner = build(make, n_envs=3, workers=3, seed=3, executor="threads")
        signal.signal(signal.SIGALRM, alarm)
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        try:
            runner.rollout(act, steps=100_000)
        except TimeoutError as error:
            histories = error.histories
        before = [history.observations.copy() for history in histories]
        time.sleep(1.5)
        print(all((history.observations == kept).all() for history, kept in zip(histories, before)))
        """
    )
    assert done.stdout == "True\n", done.stderr
