"""Envs that fail and are made anew: whatever fails, the others' data are those of a run without the fault."""

from __future__ import annotations

import itertools
import pickle
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from envs import summary
from failing_envs import FAULTY, N_ENVS, RUN_SEED, SEEDS, Place, act, zoo
from faulty_envs import build, forget_threads, runnerkit_threads
from typing_extensions import override

from runnerkit import EndReason, EpisodeStart, GymRunner, Transition
from runnerkit.errors import ArgumentError, EnvError

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


def run(env: Any, *, calls: int = 2, runner_class: type[GymRunner[Any, Any, Any]] = GymRunner, **options: Any) -> Any:
    limit = options.pop("limit", {"steps": STEPS})
    with runner_class(env, RUN_SEED, N_ENVS, **options) as runner:
        return [runner.rollout(act, **limit) for _ in range(calls)]


def cases() -> Iterator[tuple[dict[str, Any], str, Place]]:
    for options, call in itertools.product(EXECUTORS, ["step", "reset"]):
        ways = RAISED if call == "step" else ["raises", "two arguments", "wrong shape", "wrong dtype"]
        for way in [*ways, *(["hangs"] if "step_timeout" in options else [])]:
            yield options, way, Place(call)
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
@pytest.mark.parametrize("options", EXECUTORS[:2], ids=str)
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


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"executor": "processes"}, "works with executor='serial' and 'threads', but executor='processes' cannot"),
        ({"on_env_error": "ignore"}, "on_env_error must be 'raise' or 'restart', not 'ignore'"),
        ({"max_restarts": -1}, "max_restarts must be a whole number of restarts per env, or a pair"),
        ({"max_restarts": 3, "on_env_error": "raise"}, "max_restarts needs on_env_error='restart'"),
    ],
)
def test_what_cannot_be_kept_is_refused(options: dict[str, Any], what: str) -> None:
    with pytest.raises(ArgumentError, match=what):
        build(zoo(), n_envs=N_ENVS, **{"on_env_error": "restart", **options})


def test_neither_a_vector_env_nor_a_stream_can_have_restarts() -> None:
    with pytest.raises(ArgumentError, match="there cannot be on_env_error='restart'"):
        build("vector:CartPole-v1", n_envs=2, on_env_error="restart")
    runner = build(zoo(), n_envs=2, on_env_error="restart")
    with runner, pytest.raises(ArgumentError, match="an env that failed has one row less"):
        next(iter(runner.stream(act, steps=4)))
