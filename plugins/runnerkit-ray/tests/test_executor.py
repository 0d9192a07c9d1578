"""The ray executor: serial's bytes, faults that name the env and the actor, and nothing left behind."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
from fragile_envs import Makes
from runnerkit_ray import cluster as clusters
from runnerkit_ray.cluster import Cluster
from runnerkit_ray.executor import RayExecutor

import runnerkit
import runnerkit.executors.messages.executor
from runnerkit.errors import ArgumentError, EnvError, EnvTimeoutError, RolloutError, RolloutInterrupted
from runnerkit.records import EndReason
from runnerkit.testing.executors import ExecutorChecks
from runnerkit.testing.samples import HashAgent

pytestmark = pytest.mark.usefixtures("cluster")


def actors() -> set[int]:
    """Return the processes of actors with envs."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if b"ray::EnvActor" in path.read_bytes():
                found.add(int(path.parent.name))
        except OSError:  # it has just ended
            continue
    return found


@pytest.fixture(autouse=True)
def _no_actor_is_left() -> Iterator[None]:
    yield
    end = time.monotonic() + 10
    while actors() and time.monotonic() < end:
        time.sleep(0.05)
    assert not actors()


def test_it_has_the_bytes_of_the_serial_executor() -> None:
    # Each check starts actors. The others are of what all executors of messages have in common: tests/test_messages.py
    # has one whose workers start at once.
    checks = {check.id: check for check in ExecutorChecks(lambda n, workers: RayExecutor(n, workers or 1)).named()}
    for name in ("contract", "same-bytes", "any-number-of-workers", "closes-after-a-failed-start", "closes"):
        checks[name]()


def test_the_death_of_an_actor_names_env_and_process_and_comes_with_what_was_collected(
    tmp_path: Path, cluster: Cluster
) -> None:
    make = Makes(tmp_path, "", "die", "")
    with runnerkit.make(make, n_envs=3, seed=0, executor=("ray", {"address": cluster.address}), workers=2) as runner:
        assert cluster.address in runner.executor_report.reason
        with pytest.raises(
            EnvError, match=r"did not return from step.*: its actor \(process \d+ on .*\) died"
        ) as caught:
            runner.rollout(HashAgent(runner.action_space), steps=20)
        error = caught.value
        assert error.env_index == 0
        assert "or another one of envs 0 to 1" in str(error)
        assert error.step is not None
        assert [history.episodes[-1].end_reason for history in error.histories].count(EndReason.CRASHED) == 1  # type: ignore[attr-defined]
        with pytest.raises(EnvError, match="has no worker any more"):
            runner.rollout(HashAgent(runner.action_space), steps=20)


def test_envs_that_die_or_hang_are_made_anew_in_another_actor(tmp_path: Path) -> None:
    found = []
    for executor, worst in (("ray", ("die", "hang")), ("serial", ("raise", "raise"))):
        (tmp_path / executor).mkdir()
        make, timeout = Makes(tmp_path / executor, *worst), 3.0 if executor == "ray" else None
        with runnerkit.make(
            make, n_envs=2, seed=0, executor=executor, on_env_error="restart", step_timeout=timeout
        ) as runner:
            found.append(runner.rollout(HashAgent(runner.action_space), steps=30))
    reasons = {fault.end_reason for history in found[0] for fault in history.faults}
    assert reasons == {EndReason.CRASHED, EndReason.TIMED_OUT}
    for one, other in zip(*found, strict=True):
        assert one.observations.tobytes() == other.observations.tobytes()
        assert one.rewards.tobytes() == other.rewards.tobytes()
        assert [(e.seed, e.length) for e in one.episodes] == [(e.seed, e.length) for e in other.episodes]


def test_an_env_that_hangs_is_given_up_in_time_or_at_ctrl_c(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        runnerkit.make(Makes(tmp_path, "hang"), seed=0, executor="ray", step_timeout=0.5) as runner,
        pytest.raises(EnvTimeoutError, match=r"step_timeout.*its actor .* was killed"),
    ):
        runner.rollout(HashAgent(runner.action_space), steps=20)
    monkeypatch.setattr(runnerkit.executors.messages.executor, "_SETTLE_S", 0.5)
    other = tmp_path / "other"
    other.mkdir()
    runner = runnerkit.make(Makes(other, "hang"), seed=0, executor="ray")
    begin = time.monotonic()

    def press() -> None:
        while not (other / "hang").exists() and time.monotonic() < begin + 60:
            time.sleep(0.01)
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(2.5)  # Ray looks once a second: both presses within one would be one

    pressing = threading.Thread(target=press)
    pressing.start()
    with pytest.raises((RolloutInterrupted, KeyboardInterrupt)):
        runner.rollout(HashAgent(runner.action_space), steps=20)
    with pytest.warns(RuntimeWarning, match="Env 0 did not answer in time as the runner closed"):
        runner.close()
    pressing.join()
    assert time.monotonic() - begin < 60
    assert ray.is_initialized(), "the cluster is that of the tests"


def test_a_runner_whose_cluster_was_left_starts_no_other_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make, started = Makes(tmp_path, ""), list[object]()
    with runnerkit.make(make, seed=0, executor="ray", on_env_error="restart") as runner:
        monkeypatch.setattr(clusters, "_is_connected", lambda: False)
        monkeypatch.setattr(ray, "remote", started.append)
        with pytest.raises(RolloutError, match="left the Ray cluster"):
            runner.rollout(HashAgent(runner.action_space), steps=20)
        assert not started
        monkeypatch.undo()
    for pid in actors():  # it ends with the connection of its driver, which was not really lost here
        os.kill(pid, signal.SIGKILL)


def test_what_cannot_be_sent_or_shared_out_is_refused(tmp_path: Path) -> None:
    make, lock = Makes(tmp_path, ""), threading.Lock()
    vars(make)["lock"] = lock
    with pytest.raises(ArgumentError, match="cannot be pickled"):
        runnerkit.make(make, executor="ray")
    with pytest.raises(ArgumentError, match="has a worker for each env"):
        runnerkit.make("CartPole-v1", n_envs=3, executor="ray", workers=2, step_timeout=1)
