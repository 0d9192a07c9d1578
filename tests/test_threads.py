"""What threads share: with a GIL or without one, nobody gets hurt, and nobody waits for what does not come."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from envs import HashAgent, summary
from faulty_envs import GO_ON, AnyRunner, Constant, Faults, Fleet, build, runnerkit_threads
from gymnasium import spaces
from gymnasium.envs.registration import registry
from numpy.typing import NDArray
from programs import wait_for
from typing_extensions import override

import runnerkit
from runnerkit import Contribution, Registry, hookimpl
from runnerkit._plugins.manager import Plugins, installed_plugins
from runnerkit.errors import ClosedError, EnvSpaceError, SpaceError
from runnerkit.executors import ThreadsExecutor
from runnerkit.executors.rounds import Line, Round
from runnerkit.executors.seeds import SeedSchedule
from runnerkit.executors.share import Share
from runnerkit.executors.threads import Spreading
from runnerkit.executors.waiting import SpinQueue
from runnerkit.executors.worker_thread import WorkerThread
from runnerkit.history import ArrayFormat
from runnerkit.history.arrays import ArrayRecorder
from runnerkit.processors import Clip, Normalize

SUPPORT = Path(__file__).parent / "support"
LONG = 60  # seconds after which something has hung


@pytest.fixture(autouse=True)
def _threads_take_turns_all_the_time() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def at_once(*works: Callable[[], object]) -> list[Any]:
    """Do all of these in threads that start at the same time; return what each returned, or raise what it raised."""
    start = threading.Barrier(len(works))
    answers: list[Any] = [None] * len(works)
    faults: list[BaseException] = []

    def do(k: int, work: Callable[[], object]) -> None:
        start.wait(LONG)
        try:
            answers[k] = work()
        except BaseException as fault:
            faults.append(fault)

    threads = [threading.Thread(target=do, args=pair, daemon=True) for pair in enumerate(works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
        assert not thread.is_alive(), "it hangs"
    for fault in faults:
        raise fault
    return answers


def in_another_thread(work: Callable[[], object]) -> Any:
    return at_once(work)[0]


# ---- runners


def test_runners_built_and_run_in_many_threads_at_once_give_the_bytes_of_one_alone() -> None:
    def run(k: int) -> list[Any]:
        options: dict[str, Any] = {"executor": "threads", "workers": 2} if k % 2 else {"executor": "serial"}
        with build("CartPole-v1", seed=k, n_envs=3, preprocessors=["normalize"], **options) as runner:
            agent = runnerkit.RandomAgent(runner.action_space, seed=k)
            histories = [h for _ in range(3) for h in runner.rollout(agent, steps=20)]
        return [summary(history) for history in histories]

    together = at_once(*(partial(lambda k: [run(k), run(k + 8)], k) for k in range(8)))
    for k, (first, second) in enumerate(together):
        assert (first, second) == (run(k), run(k + 8))


def test_envs_are_made_while_other_threads_register_some() -> None:
    done = threading.Event()

    def register() -> None:
        spec = gymnasium.spec("CartPole-v1")
        names = [f"Fleeting{k}-v0" for k in range(50)]
        while not done.is_set():
            for name in names:
                registry[name] = spec
            for name in names:
                del registry[name]

    def make() -> None:
        try:
            for _ in range(100):
                build("CartPole-v1", log_level=40).close()
                build("CartPole", log_level=40).close()
        finally:
            done.set()

    at_once(register, make)


class ClosedFirst:
    """A runner's lock that someone else is faster to get, to close the runner."""

    def __init__(self, runner: AnyRunner) -> None:
        self._runner = runner
        self._lock = threading.Lock()
        self._is_first = True

    def __enter__(self) -> None:
        if self._is_first:
            self._is_first = False
            in_another_thread(self._runner.close)
        self._lock.acquire()

    def __exit__(self, *raised: object) -> None:
        self._lock.release()


class CountingRecorder(ArrayRecorder):
    def __init__(self) -> None:
        self.closed = 0

    @override
    def close(self) -> None:
        self.closed += 1


class CountingFormat(ArrayFormat):
    def __init__(self) -> None:
        self.recorder = CountingRecorder()

    @override
    def open(self, spec: runnerkit.RunSpec, /) -> CountingRecorder:
        return self.recorder


@pytest.mark.parametrize("executor", ["serial", "threads"])
def test_a_runner_that_another_thread_closes_first_is_closed(executor: str, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = build(Fleet(), n_envs=2, executor=executor)
    monkeypatch.setattr(runner._occupancy, "_lock", ClosedFirst(runner))
    with pytest.raises(ClosedError):
        runner.rollout(Constant(), steps=3)


@pytest.mark.parametrize("executor", ["serial", "threads"])
def test_of_two_threads_that_close_a_runner_one_does(executor: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet, history = Fleet(), CountingFormat()
    runner = build(fleet, n_envs=2, executor=executor, history=history)
    monkeypatch.setattr(runner._occupancy, "_lock", ClosedFirst(runner))
    runner.close()
    assert history.recorder.closed == 1
    assert [env.calls("close") for env in fleet.envs] == [1, 1]


# ---- what runners share


class Overtaken(dict[int, Any]):
    """What a schedule has drawn; whenever it draws, another thread keeps its own, shorter draw right after."""

    @override
    def __setitem__(self, env_index: int, seeds: Any) -> None:
        super().__setitem__(env_index, seeds)
        super().__setitem__(env_index, seeds[:64])


def test_seeds_may_be_asked_for_by_many_threads_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    schedule = SeedSchedule(0)
    expected = [SeedSchedule(0).episode_seed(1, k) for k in range(300)]
    monkeypatch.setattr(schedule, "_seeds", Overtaken())
    assert [schedule.episode_seed(1, k) for k in range(300)] == expected


def test_histories_are_read_in_one_thread_while_the_next_rollout_runs_in_another() -> None:
    with build("CartPole-v1", seed=1, n_envs=2, executor="threads", workers=2) as runner:
        agent = HashAgent(runner.action_space)
        histories = runner.rollout(agent, steps=400)
        read = [partial(summary, history) for history in histories]
        found = at_once(*read, *read, lambda: runner.rollout(agent, steps=200))
        expected = [summary(history) for history in histories]
    assert found[:4] == expected * 2


def test_threads_share_one_set_of_plugins() -> None:
    for _ in range(20):
        own = Registry()
        names = [f"format-{k}" for k in range(6)]
        at_once(*(partial(own.register, Offering(name)) for name in names))
        assert set(names) <= set(own.history_formats)
    assert len({id(plugins) for plugins in at_once(*[installed_plugins] * 8)}) == 1


class Offering:
    def __init__(self, name: str) -> None:
        self._name = name

    @hookimpl
    def history_formats(self) -> Iterator[Contribution[ArrayFormat]]:
        yield Contribution(self._name, ArrayFormat)


def test_a_plugin_may_be_registered_while_someone_goes_through_what_there_is() -> None:
    plugins = Plugins()
    seen = []
    for k, name in enumerate(plugins.offers("history_formats")):
        plugins.register(Offering(f"another-{k}"))
        seen.append(name)
    assert set(seen) < set(plugins.offers("history_formats"))


def test_the_names_of_the_package_may_be_used_first_by_many_threads_at_once() -> None:
    done = in_a_process(
        """
        import sys, threading
        sys.setswitchinterval(1e-6)
        import runnerkit
        faults, start = [], threading.Barrier(len(runnerkit.__all__))

        def use(name):
            start.wait()
            try:
                getattr(runnerkit, name)
            except BaseException as fault:
                faults.append(fault)

        threads = [threading.Thread(target=use, args=(name,)) for name in runnerkit.__all__]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        print(faults)
        """
    )
    assert done == ["[]"]


def test_a_normalize_that_runners_share_counts_every_observation() -> None:
    normalize = Normalize()
    normalize.bind(spaces.Box(-10, 10, (2,), np.float64))
    rows = np.random.default_rng(0).normal(size=(8, 200, 1, 2))

    def count(own: NDArray[Any]) -> None:
        for batch in own:
            normalize(batch)

    at_once(*(partial(count, own) for own in rows))
    assert normalize.count == 8 * 200
    np.testing.assert_allclose(normalize.mean, rows.mean(axis=(0, 1, 2)))
    np.testing.assert_allclose(normalize.var, rows.var(axis=(0, 1, 2)))


def test_a_processor_serves_the_first_of_two_runners_that_bind_it_at_once() -> None:
    boxes = [spaces.Box(-1, 1, (n,), np.float32) for n in (1, 2, 3)]

    def bind(clip: Clip, box: spaces.Box) -> bool:
        try:
            clip.bind(box)
        except SpaceError:
            return False
        return True

    for _ in range(200):
        clip = Clip()
        assert sum(at_once(*(partial(bind, clip, box) for box in boxes))) == 1


# ---- how many threads there are


def sleeping(env: object) -> object:
    time.sleep(0.01)
    return GO_ON


def computing(env: object) -> object:
    end = time.thread_time() + 2e-4
    while time.thread_time() < end:
        pass
    return GO_ON


def fleet_of(step: Callable[[object], object], n_envs: int = 8) -> Fleet:
    return Fleet({i: Faults(step=step) for i in range(n_envs)}, length=7)


@pytest.fixture
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runnerkit._core.cores.available_cores", lambda: 2)


@pytest.mark.usefixtures("two_cores")
@pytest.mark.parametrize("thread_safe", [None, True])
def test_envs_that_wait_have_a_thread_each_for_life(thread_safe: bool | None) -> None:
    fleet = fleet_of(sleeping)
    with build(fleet, n_envs=8, executor="threads", thread_safe=thread_safe) as runner:
        runner.rollout(Constant(), steps=20)
        assert runner.workers == 8
        assert "the envs wait for at least" in runner.executor_report.reason
    assert [len(env.threads) for env in fleet.envs] == [1] * 8
    assert len(set().union(*(env.threads for env in fleet.envs))) == 8


@pytest.fixture
def _envs_are_found_to_compute(monkeypatch: pytest.MonkeyPatch) -> None:
    note = Spreading.note
    monkeypatch.setattr(Spreading, "note", lambda self, waiting: note(self, [0.0 for _ in waiting]))


@pytest.mark.usefixtures("two_cores", "_envs_are_found_to_compute")
def test_envs_that_compute_gather_in_as_many_threads_as_there_are_cores_if_that_is_safe() -> None:
    fleet = fleet_of(computing)
    with build(fleet, n_envs=8, executor="threads", thread_safe=True) as runner:
        runner.rollout(Constant(), steps=20)
        assert (runner.workers, runner.executor_report.advice) == (2, "")
        assert "the envs compute" in runner.executor_report.reason
        assert runnerkit_threads() == ["runnerkit-envs-4-7"]
    assert [env.calls("close") for env in fleet.envs] == [1] * 8
    assert [env.journal[-1][1] == threading.get_ident() for env in fleet.envs] == [True] * 4 + [False] * 4


@pytest.mark.usefixtures("two_cores", "_envs_are_found_to_compute")
def test_envs_that_compute_stay_in_threads_of_their_own_with_advice_if_moving_them_is_not_known_to_be_safe() -> None:
    fleet = fleet_of(computing)
    with build(fleet, n_envs=8, executor="threads") as runner:
        runner.rollout(Constant(), steps=20)
        assert runner.workers == 8
        assert "workers=2 or executor='serial' could be faster" in runner.executor_report.advice
    assert [len(env.threads) for env in fleet.envs] == [1] * 8


@pytest.mark.usefixtures("two_cores", "_envs_are_found_to_compute")
@pytest.mark.parametrize("thread_safe", [None, True])
def test_however_threads_are_shared_out_the_bytes_are_those_of_serial(thread_safe: bool | None) -> None:
    def run(**options: Any) -> list[Any]:
        with build("CartPole-v1", seed=3, n_envs=7, **options) as runner:
            agent = HashAgent(runner.action_space)
            histories = [h for steps in (1, 30, 90) for h in runner.rollout(agent, steps=steps)]
            return [summary(h) for h in [*histories, *runner.rollout(agent, episodes=9)]]

    assert run(executor="threads", thread_safe=thread_safe) == run(executor="serial")


@pytest.mark.usefixtures("two_cores", "_envs_are_found_to_compute")
def test_envs_that_gather_are_made_anew_and_strict_as_before() -> None:
    def late(env: Any) -> Any:
        if len(env.journal) == 12:
            raise ValueError("late")
        return GO_ON

    with build(
        fleet_of(late, 4), n_envs=4, executor="threads", thread_safe=True, on_env_error="restart", timings=True
    ) as runner:
        histories = runner.rollout(Constant(), steps=20)
        assert (runner.workers, [len(history.faults) for history in histories]) == (2, [1] * 4)
        assert runner.timings.steps == 20 * 4

    def odd(env: Any) -> Any:
        return env.look(), 0.0, int(len(env.journal) > 12), False, {}

    with (
        build(fleet_of(odd), n_envs=4, executor="threads", thread_safe=True, strict_spaces=True) as runner,
        pytest.raises(EnvSpaceError, match="strict_spaces=True"),
    ):
        runner.rollout(Constant(), steps=20)


@pytest.mark.parametrize(("waiting", "waits"), [([0.9] * 10, True), ([0.1] * 3 + [0.9] * 7, False)])
def test_spreading_finds_out_whether_envs_wait(waiting: list[float], waits: bool) -> None:
    spreading = Spreading()
    for _ in range(4):
        assert not spreading.is_over
        spreading.note(waiting)
    assert (spreading.is_over, spreading.waits) == (True, waits)


def test_a_thread_whose_env_hangs_in_close_is_left_behind_with_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runnerkit.executors.threads.CLOSE_S", 0.1)
    go_on = threading.Event()
    fleet = Fleet({2: Faults(close=lambda env: go_on.wait(LONG))})
    runner = build(fleet, n_envs=3, executor="threads", workers=3)
    runner.rollout(Constant(), steps=3)
    with pytest.warns(RuntimeWarning, match=r"runnerkit-envs-2-2 did not end in time: an env hangs"):
        runner.close()
    assert [env.calls("close") for env in fleet.envs[:2]] == [1, 1]
    go_on.set()
    wait_for(lambda: not runnerkit_threads())


@pytest.mark.parametrize("options", [{"executor": "serial"}, {"executor": "threads", "workers": 2}])
def test_an_env_of_the_calling_thread_that_hangs_in_close_is_named_in_a_warning(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runnerkit.executors.hanging._PATIENCE_S", 0.05)
    fleet = Fleet({0: Faults(close=lambda env: wait_for(lambda: len(warned) > 0))})
    runner = build(fleet, n_envs=4, **options)
    with pytest.warns(RuntimeWarning, match=r"Env 0 has been closing for [\d.]+ s: its close\(\) hangs") as warned:
        runner.close()
    assert len(warned) == 1
    assert [env.calls("close") for env in fleet.envs] == [1] * 4


@pytest.mark.parametrize("options", [{"executor": "serial"}, {"executor": "threads", "workers": 2}])
def test_ctrl_c_ends_a_close_that_hangs_and_the_other_envs_are_closed(options: dict[str, Any]) -> None:
    def press(env: object) -> None:
        for _ in range(2):  # the first one is taken note of
            signal.raise_signal(signal.SIGINT)
        time.sleep(LONG)

    fleet = Fleet({0: Faults(close=press)})
    runner = build(fleet, n_envs=4, **options)
    with pytest.raises(KeyboardInterrupt):
        runner.close()
    wait_for(lambda: not runnerkit_threads())
    assert [env.calls("close") for env in fleet.envs] == [1] * 4


# ---- how threads wait for each other


@pytest.fixture
def without_gil(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Return what makes executors believe that there is no GIL, and so many cores."""

    def believe(cores: int) -> None:
        monkeypatch.setattr("runnerkit.executors.threads.has_gil", lambda: False)
        monkeypatch.setattr("runnerkit._core.cores.available_cores", lambda: cores)

    return believe


class Watching(Constant):
    """Notes which of these runners may poll whenever it is asked to act."""

    def __init__(self, *runners: AnyRunner) -> None:
        super().__init__()
        self.watched = runners
        self.seen: list[list[bool]] = []

    @override
    def act(self, observations: Any, /) -> Any:
        self.seen.append([may_poll(runner) for runner in self.watched])
        return super().act(observations)


def may_poll(runner: AnyRunner) -> bool:
    executor = runner._parts.executor
    assert isinstance(executor, ThreadsExecutor)
    found = {executor._may_poll, *(helper.line.may_poll for helper in executor._helpers)}
    assert len(found) == 1
    return found.pop()


@pytest.mark.parametrize(("cores", "polls"), [(1, False), (2, False), (3, True), (4, True)])
def test_threads_poll_in_a_rollout_only_and_only_if_each_has_a_core(
    cores: int, polls: bool, without_gil: Callable[[int], None]
) -> None:
    without_gil(cores)
    with build(Fleet(), n_envs=3, executor="threads", workers=3) as runner:
        agent = Watching(runner)
        runner.rollout(agent, steps=3)
        assert agent.seen == [[polls]] * 3
        assert not may_poll(runner)
        runner.maybe_reset()
        assert not may_poll(runner)


def test_threads_do_not_poll_where_there_is_a_gil(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runnerkit.executors.threads.has_gil", lambda: True)
    with build(Fleet(), n_envs=2, executor="threads", workers=2) as runner:
        agent = Watching(runner)
        runner.rollout(agent, steps=2)
        assert agent.seen == [[False]] * 2


def test_nobody_polls_while_there_are_more_threads_than_cores_in_all_runners(
    without_gil: Callable[[int], None],
) -> None:
    without_gil(3)
    options: dict[str, Any] = {"n_envs": 2, "executor": "threads", "workers": 2}
    with build(Fleet(), **options) as outer, build(Fleet(), **options) as inner:
        inner_agent = Watching(outer, inner)

        class Nested(Watching):
            @override
            def act(self, observations: Any, /) -> Any:
                if len(self.seen) == 1:
                    inner.rollout(inner_agent, steps=2)
                return super().act(observations)

        outer_agent = Nested(outer, inner)
        outer.rollout(outer_agent, steps=3)
    assert inner_agent.seen == [[False, False]] * 2
    assert outer_agent.seen == [[True, False]] * 3


def test_threads_that_poll_give_the_bytes_of_serial(without_gil: Callable[[int], None]) -> None:
    def run(executor: str) -> Sequence[Any]:
        with build("CartPole-v1", seed=3, n_envs=5, executor=executor) as runner:
            agent = HashAgent(runner.action_space)
            return [summary(h) for steps in (1, 30) for h in runner.rollout(agent, steps=steps)]

    serial = run("serial")
    without_gil(8)
    assert run("threads") == serial


@pytest.mark.parametrize("may_poll", [False, True])
def test_a_line_hands_over_everything_in_order(may_poll: bool) -> None:
    line: SpinQueue[int] = SpinQueue()
    line.may_poll = may_poll

    def put() -> None:
        for k in range(200):
            line.put(k)

    _, taken = at_once(put, lambda: [line.take() for _ in range(200)])
    assert taken == list(range(200))


def test_a_line_with_a_late_hint_still_waits_for_the_next_item() -> None:
    line: SpinQueue[str] = SpinQueue()
    line.may_poll = True
    line.put("first")
    assert line.take() == "first"
    line._has_item = True  # as a thread does that is held up in put, while another one takes the item already
    taken, _ = at_once(line.take, lambda: line.put("second"))
    assert taken == "second"


@contextlib.contextmanager
def helper() -> Iterator[WorkerThread]:
    made = WorkerThread(Share([0]))
    made.start()
    try:
        yield made
    finally:
        made.stop()
        assert made.join(time.monotonic() + LONG) == []


def test_an_answer_that_ctrl_c_got_in_the_way_of_is_not_waited_for() -> None:
    with helper() as helped:
        helped.begin(int, "1")
        helped._round.ended.take()  # and here Ctrl-C is raised, before anyone can make a note of it
        in_another_thread(helped.settle)
        helped.begin(int, "2")
        assert helped.answer() == 2


def test_a_call_that_ctrl_c_kept_from_being_made_is_not_waited_for() -> None:
    with helper() as helped:
        helped.join_in(Round([helped.line], [(int, ("1",))], heads=1))  # as it is noted, but before the call is made
        in_another_thread(helped.settle)
        helped.begin(int, "2")
        assert helped.answer() == 2


def test_what_is_under_way_is_waited_for_before_the_next_call() -> None:
    with helper() as helped:
        has_begun, go_on = threading.Event(), threading.Event()

        def wait() -> None:
            has_begun.set()
            go_on.wait(LONG)

        helped.begin(wait)
        has_begun.wait(LONG)  # what has not begun is called off
        threading.Timer(0.1, go_on.set).start()
        helped.begin(go_on.is_set)
        assert helped.answer() is True


@pytest.mark.parametrize(("n", "heads"), [(1, 1), (5, 1), (5, 2), (5, 8)])
def test_in_a_round_each_thread_wakes_the_next_and_one_that_fails_or_ends_last_wakes_the_caller(
    n: int, heads: int
) -> None:
    lines: list[Line] = [SpinQueue() for _ in range(n)]
    one = Round(lines, [(divmod, (k, k - 2)) for k in range(n)], heads=heads)
    one.begin()
    woken = [item for line in lines[:heads] if (item := line.take())]
    for begun, k in woken:
        assert one.ended.is_empty
        begun.take_part(k)
        if k == 2:  # which fails
            assert one.ended.take() is one
        woken += [item for line in lines if not line.is_empty and (item := line.take())]
    assert [k for _, k in woken] == list(range(n))
    assert one.ended.take() is one
    assert [one.result(k) for k in range(n) if k != 2] == [divmod(k, k - 2) for k in range(n) if k != 2]
    if n > 2:
        with pytest.raises(ZeroDivisionError):
            one.result(2)


def test_a_round_that_was_called_off_does_not_begin() -> None:
    lines: list[Line] = [SpinQueue(), SpinQueue()]
    one = Round(lines, [(int, ())] * 2, heads=1)
    one.is_off = True
    one.take_part(0)
    assert one.answers == [None, None]
    assert lines[1].is_empty


def test_neither_imports_nor_rollouts_turn_the_gil_on() -> None:
    done = in_a_process(
        """
        import sys
        import gymnasium, numpy
        has_gil = getattr(sys, "_is_gil_enabled", lambda: True)
        before = has_gil()
        import runnerkit._cli.main, runnerkit._rollout.rendering

        for executor in ("serial", "threads"):
            with runnerkit.make("CartPole-v1", n_envs=4, executor=executor, workers=None) as runner:
                runner.rollout(runnerkit.RandomAgent(runner.action_space), steps=50)
        print(has_gil() == before)
        """
    )
    assert done == ["True"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize(
    ("executor", "options"),
    [("threads", "workers=2"), ("processes", "workers=2"), ("auto", "thread_safe=True, **RESTLESS")],
)
def test_a_fork_of_the_caller_is_told_at_once_and_ends(executor: str, options: str) -> None:
    options = options if executor == "auto" else f"executor={executor!r}, {options}"
    done = in_a_process(
        f"""
        import os, sys
        sys.path[:0] = {[str(SUPPORT)]}
        from faulty_envs import Constant, Fleet, build
        from restless import RESTLESS
        from runnerkit.errors import RunnerKitError
        runner = build(Fleet(), n_envs=3, {options})
        runner.rollout(Constant(), steps=20)
        dropped = build(Fleet(), n_envs=3, {options})
        dropped.rollout(Constant(), steps=20)
        unused = build(Fleet(), n_envs=3, executor={executor.replace("auto", "threads")!r}, workers=2)
        if not os.fork():
            for call in (lambda: runner.rollout(Constant(), steps=4), lambda: unused.rollout(Constant(), steps=4),
                         runner.maybe_reset,
                         lambda: runner._parts.executor.render([2])):
                try:
                    call()
                except RunnerKitError as error:
                    print("Build a runner in each process" in str(error))
            runner.close()
            del dropped
            sys.stdout.flush()
            os._exit(0)
        os.wait()
        print(*[len(history) for history in runner.rollout(Constant(), steps=4)])
        runner.close(), dropped.close(), unused.close()
        """
    )
    assert done == ["True", "True", "True", "True", "4 4 4"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_in_the_middle_of_a_rollout_is_told_at_once_and_leaves_the_caller_its_data() -> None:
    done = in_a_process(
        f"""
        import os, signal, sys
        sys.path[:0] = {[str(SUPPORT)]}
        from faulty_envs import Constant, Fleet, build
        from runnerkit.errors import RunnerKitError

        class Splits(Constant):
            child = None
            def act(self, observations):
                if self.child is None:
                    self.child = os.fork()
                    if not self.child:
                        signal.alarm(20)  # ends the child if it hangs
                return super().act(observations)

        threads, processes = dict(executor="threads"), dict(executor="processes", workers=2)
        for options, more in ((threads, {{}}), (threads, dict(min_batch=1)), (processes, {{}}),
                              (dict(processes, isolate=True), {{}})):
            runner, agent = build(Fleet(), n_envs=3, **options), Splits()
            try:
                lengths = [len(history) for history in runner.rollout(agent, steps=4, **more)]
            except RunnerKitError as error:
                os._exit("Build a runner in each process" not in str(error))
            print(os.waitpid(agent.child, 0)[1], *lengths, *[len(h) for h in runner.rollout(Constant(), steps=2)])
            runner.close()
        """
    )
    assert done == ["0 4 4 4 2 2 2"] * 4


def test_a_fork_may_end_with_a_runner_that_nobody_closed() -> None:
    done = in_a_process(
        f"""
        import os, sys, warnings
        sys.path[:0] = {[str(SUPPORT)]}
        from faulty_envs import Constant, Fleet, build
        runner = build(Fleet(), n_envs=3, executor="threads", workers=3)
        runner.rollout(Constant(), steps=4)
        warnings.simplefilter("ignore")
        if not os.fork():
            sys.exit()
        os.wait()
        print("ended")
        runner.close()
        """
    )
    assert done == ["ended"]


def test_a_fork_that_ends_does_not_close_the_recorder_of_its_parent() -> None:
    done = in_a_process(
        f"""
        import os, sys, warnings
        sys.path[:0] = {[str(SUPPORT)]}
        from faulty_envs import Constant, Fleet, build
        from runnerkit.history.arrays import ArrayFormat, ArrayRecorder
        class Recorder(ArrayRecorder):
            def close(self):
                print("closed in the", "parent" if os.getpid() == parent else "child", flush=True)
        class Format(ArrayFormat):
            def open(self, spec, /):
                return Recorder()
        parent = os.getpid()
        runner = build(Fleet(), n_envs=3, executor="serial", history=Format())
        runner.rollout(Constant(), steps=4)
        if not os.fork():
            sys.exit()
        os.wait()
        runner.close()
        """
    )
    assert done == ["closed in the parent"]


def in_a_process(program: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=LONG
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()
