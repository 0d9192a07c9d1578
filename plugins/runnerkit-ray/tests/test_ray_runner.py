"""Units on actors: the bytes of one process, whatever becomes of the actors."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import runnerkit_ray.formats
from gymnasium import spaces
from gymnasium.vector.utils import batch_space, iterate
from numpy.typing import NDArray
from runnerkit_ray import ActorsLostError, Cluster, Collected, PoisonError, RayRunner, RowAgent
from runnerkit_ray.data import joined
from runnerkit_ray.units import Plan, Unit
from unit_envs import Thresholds, Trap, Walk, chosen_starts, large, slow, strike, told, walk

import runnerkit
from runnerkit.errors import ArgumentError, ClosedError, EnvError, RolloutInterrupted
from runnerkit.executors import SeedSchedule
from runnerkit.history import ArrayHistory
from runnerkit.processors import Normalize
from runnerkit.typing import ActiveRows, SupportsRollout

pytestmark = pytest.mark.usefixtures("cluster")
SHARED: Any = {"num_cpus": 0}


def runner_of(make: Any, actors: int = 1, **options: Any) -> RayRunner[Any, Any, Any]:
    return RayRunner(make, 7, actors=actors, actor_options=SHARED, **options)


def several(seed: int | None) -> Any:
    return gymnasium.vector.SyncVectorEnv([Walk])


def facts(episode: Any) -> tuple[object, ...]:
    """Return all bytes of an episode, and its record."""
    columns = (episode.observations, episode.actions, episode.rewards, *episode.extras.values())
    record = episode.record
    return (
        *((np.asarray(column).dtype.str, np.ascontiguousarray(column).tobytes()) for column in columns),
        (record.env_index, record.episode_index, record.seed, record.options, record.length),
        (record.return_, record.end_reason, record.steps_before),
    )


def episodes_of(histories: Sequence[Any], env_index: int) -> list[tuple[object, ...]]:
    return [facts(one) for history in histories for one in history.split() if one.record.env_index == env_index]


def take(collected: Iterable[Collected[Any]], histories: list[Any]) -> None:
    """Append what comes before the end, or an exception."""
    for one in collected:
        histories.append(one.history)


def one_process(make: Any, n_envs: int = 1, agent: Any = None, steps: int = 700, **options: Any) -> list[Any]:
    """Return the histories of one GymRunner, with more episodes than any test asks for."""
    with runnerkit.make(make, seed=7, n_envs=n_envs, executor="serial", **options) as runner:
        return list(runner.rollout(agent or Thresholds(), steps=steps))


def assert_same(histories: Sequence[Any], reference: Sequence[Any], count: int, n_envs: int = 1) -> None:
    """Assert that these are so many episodes of each env, from the first one on, with the bytes of the reference."""
    for i in range(n_envs):
        mine, theirs = episodes_of(histories, i), episodes_of(reference, i)
        assert len(mine) == count
        assert mine == theirs[:count]


@pytest.fixture(scope="module")
def runner(cluster: Cluster) -> Iterator[RayRunner[Any, Any, ArrayHistory[Any, Any]]]:
    with runner_of(walk) as made:
        yield made


# ---- the same bytes


def test_several_actors_give_the_bytes_of_one_process() -> None:
    with runner_of(walk, 3, n_envs=2, episodes_per_unit=3) as made:  # the other tests have one actor, or two
        collected = list(made.collect(12, Thresholds()))
    assert [one.unit.index for one in collected] == list(range(12))
    assert [one.unit for one in collected[:3]] == [Unit(0, 0, 0, 3), Unit(1, 1, 0, 3), Unit(2, 0, 3, 3)]
    assert_same([one.history for one in collected], one_process(walk, 2), 18, 2)


def test_actors_that_are_killed_at_random_moments_change_no_byte() -> None:
    chosen, done = random.Random(1), threading.Event()
    with runner_of(slow, 2, episodes_per_unit=2, max_attempts=20) as made:

        def kill() -> None:
            while not done.wait(chosen.uniform(0.05, 0.25)):
                pids = [actor.pid for actor in made.stats().actors if actor.pid]
                if pids and made.stats().restarts < 2:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(chosen.choice(pids), signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        try:
            histories = [one.history for one in made.collect(25, Thresholds())]
        finally:
            done.set()
            killer.join()
        assert made.stats().restarts >= 1
        assert made.stats().retries >= 1
    assert_same(histories, one_process(walk, steps=1000), 50)


def test_a_unit_whose_actor_is_lost_or_hangs_is_made_once_more(tmp_path: Path) -> None:
    worst = {SeedSchedule(7).episode_seed(0, 2): "die", SeedSchedule(7).episode_seed(0, 6): "hang"}
    with runner_of(lambda _: Trap(worst, tmp_path), unit_timeout=3.0) as made:
        histories = [one.history for one in made.collect(10, Thresholds())]
        stats = made.stats()
    assert (stats.restarts, stats.retries, stats.timeouts) == (2, 2, 1)
    assert_same(histories, one_process(walk), 10)


def test_a_unit_that_ends_all_who_try_is_reported_with_its_seed_and_the_others_are_made() -> None:
    seed = SeedSchedule(7).episode_seed(0, 2)
    with runner_of(lambda _: Trap({seed: "die"}), max_attempts=2) as made:
        histories: list[Any] = []
        with pytest.raises(PoisonError, match=f"unit 2: env 0, episodes 2 to 2, seeds .{seed}.") as raised:
            take(made.collect(6, Thresholds()), histories)
        (poisoned,) = raised.value.poisoned
        assert poisoned.unit == Unit(2, 0, 2, 1)
        assert (poisoned.seeds, len(poisoned.reasons)) == ((seed,), 2)
        assert made.stats().poisoned == (poisoned,)
        histories += [one.history for one in made.collect(2)]
    reference = episodes_of(one_process(walk), 0)[:8]
    assert episodes_of(histories, 0) == reference[:2] + reference[3:]


def test_no_unit_is_blamed_for_an_actor_that_died_just_after_the_last_one_and_none_is_begun_for_nothing() -> None:
    def kill(of: RayRunner[Any, Any, Any]) -> None:
        (actor,) = of.stats().actors
        assert actor.pid is not None
        os.kill(actor.pid, signal.SIGKILL)

    with runner_of(walk, max_attempts=1, max_restarts=1) as made:
        histories = [one.history for one in made.collect(1, Thresholds())]
        kill(made)
        histories += [one.history for one in made.collect(2)]
        assert (made.stats().restarts, made.stats().retries, made.stats().poisoned) == (1, 1, ())
        kill(made)
        for _ in range(2):
            with pytest.raises(ActorsLostError, match="2 actors were lost, and max_restarts=1 are spent"):
                next(made.collect(1))
            assert made.stats().restarts == 1
            assert made.stats().actors[0].pid is None
    assert_same(histories, one_process(walk), 3)


def test_actors_that_die_as_they_make_the_env_are_started_again_but_not_for_ever(tmp_path: Path) -> None:
    def dies(seed: int | None) -> Walk:
        strike("die", tmp_path)
        return Walk()

    with runner_of(dies) as made:
        assert made.stats().restarts == 1
        assert_same(made.rollout(Thresholds(), episodes=3), one_process(walk), 3)

    def always(seed: int | None) -> Walk:
        strike("die", None)
        return Walk()

    with pytest.raises(ActorsLostError, match="2 actors in a row were lost as they made the env"):
        runner_of(always, max_attempts=2)


def test_an_env_that_raises_is_named_with_its_place_in_the_run(tmp_path: Path) -> None:
    seed = SeedSchedule(7).episode_seed(1, 2)
    with runner_of(lambda _: Trap({seed: "raise"}), n_envs=2) as made:
        histories: list[Any] = []
        with pytest.raises(EnvError, match="a trap") as raised:
            take(made.collect(12, Thresholds()), histories)
        error = raised.value
        assert (error.env_index, error.episode_index, error.seed) == (1, 2, seed)
        assert "unit 5" in error.__notes__[-1]
        assert "strike" in str(error.__cause__)  # where it was raised
        handed_out = [*histories, *error.histories]
        rest = [one.history for one in made.collect(12 - 1 - len(handed_out))]
    reference = one_process(walk, 2)
    assert episodes_of([*handed_out, *rest], 0) == episodes_of(reference, 0)[:6]
    theirs = episodes_of(reference, 1)[:6]
    assert episodes_of([*handed_out, *rest], 1) == theirs[:2] + theirs[3:]


def test_envs_that_are_made_anew_have_the_records_of_one_process() -> None:
    worst = {SeedSchedule(7).episode_seed(0, k): "raise" for k in (1, 2, 5)}
    options: Any = {"on_env_error": "restart"}
    with runner_of(lambda _: Trap(worst), episodes_per_unit=2, **options) as made:
        (history,) = made.rollout(Thresholds(), episodes=8)
    with runnerkit.make(lambda _: Trap(worst), seed=7, executor="serial", **options) as one:
        (reference,) = one.rollout(Thresholds(), episodes=8)
    assert [episode.episode_index for episode in history.episodes] == [0, 3, 4, 6, 7]
    assert episodes_of([history], 0) == episodes_of([reference], 0)[:5]
    faults = [[(f.env_index, f.episode_index, f.seed, f.error) for f in one.faults] for one in (history, reference)]
    assert faults[0] == faults[1]


# ---- histories and their formats


def test_arrays_are_read_only_and_copied_for_those_who_keep_them(runner: RayRunner[Any, Any, Any]) -> None:
    (collected,) = runner.collect(1, Thresholds())
    assert not collected.history.observations.flags.writeable
    assert copy.deepcopy(collected.history).observations.flags.writeable
    (history,) = runner.rollout(Thresholds(), episodes=2)
    assert history.observations.flags.writeable


@pytest.mark.parametrize("name", ["arrays", "torch", "transitions", "npz"])
def test_every_format_has_what_it_has_of_one_process(name: str, tmp_path: Path) -> None:
    def format_in(folder: str) -> Any:
        return ("npz", {"path": tmp_path / folder}) if name == "npz" else name

    options: Any = {"keep_infos": True, "keep_raw": True, "preprocessors": ["flatten"], "reward_processors": ["sign"]}
    options |= {"schedule": chosen_starts, "wrappers": [("gymnasium.wrappers:ClipReward", {"max_reward": 0.5})]}
    make: Any = [walk, walk] if name == "torch" else walk
    with runner_of(make, n_envs=2, episodes_per_unit=2, history=format_in("ours"), **options) as made:
        ours = made.rollout(Thresholds(), episodes=8)
        more = [one.history for one in made.collect(4, Thresholds())]
    with runnerkit.make(make, seed=7, n_envs=2, executor="serial", history=format_in("theirs"), **options) as one:
        theirs = one.rollout(Thresholds(), steps=400)
    assert made.made_by.env_id == one.made_by.env_id == ("" if name == "torch" else "unit_envs:walk")
    for i in range(2):
        for histories, first in ((ours[i : i + 1], 0), (more[i::2], 4)):
            if name == "transitions":
                steps = [step for history in histories for step in history]
                at = [k for k, step in enumerate(theirs[i]) if step.done][first - 1] + 1 if first else 0
                assert [repr(step) for step in steps] == [repr(step) for step in theirs[i][at : at + len(steps)]]
                continue
            mine = [everything(episode) for history in histories for episode in history.split()]
            assert len(mine) == 4
            assert mine == [everything(episode) for episode in theirs[i].split()][first : first + 4]
    if name == "npz":
        stored = runnerkit.load(tmp_path / "ours")
        assert len(stored) == 16
        assert stored.runs[0].spec.made_by.parts[-1].name == "npz"
        assert not runnerkit.replay(stored).divergences


def everything(episode: Any) -> tuple[object, ...]:
    return (*facts(episode), episode.raw_observations.tolist(), repr(episode.infos))


def test_each_env_is_made_with_what_it_would_be_told_in_one_process() -> None:
    with runner_of(told, n_envs=2) as made:
        ours = made.rollout(RowAgent(made.action_space), episodes=4)
    with runnerkit.make(told, seed=7, n_envs=2, executor="serial") as one:
        theirs = one.rollout(RowAgent(one.action_space), steps=60)
    for i in range(2):
        assert episodes_of(ours, i) == episodes_of(theirs, i)[:2]


# ---- weights, order, state


def test_weights_can_change_in_the_middle_and_each_unit_says_which_it_had() -> None:
    with runner_of(walk) as made:
        first = list(made.collect(2, Thresholds()))
        assert [one.version for one in first] == [0, 0]
        assert "weights_version" not in first[0].history.extras
        assert made.set_weights({"w": np.array(-3.0)}) == 1
        collected: list[Collected[Any]] = []
        for one in made.collect(20):
            collected.append(one)
            if len(collected) == 3:
                assert made.set_weights({"w": np.array(5.0)}) == 2
    versions = [one.version for one in collected]
    assert versions == sorted(versions)
    assert set(versions) == {1, 2}
    reference = {}
    for version, w in ((1, -3.0), (2, 5.0)):
        agent = Thresholds()
        agent.set_weights({"w": np.array(w)})
        reference[version] = episodes_of(one_process(walk, agent=agent), 0)
    for one in collected:
        assert (one.history.extras["weights_version"] == one.version).all()
        (mine,) = [facts(episode) for episode in one.history.split()]
        assert mine[:4] == reference[one.version][one.unit.first][:4]


def test_each_loop_has_the_agent_that_it_was_given(runner: RayRunner[Any, Any, Any]) -> None:
    ones = runner.collect(1, lambda observations: np.ones(len(observations), np.int64))
    zeros = runner.collect(1, lambda observations: np.zeros(len(observations), np.int64))
    for collected, action in ((ones, 1), (zeros, 0)):
        (one,) = collected
        assert (one.history.actions == action).all()


def test_a_runner_goes_on_after_a_loop_was_left_and_from_a_state_in_another_one() -> None:
    histories, reference = [], one_process(walk)
    with runner_of(walk, 2) as made:
        for one in made.collect(50, Thresholds(), ordered=False):
            histories.append(one.history)
            if len(histories) == 5:
                state = made.state_dict()
                break
        assert made.state_dict() == state
        histories += [one.history for one in made.collect(3)]
        state = json.loads(json.dumps(made.state_dict()))
    with runner_of(walk) as other:
        other.load_state_dict(state)
        histories += [one.history for one in other.collect(4, Thresholds())]
        histories += other.rollout(Thresholds(), episodes=3)
        with pytest.raises(ArgumentError, match="whose seed is 8, but this one's is 7"):
            other.load_state_dict({**state, "seed": 8})
    mine = sorted(episodes_of(histories, 0), key=lambda one: one[-2][1])  # type: ignore[index]
    assert mine == sorted(episodes_of([reference[0]], 0), key=lambda one: one[-2][1])[: len(mine)]  # type: ignore[index]
    assert len(mine) == 15


def test_a_plan_splits_what_is_left_of_a_unit() -> None:
    plan = Plan(2, 4)
    assert [plan.take(), plan.take(2)] == [Unit(0, 0, 0, 4), Unit(1, 1, 0, 2)]
    plan.put_back()
    assert [plan.take(1), plan.take(), plan.take()] == [Unit(0, 0, 0, 1), Unit(2, 0, 1, 3), Unit(1, 1, 0, 2)]
    again = Plan(2, 4)
    again.load(plan.state())
    assert again.state() == plan.state()
    assert again.take() == Unit(0, 0, 0, 1)


@pytest.mark.parametrize(
    "space",
    [
        spaces.Discrete(3, start=-1),
        spaces.Box(-1.0, 1.0, (2,), np.float32),
        spaces.Dict(a=spaces.Discrete(2), b=spaces.Tuple([spaces.MultiBinary(3), spaces.Text(4)])),
    ],
    ids=lambda space: type(space).__name__,
)
def test_a_row_agent_acts_for_a_row_alike_whatever_the_others_are(space: spaces.Space[Any]) -> None:
    def drawn(envs: list[int]) -> list[Any]:
        agent, rows = RowAgent(space), ActiveRows(0, 3)
        agent.set_rows(rows)
        for i in envs:
            rows.begin(i, 5, 0)
        rows.turn_to(envs, 2)
        actions = list(iterate(batch_space(space, len(envs)), agent.act(None)))
        assert all(action in space for action in actions)
        return actions

    assert repr(drawn([0, 1, 2])[2]) == repr(drawn([2])[0])


# ---- limits


def test_more_results_than_the_object_store_holds_are_not_written_to_disk() -> None:
    spilled = lambda: list(Path(tempfile.gettempdir()).glob("rk-ray-*/session_*/*spilled*/*"))  # noqa: E731
    with runner_of(large, 2, episodes_per_unit=4, in_flight=1, window=3) as made:
        total = 0
        for one in made.collect(30, RowAgent(made.action_space)):
            total += one.history.observations.nbytes
            assert made.stats().in_flight + made.stats().waiting <= 3
            del one
    assert total > 150 * 2**20
    assert not spilled()


def test_what_cannot_be_is_refused_with_a_way_out(runner: RayRunner[Any, Any, Any]) -> None:
    agent = Thresholds()
    for call, message in (
        (lambda: runner.rollout(agent, steps=5), "executor='ray'"),
        (lambda: runner.rollout(agent, render=True, episodes=1), "cannot render"),
        (lambda: runner.rollout(runnerkit.RandomAgent(runner.action_space), episodes=1), "RowAgent"),
        (lambda: runner.collect(0, agent), "units must be a whole number"),
        (lambda: runner.set_weights([1]), "dict of arrays"),  # type: ignore[arg-type]
        (lambda: runner.collect(1, Locked().act), "sends the agent to other processes, but it cannot be pickled"),
        (lambda: runner_of(Locked().make), "sends the env factory, .* cannot be pickled"),
        (lambda: runner_of(walk, 0), "actors must be a whole number"),
        (lambda: RayRunner(walk, actors=3), "3 actors ask for 3 CPUs, but the cluster has 2"),
        (lambda: runner_of(walk, unit_timeout=-1), "unit_timeout must be a positive number"),
        (lambda: runner_of(walk, preprocessors=[Normalize()]), "Freeze it"),
        (lambda: runner_of("vector:CartPole-v1", n_envs=2), r"single envs, but vector:CartPole-v1 is a vector env"),
        (lambda: runner_of(several), r"several is a vector env \(SyncVectorEnv\).* use runnerkit\.make"),
    ):
        with pytest.raises(ArgumentError, match=message):
            call()
    with pytest.raises(TypeError, match="An actor steps its env itself"):
        runner_of(walk, executor="serial")
    stream = runner.collect(3, agent)
    next(stream)
    with pytest.raises(ArgumentError, match="busy"):
        runner.rollout(agent, episodes=1)
    stream.close()
    closed = runner_of(walk)
    stream = closed.collect(3, agent)
    next(stream)
    closed.close()
    closed.close()
    with pytest.raises(ClosedError, match="in the middle of collect"):
        next(stream)
    with pytest.raises(ClosedError):
        closed.rollout(agent, episodes=1)


class Locked:
    def __init__(self) -> None:
        self._lock = threading.Lock()

    def make(self, seed: int | None) -> Walk:
        raise NotImplementedError

    def act(self, observations: NDArray[np.float32]) -> NDArray[np.int64]:
        raise NotImplementedError


def test_ctrl_c_as_histories_are_joined_comes_with_them(
    runner: RayRunner[Any, Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def pressed(*given: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        return joined(*given)

    monkeypatch.setattr(runnerkit_ray.formats, "joined", pressed)
    with pytest.raises(RolloutInterrupted) as raised:
        runner.rollout(Thresholds(), episodes=2)
    (history,) = raised.value.histories
    assert len(history.episodes) == 2


def learn(of: SupportsRollout[Any, Any, ArrayHistory[Any, Any]]) -> Sequence[ArrayHistory[Any, Any]]:
    return of.rollout(Thresholds(), episodes=2)


def test_a_ray_runner_is_what_a_learner_needs_as_any_runner_is() -> None:
    with runner_of(walk) as ours, runnerkit.make(walk, seed=7, executor="serial") as one:
        assert episodes_of(learn(ours), 0) == episodes_of(learn(one), 0)


# ---- the end

PROGRAM = """
import os, signal, sys, threading, time
from runnerkit_ray import RayRunner
from runnerkit.errors import RolloutInterrupted
from unit_envs import Thresholds, slow

def press():
    while runner.stats().units < 5:
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGINT)

with RayRunner(slow, 7, actors=2) as runner:
    print([actor.pid for actor in runner.stats().actors if actor.pid])
    threading.Thread(target=press).start()
    try:
        runner.rollout(Thresholds(), episodes=100_000)
    except RolloutInterrupted as stop:
        (history,) = stop.histories
        print("interrupted", len(history.episodes) > 2, history.episodes[0].complete)
    assert runner.rollout(Thresholds(), episodes=2)[0].episodes[-1].complete
"""


def test_ctrl_c_in_the_driver_hands_over_what_was_made_and_leaves_nothing_behind() -> None:
    mark = f"RK_TEST={uuid.uuid4()}"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent), "RK_TEST": mark.partition("=")[2]}
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    assert "interrupted True True" in done.stdout
    end = time.monotonic() + 20
    while (left := processes_with(mark)) and time.monotonic() < end:
        time.sleep(0.1)
    assert not left


def processes_with(mark: str) -> list[str]:
    """Return the processes that have this in their environment."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if mark.encode() in path.read_bytes():
                found.append(path.parent.name)
    return found
