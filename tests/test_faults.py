"""Nothing is left behind: not after close, not after an exception, not after Ctrl-C."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faulty_envs import (
    EXECUTORS,
    Answer,
    AnyRunner,
    Constant,
    Faults,
    Fleet,
    build,
    collected,
    forget_threads,
    raising,
    returning,
    runnerkit_threads,
)
from typing_extensions import override

from runnerkit import Contribution, hookimpl
from runnerkit._plugins.manager import Plugins
from runnerkit.errors import (
    AgentError,
    ArgumentError,
    EnvError,
    EnvSpaceError,
    RolloutInterrupted,
    RunnerKitError,
    SpaceError,
)
from runnerkit.executors import SerialExecutor
from runnerkit.history.log import EpisodeLog

both_executors = pytest.mark.parametrize("executor", EXECUTORS, ids=[options["executor"] for options in EXECUTORS])

TESTS = Path(__file__).parent / "support"


@pytest.fixture(autouse=True)
def _no_thread_is_left_over() -> Any:
    yield
    left = runnerkit_threads()
    forget_threads()
    assert left == []


def assert_put_away(fleet: Fleet) -> None:
    """All envs are closed, once, as the last thing they did, in a thread that they knew."""
    for env in fleet.envs:
        assert env.calls("make") == env.calls("close") == 1
        assert env.journal[-1][0] == "close"
        assert env.journal[-1][1] in {thread for _, thread in env.journal[:-1]}
    assert runnerkit_threads() == []


def run_script(script: str, *args: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script, with this folder on its path, and wait for its end; hangs are failures."""
    paths = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, *args, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=20,
        env={**os.environ, "PYTHONPATH": paths, **environment},
    )


# ---- close


@both_executors
def test_close_closes_every_env_once_and_ends_the_threads(executor: dict[str, Any]) -> None:
    fleet = Fleet()
    runner = build(fleet, n_envs=5, **executor)
    runner.rollout(Constant(), steps=12)
    assert len(runnerkit_threads()) == runner.workers - 1
    runner.close()
    assert_put_away(fleet)


@both_executors
def test_close_may_be_called_twice(executor: dict[str, Any]) -> None:
    fleet = Fleet()
    runner = build(fleet, n_envs=3, **executor)
    runner.close()
    runner.close()
    with runner:
        pass
    assert_put_away(fleet)


@both_executors
def test_a_runner_that_never_ran_closes_too(executor: dict[str, Any]) -> None:
    fleet = Fleet()
    with build(fleet, n_envs=3, **executor):
        pass
    assert_put_away(fleet)
    assert all(env.calls("reset") == 0 for env in fleet.envs)


@both_executors
def test_leaving_the_with_statement_closes_after_an_exception_too(executor: dict[str, Any]) -> None:
    fleet = Fleet()
    with pytest.raises(ZeroDivisionError), build(fleet, n_envs=3, **executor) as runner:
        raise ZeroDivisionError(runner.rollout(Constant(), steps=2))
    assert_put_away(fleet)


@both_executors
def test_a_failing_close_of_one_env_still_closes_the_others(executor: dict[str, Any]) -> None:
    def stuck(env: Any) -> object:
        raise RuntimeError("stuck")

    fleet = Fleet({0: Faults(close=stuck), 2: Faults(close=stuck)})
    runner = build(fleet, n_envs=5, **executor)
    runner.rollout(Constant(), steps=3)
    with pytest.raises(EnvError, match="Env 0 failed to close: RuntimeError: stuck"):
        runner.close()
    assert_put_away(fleet)
    runner.close()
    assert_put_away(fleet)


@both_executors
def test_envs_are_made_reset_stepped_rendered_and_closed_by_one_thread_each(
    executor: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pygame")
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    fleet = Fleet(length=3)
    with build(fleet, n_envs=5, render_mode="rgb_array", **executor) as runner:
        runner.maybe_reset()
        runner.rollout(Constant(), steps=4, render=True, fps=10_000)
        runner.rollout(Constant(), episodes=6)
        workers = runner.workers
    for env in fleet.envs:
        assert {name for name, _ in env.journal} == {"make", "reset", "step", "render", "close"}
        assert len(env.threads) == 1
    assert_put_away(fleet)
    owners = [next(iter(env.threads)) for env in fleet.envs]
    assert len(set(owners)) == workers
    assert owners[0] == threading.get_ident()
    assert owners == sorted(owners, key=owners.index), "neighbours share a thread"


def test_there_are_never_more_workers_than_envs() -> None:
    with build(Fleet(), n_envs=2, executor="threads", workers=16) as runner:
        assert runner.workers == 2
        assert len(runnerkit_threads()) == 1


# ---- exceptions


def _agent_fault(observations: Any) -> Any:
    raise KeyError("policy")


@both_executors
@pytest.mark.parametrize(
    ("faulty", "agent", "error"),
    [
        ({1: Faults(step=raising(RuntimeError("boom"), at_step=3))}, Constant(), EnvError),
        ({2: Faults(reset=raising(RuntimeError("boom"), at_step=0))}, Constant(), EnvError),
        ({2: Faults(step=returning(None))}, Constant(), EnvSpaceError),
        ({}, Answer(_agent_fault), AgentError),
        ({}, Constant(99), AgentError),
    ],
    ids=["step", "reset", "bad result", "agent", "bad action"],
)
def test_closing_after_a_fault_leaves_nothing(
    executor: dict[str, Any], faulty: dict[int, Faults], agent: Any, error: type[RunnerKitError]
) -> None:
    fleet = Fleet(faulty)
    with pytest.raises(error), build(fleet, n_envs=3, **executor) as runner:
        runner.rollout(agent, steps=20)
    assert_put_away(fleet)


@both_executors
def test_a_runner_that_cannot_be_built_leaves_nothing(executor: dict[str, Any]) -> None:
    fleet = Fleet()
    with pytest.raises(SpaceError):
        build(fleet, n_envs=3, preprocessors=["scale-image"], **executor)
    assert_put_away(fleet)


@both_executors
def test_two_envs_that_fail_in_the_same_step_are_one_error(executor: dict[str, Any]) -> None:
    fleet = Fleet({i: Faults(step=raising(RuntimeError(f"boom {i}"), at_step=2)) for i in (1, 2)})
    with build(fleet, n_envs=3, **executor) as runner:
        with pytest.raises(EnvError) as caught:
            runner.rollout(Constant(), steps=20, on_interrupt="return")
        assert caught.value.env_index == 1
        fleet.mend()
        assert [len(history) for history in runner.rollout(Constant(), steps=6)] == [6, 6, 6]
    assert_put_away(fleet)


@both_executors
def test_a_runner_goes_on_after_many_faults(executor: dict[str, Any]) -> None:
    fleet = Fleet({1: Faults(step=raising(RuntimeError("boom"), at_step=3))})
    with build(fleet, n_envs=3, seed=0, **executor) as runner:
        for attempt in range(20):
            with pytest.raises(EnvError) as caught:
                runner.rollout(Constant(), steps=4)
            assert caught.value.episode_index == attempt
            assert [len(history) for history in collected(caught.value)] == [2, 2, 2]
    assert len(set(fleet.envs[1].seeds)) == 20
    assert_put_away(fleet)


@both_executors
def test_what_an_error_holds_does_not_change_later(executor: dict[str, Any]) -> None:
    fleet = Fleet({2: Faults(step=raising(RuntimeError("boom"), at_step=3))})
    with build(fleet, n_envs=3, **executor) as runner:
        with pytest.raises(EnvError) as caught:
            runner.rollout(Constant(), steps=10)
        before = [history.observations.copy() for history in collected(caught.value)]
        fleet.mend()
        runner.rollout(Constant(), steps=10)
        for history, observations in zip(collected(caught.value), before, strict=True):
            np.testing.assert_array_equal(history.observations, observations)


# ---- dropped without close


def drop(runners: list[AnyRunner]) -> None:
    """Let go of the only reference to a runner."""
    runners.clear()
    gc.collect()


@both_executors
def test_a_dropped_runner_warns_and_puts_everything_away(executor: dict[str, Any]) -> None:
    fleet = Fleet()
    runners = [build(fleet, n_envs=3, **executor)]
    runners[0].rollout(Constant(), steps=3)
    with pytest.warns(ResourceWarning, match="dropped without close"):
        drop(runners)
    assert_put_away(fleet)


@both_executors
def test_a_dropped_runner_puts_everything_away_even_where_warnings_are_errors(
    executor: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    unraisable: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda args: unraisable.append(str(args.exc_value)))
    monkeypatch.setattr(sys, "excepthook", lambda kind, value, traceback: unraisable.append(str(value)))
    fleet = Fleet()
    runners = [build(fleet, n_envs=3, **executor)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drop(runners)
    assert any("dropped without close" in text for text in unraisable)
    assert_put_away(fleet)


@both_executors
def test_a_dropped_runner_of_a_derived_class_puts_everything_away(executor: dict[str, Any]) -> None:
    from runnerkit import GymRunner

    fleet = Fleet()

    class Derived(GymRunner[Any, Any, list[float]]):
        @override
        def make_env(self, seed: int | None = None) -> Any:
            return fleet(seed)

        @override
        def process_transition(self, history: list[float] | None, transition: Any) -> list[float]:
            return [*(history or []), transition.reward]

    make: Any = Derived
    runners = [make("CartPole-v1", n_envs=3, **executor)]
    runners[0].rollout(Constant(), steps=3)
    with pytest.warns(ResourceWarning, match="Derived"):
        drop(runners)
    assert_put_away(fleet)


@both_executors
def test_a_runner_dropped_after_a_fault_puts_everything_away(executor: dict[str, Any]) -> None:
    def boom(env: Any) -> object:
        raise RuntimeError("boom")  # a new one, as an exception that is kept keeps all the frames it passed

    fleet = Fleet({2: Faults(step=boom)})

    def fail() -> None:
        with pytest.raises(EnvError):
            build(fleet, n_envs=3, **executor).rollout(Constant(), steps=10)
        gc.collect()

    with pytest.warns(ResourceWarning):
        fail()
    assert_put_away(fleet)


def test_a_closed_runner_is_dropped_without_a_word() -> None:
    runners = [build(Fleet(), n_envs=2)]
    runners[0].close()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        drop(runners)
    assert caught == []


# ---- Ctrl-C


def was_interrupted(runner: AnyRunner) -> bool:
    return runner.interrupted


def interrupted_episodes(histories: Any) -> list[list[str]]:
    return [[str(episode.end_reason) for episode in history.episodes] for history in histories]


@both_executors
def test_ctrl_c_in_the_agent_returns_what_was_collected(executor: dict[str, Any]) -> None:
    calls: list[int] = []

    def answer(observations: Any) -> Any:
        calls.append(1)
        if len(calls) == 8:
            raise KeyboardInterrupt
        return np.ones(len(observations), np.int64)

    fleet = Fleet()
    with build(fleet, n_envs=3, **executor) as runner:
        assert not was_interrupted(runner)
        histories = runner.rollout(Answer(answer), steps=20, on_interrupt="return")
        assert was_interrupted(runner)
        assert interrupted_episodes(histories) == [["terminated", "interrupted"]] * 3
        assert [history.rewards.tolist() for history in histories] == [[1.0] * 7] * 3
        later = runner.rollout(Constant(2), steps=6)
        assert not was_interrupted(runner)
        assert interrupted_episodes(later) == [["terminated", "cut"]] * 3
        assert [history.episodes[0].episode_index for history in later] == [2, 2, 2]
        assert not later[0].episodes[0].continued
        assert [history.rewards.tolist() for history in histories] == [[1.0] * 7] * 3
    assert_put_away(fleet)


@both_executors
@pytest.mark.parametrize("env_index", [0, 2])
def test_ctrl_c_in_an_env_returns_what_was_collected(executor: dict[str, Any], env_index: int) -> None:
    fleet = Fleet({env_index: Faults(step=raising(KeyboardInterrupt(), at_step=4))})
    with build(fleet, n_envs=3, **executor) as runner:
        histories = runner.rollout(Constant(), steps=20, on_interrupt="return")
        assert was_interrupted(runner)
        assert [len(history) for history in histories] == [3, 3, 3]
        assert interrupted_episodes(histories) == [["interrupted"]] * 3
        fleet.mend()
        assert [len(history) for history in runner.rollout(Constant(), steps=9)] == [9, 9, 9]
        assert not was_interrupted(runner)
    assert_put_away(fleet)


@both_executors
def test_ctrl_c_in_the_first_reset_returns_empty_histories(executor: dict[str, Any]) -> None:
    fleet = Fleet({0: Faults(reset=raising(KeyboardInterrupt(), at_step=0))})
    with build(fleet, n_envs=3, **executor) as runner:
        histories = runner.rollout(Constant(), steps=20, on_interrupt="return")
        assert was_interrupted(runner)
        assert [len(history) for history in histories] == [0, 0, 0]
        assert interrupted_episodes(histories) == [[], [], []]
        fleet.mend()
        assert [len(history) for history in runner.rollout(Constant(), steps=9)] == [9, 9, 9]
    assert_put_away(fleet)


@pytest.mark.parametrize(
    "arguments", [{"episodes": 50}, {"steps": 99, "progress": lambda p: None}], ids=["episodes", "progress"]
)
def test_ctrl_c_ends_every_kind_of_rollout(arguments: dict[str, Any]) -> None:
    fleet = Fleet({1: Faults(step=raising(KeyboardInterrupt(), at_step=3, in_episode=2))})
    with build(fleet, n_envs=2, **arguments.pop("options", {})) as runner:
        histories = runner.rollout(Constant(), **arguments, on_interrupt="return")
        assert was_interrupted(runner)
        assert interrupted_episodes(histories) == [["terminated", "interrupted"]] * 2
        assert [len(history) for history in histories] == [7, 7]


@pytest.mark.parametrize("history", ["transitions", "torch"])
def test_ctrl_c_returns_what_was_collected_in_every_format(history: str) -> None:
    if history == "torch":
        pytest.importorskip("torch")
    fleet = Fleet({1: Faults(step=raising(KeyboardInterrupt(), at_step=3))})
    with build(fleet, n_envs=2, history=history) as runner:
        assert [len(h) for h in runner.rollout(Constant(), steps=20, on_interrupt="return")] == [2, 2]


@pytest.mark.parametrize("history", ["arrays", "torch", "transitions"])
def test_histories_without_a_step_can_be_looked_at(history: str) -> None:
    if history == "torch":
        pytest.importorskip("torch")
    fleet = Fleet({0: Faults(reset=raising(KeyboardInterrupt(), at_step=0))})
    with build(fleet, n_envs=2, history=history) as runner:
        for empty in runner.rollout(Constant(), steps=5, on_interrupt="return"):
            assert len(empty) == 0
            if history == "transitions":
                continue
            assert repr(empty).endswith("steps=0 episodes=0>")
            assert (empty.episodes, empty.split(), dict(empty.infos)) == ([], [], {})
            assert empty.observations.shape == empty.next_observations.shape == empty.last_observations.shape == (0, 2)
            assert len(empty.actions) == len(empty.rewards) == len(empty.bootstrap) == 0


def test_interrupted_is_about_the_last_rollout_even_if_that_failed() -> None:
    fleet = Fleet({0: Faults(step=raising(KeyboardInterrupt(), at_step=3))})
    with build(fleet) as runner:
        runner.rollout(Constant(), steps=9, on_interrupt="return")
        assert was_interrupted(runner)
        fleet.envs[0].faults = Faults(step=raising(RuntimeError("boom"), at_step=3))
        with pytest.raises(EnvError):
            runner.rollout(Constant(), steps=9)
        assert not was_interrupted(runner)


EVER_RESTLESS = """dict(
        executor="restless", workers=3, plugins=moving(["serial", "threads", "threads"] * 100_000, "serial")
    )"""

SIGINT = """
    import os, signal, sys, threading, time
    from faulty_envs import Constant, Faults, Fleet, GO_ON, build, runnerkit_threads
    from restless import RESTLESS, moving

    def pause(env):
        if env.steps == 5 and env.episodes == 1 and env is fleet.envs[{slow}[0]]:
            threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
        try:
            time.sleep({seconds})
        finally:
            env.finished = env.calls("step")
        return GO_ON

    fleet = Fleet({{i: Faults(step=pause) for i in {slow}}}, length=10_000)
    with build(fleet, n_envs=3, **{options}) as runner:
        histories = runner.rollout(Constant(), steps=1_000_000 if {seconds} < 0.1 else 50, on_interrupt="return")
        in_step = [i for i in {slow} if fleet.envs[i].finished != fleet.envs[i].calls("step")]
        fleet.mend()
        lengths = [len(history) for history in histories]
        ends = [str(history.episodes[-1].end_reason) for history in histories]
        was = runner.interrupted
        again = runner.rollout(Constant(), steps=30)
        print(was, len(set(lengths)), lengths[0] >= 4, *ends, in_step, runner.interrupted)
        print([len(h) for h in again], [h.episodes[0].episode_index for h in again],
              [h.observations[:, 0].tolist() == list(range(30)) for h in again])
    print([env.calls("close") for env in fleet.envs], runnerkit_threads())
"""


@pytest.mark.parametrize(
    ("options", "slow", "seconds"),
    [
        ("dict(executor='serial')", [1], 0.001),
        ("dict(executor='threads', workers=2)", [0, 2], 0.001),
        ("dict(executor='threads', workers=2)", [2], 1.0),
        ("dict(executor='auto', workers=2)", [0, 2], 0.001),
        (EVER_RESTLESS, [0, 2], 0.001),
        ("RESTLESS", [2], 1.0),
    ],
    ids=["serial", "threads", "waiting for a helper", "auto", "restless", "waiting for a helper of auto"],
)
def test_a_real_sigint_returns_what_was_collected(options: str, slow: list[int], seconds: float) -> None:
    script = SIGINT.format(options=options, slow=slow, seconds=seconds)
    if seconds == 1.0:  # the signal must come while the caller waits for the helper's first slow step
        script = script.replace("time.sleep(1.0)", "time.sleep(1.0 if env.steps == 5 else 0)")
    done = run_script(script)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "True 1 True interrupted interrupted interrupted [] False",
        "[30, 30, 30] [1, 1, 1] [True, True, True]",
        "[1, 1, 1] []",
    ]
    assert done.stderr == ""


INTERRUPTED_ANYWHERE = """
    import random, signal
    import numpy as np
    from faulty_envs import Constant, Fleet, build
    from restless import moving

    signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
    moments = random.Random(0)
    wrong, interrupted = set(), 0
    with build(Fleet(length=7), n_envs=3, **{options}) as runner:
        for _ in range(300):
            try:
                signal.setitimer(signal.ITIMER_REAL, moments.uniform(5e-5, 4e-3))
                histories = runner.rollout(Constant(), steps=150, on_interrupt="return")
                signal.setitimer(signal.ITIMER_REAL, 0)
            except KeyboardInterrupt:  # it came as the rollout began or returned
                continue
            interrupted += runner.interrupted
            for history in histories:
                if not (history.next_observations[:, 0] == history.observations[:, 0] + 1).all():
                    wrong.add("next observations")
                if sum(episode.length for episode in history.episodes) != len(history):
                    wrong.add("lengths")
                for part in history.split():
                    before, after = part.record.steps_before, part.record.total_length
                    if part.observations[:, 0].tolist() != list(range(before, after + 1)):
                        wrong.add("rows")
    print(sorted(wrong), interrupted > 0)
"""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs a timer that interrupts")
@pytest.mark.parametrize(
    "options",
    ["dict(executor='serial')", "dict(executor='threads', workers=3)", "dict(workers=3)", EVER_RESTLESS],
    ids=["serial", "threads", "auto", "restless"],
)
def test_ctrl_c_at_any_moment_neither_spoils_the_data_nor_hangs(options: str) -> None:
    done = run_script(INTERRUPTED_ANYWHERE.format(options=options))
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[] True\n"


class Impatient(SerialExecutor):
    """Presses Ctrl-C twice as its first rollout is being finished."""

    armed = True

    @override
    def drain(self) -> EpisodeLog:
        if self.armed:
            self.armed = False
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
        return super().drain()


def test_after_a_second_ctrl_c_as_a_rollout_is_being_finished_all_envs_begin_anew() -> None:
    class Offer:
        @hookimpl
        def executors(self) -> Iterator[Contribution[Any]]:
            yield Contribution("impatient", lambda: Impatient)

    plugins = Plugins()
    plugins.register(Offer())
    with build(Fleet(length=9), n_envs=3, executor="impatient", plugins=plugins) as runner:
        with pytest.raises(KeyboardInterrupt):
            runner.rollout(Constant(), steps=4)
        for history in runner.rollout(Constant(), steps=3):
            assert history.observations[:, 0].tolist() == [0, 1, 2]
            assert history.episodes[0].steps_before == 0


def test_a_sigint_outside_of_a_rollout_is_python_s_own_affair() -> None:
    done = run_script(
        """
        import os, signal, time
        from faulty_envs import Constant, Fleet, build
        fleet = Fleet()
        try:
            with build(fleet, n_envs=3, executor="threads", workers=3) as runner:
                runner.rollout(Constant(), steps=3)
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(5)
        except KeyboardInterrupt:
            print([env.calls("close") for env in fleet.envs])
        """
    )
    assert done.stdout == "[1, 1, 1]\n", done.stderr


# ---- the end of the interpreter


@pytest.mark.parametrize(
    "options",
    ["dict(executor='serial')", "dict(executor='threads', workers=2)", "RESTLESS"],
    ids=["serial", "threads", "restless"],
)
def test_an_interpreter_that_ends_without_close_does_not_hang(options: str) -> None:
    script = f"""
        import os
        from faulty_envs import Constant, Faults, Fleet, build
        from restless import RESTLESS
        def say(env):
            os.write(1, b"closed\\n")  # at once: two threads may print a line and its end out of step
        fleet = Fleet({{i: Faults(close=say) for i in range(3)}})
        runner = build(fleet, n_envs=3, **{options})
        runner.rollout(Constant(), steps=3)
        print("end", flush=True)
    """
    done = run_script(script, "-W", "always::ResourceWarning")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["end", "closed", "closed", "closed"]
    assert "dropped without close" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_interpreter_that_ends_with_an_exception_in_a_rollout_does_not_hang() -> None:
    done = run_script(
        """
        from faulty_envs import Constant, Faults, Fleet, build, raising
        fleet = Fleet({2: Faults(step=raising(RuntimeError("boom"), at_step=3))})
        build(fleet, n_envs=3, executor="threads", workers=3).rollout(Constant(), steps=9)
        """
    )
    assert done.returncode == 1
    assert "RuntimeError: boom" in done.stderr
    assert "runnerkit.errors.EnvError: Env 2 (episode 0, seed" in done.stderr


# ---- several runners


def test_runners_in_threads_of_their_own_do_not_disturb_each_other() -> None:
    results: dict[int, list[float]] = {}

    def work(k: int) -> None:
        with build("CartPole-v1", seed=k, n_envs=4, executor="threads", workers=2) as runner:
            histories = runner.rollout(Constant(k % 2), steps=60)
            results[k] = [float(history.observations.sum()) for history in histories]

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for k in range(4):
        with build("CartPole-v1", seed=k, n_envs=4) as runner:
            histories = runner.rollout(Constant(k % 2), steps=60)
            assert [float(history.observations.sum()) for history in histories] == results[k]


def test_a_runner_may_be_closed_by_another_thread_than_the_one_that_made_it() -> None:
    fleet = Fleet()
    runner = build(fleet, n_envs=4, executor="threads", workers=2)
    runner.rollout(Constant(), steps=3)
    thread = threading.Thread(target=runner.close)
    thread.start()
    thread.join()
    assert [env.calls("close") for env in fleet.envs] == [1] * 4
    assert runnerkit_threads() == []


def test_a_slow_helper_is_done_before_a_fault_is_raised() -> None:
    still_in_step: list[bool] = []

    def slow(then: Callable[[], None]) -> Any:
        def fault(env: Any) -> object:
            still_in_step.append(True)
            time.sleep(0.1)
            still_in_step.pop()
            return (env.look(), 0.0, False, False, {})

        return fault

    fleet = Fleet({0: Faults(step=raising(RuntimeError("boom"))), 2: Faults(step=slow(lambda: None))})
    with build(fleet, n_envs=3, executor="threads", workers=3) as runner:
        with pytest.raises(EnvError, match="boom"):
            runner.rollout(Constant(), steps=3)
        assert still_in_step == []
    assert_put_away(fleet)


@both_executors
def test_ctrl_c_raises_once_all_is_in_order(executor: dict[str, Any]) -> None:
    fleet = Fleet({1: Faults(step=raising(KeyboardInterrupt(), at_step=4))})
    with build(fleet, n_envs=3, **executor) as runner:
        with pytest.raises(RolloutInterrupted) as stop:
            runner.rollout(Constant(), steps=20)
        assert isinstance(stop.value, KeyboardInterrupt)
        assert not isinstance(stop.value, Exception)
        assert interrupted_episodes(stop.value.histories) == [["interrupted"]] * 3
        assert was_interrupted(runner)
        fleet.mend()
        assert [len(history) for history in runner.rollout(Constant(), steps=9)] == [9, 9, 9]
        assert not was_interrupted(runner)
    assert_put_away(fleet)


def test_a_rollout_that_returned_on_ctrl_c_lets_the_next_one_raise_unless_somebody_looked() -> None:
    fleet = Fleet({0: Faults(step=raising(KeyboardInterrupt(), at_step=3))})
    with build(fleet) as runner:
        runner.rollout(Constant(), steps=9, on_interrupt="return")
        fleet.mend()
        with pytest.raises(RolloutInterrupted) as stop:
            runner.rollout(Constant(), steps=9)
        assert stop.value.histories == []
        assert len(runner.rollout(Constant(), steps=9)[0]) == 9
        with pytest.raises(ArgumentError, match="on_interrupt must be 'raise' or 'return', not 'ignore'"):
            runner.rollout(Constant(), steps=9, on_interrupt="ignore")  # type: ignore[arg-type]


def test_an_error_in_the_step_of_ctrl_c_does_not_hide_it() -> None:
    def press(observations: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        raise RuntimeError("boom")

    with build(Fleet(), n_envs=2) as runner, pytest.raises(RolloutInterrupted) as stop:
        runner.rollout(Answer(press), steps=9)
    assert isinstance(stop.value.__cause__, AgentError)
    assert [len(history) for history in collected(stop.value)] == [0, 0]


PRESSES = """
    import itertools, random, signal, sys
    from faulty_envs import Constant, Fleet, build

    signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
    moments, pressed, arrived, collected = random.Random(0), 0, 0, 0
    with build(Fleet(length=7), n_envs=3, **{options}) as runner:
        while pressed < 200:
            try:
                pressed += 1
                signal.setitimer(signal.ITIMER_REAL, moments.uniform(5e-5, 4e-3))
                while True:
                    runner.rollout(Constant(), steps=moments.choice([1, 2, 20, 150]))
            except KeyboardInterrupt as stop:
                arrived += 1
                collected += any(len(history) for history in getattr(stop, "histories", ()))
    print(pressed, arrived, collected > 0)
"""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs a timer that interrupts")
@pytest.mark.parametrize("options", ["dict(executor='serial')", "dict(executor='threads', workers=2)"])
def test_every_press_of_ctrl_c_stops_a_loop_of_rollouts(options: str) -> None:
    done = run_script(PRESSES.format(options=options))
    assert done.stderr == ""
    assert done.stdout == "200 200 True\n"


# ---- what ends a rollout besides errors


class Leaving(SystemExit):
    """Has room for histories, as all but exceptions with slots have."""


@both_executors
@pytest.mark.parametrize("who", ["env", "agent", "progress"])
def test_sys_exit_takes_the_histories_along_and_leaves_the_runner_usable(
    executor: dict[str, Any], who: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runnerkit._rollout.progress._INTERVAL", 1e9)  # it is told once, at the end

    def leave(*given: Any) -> Any:
        raise Leaving(3)

    calls: list[int] = []

    def answer(observations: Any) -> Any:
        calls.append(1)
        return leave() if len(calls) == 4 and who == "agent" else np.ones(len(observations), np.int64)

    fleet = Fleet({1: Faults(step=raising(Leaving(3), at_step=4))} if who == "env" else {})
    with build(fleet, n_envs=3, **executor) as runner:
        with pytest.raises(Leaving) as end:
            runner.rollout(
                Answer(answer), steps=3 if who == "progress" else 20, progress=leave if who == "progress" else None
            )
        assert [len(history) for history in collected(end.value)] == [3] * 3
        assert interrupted_episodes(collected(end.value)) == [["interrupted" if who != "progress" else "cut"]] * 3
        fleet.mend()
        assert [len(history) for history in runner.rollout(Constant(), steps=9)] == [9, 9, 9]
    assert_put_away(fleet)


ALARMS = """
    import random, signal
    from faulty_envs import Constant, Fleet, build

    class Alarm(BaseException):
        pass

    def ring(*_):
        raise Alarm

    signal.signal(signal.SIGALRM, ring)
    moments, wrong, kept = random.Random(0), set(), 0
    with build(Fleet(length=3), n_envs=3, **{options}) as runner:
        for _ in range(300):
            try:
                signal.setitimer(signal.ITIMER_REAL, moments.uniform(5e-5, 3e-3))
                runner.rollout(Constant(), steps=150)
                signal.setitimer(signal.ITIMER_REAL, 0)
            except Alarm as alarm:
                for history in getattr(alarm, "histories", ()):
                    kept += len(history)
                    if not (history.next_observations[:, 0] == history.observations[:, 0] + 1).all():
                        wrong.add("next observations")
                    if sum(episode.length for episode in history.episodes) != len(history):
                        wrong.add("lengths")
        signal.setitimer(signal.ITIMER_REAL, 0)
        wrong |= {{len(history) for history in runner.rollout(Constant(), steps=9)}} - {{9}}
    print(sorted(wrong), kept > 0)
"""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs a timer that interrupts")
@pytest.mark.parametrize("options", ["dict(executor='serial')", "dict(executor='threads', workers=2)"])
def test_what_a_signal_handler_raises_at_any_moment_has_the_histories(options: str) -> None:
    done = run_script(ALARMS.format(options=options))
    assert done.stderr == ""
    assert done.stdout == "[] True\n"
