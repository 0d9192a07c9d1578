"""runnerkit tune: what it measures, by a clock that the envs move, what it recommends, and how it ends."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import functools
import io
import json
import os
import re
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from faulty_envs import GO_ON, Answer, Constant, Faults, ScriptedEnv, build, raising, runnerkit_threads
from programs import started
from typing_extensions import override

import runnerkit._plugins.manager
from runnerkit import Contribution, EnvKey, hookimpl, tuning
from runnerkit._cli.advice import TuningSummary
from runnerkit._cli.main import main
from runnerkit._cli.options import Parts
from runnerkit._cli.terminal import print_pairs, print_records
from runnerkit._plugins.manager import Plugins
from runnerkit.errors import AgentError, ArgumentError, EnvError, UnknownNameError
from runnerkit.executors import SerialExecutor
from runnerkit.tuning import Measurement, Tuning, measure


class Clock:
    """Time that passes only as envs step in the thread that the first env of their runner lives in."""

    def __init__(self, seconds_per_step: float = 0.001) -> None:
        self.now = 0.0
        self.seconds_per_step = seconds_per_step
        self._home = 0

    def perf_counter(self) -> float:
        return self.now

    def step(self, env: object) -> object:
        self.now += self.seconds_per_step
        return GO_ON

    def pass_(self, seconds: float) -> object:
        self.now += seconds
        return GO_ON

    def env(self, seed: int | None = None, env_index: int = 0) -> ScriptedEnv:
        if env_index == 0:
            self._home = threading.get_ident()
        return ScriptedEnv(faults=Faults(step=self.step if threading.get_ident() == self._home else None))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(tuning, "time", clock)
    return clock


@pytest.fixture(autouse=True)
def _nothing_is_left_behind() -> Iterator[None]:
    yield
    assert runnerkit_threads() == []


def constant(runner: object) -> Constant:
    return Constant()


def names(found: Tuning) -> list[tuple[str, int | None, int]]:
    return [(entry.executor, entry.workers, entry.n_envs) for entry in found.measurements]


# ---- measuring


def test_each_executor_is_measured_in_steps_of_all_envs_per_second(clock: Clock) -> None:
    found = measure(clock.env, constant, n_envs=[4], executors=["threads"], workers=[2, 4], seconds=2.0)
    assert names(found) == [("serial", 1, 4), ("threads", 2, 4), ("threads", 4, 4)]
    assert [entry.steps_per_second for entry in found.measurements] == pytest.approx([1000, 2000, 4000])
    assert [found.ratio_to_serial(entry) for entry in found.measurements] == pytest.approx([1, 2, 4])
    assert all(len(entry.rounds) == 5 and entry.error is None for entry in found.measurements)
    best = found.recommended()
    assert best is not None
    assert (best.measurement.workers, best.reason) == (4, "4.00 times as fast as serial")
    assert not found.interrupted


@pytest.mark.parametrize("seconds_per_step", [5e-4, 0.01, 0.2])
@pytest.mark.parametrize("n_envs", [[2], [2, 6, 3]])
def test_it_takes_as_long_as_it_was_told_to_or_a_step_of_each(
    clock: Clock, n_envs: list[int], seconds_per_step: float
) -> None:
    clock.seconds_per_step = seconds_per_step
    found = measure(clock.env, constant, n_envs=n_envs, executors=["threads"], workers=[2], seconds=10.0)
    assert 5.0 < clock.now < 15.0 if seconds_per_step < 0.1 else clock.now < 10.0 + 4 * sum(n_envs)
    assert len(found.measurements) == 2 * len(n_envs)
    assert all(entry.rounds for entry in found.measurements)


def test_rollouts_are_as_long_as_asked_for_but_shorter_where_envs_are_slow(clock: Clock) -> None:
    lengths: list[int] = []

    class Noting:
        def open(self, spec: object, /) -> Noting:
            return self

        def finish(self, block: Any, /) -> Sequence[int]:
            lengths.append(block.steps)
            return [0] * block.n_envs

        def close(self) -> None:
            pass

    class Runner(runnerkit.GymRunner[Any, Any, Any]):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **{**options, "history": Noting()})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tuning, "GymRunner", Runner)
        measure(clock.env, constant, n_envs=[2], executors=[], seconds=10.0, steps=100)
        assert max(lengths) == 100
        lengths.clear()
        clock.seconds_per_step = 0.1
        measure(clock.env, constant, n_envs=[2], executors=[], seconds=10.0, steps=100)
        assert 1 <= max(lengths) <= 10


def test_all_built_in_executors_but_auto_take_part_unless_some_are_named() -> None:
    there = [name for name in Plugins().offers("executors") if name not in ("auto", "serial", "asyncio")]
    found = measure("CartPole-v1", constant, n_envs=[2], workers=[2], seconds=0.5)
    assert {entry.executor for entry in found.measurements} == {"serial", *there}  # asyncio has one worker, as serial
    assert [entry.error for entry in found.measurements] == [None] * len(found.measurements)
    found = measure(EnvKey("CartPole-v1"), constant, n_envs=[2], executors=["serial"], seconds=0.1)
    assert names(found) == [("serial", 1, 2)]


@pytest.mark.parametrize(
    ("cores", "n_envs", "workers"),
    [
        (1, 8, [None]),
        (2, 8, [None, 2]),
        (6, 8, [None, 2, 4, 6]),
        (64, 5, [None, 2, 4, 5]),
        (64, 1, []),
    ],
)
def test_workers_are_what_the_executor_finds_and_powers_of_two_up_to_what_cores_and_envs_allow(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, cores: int, n_envs: int, workers: list[int | None]
) -> None:
    monkeypatch.setattr("runnerkit._core.cores.available_cores", lambda: cores)
    found = measure(clock.env, constant, n_envs=[n_envs], executors=["threads"], seconds=0.5)
    assert [entry.workers for entry in found.measurements if entry.executor == "threads"] == workers


def test_no_more_workers_are_open_at_the_same_time_than_there_are_cores_or_32(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning, "_OPEN", 4)
    monkeypatch.setattr(tuning, "available_cores", lambda: 2)
    open_now: set[int] = set()
    most: list[int] = []

    class Runner(runnerkit.GymRunner[Any, Any, Any]):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            open_now.add(id(self))
            most.append(len(open_now))

        @override
        def close(self) -> None:
            open_now.discard(id(self))
            super().close()

    monkeypatch.setattr(tuning, "GymRunner", Runner)
    found = measure(clock.env, constant, n_envs=[4], executors=["threads"], workers=[2, 3, 4], seconds=4.0)
    assert names(found) == [("serial", 1, 4), ("threads", 2, 4), ("threads", 3, 4), ("threads", 4, 4)]
    assert (most, open_now) == ([1, 2, 1, 1], set())
    assert [entry.steps_per_second for entry in found.measurements] == pytest.approx([1000, 2000, 4000, 4000])
    assert clock.now < 6.0


def test_envs_that_wait_are_tuned_to_a_thread_each() -> None:
    def sleep(env: object) -> object:
        time.sleep(0.01)
        return GO_ON

    def env(seed: int | None = None) -> ScriptedEnv:
        return ScriptedEnv(faults=Faults(step=sleep))

    found = measure(env, constant, n_envs=[8], executors=["threads"], seconds=4.0).recommended()
    assert found is not None
    assert (found.measurement.executor, found.measurement.workers) == ("threads", None)


def test_where_the_agent_is_asked_while_envs_step_the_calling_process_is_measured_with_fewer_envs() -> None:
    class Busy:
        def act(self, observations: Any) -> Any:
            time.sleep(0.002)
            return [0] * len(observations)

    found = measure(
        "CartPole-v1", lambda _: Busy(), n_envs=[4], executors=["processes"], workers=[2], min_batch=2, seconds=0.5
    )
    assert names(found) == [
        ("serial", 1, 4), ("processes", 2, 4), ("processes:own_envs=1", 2, 4), ("processes:own_envs=0", 1, 4),
    ]  # fmt: skip
    assert [entry.error for entry in found.measurements] == [None] * 4
    with pytest.raises(ArgumentError, match="min_batch must be a whole number from 1 to n_envs, 3, not 4"):
        measure("CartPole-v1", constant, n_envs=[8, 3], min_batch=4)


def test_no_number_of_workers_or_envs_is_measured_twice(clock: Clock) -> None:
    found = measure(clock.env, constant, n_envs=[2, 3, 2], executors=["threads"] * 2, workers=[8, 2, 4], seconds=0.5)
    assert names(found) == [
        ("serial", 1, 2), ("threads", 2, 2), ("serial", 1, 3), ("threads", 2, 3), ("threads", 3, 3),
    ]  # fmt: skip


def test_how_far_it_is_is_told(clock: Clock) -> None:
    told: list[tuple[float, str]] = []
    measure(
        clock.env, constant, n_envs=[2], executors=["threads"], workers=[2], seconds=2.0,
        progress=lambda share, what: told.append((share, what)),
    )  # fmt: skip
    shares = [share for share, _ in told]
    assert shares == sorted(shares)
    assert 0 < shares[0] < 0.5 < shares[-1] <= 1
    assert {what for _, what in told} == {"serial, 2 envs", "threads with 2 workers, 2 envs"}


# ---- what fails


class Shaky(SerialExecutor):
    """Fails at its tenth step."""

    left = 10

    @override
    def step(self, *arguments: Any) -> Any:
        self.left -= 1
        if self.left == 0:
            raise OSError("shaken")
        return super().step(*arguments)


class Offer:
    @hookimpl
    def executors(self) -> Iterator[Contribution[Any]]:
        yield Contribution("shaky", lambda: Shaky)
        yield Contribution("sturdy", lambda: functools.partial(SerialExecutor))


@pytest.fixture
def offered() -> Plugins:
    plugins = Plugins()
    plugins.register(Offer(), "offer")
    return plugins


def test_an_executor_that_fails_is_a_line_with_its_error_and_the_others_go_on(clock: Clock, offered: Plugins) -> None:
    found = measure(clock.env, constant, n_envs=[2], executors=["shaky", "sturdy"], plugins=offered, seconds=2.0)
    serial, shaky, sturdy = found.measurements
    assert (repr(shaky.error), shaky.steps_per_second, found.ratio_to_serial(shaky)) == (
        "OSError('shaken')",
        None,
        None,
    )
    assert len(serial.rounds) == len(sturdy.rounds) == 5
    assert sturdy.workers is None
    assert found.ratio_to_serial(sturdy) == pytest.approx(1.0)
    # a third party's may refuse workers
    found = measure(clock.env, constant, n_envs=[2], executors=["sturdy"], workers=[2], plugins=offered, seconds=0.5)
    assert isinstance(found.measurements[1].error, ArgumentError)


def test_a_factory_that_processes_cannot_have_is_a_line_with_its_error() -> None:
    lock = threading.Lock()

    def make(seed: int | None) -> ScriptedEnv:
        with lock:
            return ScriptedEnv()

    serial, processes = measure(
        make, constant, n_envs=[2], executors=["processes"], workers=[2], seconds=0.2
    ).measurements
    assert serial.error is None
    assert processes.error is not None
    assert "pickle" in str(processes.error)


def test_if_all_fail_the_first_error_is_raised(clock: Clock) -> None:
    def make(seed: int | None) -> ScriptedEnv:
        return ScriptedEnv(faults=Faults(step=raising(OSError("boom"))))

    with pytest.raises(EnvError, match="raised in step: OSError: boom"):
        measure(make, constant, executors=["threads"], workers=[2], seconds=0.5)


def test_an_env_that_fails_to_close_is_an_error_of_its_own_line_only(clock: Clock) -> None:
    def close(env: ScriptedEnv) -> None:
        if threading.get_ident() != home:
            raise OSError("stuck")

    home = threading.get_ident()
    found = measure(
        lambda seed: ScriptedEnv(faults=Faults(step=clock.step, close=close)), constant,
        n_envs=[2], executors=["threads"], workers=[2], seconds=0.5,
    )  # fmt: skip
    assert found.measurements[0].error is None
    assert "failed to close: OSError: stuck" in str(found.measurements[1].error)


def test_what_no_executor_could_do_is_raised_at_once(clock: Clock) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'threads'"):
        measure(clock.env, constant, executors=["thread"])
    with pytest.raises(UnknownNameError, match="flaten"):
        measure(clock.env, constant, preprocessors=["flaten"], executors=["threads"])
    with pytest.raises(UnknownNameError, match="Cartpole"):
        measure("Cartpole-v1", constant, executors=["threads"])
    assert clock.now == 0.0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"n_envs": []}, "n_envs must be whole numbers"),
        ({"n_envs": 8}, "n_envs must be whole numbers"),
        ({"n_envs": [0]}, r"such as \[8, 16\], not \[0\]"),
        ({"workers": [1.5]}, "workers must be whole numbers"),
        ({"steps": 0}, "steps must be a whole number of at least 1, not 0"),
        ({"seconds": 0}, "seconds must be a finite number above 0, not 0"),
        ({"seconds": float("inf")}, "not inf"),
        ({"seconds": float("nan")}, "not nan"),
        ({"seconds": "long"}, "not 'long'"),
    ],
)
def test_arguments_that_cannot_be_are_refused(arguments: dict[str, Any], said: str) -> None:
    anything: Any = measure
    with pytest.raises(ArgumentError, match=said):
        anything("CartPole-v1", constant, **arguments)


def interrupting(after: int) -> Callable[[object], Answer]:
    """Return what makes an agent that presses Ctrl-C, all runners together counted."""
    calls = iter(range(after))

    def answer(observations: Any) -> Any:
        if next(calls, None) is None:
            raise KeyboardInterrupt
        return Constant().act(observations)

    return lambda runner: Answer(answer)


def test_ctrl_c_returns_what_was_measured_so_far(clock: Clock) -> None:
    for after in (0, 50, 600, 1000):
        found = measure(clock.env, interrupting(after), n_envs=[2, 3], executors=["threads"], workers=[2], seconds=4.0)
        assert found.interrupted
        assert names(found)[:2] == [("serial", 1, 2), ("threads", 2, 2)]
        assert (found.recommended() is None) == (after < 600)
        assert all(entry.error is None for entry in found.measurements)


# ---- what is recommended


def entry(executor: str, workers: int, rounds: Sequence[float], n_envs: int = 8) -> Measurement:
    return Measurement(executor=executor, workers=workers, n_envs=n_envs, rounds=tuple(rounds))


def recommended(*entries: Measurement) -> tuple[str, int, str]:
    best = Tuning(entries).recommended()
    assert best is not None
    return best.measurement.name, best.measurement.n_envs, best.reason


def test_the_fastest_is_recommended_if_it_was_so_in_nearly_all_rounds() -> None:
    serial = entry("serial", 1, [100, 101, 99, 100, 100])
    threads = entry("threads", 2, [150, 151, 149, 90, 150])
    assert recommended(serial, threads) == ("threads with 2 workers", 8, "1.50 times as fast as serial")


@pytest.mark.parametrize("rounds", [[102, 101, 102, 102, 102], [150, 151, 90, 90, 150]])
def test_within_the_noise_the_simpler_is_recommended(rounds: list[float]) -> None:
    serial = entry("serial", 1, [100, 100, 100, 100, 100])
    name, _, reason = recommended(serial, entry("threads", 2, rounds))
    assert name == "serial"
    assert re.fullmatch(r"threads with 2 workers was (2|50)% faster, but not reliably so: .+", reason)
    name, _, reason = recommended(
        serial, entry("threads", 2, [150] * 5), entry("processes", 2, [r * 1.5 for r in rounds])
    )
    assert name == "threads with 2 workers"


def test_what_was_faster_once_or_twice_only_is_not_recommended() -> None:
    name, _, reason = recommended(entry("serial", 1, [100] * 2), entry("threads", 2, [300] * 2))
    assert name == "serial"
    assert reason == "threads with 2 workers was 200% faster, but measured too briefly to be sure: give it more seconds"


def test_first_resets_are_not_measured_even_if_there_is_no_time_left(clock: Clock) -> None:
    def make(seed: int | None) -> ScriptedEnv:
        clock.now += 60.0
        return ScriptedEnv(faults=Faults(reset=lambda env: clock.pass_(30.0), step=clock.step), length=1000)

    (serial,) = measure(make, constant, n_envs=[2], executors=[], seconds=1.0).measurements
    assert serial.rounds == pytest.approx([1000])


def test_serial_is_recommended_where_nothing_is_faster() -> None:
    assert recommended(entry("serial", 1, [100]), entry("threads", 2, [50])) == ("serial", 8, "nothing was faster")


def test_the_fastest_number_of_envs_is_recommended_and_compared_with_serial_of_as_many() -> None:
    assert recommended(
        entry("serial", 1, [100] * 3, 2), entry("threads", 2, [300] * 3, 2),
        entry("serial", 1, [200] * 3, 8), entry("threads", 2, [400] * 3, 8),
    ) == ("threads with 2 workers", 8, "2.00 times as fast as serial")  # fmt: skip


def test_what_failed_is_not_recommended_nor_is_serial_needed() -> None:
    failed = Measurement(executor="serial", workers=1, n_envs=8, rounds=(900.0,), error=OSError("boom"))
    assert recommended(failed, entry("threads", 2, [100])) == ("threads with 2 workers", 8, "nothing was faster")
    assert Tuning([failed]).recommended() is None


# ---- the command


def run(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(main, ["tune", *arguments], prog_name="runnerkit")
    assert result.exit_code == code, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


QUICK = ("--seconds", "0.3", "--executor", "threads", "--workers", "2")


def test_it_prints_a_table_and_what_to_use_as_python_and_as_a_command() -> None:
    lines = run("CartPole-v1", "--n-envs", "2", "--n-envs", "4", "--pre", "flatten", *QUICK).stdout.splitlines()
    table = [re.split(r"  +", line) for line in lines[: lines.index("")]]
    assert table[0] == ["n_envs", "executor", "workers", "env steps/s", "ratio to serial", "note"]
    assert [row[:3] for row in table[1:]] == [
        ["2", "serial", "1"], ["2", "threads", "2"], ["4", "serial", "1"], ["4", "threads", "2"],
    ]  # fmt: skip
    assert [row[4] for row in table[1::2]] == ["1.00", "1.00"]
    assert all(re.fullmatch(r"[\d,]+", row[3]) for row in table[1:])
    assert [row[5:] for row in table[1:]].count(["recommended"]) == 1
    facts = dict(re.split(r"  +", line, maxsplit=1) for line in lines[lines.index("") + 1 :])
    assert list(facts) == ["recommended", "Python", "command"]
    ast.parse(facts["Python"])


def test_what_it_recommends_runs_as_it_is() -> None:
    document = json.loads(run("CartPole-v1", "--n-envs", "2", "--pre", "flatten", *QUICK, "--json").stdout)
    advice = document["recommended"]
    with eval(advice["python"], {"runnerkit": runnerkit}) as runner:
        assert (runner.n_envs, runner.executor_report.name) == (2, advice["executor"])
        assert runner.rollout(Constant(), steps=5)[0].observations.shape == (5, 4)
    command = shlex.split(advice["command"])
    assert command[0] == "runnerkit"
    assert CliRunner().invoke(main, [*command[1:], "--steps", "5"]).exit_code == 0


class Terminal(io.StringIO):
    @override
    def isatty(self) -> bool:
        return True

    def lines(self) -> list[str]:
        return [line.strip() for line in re.sub(r"\x1b\[[\d;]*m", "", self.getvalue()).splitlines() if line.strip()]


@pytest.mark.parametrize(("width", "rows"), [(60, 2), (36, 3), (20, 2)])
def test_no_word_of_a_table_is_cut_on_a_narrow_terminal(width: int, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    out = Terminal()
    records = [{"name": "normalize", "summary": "running mean 0 and variance 1"}, {"name": "clip", "summary": "clips"}]
    print_records(records, ("name", "summary"), out)
    told = " ".join(out.lines()).split()
    assert {"name", "summary", "normalize", "variance", "clips"} <= set(told)
    assert len(out.lines()) == rows + 1 + (width > 20)  # with the names, and a line below them
    assert (width == 20) == any(len(line) > width for line in out.lines())  # which the terminal itself wraps


def test_what_is_to_be_pasted_stays_one_line_on_the_narrowest_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    out = Terminal()
    print_pairs([("Python", "runnerkit.make('[bold]-v1')"), ("command", "runnerkit rollout CartPole-v1")], out)
    assert out.lines() == [
        "Python   runnerkit.make('[bold]-v1')",
        "command  runnerkit rollout CartPole-v1",
    ]


def test_python_and_command_name_all_that_matters() -> None:
    threads, own = entry("threads", 3, [1.0]), Measurement(executor="auto", workers=None, n_envs=8)
    summary = TuningSummary(
        env="it's:a b", agent="my_agents:Greedy", seconds=1.0, tuning=Tuning([threads]),
        parts=Parts(
            pre=("flatten", "normalize:clip=5"), post=("clip",), reward=("scale:factor=0.5",),
            env_options=("size=small",), wrappers=("m:W:n=2",), lock="run.lock", modules=("my_plugins",),
        ),
    )  # fmt: skip
    assert summary.python(threads) == (
        'runnerkit.make("it\'s:a b", n_envs=8, executor="threads", workers=3, '
        'preprocessors=["flatten", ("normalize", {"clip": 5})], postprocessors=["clip"], '
        'reward_processors=[("scale", {"factor": 0.5})], env_options={"size": "small"}, '
        'wrappers=[("m:W", {"n": 2})], lock="run.lock")'
    )
    assert shlex.split(summary.command(threads)) == [
        "runnerkit", "rollout", "it's:a b", "--n-envs", "8", "--executor", "threads", "--workers", "3",
        "--agent", "my_agents:Greedy", "--pre", "flatten", "--pre", "normalize:clip=5", "--post", "clip",
        "--reward", "scale:factor=0.5", "--env-option", "size=small", "--wrapper", "m:W:n=2",
        "--lock", "run.lock", "-p", "my_plugins",
    ]  # fmt: skip
    shares = summary.python(entry("processes:own_envs=2", 2, [1.0]))
    assert 'n_envs=8, executor=("processes", {"own_envs": 2}), workers=2' in shares
    early = dataclasses.replace(summary, min_batch=3)
    assert "workers=3, min_batch=3, pre" in early.python(threads)
    assert "--workers 3 --min-batch 3" in early.command(threads)
    assert "workers" not in summary.python(own) + summary.command(own)
    assert "workers" not in summary.python(entry("serial", 1, [1.0]))


def test_json_has_all_that_was_measured() -> None:
    document = json.loads(run("CartPole-v1", *QUICK, "--json").stdout)
    assert list(document) == [
        "env", "agent", "preprocessors", "postprocessors", "reward_processors", "env_options", "wrappers", "lock",
        "min_batch", "cores", "seconds", "interrupted",
        "measurements", "recommended",
    ]  # fmt: skip
    serial, threads = document["measurements"]
    assert (serial["executor"], serial["workers"], serial["n_envs"], serial["error"]) == ("serial", 1, 8, None)
    assert (threads["executor"], threads["workers"], threads["n_envs"]) == ("threads", 2, 8)
    assert serial["steps_per_second"] in serial["rounds"] or len(serial["rounds"]) % 2 == 0
    assert threads["ratio_to_serial"] == threads["steps_per_second"] / serial["steps_per_second"]
    assert document["interrupted"] is False


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty current directory, forgotten by Python afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    sys.modules.pop("tuned_agents", None)


AGENTS = """
import numpy as np

class Interrupting:
    calls = 0

    def act(self, observations):
        self.calls += 1
        if self.calls > LIMIT:
            raise KeyboardInterrupt
        return np.zeros(len(observations), np.int64)

class Failing:
    def act(self, observations):
        raise ZeroDivisionError("no policy")

agent, failing = Interrupting(), Failing()
"""


@pytest.mark.parametrize("limit", [0, 10**4])
def test_ctrl_c_shows_what_was_measured_and_ends_with_130(workplace: Path, limit: int) -> None:
    (workplace / "tuned_agents.py").write_text(AGENTS.replace("LIMIT", str(limit)))
    arguments = ("CartPole-v1", "--agent", "tuned_agents:agent", "--executor", "threads", "--seconds", "60")
    stdout = run(*arguments, code=130).stdout
    assert stdout.startswith("n_envs  executor  workers")
    assert stdout.endswith("Interrupted by Ctrl-C: this is what was measured until then.\n")
    if limit == 0:
        assert "recommended  - (nothing was measured)" in stdout
    document = json.loads(run(*arguments, "--json", code=130).stdout)
    assert document["interrupted"] is True
    assert document["recommended"] is None


def test_if_all_fail_it_ends_with_1_and_the_error(workplace: Path) -> None:
    (workplace / "tuned_agents.py").write_text(AGENTS)
    result = run("CartPole-v1", "--agent", "tuned_agents:failing", *QUICK, code=1)
    assert "The agent raised at step 0 of the rollout: ZeroDivisionError: no policy" in result.stderr
    assert "tuned_agents.py:15, in act" in result.stderr
    assert result.stdout == ""
    with pytest.raises(AgentError):
        measure("CartPole-v1", lambda runner: Answer(lambda observations: 1 / 0), executors=[], seconds=0.1)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("", "Missing argument 'ENV'"),
        ("Cartpole-v1", "Did you mean 'CartPole-v1'?"),
        ("CartPole-v1 --executor thread", "Did you mean 'threads'?"),
        ("CartPole-v1 --executor processes:own_envs=9", "own_envs must be a whole number from 0 to n_envs - 1, 7"),
        ("CartPole-v1 --executor threads:own_envs=1", "'threads' of runnerkit"),
        ("CartPole-v1 --agent nobody", "write 'random' or MODULE:ATTRIBUTE"),
        ("vector:CartPole-v1 --n-envs 2", "vector:CartPole-v1 is a vector env, which steps all its envs itself"),
        ("CartPole-v1 --pre flat", "No preprocessor is called 'flat'"),
    ],
)
def test_what_makes_no_sense_ends_with_2_and_the_way_out(arguments: str, said: str) -> None:
    result = run(*arguments.split(), code=2)
    assert result.stderr.startswith("Usage: runnerkit tune [OPTIONS] ENV\n")
    assert said in result.stderr


@pytest.mark.skipif(os.name != "posix", reason="needs pseudo-terminals")
@pytest.mark.parametrize("quiet", [False, True])
def test_on_a_terminal_a_bar_shows_who_was_measured_last_and_goes_away(quiet: bool) -> None:
    import pty

    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "runnerkit", "tune", "CartPole-v1", *QUICK, *["--no-progress"] * quiet]
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100"}
    seen = b""
    with started(command, stdout=subprocess.PIPE, stderr=theirs, env=environment) as running:
        os.close(theirs)
        with contextlib.suppress(OSError):  # how Linux says that nobody holds the other end any more
            while chunk := os.read(ours, 4096):
                seen += chunk
        stdout, _ = running.communicate(timeout=60)
    os.close(ours)
    assert running.returncode == 0
    assert stdout.startswith("n_envs  executor")
    if quiet:
        assert seen == b""
    else:
        assert b"threads with 2 workers, 8 envs" in seen
        assert seen.rstrip().endswith(b"\x1b[2K")  # the line is erased


def test_an_error_fits_into_its_line(monkeypatch: pytest.MonkeyPatch, offered: Plugins) -> None:
    monkeypatch.setattr(runnerkit._plugins.manager, "installed_plugins", lambda: offered)
    monkeypatch.setattr(tuning, "installed_plugins", lambda: offered)
    stdout = run("CartPole-v1", "--seconds", "0.3", "--executor", "shaky").stdout
    assert "8       shaky     1        -            -                OSError: shaken\n" in stdout


@pytest.mark.parametrize("executor", ["shaky", "sturdy"])
def test_the_executors_of_these_tests_work_as_they_should(offered: Plugins, executor: str) -> None:
    with build(lambda seed: ScriptedEnv(), executor=executor, plugins=offered) as runner:
        if executor == "shaky":
            with pytest.raises(OSError, match="shaken"):
                runner.rollout(Constant(), steps=20)
        else:
            assert len(runner.rollout(Constant(), steps=20)[0]) == 20
