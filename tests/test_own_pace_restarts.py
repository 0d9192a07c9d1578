"""`min_batch` with `on_env_error="restart"`: records, rows and faults are those of lockstep with the same faults."""

from __future__ import annotations

import functools
import itertools
import random
import time
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from envs import HashAgent, exact, summary
from failing_envs import RUN_SEED, Place, act, zoo_of
from faulty_envs import build
from gymnasium import spaces
from test_npz import short_windows
from typing_extensions import override

from runnerkit import EpisodeStart, GymRunner
from runnerkit.errors import EnvError


class Brittle(gymnasium.Env[Any, Any]):
    """Fails in one of twelve steps and resets, as its seed says, and takes now a moment and now none."""

    observation_space: spaces.Space[Any] = spaces.Box(-1e9, 1e9, (2,), np.float32)
    action_space: spaces.Space[Any] = spaces.Discrete(3)

    @override
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        time.sleep(random.choice([0, 0, 0.001]))
        return self._seen(0), {"seed": seed}

    @override
    def step(self, action: Any) -> Any:
        time.sleep(random.choice([0, 0, 0.0005]))
        seen = self._seen(action)
        return seen, float(seen[0]), bool(seen[0] > 0.9), False, {"action": int(action)}

    def _seen(self, action: int) -> Any:
        drawn = self.np_random.random()
        if drawn < 1 / 12:
            raise ValueError("broken")
        return np.array([drawn, action], np.float32)


def brittle(seed: int | None) -> Brittle:
    return Brittle()


def by_index(env_index: int, episode_index: int) -> EpisodeStart:
    return EpisodeStart(100 * env_index + episode_index)


# (kind, number, whether at their own pace): what runs on after one kind of rollout goes on in the other
ROLLOUTS = [("steps", 30, True), ("episodes", 11, True), ("steps", 7, False), ("once", 12, True), ("steps", 9, True)]


def data(*, own_pace: bool, **options: Any) -> Any:
    found: list[Any] = []
    with GymRunner(brittle, 5, n_envs=4, on_env_error="restart", max_restarts=999, **options) as runner:
        agent = HashAgent(runner.action_space)
        for kind, number, is_own in ROLLOUTS:
            told: list[Any] = []

            def note(ended: Any, told: list[Any] = told) -> None:
                told.append((ended.record, exact(ended.history().observations), ended.steps))

            runner.auto_reset = kind != "once"
            limit: dict[str, Any] = {"episodes": number} if kind == "episodes" else {"steps": number}
            min_batch = 2 if own_pace and is_own else None
            histories = runner.rollout(agent, **limit, min_batch=min_batch, on_episode=note)
            steps = [one[2] for one in told]
            assert steps == sorted(steps)
            told.sort(key=lambda one: (one[0].env_index, one[0].episode_index))
            found += [(summary(history), history.faults) for history in histories]
            found.append([one[:2] for one in told])
    return found


OPTIONS: dict[str, dict[str, Any]] = {
    "infos": {"schedule": by_index, "keep_infos": True},
    "frames": {"preprocessors": ["frame-stack"], "keep_raw": True},
    "actions": {"preprocessors": ["last-action"], "reward_processors": ["sign"]},
}


@functools.cache
def in_lockstep(case: str) -> Any:
    found = data(own_pace=False, executor="serial", **OPTIONS[case])
    assert sum(len(one[1]) for one in found if isinstance(one, tuple)) > 10  # faults
    return found


HERE: list[dict[str, Any]] = [
    {"executor": "serial"},
    {"executor": "threads"},
    {"executor": "threads", "workers": 2},
]
CASES = [
    *itertools.product(HERE, [("infos", None), ("infos", 1), ("frames", 6), ("actions", 4)]),
    ({"executor": "processes", "workers": 2}, ("infos", 6)),
]


@pytest.mark.parametrize(("executor", "case"), CASES, ids=str)
def test_envs_are_made_anew_at_their_own_pace_as_in_lockstep(
    executor: dict[str, Any], case: tuple[str, int | None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options, windows = OPTIONS[case[0]], case[1]
    lockstep = in_lockstep(case[0])
    if windows is not None:
        short_windows(monkeypatch, windows)
        options = {**options, "history": ("npz", {"path": tmp_path / "runs"})}
    assert data(own_pace=True, **executor, **options) == lockstep


RAISING = {1: ("raises", Place("step", step=3)), 2: ("raises", Place("reset")), 4: ("raises", Place("step"))}
DEADLY = {**RAISING, 1: ("os._exit", Place("step", step=3)), 2: ("SIGKILL", Place("reset"))}


@pytest.mark.parametrize("keep_infos", [False, True])
def test_envs_that_are_lost_with_a_process_go_on_as_if_nothing_had_happened(keep_infos: bool) -> None:
    def found(places: Any, **options: Any) -> Any:
        options |= {"on_env_error": "restart", "keep_infos": keep_infos}
        with GymRunner(zoo_of(places), RUN_SEED, 6, **options) as runner:
            min_batches = (None,) * 3 if options["executor"] == "serial" else (1, 2, None)
            rollouts = [runner.rollout(act, steps=9, min_batch=least) for least in min_batches]
        histories = [history for some in rollouts for history in some]
        faults = [fault for history in histories for fault in history.faults]
        told = sorted((f.env_index, f.episode_index, f.seed, f.step, f.end_reason) for f in faults)
        return [summary(history) for history in histories], told

    assert found(DEADLY, executor="processes", workers=2) == found(RAISING, executor="serial")


@pytest.mark.parametrize("executor", ["serial", "threads"])
def test_a_spent_budget_raises_at_their_own_pace_too(executor: str) -> None:
    with build(brittle, seed=5, n_envs=3, on_env_error="restart", max_restarts=2, executor=executor) as runner:
        with pytest.raises(EnvError, match="ValueError: broken") as caught:
            runner.rollout(HashAgent(runner.action_space), steps=10_000, min_batch=1)
        assert any("max_restarts, 2 per env, are spent" in note for note in caught.value.__notes__)
        i = caught.value.env_index
        histories: list[Any] = caught.value.histories
        assert len(histories[i].faults) == 2
        assert all(len(history.faults) <= 2 for history in histories)
        assert sum(map(len, histories)) > 3
