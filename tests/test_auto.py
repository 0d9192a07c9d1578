"""executor="auto": what it tries, what it chooses, what it tells; all of it by a clock that the envs move."""

from __future__ import annotations

import contextlib
import functools
import gc
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import faulty_envs
import gymnasium
import numpy as np
import pytest
from faulty_envs import GO_ON, AnyRunner, Constant, Faults, Fleet, ScriptedEnv, raising, runnerkit_threads
from hypothesis import given
from hypothesis import strategies as st
from restless import RESTLESS, moving
from typing_extensions import override

import runnerkit
from runnerkit import Contribution, ExecutorReport, hookimpl
from runnerkit._plugins.manager import Plugins
from runnerkit.errors import ArgumentError, EnvError
from runnerkit.executors import SerialExecutor, auto, trial
from runnerkit.executors.thread_safety import is_thread_safe
from runnerkit.executors.trial import Trial, Way
from runnerkit.executors.waiting import has_gil
from runnerkit.typing import SupportsReport

MS = 1e-3


def build(env: Any, **options: Any) -> AnyRunner:
    """Return a runner whose envs may be stepped in threads, unless it is said that they may not."""
    return faulty_envs.build(env, **{"thread_safe": True, **options})


@pytest.fixture(autouse=True)
def _nothing_is_left_behind() -> Iterator[None]:
    yield
    assert runnerkit_threads() == []


# ---- the trial


def chosen(
    steps_take: Callable[[Way, int], tuple[float, bool]], steps: int = 2000, parallel: float = 0.5
) -> tuple[Trial, float, dict[Way, int]]:
    """Run a trial; return it, what so many steps took in all, and how many of each way there were until it chose."""
    tried, total = Trial(parallel), 0.0
    ways: dict[Way, int] = {"serial": 0, "threads": 0}
    for t in range(steps):
        seconds, ended = steps_take(tried.way, t)
        total += seconds
        if tried.choice is None:
            ways[tried.way] += 1
            tried.note(seconds, ended)
    return tried, total, ways


def constant(serial: float, threads: float) -> Callable[[Way, int], tuple[float, bool]]:
    return lambda way, t: (serial if way == "serial" else threads, False)


def test_threads_are_not_tried_where_they_could_not_save_what_they_cost() -> None:
    tried, _, ways = chosen(constant(90e-6, 1e-9))
    assert (tried.choice, ways["threads"]) == ("serial", 0)
    assert tried.reason == "threads could save at most 45 us per step, and the handover costs about 50 us"
    assert tried.seconds() == {"serial": 90e-6}


def test_without_a_gil_threads_are_always_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runnerkit.executors.trial.has_gil", lambda: False)
    assert chosen(constant(20e-6, 12e-6))[0].choice == "threads"
    assert chosen(constant(20e-6, 30e-6))[0].choice == "serial"


def test_whether_there_is_a_gil_is_asked_of_pythons_that_can_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys._is_gil_enabled", lambda: False, raising=False)
    assert not has_gil()
    monkeypatch.setattr("sys._is_gil_enabled", lambda: True, raising=False)
    assert has_gil()
    monkeypatch.delattr("sys._is_gil_enabled")
    assert has_gil()


@given(serial=st.floats(0.2 * MS, 1.0), ratio=st.floats(0.125, 10.0))
def test_over_a_long_rollout_the_choice_and_the_trial_cost_less_than_a_twentieth(serial: float, ratio: float) -> None:
    steps = 2000
    tried, total, _ = chosen(constant(serial, serial * ratio), steps)
    assert tried.choice == "threads" if ratio < 0.95 else "serial" if ratio > 0.97 else tried.choice is not None
    ratio_to_better = steps * serial * min(1.0, ratio) / total
    assert ratio_to_better >= 0.95


def test_what_it_measured_and_why_it_chose_is_told() -> None:
    tried, _, _ = chosen(constant(3 * MS, 2 * MS))
    assert tried.reason == "threads took 0.67 of serial's time per step"
    assert tried.seconds() == {"serial": 3 * MS, "threads": 2 * MS}


@pytest.mark.parametrize(("threads", "choice"), [(0.7 * MS, "threads"), (1.4 * MS, "serial")])
@pytest.mark.parametrize("seed", range(5))
def test_resets_that_take_long_do_not_distort_the_comparison(threads: float, choice: str, seed: int) -> None:
    ends = random.Random(seed)

    def steps_take(way: Way, t: int) -> tuple[float, bool]:
        ended = ends.random() < 0.25
        return (1 * MS if way == "serial" else threads) + 20 * MS * ended, ended

    assert chosen(steps_take)[0].choice == choice


@pytest.mark.parametrize(("threads", "choice"), [(0.6 * MS, "threads"), (1.6 * MS, "serial")])
@pytest.mark.parametrize("slow", range(1, 20))
def test_envs_that_are_slow_at_first_are_not_mistaken_for_slow_ones(threads: float, choice: str, slow: int) -> None:
    def steps_take(way: Way, t: int) -> tuple[float, bool]:
        return (1 * MS if way == "serial" else threads) * (100 if t < slow else 1), False

    assert chosen(steps_take)[0].choice == choice


@pytest.mark.parametrize(("threads", "choice"), [(0.7 * MS, "threads"), (1.4 * MS, "serial")])
def test_envs_that_end_with_every_step_are_compared_all_the_same(threads: float, choice: str) -> None:
    assert chosen(lambda way, t: (1 * MS if way == "serial" else threads, True))[0].choice == choice


@pytest.mark.parametrize(("threads", "choice"), [(0.6 * MS, "threads"), (1.6 * MS, "serial")])
@pytest.mark.parametrize("begins", range(0, 100, 5))
def test_a_neighbour_that_takes_a_core_for_a_while_does_not_decide(threads: float, choice: str, begins: int) -> None:
    def steps_take(way: Way, t: int) -> tuple[float, bool]:
        busy = 3.0 if begins <= t < begins + 8 else 1.0
        return (1 * MS if way == "serial" else threads) * busy, False

    assert chosen(steps_take)[0].choice == choice


def test_a_trial_that_was_broken_off_from_outside_stays_serial() -> None:
    class Interrupted(Trial):
        @override
        def course(self) -> trial.Course:
            yield "threads"
            raise KeyboardInterrupt

    tried = Interrupted(0.5)
    with pytest.raises(KeyboardInterrupt):
        tried.note(1.0, False)
    tried.note(1.0, False)
    assert (tried.choice, tried.reason) == ("serial", "the trial was interrupted")


# ---- the executor


class Clock:
    """Time that passes only as envs step: `serial` seconds in the thread that made them, `elsewhere` in others."""

    def __init__(self) -> None:
        self.serial, self.elsewhere = 1 * MS, 0.0
        self.now = 0.0
        self.busy = 1.0
        """Which part of its time an env computes."""
        self._lock = threading.Lock()
        self._home = threading.get_ident()

    def perf_counter(self) -> float:
        return self.now

    def thread_time(self) -> float:
        return self.now * self.busy

    def step(self, env: object) -> object:
        with self._lock:
            self.now += self.serial if threading.get_ident() == self._home else self.elsewhere
        return GO_ON


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(auto, "time", clock)
    return clock


def fleet_by(clock: Clock, n_envs: int = 4, length: int = 5) -> Fleet:
    return Fleet({i: Faults(step=clock.step) for i in range(n_envs)}, length)


def test_light_envs_never_start_a_thread(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    clock.serial = 5e-6
    started: list[str] = []
    with build(fleet_by(clock, 8), n_envs=8, workers=4) as runner:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", lambda thread: started.append(thread.name))
            runner.rollout(Constant(), steps=300)
        assert runner.executor_report.chosen == "serial"
        assert runner.executor_report.reason.startswith("threads could save at most 30 us per step")
    assert started == []


def test_threads_are_chosen_where_they_pay(clock: Clock) -> None:
    fleet = fleet_by(clock)
    with build(fleet, n_envs=4, workers=2) as runner:
        assert (runner.workers, runner_says(runner)) == (1, (None, "not decided yet, 0 steps of all envs were timed"))
        runner.rollout(Constant(), steps=300)
        report = runner.executor_report
        assert (report.name, report.chosen, report.workers) == ("auto", "threads", 2)
        assert report.reason == "threads took 0.50 of serial's time per step"
        assert report.seconds_per_step == {"serial": pytest.approx(4 * MS), "threads": pytest.approx(2 * MS)}
        assert runner.workers == 2
        assert runnerkit_threads() == ["runnerkit-envs-2-3"]
    assert [len(env.threads) for env in fleet.envs] == [1, 1, 2, 2]


def test_serial_is_chosen_where_threads_do_not_pay_and_the_threads_are_ended(clock: Clock) -> None:
    clock.elsewhere = 3 * MS
    fleet = fleet_by(clock)
    with build(fleet, n_envs=4, workers=2) as runner:
        runner.rollout(Constant(), steps=300)
        assert runner_says(runner) == ("serial", "threads took 2.00 of serial's time per step")
        assert (runner.workers, runnerkit_threads()) == (1, [])
        before = [len(env.journal) for env in fleet.envs]
        runner.rollout(Constant(), steps=7)
    home = threading.get_ident()
    for env, n in zip(fleet.envs, before, strict=True):
        assert {thread for _, thread in env.journal[n:]} == {home}


def runner_says(runner: AnyRunner) -> tuple[str | None, str]:
    return runner.executor_report.chosen, runner.executor_report.reason


def test_a_trial_goes_on_from_rollout_to_rollout(clock: Clock) -> None:
    with build(fleet_by(clock), n_envs=4, workers=2) as runner:
        rollouts = 0
        while runner.executor_report.chosen is None:
            runner.rollout(Constant(), steps=3)
            rollouts += 1
        assert runner.executor_report.chosen == "threads"
        assert rollouts > 10


def test_steps_of_some_of_the_envs_are_serial_and_not_counted(clock: Clock) -> None:
    fleet = Fleet({i: Faults(step=clock.step) for i in range(4)})
    with build(fleet, n_envs=4, workers=4, auto_reset=False) as runner:
        for i, env in enumerate(fleet.envs):
            env.length = 100 if i == 3 else 12
        runner.rollout(Constant(), steps=50)
        assert runner.executor_report.reason == "not decided yet, 9 steps of all envs were timed"
        last = [thread for name, thread in fleet.envs[3].journal if name == "step"]
        assert threading.get_ident() not in last[10:12]
        assert set(last[12:]) == {threading.get_ident()}


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"n_envs": 1, "workers": 4}, "there is only one env"),
        ({"n_envs": 4, "workers": 1}, "workers=1"),
        ({"n_envs": 4, "workers": 4, "render_mode": "rgb_array"}, "envs that render stay in the thread that made them"),
    ],
)
def test_where_there_is_nothing_to_choose_it_is_serial_at_once(
    options: dict[str, Any], reason: str, clock: Clock
) -> None:
    fleet = fleet_by(clock)
    with build(fleet, **options) as runner:
        assert runner.executor_report == ExecutorReport("auto", "serial", 1, reason)
        runner.rollout(Constant(), steps=300)
    assert all(env.threads == {threading.get_ident()} for env in fleet.envs)


@pytest.mark.parametrize("shared", ["observation_space", "action_space"])
def test_envs_that_share_a_space_object_and_so_its_random_numbers_are_never_moved(shared: str, clock: Clock) -> None:
    def make(seed: int | None) -> ScriptedEnv:
        env = fleet(seed)
        setattr(env, shared, getattr(fleet.envs[0], shared))
        return env

    fleet = fleet_by(clock)
    with build(make, n_envs=4, workers=4) as runner:
        assert runner.executor_report.chosen == "serial"
        assert "the envs share a space object" in runner.executor_report.reason
        runner.rollout(Constant(), steps=300)
    assert all(env.threads == {threading.get_ident()} for env in fleet.envs)


def test_on_one_core_it_is_serial_at_once_but_workers_may_ask_for_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runnerkit._core.cores.available_cores", lambda: 1)
    with build(Fleet(), n_envs=4) as runner:
        assert runner_says(runner) == ("serial", "there is only one core")
    with build(Fleet(), n_envs=4, workers=2) as runner:
        assert runner.executor_report.chosen is None


def test_there_are_no_more_threads_than_workers_or_envs(clock: Clock) -> None:
    for n_envs, workers, used in ((3, 8, 3), (8, 3, 3)):
        with build(fleet_by(clock, n_envs), n_envs=n_envs, workers=workers) as runner:
            runner.rollout(Constant(), steps=300)
            assert (runner.executor_report.chosen, runner.workers) == ("threads", used)


def test_no_worker_is_refused() -> None:
    with pytest.raises(ArgumentError, match="workers must be at least 1, not 0"):
        auto.AutoExecutor(4, 0)


def test_where_no_thread_can_be_started_it_stays_serial(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start

    def limited(thread: threading.Thread) -> None:
        if len(runnerkit_threads()) == 2:
            raise RuntimeError("can't start new thread")
        start(thread)

    fleet = fleet_by(clock)
    with build(fleet, n_envs=4, workers=4) as runner:
        monkeypatch.setattr(threading.Thread, "start", limited)
        assert [len(history) for history in runner.rollout(Constant(), steps=300)] == [300] * 4
        assert runner_says(runner) == ("serial", "no thread could be started: can't start new thread")
        assert runnerkit_threads() == []
        assert all(env.calls("close") == 0 for env in fleet.envs)
    assert all(env.calls("close") == 1 for env in fleet.envs)


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_ctrl_c_as_a_thread_starts_leaves_no_thread_behind(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, nth: int
) -> None:
    start = threading.Thread.start

    def interrupted(thread: threading.Thread) -> None:
        start(thread)
        if len(runnerkit_threads()) == nth:
            raise KeyboardInterrupt

    fleet = fleet_by(clock)
    with build(fleet, n_envs=4, workers=4) as runner:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", interrupted)
            runner.rollout(Constant(), steps=300, on_interrupt="return")
        assert runner.interrupted
        assert runnerkit_threads() == []
        assert all(env.calls("close") == 0 for env in fleet.envs)
        assert [len(history) for history in runner.rollout(Constant(), steps=300)] == [300] * 4
    assert all(env.calls("close") == 1 for env in fleet.envs)


@pytest.mark.parametrize("steps", [1, 11, 13, 16, 300])
def test_it_closes_in_every_phase(clock: Clock, steps: int) -> None:
    fleet = fleet_by(clock)
    with build(fleet, n_envs=4, workers=4) as runner:
        runner.rollout(Constant(), steps=steps)
    assert [env.calls("close") for env in fleet.envs] == [1] * 4
    assert runnerkit_threads() == []


# ---- envs that are not known to be thread-safe


@pytest.mark.parametrize("thread_safe", [None, False])
def test_envs_that_are_not_known_to_be_thread_safe_are_never_moved(thread_safe: bool | None, clock: Clock) -> None:
    fleet = fleet_by(clock)
    with build(fleet, n_envs=4, workers=2, thread_safe=thread_safe) as runner:
        runner.rollout(Constant(), steps=300)
        assert runner_says(runner) == ("serial", "the envs are not known to be thread-safe")
        assert runner.executor_report.advice == "executor='processes' could be up to 2.0 times faster"
    assert all(env.threads == {threading.get_ident()} for env in fleet.envs)


def test_the_report_tells_what_threads_would_give_to_envs_that_wait(clock: Clock) -> None:
    clock.busy = 0.05
    with build(fleet_by(clock, 8), n_envs=8, workers=2, thread_safe=None) as runner:
        runner.rollout(Constant(), steps=20)
        assert runner.executor_report.advice == (
            "the envs wait 95% of the time: executor='threads' could be 8 times faster, if they are thread-safe"
        )


def test_there_is_no_advice_where_nothing_would_be_faster(clock: Clock) -> None:
    clock.serial = 2e-6
    with build(fleet_by(clock), n_envs=4, workers=2, thread_safe=None) as runner:
        runner.rollout(Constant(), steps=20)
        assert runner.executor_report.chosen == "serial"
        assert runner.executor_report.advice == ""


def test_envs_that_wait_get_a_thread_each_where_that_is_safe(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runnerkit._core.cores.available_cores", lambda: 2)
    clock.busy = 0.05
    with build(fleet_by(clock), n_envs=4) as runner:
        runner.rollout(Constant(), steps=300)
        assert (runner.executor_report.chosen, runner.workers) == ("threads", 4)


class Said(gymnasium.Wrapper[Any, Any, Any, Any]):
    metadata: Any = {"thread_safe": True}  # noqa: RUF012


class Unsaid(gymnasium.Wrapper[Any, Any, Any, Any]):
    pass


SIGN: Any = np.sign


def patched() -> Any:
    env: Any = gymnasium.make("CartPole-v1")
    step = env.unwrapped.step
    env.unwrapped.step = lambda action: step(action)
    return env


class SafeEnv(ScriptedEnv):
    metadata: dict[str, Any] = {"render_modes": [], "thread_safe": True}  # noqa: RUF012


@pytest.mark.parametrize(
    ("make", "known"),
    [
        (lambda: gymnasium.make("CartPole-v1"), True),
        (lambda: gymnasium.make("CartPole-v1", render_mode="rgb_array"), False),
        (lambda: gymnasium.wrappers.FlattenObservation(gymnasium.make("Blackjack-v1")), True),
        (lambda: Unsaid(gymnasium.make("CartPole-v1")), False),
        (lambda: Said(gymnasium.make("CartPole-v1")), True),
        (lambda: Said(ScriptedEnv()), False),
        (ScriptedEnv, False),
        (SafeEnv, True),
        (lambda: Unsaid(SafeEnv()), False),
        (lambda: gymnasium.wrappers.ClipReward(gymnasium.make("CartPole-v1"), 0, 1), True),
        (lambda: gymnasium.wrappers.TransformReward(gymnasium.make("CartPole-v1"), SIGN), True),
        (lambda: gymnasium.wrappers.TransformReward(gymnasium.make("CartPole-v1"), lambda reward: reward), False),
        (lambda: gymnasium.wrappers.TransformObservation(gymnasium.make("CartPole-v1"), lambda x: x, None), False),
        (patched, False),
    ],
)
def test_an_env_is_thread_safe_if_each_layer_of_it_is_known_to_be(make: Callable[[], Any], known: bool) -> None:
    with contextlib.closing(make()) as env:
        assert is_thread_safe(env) is known


@pytest.mark.parametrize("executor", ["serial", "threads", "auto"])
def test_no_env_is_asked_for_its_dict_which_would_make_its_steps_slower(executor: str) -> None:
    envs: list[Any] = []

    class Own(ScriptedEnv):  # what other tests do to instances of a class changes how CPython keeps those that follow
        pass

    class Around(gymnasium.Wrapper[Any, Any, Any, Any]):
        pass

    def make_env(seed: int) -> Any:
        envs.append(Around(Own()))
        return envs[-1]

    with faulty_envs.build(make_env, n_envs=2, executor=executor) as runner:
        runner.rollout(runnerkit.RandomAgent(runner.action_space, seed=0), steps=30)
        for layer in (layer for env in envs for layer in (env, env.unwrapped)):
            held = gc.get_referents(layer)
            assert not any(value is vars(layer) for value in held)  # as it is if somebody had asked before


# ---- envs that must stay where they are


class Homebound(ScriptedEnv):
    """Has something that only the thread that made it may use, as an SQLite connection is."""

    def __init__(self, seed: int | None = None, *, remade_in_reset: bool = False) -> None:
        super().__init__(length=3)
        self._remade_in_reset = remade_in_reset
        self._home = threading.get_ident()

    @override
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        if self._remade_in_reset:
            self._home = threading.get_ident()
        return super().reset(seed=seed)

    @override
    def step(self, action: Any) -> Any:
        if threading.get_ident() != self._home:
            raise RuntimeError("created in another thread")
        return super().step(action)


NOTE = "moved from one thread to another by executor='auto'"


@pytest.mark.parametrize("remade_in_reset", [False, True])
def test_an_env_that_must_stay_in_its_thread_is_told_of_with_the_way_out(remade_in_reset: bool) -> None:
    make = functools.partial(Homebound, remade_in_reset=remade_in_reset)
    with build(make, n_envs=3, **RESTLESS) as runner:
        with pytest.raises(EnvError, match="created in another thread") as caught:
            runner.rollout(Constant(), steps=20)
        notes = "".join(caught.value.__notes__)
        assert NOTE in notes
        assert "build the runner with executor='serial'" in notes
    with build(make, n_envs=3, executor="serial") as runner:
        assert len(runner.rollout(Constant(), steps=20)[0]) == 20


def test_faults_of_envs_that_were_not_moved_or_have_stepped_since_have_no_note() -> None:
    fleet = Fleet({i: Faults(step=raising(RuntimeError("boom"), at_step=1)) for i in (0, 2)})
    with build(fleet, n_envs=3, **RESTLESS) as runner:
        with pytest.raises(EnvError) as caught:
            runner.rollout(Constant(), steps=20)  # the first step is serial
        assert NOTE not in "".join(getattr(caught.value, "__notes__", ()))
        fleet.mend()
        runner.rollout(Constant(), steps=20)
        assert runner.executor_report.chosen == "threads"
        fleet.envs[2].faults = Faults(step=raising(RuntimeError("boom"), at_step=3))
        with pytest.raises(EnvError) as caught:
            runner.rollout(Constant(), steps=20)
        assert not hasattr(caught.value, "__notes__")


@pytest.mark.parametrize(
    ("ways", "choice", "noted"),
    [(["serial", "threads"], "serial", {2, 3}), (["serial", "serial"], "threads", {3}), (["threads"], "threads", {1})],
)
@pytest.mark.parametrize("step", [1, 2, 3, 4])
def test_the_note_is_about_the_first_step_after_every_move(
    ways: list[Way], choice: Way, noted: set[int], step: int
) -> None:
    fleet = Fleet({2: Faults(step=raising(RuntimeError("boom"), at_step=step))}, length=9)
    with build(fleet, n_envs=3, **{**RESTLESS, "plugins": moving(ways, choice)}) as runner:
        with pytest.raises(EnvError) as caught:
            runner.rollout(Constant(), steps=20)
        assert (NOTE in "".join(getattr(caught.value, "__notes__", ()))) is (step in noted)


def test_a_first_reset_elsewhere_that_fails_has_the_note_too() -> None:
    def fault(env: ScriptedEnv) -> object:
        if threading.get_ident() != env.journal[0][1]:
            raise RuntimeError("not here")
        return GO_ON

    fleet = Fleet({2: Faults(reset=fault)}, length=4)
    with build(fleet, n_envs=3, **{**RESTLESS, "plugins": moving(["serial", "threads"], "threads")}) as runner:
        with pytest.raises(EnvError, match="raised in reset: RuntimeError: not here") as caught:
            runner.rollout(Constant(), steps=20)
        assert NOTE in caught.value.__notes__[0]
        with pytest.raises(EnvError) as caught:  # now by the runner, as a rollout begins
            runner.rollout(Constant(), steps=20)
        assert NOTE in caught.value.__notes__[0]


@pytest.mark.parametrize(("ways", "noted"), [(["serial", "threads"], True), (["threads", "serial"], False)])
def test_an_env_that_fails_to_close_elsewhere_has_the_note_too(ways: list[Way], noted: bool) -> None:
    fleet = Fleet({2: Faults(close=raising(RuntimeError("boom"), at_step=2))}, length=9)
    runner = build(fleet, n_envs=3, **{**RESTLESS, "plugins": moving([*ways, "serial"], "serial")})
    runner.rollout(Constant(), steps=2)
    with pytest.raises(EnvError, match="failed to close: RuntimeError: boom") as caught:
        runner.close()
    assert (NOTE in "".join(getattr(caught.value, "__notes__", ()))) is noted


# ---- what is told of whom


def test_auto_is_the_default_wherever_runners_are_made() -> None:
    makers: list[Callable[..., AnyRunner]] = [runnerkit.GymRunner, runnerkit.make, runnerkit.Registry().build]
    for make in makers:
        with make("CartPole-v1", n_envs=2) as runner:
            assert runner.executor_report.name == "auto"


@pytest.mark.parametrize(
    ("executor", "workers", "shares"), [("serial", 1, ()), ("threads", 2, ((0, 1), (2,))), ("threads", 1, ())]
)
def test_of_executors_that_do_not_tell_the_name_the_workers_and_their_envs_are_known(
    executor: str, workers: int, shares: Sequence[Sequence[int]]
) -> None:
    with build(Fleet(), n_envs=3, executor=executor, workers=workers) as runner:
        assert runner.executor_report == ExecutorReport(executor, executor, workers, shares=shares)


class Telling(SerialExecutor):
    """A third party's executor."""

    def report(self, name: str, /) -> ExecutorReport:
        return ExecutorReport(name, "cluster", 7, "it was there")


class Offer:
    @hookimpl
    def executors(self) -> Iterator[Contribution[Any]]:
        yield Contribution("telling", lambda: Telling)


def test_executors_of_others_may_tell_too() -> None:
    plugins = Plugins()
    plugins.register(Offer())
    with build(Fleet(), n_envs=3, executor="telling", plugins=plugins) as runner:
        assert runner.executor_report == ExecutorReport("telling", "cluster", 7, "it was there")
    tellers: list[SupportsReport] = [auto.AutoExecutor(2), Telling(2)]
    assert all(isinstance(teller, SupportsReport) for teller in tellers)


def test_the_report_is_a_snapshot(clock: Clock) -> None:
    with build(fleet_by(clock), n_envs=4, workers=2) as runner:
        runner.rollout(Constant(), steps=5)
        early = runner.executor_report
        runner.rollout(Constant(), steps=300)
        assert early.chosen is None
        assert early.seconds_per_step == {"serial": pytest.approx(4 * MS)}


def test_what_an_env_gets_is_the_same_wherever_it_is_stepped(clock: Clock) -> None:
    def observations(**options: Any) -> list[Any]:
        with build(fleet_by(clock), n_envs=4, seed=0, **options) as runner:
            found = [history.observations for history in runner.rollout(Constant(), steps=300)]
            assert options.get("executor") or runner.executor_report.chosen == "threads"
            return found

    np.testing.assert_array_equal(observations(workers=3), observations(executor="serial"))
