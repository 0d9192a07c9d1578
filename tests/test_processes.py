"""The process executor: helpers that die, what travels between processes, and what is left behind."""

from __future__ import annotations

import decimal
import gc
import os
import pickle
import signal
import socket
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from envs import summary
from faulty_envs import Constant, build, collected
from gymnasium import spaces
from mortals import mortal
from process_envs import DEATHS, RUN_SEED, SEEDS, Hanging, Mortals
from programs import as_soon_as, children, is_running, program, run
from typing_extensions import override

from runnerkit import EpisodeStart, GymRunner, RandomAgent
from runnerkit.errors import ArgumentError, EnvError, RunnerKitError
from runnerkit.executors.processes import executor as processes
from runnerkit.executors.processes import handover
from runnerkit.executors.processes.division import divided
from runnerkit.executors.waiting import TooLateError
from runnerkit.typing import AnyEnv

pytestmark = pytest.mark.skipif(not hasattr(os, "sched_yield"), reason="needs a POSIX system")


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def mapped() -> int:
    """Return how many pieces of shared memory this process has."""
    gc.collect()
    return Path("/proc/self/maps").read_text().count("memfd:runnerkit")


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    before = children(), open_files(), mapped()
    yield
    assert (children(), open_files(), mapped()) == before


def executor_of(runner: GymRunner[Any, Any, Any]) -> Any:
    """Return the part that steps the envs."""
    return runner._parts.executor


def kill_all(pids: set[int]) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


# ---- death


@pytest.mark.parametrize("death", DEATHS)
def test_a_helper_that_dies_in_step_is_told_with_env_episode_seed_step_and_action(death: str) -> None:
    with mortal("step", 3, 2, 3, death) as runner:
        with pytest.raises(EnvError, match=death) as caught:
            runner.rollout(Constant(2), steps=50)
        error = caught.value
        assert (error.env_index, error.episode_index, error.seed) == (3, 2, SEEDS.episode_seed(3, 2))
        assert (error.step, error.action) == (2, 2)
        assert "envs 2 to 3" in str(error)
        assert "Build a new runner" in str(error)


def test_what_was_collected_before_a_death_is_what_serial_collects() -> None:
    with mortal("step", 3, 2, 3) as runner, pytest.raises(EnvError) as caught:
        runner.rollout(Constant(2), steps=50)
    with build(Mortals("never", 0), n_envs=4, seed=RUN_SEED) as serial:
        whole = serial.rollout(Constant(2), steps=10)
    histories = collected(caught.value)
    assert [len(history) for history in histories] == [10] * 4  # two episodes of 4 steps, and 2 steps
    ends = [str(history.episodes[-1].end_reason) for history in histories]
    assert ends == ["interrupted", "interrupted", "interrupted", "crashed"]
    for history, expected in zip(histories, whole, strict=True):
        for name in ("observations", "next_observations", "actions", "rewards", "terminated"):
            assert np.array_equal(getattr(history, name), getattr(expected, name)), name


@pytest.mark.parametrize("options", [{}, {"keep_infos": True}, {"schedule": SEEDS}])
def test_a_helper_that_dies_in_a_later_reset_loses_no_step(options: dict[str, Any]) -> None:
    with mortal("reset", 3, 1, 0, **options) as runner:
        with pytest.raises(EnvError, match="in reset") as caught:
            runner.rollout(Constant(), steps=50)
        error = caught.value
        assert (error.env_index, error.episode_index, error.seed) == (3, 1, SEEDS.episode_seed(3, 1))
        for history in collected(error):
            assert history.next_observations[:, 0].tolist() == [1, 2, 3, 4]
            assert [str(episode.end_reason) for episode in history.episodes] == ["terminated"]


def test_a_helper_that_dies_in_the_first_reset_is_told() -> None:
    with mortal("reset", 2, 0, 0) as runner, pytest.raises(EnvError, match="in reset when its process") as caught:
        runner.rollout(Constant(), steps=5)
    assert (caught.value.env_index, caught.value.episode_index) == (2, 0)


def test_a_helper_that_dies_as_it_makes_an_env_is_told() -> None:
    with pytest.raises(EnvError, match=r"being made .* exit code 3") as caught:
        mortal("make", 3, 0, 0, "exit code 3")
    assert caught.value.env_index == 3


def test_a_helper_that_dies_in_close_is_told_and_the_others_are_closed() -> None:
    runner = mortal("close", 1, 0, 0, "SIGSEGV", n_envs=3, workers=3)
    runner.rollout(Constant(), steps=3)
    with pytest.raises(EnvError, match=r"in close when .* SIGSEGV") as caught:
        runner.close()
    assert (caught.value.env_index, caught.value.seed) == (1, SEEDS.episode_seed(1, 0))
    runner.close()


def test_a_helper_that_dies_between_rollouts_is_found_out_by_the_next() -> None:
    with mortal("never", 0) as runner:
        runner.rollout(Constant(), steps=3)
        (helper,) = children()
        os.kill(helper, signal.SIGKILL)
        with pytest.raises(EnvError, match=r"was waiting when its process .* SIGKILL"):
            runner.rollout(Constant(), steps=3)


def test_a_runner_with_a_dead_helper_says_so_again_and_closes() -> None:
    with mortal("step", 2, 0, 2) as runner:
        with pytest.raises(EnvError):
            runner.rollout(Constant(), steps=5)
        for _ in range(2):
            with pytest.raises(EnvError, match=r"has no worker any more.*SIGKILL.*Build a new runner"):
                runner.rollout(Constant(), steps=5)


def test_a_helper_that_is_killed_while_the_caller_waits_for_it_ends_the_wait(tmp_path: Path) -> None:
    def make(seed: int) -> Hanging:
        return Hanging(Mortals("never", 0)(seed), tmp_path)

    with build(make, n_envs=3, workers=3, executor="processes", seed=RUN_SEED) as runner:
        pids = children()
        own = executor_of(runner)._own._envs
        own[0] = own[0].unwrapped  # which does not hang
        killing = as_soon_as(lambda: len(list(tmp_path.iterdir())) == 2, lambda: kill_all(pids))
        with pytest.raises(EnvError, match=r"in step when its process .* SIGKILL"):
            runner.rollout(Constant(), steps=5)
        killing.join()


# ---- envs that nobody trusts


@pytest.mark.parametrize(("n_envs", "death"), [(1, "SIGSEGV"), (3, "exit code 3")])
def test_with_isolate_even_the_first_env_cannot_end_the_program(death: str, n_envs: int) -> None:
    with mortal("step", 0, 1, 2, death, n_envs=n_envs, isolate=True) as runner:
        with pytest.raises(EnvError, match=death) as caught:
            runner.rollout(Constant(2), steps=50)
        error = caught.value
        assert (error.env_index, error.episode_index, error.step, error.action) == (0, 1, 1, 2)
        assert [len(history) for history in collected(error)] == [5] * n_envs


@pytest.mark.parametrize(
    ("options", "workers", "here"),
    [({"isolate": True}, 2, 0), ({"own_envs": 0}, 2, 0), ({"own_envs": 1}, 2, 1), ({"own_envs": 3}, 3, 3)],
)
def test_every_env_is_made_stepped_and_drawn_where_it_was_put_and_the_data_are_those_of_serial(
    options: dict[str, Any], workers: int, here: int
) -> None:
    class Placed(gymnasium.Wrapper[Any, Any, Any, Any]):
        @override
        def step(self, action: Any) -> Any:
            return *super().step(action)[:4], {"home": os.getpid() == home}

    home, executor = os.getpid(), ("processes", options)
    options = {"n_envs": 5, "seed": RUN_SEED, "keep_infos": True, "render_mode": "rgb_array"}

    def placed(seed: int | None, render_mode: str) -> AnyEnv:
        return Placed(Mortals("never", 0)(seed, render_mode))

    with build(placed, executor=executor, workers=workers, **options) as runner:
        assert (runner.workers, len(children())) == (workers, workers - (here > 0))
        histories = runner.rollout(Constant(), steps=9)
        homes = [{info["home"] for info in history.infos.values()} for history in histories]
        assert homes == [{True}] * here + [{False}] * (5 - here)
        for history, there in zip(histories, serial_again(placed, options), strict=True):
            assert np.array_equal(history.observations, there.observations)
            assert np.array_equal(history.rewards, there.rewards)
            assert [e.seed for e in history.episodes] == [e.seed for e in there.episodes]
        assert len(runner._parts.executor.render(range(5))) == 5


def serial_again(make: Any, options: dict[str, Any]) -> Any:
    with build(make, executor="serial", **options) as serial:
        return serial.rollout(Constant(), steps=9)


@pytest.mark.parametrize("executor", ["auto", "serial", "threads"])
def test_isolate_is_refused_by_executors_that_step_envs_in_the_calling_process(executor: str) -> None:
    with pytest.raises(ArgumentError, match=r"isolate=True .* Add executor='processes'"):
        build("CartPole-v1", n_envs=2, executor=executor, isolate=True)


@pytest.mark.parametrize(
    ("n_envs", "workers", "own_envs", "shares"),
    [
        (8, 2, None, [4, 4]),
        (8, 2, 1, [1, 7]),
        (8, 2, 7, [7, 1]),
        (8, 4, 2, [2, 2, 2, 2]),
        (9, 4, 1, [1, 3, 2, 3]),
        (4, 9, 2, [2, 1, 1]),
        (8, None, 2, [2, 6]),
    ],
)
def test_the_helpers_have_equal_shares_of_the_envs_that_are_not_the_callers_own(
    monkeypatch: pytest.MonkeyPatch, n_envs: int, workers: int | None, own_envs: int | None, shares: list[int]
) -> None:
    monkeypatch.setattr("runnerkit.executors.processes.division.available_cores", lambda: 1)
    parts = divided(n_envs, workers, own_envs)
    assert [len(part) for part in parts] == shares
    assert [i for part in parts for i in part] == list(range(n_envs))


@pytest.mark.parametrize(
    ("own_envs", "options", "message"),
    [
        (-1, {}, "own_envs must be a whole number from 0 to n_envs - 1, 2, not -1: .* Use executor='serial'"),
        (3, {}, "n_envs - 1, 2, not 3"),
        (True, {}, "n_envs - 1, 2, not True"),
        (1, {"workers": 1}, "own_envs=1 needs a helper process .* Use workers=2 or more"),
        (1, {"isolate": True}, "own_envs=1 gives envs to the calling process, but isolate=True keeps .* Leave one"),
        (1, {"step_timeout": 1.0}, "but step_timeout keeps all envs out of it"),
        (1, {"on_env_error": "restart"}, "but on_env_error='restart' keeps"),
    ],
)
def test_own_envs_that_cannot_be_are_refused_with_a_way_out(
    own_envs: int, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ArgumentError, match=message):
        build("CartPole-v1", n_envs=3, executor=("processes", {"own_envs": own_envs}), **options)
    assert not children()


# ---- what RunnerKit ended itself


@pytest.mark.parametrize("presses", [2, 0], ids=["two presses of Ctrl-C", "an alarm"])
def test_a_rollout_with_an_env_that_hangs_can_be_left_and_the_env_is_not_blamed(presses: int) -> None:
    done = program(
        f"""
        import os, signal, threading, time
        from faulty_envs import Constant, build
        from process_envs import Hanging, Mortals, RUN_SEED
        from runnerkit.errors import EnvError, RolloutError
        from runnerkit.executors.waiting import Patience

        Patience._AFTER_EXCEPTION_S = 1.0
        home = os.getpid()
        def make(seed):
            env = Mortals("never", 0)(seed)
            return env if os.getpid() == home else Hanging(env)

        def press():
            for _ in range({presses}):
                time.sleep(0.5)
                times.append(time.monotonic())
                os.kill(home, signal.SIGINT)

        def alarm(*_):
            times.append(time.monotonic())
            raise TimeoutError("deadline")

        times = []
        with build(make, n_envs=3, workers=3, seed=RUN_SEED, executor="processes") as runner:
            threading.Thread(target=press, daemon=True).start()
            if not {presses}:
                signal.signal(signal.SIGALRM, alarm)
                signal.alarm(1)
            try:
                runner.rollout(Constant(), steps=9)
            except (KeyboardInterrupt, TimeoutError) as error:
                print(type(error).__name__, round(time.monotonic() - times[-1]))
            try:
                runner.rollout(Constant(), steps=9)
            except RolloutError as error:
                print(isinstance(error, EnvError), error)
            begin = time.monotonic()
        print(round(time.monotonic() - begin))
        """
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 3, (done.stdout, done.stderr)
    name, seconds = lines[0].split()
    assert (name, int(seconds) <= (5 if presses else 15)) == ("KeyboardInterrupt" if presses else "TimeoutError", True)
    assert lines[1].startswith("False Env 1 cannot be stepped any more.")
    assert "RunnerKit ended process" in lines[1]
    assert "SIGKILL" not in lines[1]
    assert lines[1].endswith("Build a new runner to go on.")
    assert int(lines[2]) <= 10


# ---- faults that are not deaths


def test_a_factory_that_raises_in_a_helper_keeps_type_message_and_traceback() -> None:
    def broken(seed: int | None) -> AnyEnv:
        if os.getpid() != caller:
            raise FileNotFoundError(2, "no such model", "model.xml")
        return gymnasium.make("CartPole-v1")

    caller = os.getpid()
    with pytest.raises(EnvError, match=r"Env 1 could not be made: FileNotFoundError: .*no such model") as caught:
        build(broken, n_envs=2, workers=2, executor="processes")
    cause = caught.value.__cause__
    assert isinstance(cause, FileNotFoundError)
    assert cause.filename == "model.xml"
    assert "In the helper process" in cause.__notes__[-1]
    assert "in broken" in cause.__notes__[-1]


class HomeboundError(Exception):
    """An exception that cannot be loaded in any other process."""

    @override
    def __reduce__(self) -> Any:
        return at_home, (os.getpid(),)


class HomeboundInfo:
    """An info that cannot be loaded in any other process."""

    def __deepcopy__(self, memo: object) -> HomeboundInfo:
        return self

    @override
    def __reduce__(self) -> Any:
        return at_home, (os.getpid(),)


def at_home(pid: int) -> object:
    if os.getpid() != pid:
        raise ValueError("is at home elsewhere")
    return HomeboundError("no luck")


class Homebound(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Raises in its third step, or tells."""

    def __init__(self, env: AnyEnv, raises: bool) -> None:
        super().__init__(env)
        self.t, self.raises = 0, raises

    @override
    def step(self, action: Any) -> Any:
        self.t += 1
        if self.t < 3:
            return super().step(action)
        if self.raises:
            raise HomeboundError("no luck")
        return *super().step(action)[:4], {"info": HomeboundInfo()}


def test_an_exception_that_cannot_be_loaded_here_leaves_its_words_and_all_that_was_collected() -> None:
    caller = os.getpid()
    with (
        build(
            lambda seed: Homebound(Mortals("never", 0)(seed), os.getpid() != caller),
            n_envs=2, workers=2, seed=RUN_SEED, executor="processes",
        ) as runner,
        pytest.raises(EnvError, match="raised in step: HomeboundError: no luck") as caught,
    ):  # fmt: skip
        runner.rollout(Constant(), steps=9)
    assert "no luck" in str(caught.value.__cause__)
    assert [len(history) for history in collected(caught.value)] == [2, 2]


def test_infos_that_cannot_be_loaded_here_are_named_and_the_runner_goes_on() -> None:
    with build(
        lambda seed: Homebound(Mortals("never", 0)(seed), False), n_envs=2, workers=2, seed=RUN_SEED,
        executor="processes", keep_infos=True,
    ) as runner:  # fmt: skip
        with pytest.raises(RunnerKitError, match=r"envs 1 to 1 gave cannot be loaded .* is at home elsewhere"):
            runner.rollout(Constant(), steps=3)
        (helper,) = executor_of(runner)._helpers
        helper.call("drain")  # is alive and listens


class PickyError(Exception):
    """An exception that pickle cannot bring back."""

    def __init__(self, code: int, *, where: str) -> None:
        super().__init__(f"code {code} in {where}")
        self.code, self.lock = code, threading.Lock()


def test_an_exception_that_cannot_be_pickled_keeps_its_type_and_message() -> None:
    def picky(seed: int | None) -> AnyEnv:
        if os.getpid() != caller:
            raise PickyError(7, where="make")
        return gymnasium.make("CartPole-v1")

    caller = os.getpid()
    with pytest.raises(EnvError, match="PickyError: code 7 in make") as caught:
        build(picky, n_envs=2, workers=2, executor="processes")
    cause = caught.value.__cause__
    assert isinstance(cause, PickyError)
    assert (str(cause), cause.code) == ("code 7 in make", 7)


def test_a_factory_that_cannot_be_pickled_is_refused_with_the_way_out() -> None:
    lock = threading.Lock()

    def holding(seed: int | None) -> AnyEnv:
        with lock:
            return gymnasium.make("CartPole-v1")

    with pytest.raises(ArgumentError, match=r"cannot be pickled: TypeError: .*lock.*executor='threads'"):
        build(holding, n_envs=2, workers=2, executor="processes")


def test_reset_options_that_cannot_be_pickled_are_named() -> None:
    class Stream:
        def __deepcopy__(self, memo: object) -> Stream:
            return self

        @override
        def __getstate__(self) -> object:
            raise TypeError("a stream stays where it is")

    stream = Stream()
    with (
        mortal("never", 0, schedule=lambda i, k: EpisodeStart(1, {"stream": stream})) as runner,
        pytest.raises(RunnerKitError, match=r"envs 2 to 3 .* a stream stays where it is"),
    ):
        runner.rollout(Constant(), steps=3)


def test_a_fork_of_the_caller_is_told_to_build_a_runner_of_its_own() -> None:
    done = program(
        """
        import os
        from faulty_envs import Constant
        from mortals import mortal
        from runnerkit.errors import RunnerKitError
        with mortal("never", 0) as runner:
            runner.rollout(Constant(), steps=4)
            if not os.fork():
                try:
                    runner.rollout(Constant(), steps=4)
                except RunnerKitError as error:
                    print(error)
                runner.close()
                raise SystemExit
            os.wait()
            print(*[len(history) for history in runner.rollout(Constant(), steps=4)])
        """
    )
    lines = done.stdout.splitlines()
    assert "Build a runner in each process" in lines[0], done.stderr
    assert lines[1:] == ["4 4 4 4"]


class Stubborn(gymnasium.Wrapper[Any, Any, Any, Any]):
    """In a helper hangs in close; in the caller is interrupted in it."""

    def __init__(self, env: AnyEnv, caller: int) -> None:
        super().__init__(env)
        self.caller = caller

    @override
    def close(self) -> None:
        if os.getpid() == self.caller:
            raise KeyboardInterrupt
        time.sleep(1000)


def test_a_close_that_is_interrupted_waits_for_no_helper_and_leaves_none() -> None:
    caller = os.getpid()
    runner = build(
        lambda seed: Stubborn(Mortals("never", 0)(seed), caller), n_envs=3, workers=3, seed=RUN_SEED,
        executor="processes",
    )  # fmt: skip
    with pytest.raises(KeyboardInterrupt):
        runner.close()
    assert not children()


def test_a_helper_that_cannot_be_started_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with pytest.raises(FileNotFoundError):
        mortal("never", 0)


def test_ctrl_c_does_not_reach_a_helper_that_starts() -> None:
    done = program(
        """
        import os, signal, subprocess
        from faulty_envs import Constant
        from mortals import mortal
        from runnerkit.executors.processes import worker

        start = worker.start_helper
        def start_and_interrupt(*arguments):
            process = start(*arguments)
            os.kill(process.pid, signal.SIGINT)
            return process

        worker.start_helper = start_and_interrupt
        with mortal("never", 0) as runner:
            print(*[len(history) for history in runner.rollout(Constant(), steps=4)])
        """
    )
    assert (done.stdout.split(), done.stderr) == (["4"] * 4, "")


# ---- how many


@pytest.mark.parametrize(("n_envs", "workers", "there"), [(1, None, 0), (1, 5, 0), (3, 16, 2), (5, 2, 1)])
def test_there_are_never_more_workers_than_envs(n_envs: int, workers: int | None, there: int) -> None:
    with mortal("never", 0, n_envs=n_envs, workers=workers) as runner:
        assert len(children()) == there
        assert runner.workers == there + 1
        assert [len(history) for history in runner.rollout(Constant(), steps=6)] == [6] * n_envs


def test_who_waits_sleeps_at_once_if_there_are_more_workers_than_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    cores = len(os.sched_getaffinity(0))
    spinning: list[bool] = []

    class Watching(Constant):
        @override
        def act(self, observations: Any, /) -> Any:
            for runner in runners:
                for helper in executor_of(runner)._helpers:
                    spinning.append(bool(helper._words[handover.ControlWords.SPIN]))
            return super().act(observations)

    runners = [mortal("never", 0, n_envs=cores + 1, workers=cores + 1)]
    with runners[0] as runner:
        runner.rollout(Watching(), steps=3)
    assert not any(spinning)


@pytest.mark.parametrize("by_bell", [False, True])
def test_turns_alternate_and_no_bell_is_lost(by_bell: bool) -> None:
    words: memoryview[int] = np.zeros(handover.ControlWords.count(1), np.int64).data
    bells = socket.socketpair()
    caller, helper = (
        handover.TurnLock(words, bell, is_caller=is_caller, is_alive=lambda: True, by_bell=by_bell)
        for bell, is_caller in zip(bells, (True, False), strict=True)
    )
    said: list[str] = []

    def serve() -> None:
        for k in range(500):
            helper.wait()
            said.append(f"helper {k}")
            helper.give()

    with bells[0], bells[1]:
        thread = threading.Thread(target=serve)
        thread.start()
        for k in range(500):
            said.append(f"caller {k}")
            caller.give()
            caller.wait()
            caller.wait()  # again, as after Ctrl-C
        thread.join()
    assert said == [f"{who} {k}" for k in range(500) for who in ("caller", "helper")]


def test_a_bell_that_rings_late_is_not_taken_for_the_next_one() -> None:
    words: memoryview[int] = np.zeros(handover.ControlWords.count(1), np.int64).data
    bell, other_end = socket.socketpair()
    with bell, other_end:
        caller = handover.TurnLock(words, bell, is_caller=True, is_alive=lambda: True, by_bell=True)
        caller.give()
        words[handover.ControlWords.DONE] += 1  # the helper is stopped before it rings
        caller.wait(seconds=5.0)
        other_end.send(b"!")
        caller.give()
        with pytest.raises(TooLateError):
            caller.wait(seconds=0.01)


def test_idle_helpers_use_no_cpu() -> None:
    def ticks() -> int:
        stat = Path(f"/proc/{helper}/stat").read_text().rpartition(")")[2].split()
        return int(stat[11]) + int(stat[12])

    with mortal("never", 0) as runner:
        (helper,) = children()
        runner.rollout(Constant(), steps=100)
        before = ticks()
        time.sleep(1.0)
        assert ticks() - before < 0.3 * os.sysconf("SC_CLK_TCK")  # a spinning one uses all of it


# ---- memory


SHAPE = (10, 1000, 1000)


class Big(gymnasium.Env[Any, Any]):
    """Has observations of 10 MB."""

    def __init__(self) -> None:
        self.observation_space = spaces.Box(0, 255, SHAPE, np.uint8)
        self.action_space = spaces.Discrete(2)
        self.t = 0

    @override
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        self.t = 0
        return np.full(SHAPE, 0, np.uint8), {}

    @override
    def step(self, action: Any) -> Any:
        self.t += 1
        return np.full(SHAPE, self.t, np.uint8), 1.0, False, False, {}


def test_large_observations_go_through() -> None:
    with build(lambda seed: Big(), n_envs=2, workers=2, executor="processes") as runner:
        for history in runner.rollout(Constant(), steps=2):
            assert history.next_observations[:, 5, 500, 500].tolist() == [1, 2]


def test_histories_keep_their_bytes_when_memory_is_used_again() -> None:
    with build("CartPole-v1", n_envs=4, seed=0, executor="processes", workers=2) as runner:
        agent = RandomAgent(runner.action_space, seed=0)
        kept = [runner.rollout(agent, steps=30)]
        told = [[summary(history) for history in kept[0]]]
        for k in range(8):
            histories = runner.rollout(agent, steps=30)
            if k % 3 == 0:
                kept.append(histories)
                told.append([summary(history) for history in histories])
            del histories
        with build("CartPole-v1", n_envs=4, seed=0) as serial:
            again = RandomAgent(serial.action_space, seed=0)
            expected = [[summary(history) for history in serial.rollout(again, steps=30)] for _ in range(9)]
    assert [[summary(history) for history in histories] for histories in kept] == told
    assert told == [expected[0], expected[1], expected[4], expected[7]]


def test_objects_take_no_memory_for_rows_that_may_never_be() -> None:
    class Saying(gymnasium.ObservationWrapper[Any, Any, Any]):
        def __init__(self, env: AnyEnv) -> None:
            super().__init__(env)
            self.observation_space = spaces.Text(20)

        @override
        def observation(self, observation: Any) -> Any:
            return "a" + "b" * int(observation[0])

    def told(**options: Any) -> list[Any]:
        with build(lambda seed: Saying(Mortals("never", 0)(seed)), n_envs=2, seed=RUN_SEED, **options) as runner:
            monkey = pytest.MonkeyPatch()
            monkey.setattr(type(runner), "MAX_STEPS", 10**9)  # 16 GB of pointers
            try:
                return [summary(h) for n in (4, 150) for h in runner.rollout(Constant(), episodes=n)]
            finally:
                monkey.undo()

    assert told(executor="processes", workers=2) == told()


def test_a_rollout_of_unknown_length_fits_into_limited_addresses() -> None:
    done = program(
        """
        import resource
        from faulty_envs import Constant
        from mortals import mortal
        with mortal("never", 0, n_envs=64) as runner:
            limit = 3 * 2**30  # for a million steps of 64 envs there should be 4 GB
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
            print(sum(len(history) for history in runner.rollout(Constant(), episodes=128)))
        """
    )
    assert done.stdout.split() == ["512"], done.stderr


def test_a_block_that_grows_into_memory_that_was_used_shows_nothing_of_that() -> None:
    def told(**options: Any) -> list[Any]:
        with build("CartPole-v1", n_envs=3, seed=0, **options) as runner:
            agent = RandomAgent(runner.action_space, seed=0)
            return [[summary(h) for h in runner.rollout(agent, episodes=n)] for n in (45, 60, 50)]  # over 256 steps

    assert told(executor="processes", workers=2) == told()


def test_small_blocks_are_used_again_after_one_that_is_too_large_to_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "total_bytes", lambda: 2**21)  # blocks of up to 128 kB are kept
    with mortal("never", 0) as runner:
        for steps in (10, 2_000, 10, 10, 2_000, 10):
            assert [len(history) for history in runner.rollout(Constant(), steps=steps)] == [steps] * 4


def test_helpers_do_not_map_all_of_thousands_of_histories() -> None:
    with mortal("never", 0, n_envs=2) as runner:
        (helper,) = children()
        kept = [runner.rollout(Constant(), steps=2) for _ in range(100)]
        assert Path(f"/proc/{helper}/maps").read_text().count("memfd:runnerkit") < 80
        steps = {len(history) for histories in kept for history in histories}
        del kept
        assert {len(history) for _ in range(5) for history in runner.rollout(Constant(), steps=2)} == steps == {2}


def test_a_fork_of_the_caller_keeps_its_histories_as_they_were() -> None:
    done = program(
        """
        import os
        from faulty_envs import Constant
        from mortals import mortal
        with mortal("never", 0) as runner:
            histories = runner.rollout(Constant(1), steps=4)
            ready, go_on = os.pipe()
            child = os.fork()
            if not child:
                os.close(go_on)
                os.read(ready, 1)
                print(*histories[3].rewards, flush=True)
                os._exit(0)
            os.close(ready)
            del histories
            runner.rollout(Constant(2), steps=4)
            os.close(go_on)
            os.waitpid(child, 0)
        """
    )
    assert done.stdout.split() == ["1.0"] * 4, done.stderr


def test_between_two_calls_a_helper_is_busy_with_nothing() -> None:
    class Watching(Constant):
        @override
        def act(self, observations: Any, /) -> Any:
            phases.add(words[handover.ControlWords.PHASE])
            return super().act(observations)

    phases: set[int] = set()
    with mortal("never", 0) as runner:
        words = executor_of(runner)._helpers[0]._words
        runner.rollout(Watching(), steps=300)
    assert phases == {0}  # else its death would be said to be that of the step before


def test_thousands_of_histories_keep_no_file_open() -> None:
    with mortal("never", 0) as runner:
        runner.rollout(Constant(), steps=2)
        before = open_files()
        kept = [runner.rollout(Constant(), steps=2) for _ in range(40)]
        assert open_files() == before
    assert all(len(history) == 2 for histories in kept for history in histories)


def test_a_history_from_shared_memory_can_be_pickled_and_outlives_the_runner() -> None:
    with mortal("never", 0) as runner:
        histories = runner.rollout(Constant(), episodes=6)
    again = pickle.loads(pickle.dumps(histories))
    assert [summary(history) for history in again] == [summary(history) for history in histories]
    assert len(pickle.dumps(histories)) < 100_000  # and not the room there was for a longest rollout
    histories[0].observations[0] = 7  # it is the caller's own


# ---- programs


def test_a_script_needs_no_main_guard_and_its_own_classes_keep_their_identity(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(
        textwrap.dedent(
            """
            import os, gymnasium, runnerkit
            print("begins")

            class MyError(Exception): ...

            class MyEnv(gymnasium.Wrapper):
                def step(self, action):
                    if self.fails:
                        raise MyError("no luck")
                    return super().step(action)

            def make(seed):
                env = MyEnv(gymnasium.make("CartPole-v1"))
                env.fails = made and os.getpid() != home
                return env

            made, home = [], os.getpid()
            runner = runnerkit.GymRunner(make, n_envs=2, workers=2, executor="processes")
            print(len(runner.rollout(runnerkit.RandomAgent(runner.action_space, seed=0), steps=3)[1]))
            runner.close()
            made.append(1)
            with runnerkit.GymRunner(make, n_envs=2, workers=2, executor="processes") as runner:
                try:
                    runner.rollout(runnerkit.RandomAgent(runner.action_space, seed=0), steps=3)
                except runnerkit.errors.EnvError as error:
                    print(type(error.__cause__) is MyError)
            """
        )
    )
    done = run([str(script)])
    assert done.stdout.split() == ["begins", "3", "True"], done.stderr


def test_an_env_id_that_only_the_caller_registered_is_known_to_helpers() -> None:
    gymnasium.register(
        "OnlyHere-v0", entry_point=lambda **_: gymnasium.make("CartPole-v1").unwrapped, max_episode_steps=3
    )
    try:
        with build("OnlyHere-v0", n_envs=2, workers=2, executor="processes") as runner:
            histories = runner.rollout(Constant(), steps=6)
    finally:
        del gymnasium.registry["OnlyHere-v0"]
    assert [episode.length for episode in histories[1].episodes] == [3, 3]


class Derived(GymRunner[Any, Any, Any]):
    """Makes its own envs."""

    length = 4

    def __init__(self, *args: Any, **options: Any) -> None:
        self.length = 2
        super().__init__(*args, **options)

    @override
    def make_env(self, seed: int | None = None) -> AnyEnv:
        return gymnasium.wrappers.TimeLimit(super().make_env(seed), self.length)


def test_a_derived_runner_makes_its_envs_in_the_helpers() -> None:
    with Derived("CartPole-v1", n_envs=2, workers=2, executor="processes") as runner:
        histories = runner.rollout(Constant(), steps=4)
        with pytest.raises(TypeError, match="cannot be copied or pickled"):
            pickle.dumps(runner)
    assert [[episode.length for episode in history.episodes] for history in histories] == [[2, 2]] * 2


def test_helpers_end_with_a_caller_that_is_killed() -> None:
    done = program(
        """
        import os, signal
        from faulty_envs import Constant
        from mortals import mortal
        from programs import children
        runner = mortal("never", 0, workers=3)
        runner.rollout(Constant(), steps=3)
        print(*children(), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    assert done.returncode == -signal.SIGKILL
    pids = [int(pid) for pid in done.stdout.split()]
    assert len(pids) == 2
    end = time.monotonic() + 60
    while any(is_running(pid) for pid in pids):
        assert time.monotonic() < end, "an orphan"
        time.sleep(0.05)


def test_a_program_that_ends_without_close_leaves_no_helper() -> None:
    done = program(
        """
        from faulty_envs import Constant
        from mortals import mortal
        from programs import children
        runner = mortal("never", 0, workers=3)
        runner.rollout(Constant(), steps=3)
        print(*children(), flush=True)
        """,
        "-W", "always::ResourceWarning",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "dropped without close" in done.stderr
    assert not any(is_running(int(pid)) for pid in done.stdout.split())


def test_ctrl_c_to_the_whole_group_returns_what_was_collected_and_the_helpers_go_on() -> None:
    done = program(
        """
        import os, signal
        from faulty_envs import Constant
        from mortals import mortal
        from programs import children

        class Interrupting(Constant):
            calls = 0
            def act(self, observations):
                self.calls += 1
                if self.calls == 20:
                    os.killpg(0, signal.SIGINT)
                return super().act(observations)

        with mortal("never", 0, workers=3) as runner:
            pids = children()
            histories = runner.rollout(Interrupting(), steps=1000, on_interrupt="return")
            print(runner.interrupted, *{len(history) for history in histories})
            histories = runner.rollout(Constant(), steps=9)
            print(runner.interrupted, *{len(history) for history in histories}, pids == children())
        """
    )
    assert done.stdout.splitlines() == ["True 20", "False 9 True"], done.stderr


def test_what_ps_shows_tells_what_a_helper_is_for() -> None:
    with mortal("never", 0, n_envs=7):
        (helper,) = children()
        command = Path(f"/proc/{helper}/cmdline").read_bytes().decode().split("\0")
        assert "runnerkit: envs 4 to 6" in command
        assert Path(f"/proc/{helper}/comm").read_text().strip() == "rk-envs-4-6"


def test_libraries_start_one_thread_in_a_helper() -> None:
    class Threads(gymnasium.ObservationWrapper[Any, Any, Any]):
        def __init__(self) -> None:
            super().__init__(gymnasium.make("CartPole-v1"))
            self.observation_space = spaces.Discrete(1000)

        @override
        def observation(self, observation: Any) -> Any:
            return int(os.environ.get("OMP_NUM_THREADS", "999"))

    with build(lambda seed: Threads(), n_envs=2, workers=2, executor="processes") as runner:
        histories = runner.rollout(Constant(), steps=1)
    assert histories[1].observations.tolist() == [1]


class Strict(gymnasium.ObservationWrapper[Any, Any, Any]):
    """Tells how numbers are dealt with where it lives."""

    def __init__(self) -> None:
        super().__init__(gymnasium.make("CartPole-v1"))
        self.observation_space = spaces.Discrete(1000)

    @override
    def observation(self, observation: Any) -> Any:
        return decimal.getcontext().prec * 10 + (np.geterr()["under"] == "raise")


def test_helpers_deal_with_numbers_as_the_caller_does() -> None:
    with decimal.localcontext() as context, np.errstate(under="raise"):
        context.prec = 7
        with build(lambda seed: Strict(), n_envs=2, workers=2, executor="processes") as runner:
            histories = runner.rollout(Constant(), steps=1)
    assert [history.observations.tolist() for history in histories] == [[71], [71]]


def test_envs_are_drawn_by_the_process_they_live_in() -> None:
    with mortal("never", 0, render_mode="rgb_array") as runner:
        runner.rollout(Constant(), steps=1)
        frames = executor_of(runner).render([0, 3])
        assert [np.asarray(frame).shape for frame in frames] == [(2, 2, 3)] * 2
    with mortal("render", 3, render_mode="rgb_array") as runner:
        runner.rollout(Constant(), steps=1)
        with pytest.raises(EnvError, match="in render when its process"):
            executor_of(runner).render([0, 3])
