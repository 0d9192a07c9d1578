"""Episodes once more, from their seeds and actions: what replay, exact resume and restarts have in common."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from runnerkit._core.spaces import Column, put_rows
from runnerkit.executors.base import Executor
from runnerkit.history.block import Block
from runnerkit.records import EpisodeStart

__all__ = ["Course", "re_execute"]


@dataclass(frozen=True, slots=True)
class Course:
    """What an env was asked from a reset on.

    Attributes:
        episode_index: which episode of the env it is.
        start: the seed and the options of the reset.
        actions: the actions as the env got them, `[T, *shape]` for each leaf of its action space.
        steps: how many steps it made, T.

    """

    episode_index: int
    start: EpisodeStart
    actions: Sequence[Column]
    steps: int


def re_execute(executor: Executor, block: Block, courses: Mapping[int, Course]) -> Iterator[tuple[int, Sequence[int]]]:
    """Begin these episodes again, by env index, and make their steps, all envs at once::

        for t, ended in re_execute(executor, block, courses):
            block.raw[0][block.raw_row(t), i]       # observation t of env i
            block.rewards[block.at(t - 1), i]       # what led to it, if t > 0

    The executor must have been attached to the block, which may be a window. It yields t = 0 after the resets, then the
    number of steps after each one, with the envs whose episode ended in it. An env whose course is over is not
    stepped any more: its last observation stays in row `block.raw_row(course.steps)`. No env begins again by itself.
    """
    envs = sorted(courses)
    executor.reset(block.raw_row(0), {i: (courses[i].episode_index, courses[i].start) for i in envs})
    yield 0, ()
    layout = block.layout.env_action
    going: list[int] = []
    for t in range(max((course.steps for course in courses.values()), default=0)):
        active = [i for i in envs if t < courses[i].steps]
        going = going if active == going else active  # executors know a batch of envs by its list
        at = block.at(t)
        values = layout.stack([[column[t] for column in courses[i].actions] for i in going])
        put_rows(block.env_actions, at, going, values)
        ended = executor.step(at, block.raw_row(t + 1), layout.rows(values, len(going)), going, False)
        yield t + 1, ended
        if ended:  # a row begins as False
            block.terminated[at], block.truncated[at] = False, False
