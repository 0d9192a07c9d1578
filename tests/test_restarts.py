"""Envs that fail and are made anew: whatever fails, the others' data are those of a run without the fault."""

from __future__ import annotations

import copy
import itertools
import os
import pickle
import re
import signal
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from envs import summary
from failing_envs import FAULTY, HARMLESS, N_ENVS, RUN_SEED, SEEDS, Place, act, zoo, zoo_of
from faulty_envs import GO_ON, Constant, Faults, Fleet, build, forget_threads, raising, runnerkit_threads
from programs import children, is_running, wait_for
from typing_extensions import override

from runnerkit import EndReason, EpisodeStart, GymRunner, Transition
from runnerkit.errors import ArgumentError, EnvError
from runnerkit.executors import SerialExecutor
from runnerkit.executors.processes import whereabouts
from runnerkit.executors.waiting import Patience

RAISED = ["raises", "two arguments", "unpicklable", "MemoryError", "wrong shape", "wrong dtype", "NaN reward"]
EXECUTORS: list[dict[str, Any]] = [
    {"executor": "serial"},
    {"executor": "threads", "workers": 2},
    {"executor": "threads", "step_timeout": 0.3, "reset_timeout": 0.3, "make_timeout": 0.3},
]
STEPS = 14


@pytest.fixture(autouse=True)
def _hung_threads_are_left_behind() -> Iterator[None]:
    forget_threads()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Env 1 hangs and was left behind|runnerkit-envs-1-1 did not end")
        yield
    forget_threads()


def run(
    env: Any,
    *,
    calls: int = 2,
    runner_class: type[GymRunner[Any, Any, Any]] = GymRunner,
    n_envs: int = N_ENVS,
    **options: Any,
) -> Any:
    limit = options.pop("limit", {"steps": STEPS})
    with runner_class(env, RUN_SEED, n_envs, **options) as runner:
        return [runner.rollout(act, **limit) for _ in range(calls)]


def cases() -> Iterator[tuple[dict[str, Any], str, Place]]:
    for options, call in itertools.product(EXECUTORS, ["step", "reset"]):
        ways = RAISED if call == "step" else ["raises", "two arguments", "wrong shape", "wrong dtype"]
        for way in [*ways, *(["hangs"] if "step_timeout" in options else [])]:
            yield options, way, Place(call)
    for call in ("step", "reset"):
        yield {**EXECUTORS[2], "min_batch": 1}, "hangs", Place(call)
    yield EXECUTORS[0], "raises", Place("step", episode=0, step=1)
    yield EXECUTORS[1], "raises", Place("reset", episode=0)


@pytest.mark.parametrize(("options", "way", "place"), list(cases()), ids=str)
def test_an_env_that_fails_is_made_anew_alone(options: dict[str, Any], way: str, place: Place) -> None:
    plain = run(zoo(), executor="serial")
    mended = run(zoo(way, place), on_env_error="restart", **options)
    for histories, whole in zip(mended, plain, strict=True):
        for i in set(range(N_ENVS)) - {FAULTY}:
            assert summary(histories[i]) == summary(whole[i])
            assert histories[i].faults == []
    (fault,) = [fault for histories in mended for fault in histories[FAULTY].faults]
    assert (fault.env_index, fault.episode_index, fault.seed) == (
        1,
        place.episode,
        SEEDS.episode_seed(1, place.episode),
    )
    reason = EndReason.TIMED_OUT if way == "hangs" else EndReason.CRASHED
    assert (fault.end_reason, fault.step) == (reason, place.step - 1 if place.call == "step" else None)
    assert (fault.action is None) == (place.call == "reset")
    episodes = {e.episode_index: e for history in (mended[0][1], mended[1][1]) for e in history.episodes}
    for e in episodes.values():  # each has the rows that it has without the fault
        assert e.seed == SEEDS.episode_seed(1, e.episode_index)
    if place.call == "step" and place.step > 1:
        assert (episodes[place.episode].length, episodes[place.episode].end_reason) == (place.step - 1, reason)
    else:
        assert place.episode not in episodes
    rows = {part.record.episode_index: part for part in mended[0][1].split()}
    for part in plain[0][1].split():
        other = rows.get(part.record.episode_index)
        if other is not None and part.record.complete and other.record.complete:
            assert (part.observations == other.observations).all()
            assert (part.rewards == other.rewards).all()
            assert (part.actions == other.actions).all()
    last = rows.get(place.episode)
    if last is not None:
        assert last.observations.shape[0] == place.step
        assert last.observations[-1][0] == place.step - 1
    assert runnerkit_threads() == [] or way == "hangs"


# One runner for all ways, as each helper takes a second to start. The envs 0, 4 and 5 share a helper with others.
DEADLY: dict[int, tuple[str, Place]] = {
    1: ("os._exit", Place("step", step=3)),
    2: ("SIGKILL", Place("reset")),
    3: ("raises", Place("step")),
    6: ("segfault", Place("step", episode=0, step=1)),
    7: ("hangs", Place("step")),
    8: ("unpicklable", Place("step")),
    9: ("two arguments", Place("step")),
    10: ("not a tuple", Place("step")),
}
HARMLESS_HERE = {11 + k: (way, Place("step")) for k, way in enumerate(HARMLESS)}
N_HERE = 11 + len(HARMLESS)


@pytest.mark.parametrize("runner_class", [GymRunner, "own"], ids=str)
def test_what_dies_in_a_process_takes_no_other_env_along(runner_class: Any) -> None:
    before = children(), len(os.listdir("/proc/self/fd"))
    own = runner_class == "own"
    chosen = OwnHistory if own else GymRunner
    deadly = {i: DEADLY[i] for i in (1, 7)} if own else DEADLY
    limits: dict[str, Any] = {"step_timeout": 0.5, "keep_infos": True} if own else {"step_timeout": 0.5}
    plain = run(zoo(), n_envs=N_HERE, executor="serial", runner_class=chosen, keep_infos=own)
    here: dict[str, Any] = {"executor": "processes", "workers": 3, "on_env_error": "restart", "max_restarts": 2}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The histories of this rollout do not have its faults")
        mended = run(zoo_of({**deadly, **HARMLESS_HERE}), n_envs=N_HERE, runner_class=chosen, **here, **limits)
    for histories, whole in zip(mended, plain, strict=True):
        for i in set(range(N_HERE)) - deadly.keys():
            assert told(histories[i]) == told(whole[i])
    assert (children(), len(os.listdir("/proc/self/fd"))) == before
    if own:
        return
    faults = {fault.env_index: fault for histories in mended for history in histories for fault in history.faults}
    assert faults.keys() == DEADLY.keys()
    for i, (way, place) in DEADLY.items():
        fault = faults[i]
        reason = EndReason.TIMED_OUT if way == "hangs" else EndReason.CRASHED
        assert (fault.episode_index, fault.seed) == (place.episode, SEEDS.episode_seed(i, place.episode))
        assert (fault.step, fault.end_reason) == (place.step - 1 if place.call == "step" else None, reason)
        assert (fault.action is None) == (place.call == "reset")
        episodes = {e.episode_index: e for e in mended[0][i].episodes}
        if fault.step:
            crashed = episodes[place.episode]
            assert (crashed.length, crashed.end_reason) == (fault.step, reason)
            rows = slice(crashed.start, crashed.start + crashed.length)
            whole = next(e for e in plain[0][i].episodes if e.episode_index == place.episode)
            others = slice(whole.start, whole.start + crashed.length)
            assert (mended[0][i].rewards[rows] == plain[0][i].rewards[others]).all()
            assert (mended[0][i].observations[rows] == plain[0][i].observations[others]).all()
        assert episodes[place.episode + 1].seed == SEEDS.episode_seed(i, place.episode + 1)


RAISING = ["raises", "two arguments", "unpicklable", "MemoryError", "wrong shape", "not a tuple", "NaN reward"]
RAISED_ONE_BY_ONE = {i: (way, Place("step", episode=i, step=1 + i % 3)) for i, way in enumerate(RAISING)}


def test_what_is_raised_in_a_process_is_what_is_raised_here() -> None:
    def outcomes(**options: Any) -> list[Any]:
        seen: list[Any] = []
        with build(zoo_of(RAISED_ONE_BY_ONE), seed=RUN_SEED, n_envs=8, **options) as runner:
            while len(seen) < 14:
                try:
                    seen.append([told(history) for history in runner.rollout(act, steps=4)])
                except EnvError as error:
                    histories: list[Any] = error.histories
                    seen.append((str(error), repr(error.__cause__), [told(history) for history in histories]))
        return seen

    here = outcomes(executor="serial")
    assert len([one for one in here if isinstance(one, tuple)]) == len(RAISING)
    assert outcomes(executor="processes", workers=2) == here


def test_an_env_that_hangs_as_it_is_to_be_made_anew_is_killed(monkeypatch: pytest.MonkeyPatch, plain: Any) -> None:
    monkeypatch.setattr(whereabouts, "_REMAKE_S", 0.3)

    def make(seed: int | None, env_index: int) -> Any:
        env = zoo("raises", Place("step"))(seed, env_index)

        def close() -> None:
            if (env_index, env.episode, env.t) == (1, 1, 2):
                time.sleep(30)

        env.close = close
        return env

    mended = run(make, executor="processes", workers=2, on_env_error="restart")
    for some, whole in zip(mended, plain, strict=True):
        assert [told(some[i]) for i in (0, 2)] == [told(whole[i]) for i in (0, 2)]
    first, second = mended[0][1].faults
    assert first.error == "EnvError: raised in step: OSError: broken"
    assert "did not close within 0.3 s, so that it could not be made anew" in second.error


def test_nothing_is_lost_with_a_process_that_is_killed_while_it_waits(plain: Any) -> None:
    asked = 0

    def agent(observations: Any) -> Any:
        nonlocal asked
        asked += 1
        if asked == 17:  # in the second rollout
            os.kill(min(children()), signal.SIGKILL)
        return act(observations)

    options: Any = {"executor": "processes", "workers": 2, "on_env_error": "restart"}
    with build(zoo(), seed=RUN_SEED, n_envs=N_ENVS, **options) as runner:
        histories = [runner.rollout(agent, steps=STEPS) for _ in range(2)]
    for some, whole in zip(histories, plain, strict=True):
        assert [summary(history) for history in some] == [summary(history) for history in whole]
    (fault,) = [fault for history in histories[1] for fault in history.faults]
    assert fault.end_reason == "cut"
    assert "was waiting when its process" in fault.error


@pytest.mark.parametrize("on_env_error", ["raise", "restart"])
def test_a_process_that_dies_while_its_envs_rest_takes_no_history_along(on_env_error: str) -> None:
    doomed = 0

    def agent(observations: Any) -> Any:
        nonlocal doomed
        if doomed:
            os.kill(doomed, signal.SIGKILL)
            wait_for(lambda: not is_running(doomed))
            doomed = 0
        return act(observations)

    with build(zoo(), seed=RUN_SEED, n_envs=2, executor="processes", workers=2, on_env_error=on_env_error) as runner:
        runner.rollout(act, steps=1)
        doomed = max(children())  # of env 1, which has nothing to do in what follows
        (first, second) = runner.rollout(agent, episodes=1)
        assert (first.episodes[0].end_reason, len(second)) == ("terminated", 0)
        if on_env_error == "raise":
            with pytest.raises(EnvError, match=r"was waiting when its process .* SIGKILL"):
                runner.rollout(act, steps=1)
            return
        assert [len(history) for history in runner.rollout(act, steps=2)] == [2, 2]
        os.kill(max(children()), signal.SIGKILL)  # which nobody misses any more


def test_an_env_that_cannot_be_brought_back_crashes_with_the_one_that_died() -> None:
    class Forgetful:
        """Its rewards depend on how often it was made."""

        def __init__(self, path: Path) -> None:
            self.path = path

        def __call__(self, seed: int | None, env_index: int) -> Any:
            env = zoo("os._exit", Place("step"))(seed, env_index)
            if env_index == 0:
                with self.path.open("a") as file:
                    file.write("made")
                times, step = self.path.stat().st_size // 4, env.step

                def other(action: Any) -> Any:
                    observation, reward, *rest = step(action)
                    return observation, reward + times, *rest

                env.step = other
            return env

    with TemporaryDirectory() as folder:
        ((first, second, third),) = run(
            Forgetful(Path(folder, "made")), calls=1, executor="processes", workers=2, on_env_error="restart"
        )
    assert [e.end_reason for e in first.episodes].count(EndReason.CRASHED) == 1
    (fault,) = first.faults
    assert "executed again from its seed and its actions, the reward of step" in fault.error
    assert len(second.faults) == 1
    assert third.faults == []


# The zoo: what becomes of an env that fails, whoever steps it. The table is in .docs/faults.md, too.
# (way, call, what is raised with on_env_error="raise", whether "restart" makes the env anew)
EVERYWHERE: list[tuple[str, str, str | None, bool]] = [
    ("raises", "reset", "raised in reset: OSError: broken", True),
    ("raises", "step", "raised in step: OSError: broken", True),
    ("raises", "render", "failed to render: OSError: broken", True),
    ("two arguments", "step", "raised in step: TwoArguments: broken", True),
    ("unpicklable", "step", "raised in step: Unpicklable: unpicklable", True),
    ("MemoryError", "step", "raised in step: MemoryError", True),
    ("wrong shape", "reset", "does not fit its observation space", True),
    ("wrong shape", "step", "does not fit its observation space", True),
    ("wrong dtype", "step", "does not fit its observation space", True),
    ("not a tuple", "step", "returned a NoneType from step", True),
    ("NaN reward", "step", "returned from step the reward 'much'", True),
    ("NaN", "step", None, False),
    *((way, "step", None, False) for way in HARMLESS),
]
WITH_TIMEOUTS: list[tuple[str, str, str | None, bool]] = [
    ("hangs", "reset", "did not return from reset within 0.3 s", True),
    ("hangs", "step", "did not return from step within 0.3 s", True),
    ("hangs", "render", "did not return from render within 0.3 s", True),
]


def zoo_cases() -> Iterator[tuple[dict[str, Any], str, str, str | None, bool]]:
    for options in EXECUTORS:
        for case in EVERYWHERE if "step_timeout" not in options else WITH_TIMEOUTS:
            yield options, *case


@pytest.fixture(scope="module")
def plain() -> Any:
    """What envs do that do not fail."""
    return run(zoo(), executor="serial")


@pytest.mark.parametrize("policy", ["raise", "restart"])
@pytest.mark.parametrize(("options", "way", "call", "raised", "made_anew"), list(zoo_cases()), ids=str)
def test_a_zoo_of_faults(
    options: dict[str, Any],
    way: str,
    call: str,
    raised: str | None,
    made_anew: bool,
    policy: str,
    plain: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    before = children(), len(os.listdir("/proc/self/fd"))
    here = {**options, "on_env_error": policy}
    if call == "render":
        here |= {"limit": {"steps": STEPS, "render": True, "fps": 10**6}, "render_mode": "rgb_array"}
    if raised is not None and policy == "raise":
        with pytest.raises(EnvError, match=re.escape(raised)) as caught:
            run(zoo(way, Place(call)), **here)
        error = caught.value
        assert (error.env_index, error.episode_index, error.seed) == (1, 1, SEEDS.episode_seed(1, 1))
        histories: Any = error.histories
        for i in (0, 2):
            assert_is_part(histories[i], plain[0][i])
    else:
        mended = run(zoo(way, Place(call)), **here)
        for some, whole in zip(mended, plain, strict=True):
            assert [told(some[i]) for i in (0, 2)] == [told(whole[i]) for i in (0, 2)]
        faults = [fault for some in mended for fault in some[1].faults]
        assert len(faults) == made_anew
        if made_anew:
            assert faults[0].end_reason == ("timed out" if way == "hangs" else "crashed")
            assert (faults[0].env_index, faults[0].episode_index) == (1, 1)
        elif way != "NaN":
            assert told(mended[0][1]) == told(plain[0][1])
    if call != "render":  # a display has files of its own
        assert (children(), len(os.listdir("/proc/self/fd"))) == before
    assert runnerkit_threads() == [] or way == "hangs"


def assert_is_part(history: Any, whole: Any) -> None:
    """Check that an env made the first steps of a longer rollout."""
    n = len(history)
    assert (history.observations == whole.observations[:n]).all()
    assert (history.rewards == whole.rewards[:n]).all()
    assert (history.terminated == whole.terminated[:n]).all()


@pytest.mark.parametrize("policy", ["raise", "restart"])
@pytest.mark.parametrize("options", [*EXECUTORS[:2], {"executor": "processes", "workers": 2}], ids=str)
def test_faults_in_make_and_close_are_raised_by_the_constructor_and_by_close(
    options: dict[str, Any], policy: str
) -> None:
    with pytest.raises(EnvError, match="Env 1 could not be made: OSError: broken"):
        run(zoo("raises", Place("make")), on_env_error=policy, **options)
    runner = build(zoo("raises", Place("close")), seed=RUN_SEED, n_envs=N_ENVS, on_env_error=policy, **options)
    assert len(runner.rollout(act, steps=3)) == N_ENVS
    with pytest.raises(EnvError, match="Env 1 failed to close: OSError: broken"):
        runner.close()
    assert (children(), runnerkit_threads()) == (set(), [])


@pytest.mark.parametrize("policy", ["raise", "restart"])
@pytest.mark.parametrize("options", [*EXECUTORS[:2], {"executor": "processes", "workers": 2}], ids=str)
@pytest.mark.parametrize("way", ["SystemExit", "KeyboardInterrupt"])
def test_an_env_that_ends_the_program_is_no_fault(options: dict[str, Any], policy: str, way: str, plain: Any) -> None:
    expected = SystemExit if way == "SystemExit" else KeyboardInterrupt
    with pytest.raises(expected) as caught:
        run(zoo(way, Place("step")), on_env_error=policy, **options)
    histories: Any = caught.value.histories  # type: ignore[attr-defined]
    for i in (0, 2):
        assert_is_part(histories[i], plain[0][i])
    assert (children(), runnerkit_threads()) == (set(), [])


class OwnHistory(GymRunner[Any, Any, Any]):
    @override
    def process_transition(self, history: Any, transition: Transition[Any, Any]) -> Any:
        return [*(history or []), transition]


VARIANTS: list[dict[str, Any]] = [
    {"auto_reset": False},
    {"limit": {"episodes": 7}},
    {"schedule": lambda i, k: EpisodeStart(SEEDS.episode_seed(i, k), {"k": k})},
    {"keep_infos": True},
    {"preprocessors": ["normalize"], "keep_raw": True},
    {"preprocessors": ["frame-stack"]},
    {"history": "torch"},
    {"history": "transitions"},
    {"runner_class": OwnHistory},
]


@pytest.mark.filterwarnings("ignore:.*do not have its faults:RuntimeWarning")
@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_every_kind_of_rollout_goes_on(options: dict[str, Any]) -> None:
    here = {"on_env_error": "restart", **options}
    serial = run(zoo("raises", Place("step")), executor="serial", **dict(here))
    threads = run(zoo("raises", Place("step")), executor="threads", workers=2, **dict(here))
    assert [[told(h) for h in some] for some in serial] == [[told(h) for h in some] for some in threads]
    if "keep_infos" in options:  # of the steps before, of which another thread has kept the infos
        replaced = run(zoo("raises", Place("step")), **EXECUTORS[2], **dict(here))
        assert [[told(h) for h in some] for some in serial] == [[told(h) for h in some] for some in replaced]
    if "preprocessors" in options:  # which see the batch
        return
    plain = run(zoo(), executor="serial", **dict(options))
    if "limit" not in options and options.get("auto_reset", True):
        for some, others in zip(serial, plain, strict=True):
            assert [told(some[i]) for i in (0, 2)] == [told(others[i]) for i in (0, 2)]


def told(history: Any) -> Any:
    if history is None or isinstance(history, list):
        return [(t.observation.tolist(), int(t.action), t.reward, t.next_observation.tolist()) for t in history or []]
    return summary(history), history.faults


@pytest.mark.parametrize("failing", [0, 3])
def test_nobody_has_to_hurry_where_an_env_was_made_anew(failing: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_AFTER_FAULT_S", "_AFTER_EXCEPTION_S"):
        monkeypatch.setattr(Patience, name, 0.05)

    def wait(env: object) -> object:
        time.sleep(0.005)
        return GO_ON

    slow = Faults(step=wait)
    once = Faults(step=raising(OSError("gone"), at_step=2, in_episode=1))
    fleet = Fleet({**dict.fromkeys(range(4), slow), failing: once})
    with build(fleet, n_envs=4, executor="threads", workers=2, on_env_error="restart") as runner:
        histories = runner.rollout(Constant(), steps=20)
    assert [len(history) for history in histories] == [20 - (i == failing) for i in range(4)]


def test_the_looker_on_is_told_of_a_crashed_episode_with_its_rows() -> None:
    seen: list[Any] = []

    def note(ended: Any) -> None:
        seen.append((ended.record, ended.history().rewards.tolist()))

    with build(zoo("raises", Place("step")), seed=RUN_SEED, n_envs=N_ENVS, on_env_error="restart") as runner:
        histories = runner.rollout(act, steps=STEPS, on_episode=note)
    of_one = [(record, rewards) for record, rewards in seen if record.env_index == 1]
    whole = [e for e in histories[1].episodes if e.end_reason is not EndReason.CUT]
    assert [record for record, _ in of_one] == whole
    assert [len(rewards) for _, rewards in of_one] == [e.length for e in whole]
    assert "crashed" in [e.end_reason for e in whole]


def test_a_history_with_a_fault_can_be_pickled_and_says_where_to_bootstrap() -> None:
    ((_, history, _),) = run(zoo("raises", Place("step")), calls=1, on_env_error="restart")
    assert pickle.loads(pickle.dumps(history)).faults == history.faults
    (crashed,) = [e for e in history.episodes if e.end_reason == "crashed"]
    assert bool(history.bootstrap[crashed.start + crashed.length - 1])
    assert len(history) == STEPS - 1


@pytest.mark.parametrize(("most", "words"), [(2, "2 per env"), ((9, 2), "2 in all")])
@pytest.mark.parametrize("options", [*EXECUTORS[:2], {"executor": "processes", "workers": 2}], ids=str)
def test_a_spent_budget_raises_with_the_histories_so_far(options: dict[str, Any], most: Any, words: str) -> None:
    class Broken:
        def __call__(self, seed: int | None, env_index: int) -> Any:
            env = zoo()(seed, env_index)
            step = env.step

            def faulty(action: Any) -> Any:
                if env_index == 1 and env.t == 1:
                    raise OSError("broken")
                return step(action)

            env.step = faulty
            return env

    with build(Broken(), seed=RUN_SEED, n_envs=N_ENVS, on_env_error="restart", max_restarts=most, **options) as runner:
        with pytest.raises(EnvError, match="raised in step: OSError: broken") as caught:
            runner.rollout(act, steps=STEPS)
        assert any(f"max_restarts, {words}, are spent" in note for note in caught.value.__notes__)
        histories: list[Any] = caught.value.histories
        assert [len(history) for history in histories] == [5, 3, 5]
        assert [e.end_reason for e in histories[1].episodes] == ["crashed"] * 3
        assert len(histories[1].faults) == 2
        assert isinstance(caught.value.__cause__, OSError)


@pytest.mark.parametrize("options", EXECUTORS[:2], ids=str)
def test_an_env_that_cannot_be_made_anew_spends_the_budget(options: dict[str, Any]) -> None:
    made: list[int] = []

    def make(seed: int | None, env_index: int) -> Any:
        made.append(env_index)
        if len(made) > N_ENVS:
            raise OSError("no more")
        return zoo("raises", Place("step"))(seed, env_index)

    runner = build(make, seed=RUN_SEED, n_envs=N_ENVS, on_env_error="restart", max_restarts=3, **options)
    with runner, pytest.raises(EnvError, match="Env 1 could not be made: OSError: no more"):
        runner.rollout(act, steps=STEPS)
    assert len(made) == N_ENVS + 3


class Same:
    """A postprocessor that changes nothing."""

    def bind(self, space: Any, /) -> Any:
        return space

    def __call__(self, actions: Any, /) -> Any:
        return actions


class Plain(SerialExecutor):
    remake: Any = None


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"executor": Plain}, "works with executor='serial', 'threads' and 'processes', but executor='Plain' cannot"),
        ({"on_env_error": "ignore"}, "on_env_error must be 'raise' or 'restart', not 'ignore'"),
        ({"max_restarts": -1}, "max_restarts must be a whole number of restarts per env, or a pair"),
        ({"max_restarts": 3, "on_env_error": "raise"}, "max_restarts needs on_env_error='restart'"),
    ],
)
def test_what_cannot_be_kept_is_refused(options: dict[str, Any], what: str) -> None:
    with pytest.raises(ArgumentError, match=what):
        build(zoo(), n_envs=N_ENVS, **{"on_env_error": "restart", **options})


def test_a_vector_env_cannot_have_restarts() -> None:
    with pytest.raises(ArgumentError, match="there cannot be on_env_error='restart': it fails as a whole"):
        build("vector:CartPole-v1", n_envs=2, on_env_error="restart")


IN_STREAMS: dict[int, tuple[str, Place]] = {
    0: ("raises", Place("step", episode=0)),  # in the same step as 2, but not 1 between them
    2: ("raises", Place("step", episode=0)),
    1: ("raises", Place("step", episode=0, step=3)),
    3: ("raises", Place("reset")),
    4: ("wrong shape", Place("step", step=1)),
}
STREAMS: list[dict[str, Any]] = [
    {"executor": "serial"},
    {"executor": "threads", "workers": 2, "keep_infos": True},
    {"executor": "serial", "preprocessors": ["frame-stack"], "postprocessors": [Same()]},
    {"executor": "processes", "workers": 2},
]


@pytest.mark.parametrize("options", STREAMS, ids=str)
def test_in_a_stream_the_next_episode_takes_the_row_of_a_step_that_failed(options: dict[str, Any]) -> None:
    places = {**IN_STREAMS, 1: ("SIGKILL", IN_STREAMS[1][1])} if options["executor"] == "processes" else IN_STREAMS
    here = {"preprocessors": options.get("preprocessors", ())}
    (plain,) = run(zoo(), calls=1, n_envs=6, executor="serial", limit={"steps": 24}, **here)
    whole = {(part.record.env_index, part.record.episode_index): part for history in plain for part in history.split()}
    with build(zoo_of(places), seed=RUN_SEED, n_envs=6, on_env_error="restart", **options) as runner:
        parts, faults, rows = [], [], 0
        for batch in itertools.islice(runner.stream(act, steps=4), 4):
            assert batch.rewards.shape == (4, 6)
            histories = [type(batch)(copy.deepcopy(block), i, len(batch)) for block, i in batch.parts()]
            parts += [part for history in histories for part in history.split()]
            faults += batch.faults
            rows += sum(part.record.length for history in histories for part in history.split())
        parts += [part for history in runner.rollout(act, steps=8) for part in history.split()]
    assert rows == 4 * 4 * 6
    assert sorted((fault.env_index, fault.episode_index) for fault in faults) == [
        (0, 0),
        (1, 0),
        (2, 0),
        (3, 1),
        (4, 1),
    ]
    for part in parts:
        record = part.record
        other = whole.get((record.env_index, record.episode_index))
        if other is None or record.steps_before + record.length > other.record.length:
            continue
        first, last = record.steps_before, record.steps_before + record.length
        assert (part.observations == other.observations[first : last + 1]).all()
        assert (part.actions == other.actions[first:last]).all()
        assert (part.rewards == other.rewards[first:last]).all()
    crashed = [part.record for part in parts if part.record.end_reason == "crashed"]
    assert [(record.env_index, record.total_length) for record in crashed] == [(0, 1), (1, 2), (2, 1)]
