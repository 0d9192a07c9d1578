"""Episodes once more, from seeds and env actions: the same bytes with every executor, whatever the lengths."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import runnerkit
from runnerkit._rollout.gym_runner import GymRunner
from runnerkit.executors.reexecution import Course, re_execute
from runnerkit.history import ArrayHistory


def course_of(history: ArrayHistory[Any, Any]) -> Course:
    episode = history.split()[0]
    start = runnerkit.EpisodeStart(episode.record.seed, episode.record.options)
    return Course(episode.record.episode_index, start, [np.asarray(episode.env_actions)], episode.record.length)


@pytest.mark.parametrize("executor", ["serial", "threads", "processes"])
def test_episodes_are_made_once_more_and_end_where_they_ended(executor: str) -> None:
    options: Any = {"n_envs": 3, "seed": 0, "workers": None if executor == "serial" else 2, "executor": executor}
    with runnerkit.make("Pendulum-v1", **options) as runner:
        histories = runner.rollout(runnerkit.RandomAgent(runner.action_space, seed=0), steps=30)
    courses = {i: course_of(histories[i]) for i in (0, 2)}
    courses[2] = Course(courses[2].episode_index, courses[2].start, courses[2].actions, 17)
    with GymRunner("Pendulum-v1", **options) as again:
        parts = again._parts
        block = parts.block(1, window=True)
        parts.executor.attach(block)
        rewards: dict[int, list[float]] = {0: [], 2: []}
        for t, ended in re_execute(parts.executor, block, courses):
            assert not ended
            for i in rewards:
                if 0 < t <= courses[i].steps:
                    rewards[i].append(float(block.rewards[block.at(t - 1), i]))
        parts.executor.drain()
        for i, course in courses.items():
            assert rewards[i] == histories[i].rewards[: course.steps].tolist()
            last = block.raw[0][block.raw_row(course.steps), i]
            np.testing.assert_array_equal(last, histories[i].next_observations[course.steps - 1])
        parts.executor.attach(None)
