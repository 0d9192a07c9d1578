"""The public types of RunnerKit: Protocols to implement, TypeVars and aliases to annotate with.

Whatever has the right shape will do; nothing here needs to be inherited from. `ObsT` and `ActT` stand for a
**batch**, as in `gymnasium.vector.VectorEnv`: one stacked array `[n, ...]` for array spaces, a dict of batches
for Dict, a tuple of batches for Tuple, a list for spaces whose samples cannot be stacked (Text, Graph,
Sequence, OneOf). `HistoryT` is what a rollout returns per env.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypedDict, runtime_checkable

import gymnasium
import numpy as np
from gymnasium import Space
from numpy.typing import NDArray
from typing_extensions import TypeVar

from runnerkit.records import (
    EnvFacts,
    EpisodeStart,
    ExecutorReport,
    Progress,
    Provenance,
    RunSpec,
    ShareOptions,
    Transition,
)
from runnerkit.spaces import Rows

if TYPE_CHECKING:
    from runnerkit.history.arrays import ArrayHistory
    from runnerkit.history.block import Block, BlockLayout
    from runnerkit.history.log import EpisodeLog

__all__ = [
    "ActT",
    "ActionPostprocessor",
    "ActionPreprocessor",
    "Agent",
    "AllocatesBlocks",
    "AnyEnv",
    "AnyVectorEnv",
    "AppendingRecorder",
    "EnvFactory",
    "EpisodeSchedule",
    "Executor",
    "HistoryFormat",
    "HistoryT",
    "LockstepExecutor",
    "MakeEnv",
    "ObsT",
    "PlainOptions",
    "ProgressCallback",
    "Recorder",
    "ReportingExecutor",
    "Runner",
    "RunnerOptions",
    "StatefulAgent",
    "SupportsActiveEnvs",
    "SupportsRollout",
    "TensorLike",
]

ObsT = TypeVar("ObsT")
ActT = TypeVar("ActT")
HistoryT = TypeVar("HistoryT", default="ArrayHistory[ObsT, ActT]")
ObsT_co = TypeVar("ObsT_co", covariant=True)
ObsT_contra = TypeVar("ObsT_contra", contravariant=True)
ActT_co = TypeVar("ActT_co", covariant=True)
ActT_contra = TypeVar("ActT_contra", contravariant=True)
HistoryT_co = TypeVar("HistoryT_co", covariant=True)

AnyEnv: TypeAlias = gymnasium.Env[Any, Any]
"""Any Gymnasium env. Its own type arguments are those of one sample, a runner's are those of a batch."""

AnyVectorEnv: TypeAlias = gymnasium.vector.VectorEnv[Any, Any, Any]
"""Any env that steps several envs itself."""

MakeEnv: TypeAlias = Callable[[int | None], AnyEnv | AnyVectorEnv]
"""Makes an env; the seed is for factories that build at random, episodes are seeded when they are reset.

A `gymnasium.vector.VectorEnv` is made once, and must have as many envs as the runner.
"""

ProgressCallback: TypeAlias = Callable[[Progress], None]
"""Gets told how far a rollout is, a few times a second and once at its end."""


class TensorLike(Protocol):
    """What a runner needs of a torch tensor to read actions from it."""

    def detach(self) -> TensorLike:
        """Return the tensor without its graph."""
        ...

    def cpu(self) -> TensorLike:
        """Return the tensor in main memory."""
        ...

    def numpy(self) -> NDArray[Any]:
        """Return the tensor as an array."""
        ...


class Agent(Protocol[ObsT_contra, ActT_co]):
    """Chooses one action per observation::

        class Greedy:
            def act(self, observations: NDArray[np.float32]) -> NDArray[np.int64]:
                return self.q(observations).argmax(axis=1)

    NumPy arrays, lists and torch tensors are all taken as actions.
    """

    def act(self, observations: ObsT_contra, /) -> ActT_co:
        """Return a batch of actions, row by row for the batch of observations.

        Row i belongs to the i-th active env. The observations are the agent's own copy.
        """
        ...


@runtime_checkable
class StatefulAgent(Protocol):
    """An agent that wants to know when episodes begin, to clear recurrent state for instance."""

    def begin_episodes(self, env_indices: Sequence[int], /) -> None:
        """Be told, before the next `act`, which envs begin a new episode with it."""
        ...


@runtime_checkable
class SupportsActiveEnvs(Protocol):
    """An agent that wants to know which env each row of its batches belongs to."""

    def set_active_envs(self, env_indices: Sequence[int], /) -> None:
        """Be told, before the next `act`, that row i belongs to env `env_indices[i]` from now on."""
        ...


class ActionPreprocessor(Protocol):
    """Turns observations into what the agent acts on: scale, flatten, normalise, ...

    A runner binds its preprocessors once, in the order given, then calls them in that order, exactly once for
    each batch of observations that its envs return, final observations included (as a batch of their own).
    """

    def bind(self, space: Space[Any], /) -> Space[Any]:
        """Take the space of the observations that will come and return that of those going out.

        Raises SpaceError where the preprocessor cannot work on such a space.
        """
        ...

    def __call__(self, observations: Any, /) -> object:
        """Return the processed batch, of as many rows; must not change its argument."""
        ...


class ActionPostprocessor(Protocol):
    """Turns the agent's actions into what the env takes: clip, rescale, ...

    Postprocessors are called in the order given: agent -> first -> ... -> last -> env. They are bound from
    the env backwards.
    """

    def bind(self, space: Space[Any], /) -> Space[Any]:
        """Take the space of the actions that must go out and return that of those that may come in.

        Raises SpaceError where the postprocessor cannot work towards such a space.
        """
        ...

    def __call__(self, actions: Any, /) -> object:
        """Return the processed batch, of as many rows; must not change its argument."""
        ...


class EnvFactory(Protocol):
    """Makes the envs of one family; contributed as `atari`, it is asked for by `"atari:Pong"`.

    A factory that has a parameter `n_envs` is told how many envs the runner has, so that it can return one
    `gymnasium.vector.VectorEnv` for all of them.
    """

    def __call__(self, env_id: str, /, *, seed: int | None, **options: Any) -> AnyEnv | AnyVectorEnv:
        """Return a new env. `options` are the runner's `env_options`, with `render_mode` where one is set.

        Raises UnknownNameError where there is no such env.
        """
        ...


class EpisodeSchedule(Protocol):
    """Says how each episode begins: with which seed, and which reset options.

    A runner asks it once per episode, in its own thread, in the order in which episodes start (env by env
    where several start at once), so that it may be a curriculum as well as a fixed list of seeds.
    """

    def __call__(self, env_index: int, episode_index: int, /) -> EpisodeStart:
        """Return seed and options of that episode."""
        ...


class Recorder(Protocol[HistoryT_co]):
    """Writes the rollouts of one runner into one history format."""

    def finish(self, block: Block, /) -> Sequence[HistoryT_co]:
        """Return one history per env for a rollout that has ended."""
        ...

    def close(self) -> None:
        """Finish what is still open; called once, when the runner closes."""
        ...


@runtime_checkable
class AppendingRecorder(Protocol):
    """A recorder that can also take one transition at a time: the default of `GymRunner.process_transition`."""

    def append(self, history: Any, transition: Transition[Any, Any], /) -> object:
        """Return the history with one more transition; None stands for an empty one."""
        ...


class HistoryFormat(Protocol[HistoryT_co]):
    """A kind of history. It holds options, if any; the state is in the recorders that it opens."""

    def open(self, spec: RunSpec, /) -> Recorder[HistoryT_co]:
        """Return a recorder for one runner. Raises SpaceError, naming the sub-space, if it cannot hold the data."""
        ...


class Executor(Protocol):
    """Steps n envs and writes what they return into the rollout's block.

    A runner calls `open` once; `attach` whenever the arrays of the block are new; then `reset` and `step`, and
    `drain` at the end of a rollout. A call returns when all envs concerned are done. Whatever the executor,
    the same calls leave the same bytes in the block.
    """

    @property
    def workers(self) -> int:
        """How many workers step envs, the calling thread included."""
        ...

    def open(self, make_env: Callable[[int], AnyEnv], options: ShareOptions, /) -> Sequence[EnvFacts]:
        """Make all envs, by env index, and return what each says about itself."""
        ...

    def attach(self, block: Block | None, /) -> None:
        """Write into this block from now on; None lets go of the last one."""
        ...

    def reset(self, row: int, starts: Mapping[int, tuple[int, EpisodeStart]], /) -> None:
        """Begin episodes {env index: (episode index, start)} and write their first observations to `row`."""
        ...

    def step(self, at: int, row: int, actions: Rows, active: Sequence[int], restart: bool, /) -> Sequence[int]:
        """Step the active envs; return, in ascending order, the indices of those whose episode ended.

        `actions[i]` is for env `active[i]`; they are in row `at` of the block's `env_actions`, too. Rewards and
        flags go to row `at`, observations to `row`. With `restart`, an env whose episode ends begins its next one
        at once; its final observation, whose row the first one takes, goes to the log that `drain` returns.
        """
        ...

    def drain(self) -> EpisodeLog:
        """Return, and forget, the episodes begun and the infos kept since the last call."""
        ...

    def render(self, env_indices: Sequence[int], /) -> list[object]:
        """Return what `env.render()` returns, for each of these envs."""
        ...

    def close(self) -> None:
        """Close all envs and leave nothing behind; may be called twice."""
        ...


@runtime_checkable
class AllocatesBlocks(Protocol):
    """An executor that brings the memory of blocks itself, so as to share it with other processes for instance."""

    def allocate(self, layout: BlockLayout, steps: int, most: int, window: bool, /) -> Block:
        """Return a block of `steps` steps that can be resized up to `most`."""
        ...


@runtime_checkable
class LockstepExecutor(Executor, Protocol):
    """An executor whose envs can only step all at once, as those of a `gymnasium.vector.VectorEnv` do.

    Most of them begin their episodes by themselves, too, some of them a step late: such an env *rests* in the step
    after its last one, and the agent is not asked for it. `reset` and `step` are as of any executor, but that
    `step` returns envs that will rest as ended without beginning anew, whatever `restart` is.
    """

    @property
    def provenance(self) -> Provenance:
        """What can be told of the envs."""
        ...

    @property
    def rests(self) -> bool:
        """Whether an env rests for a step before its next episode."""
        ...

    @property
    def begins_alone(self) -> bool:
        """Whether some envs can begin an episode while others go on with theirs."""
        ...

    @property
    def takes_schedule(self) -> bool:
        """Whether each episode can be given its own seed and options."""
        ...

    def begin(
        self, row: int, starts: Mapping[int, tuple[int, EpisodeStart]], alone: bool, /
    ) -> dict[int, EpisodeStart]:
        """Begin episodes as `reset` does, and return how they began, as far as it is known.

        Envs that are missing in what it returns rest first. `alone` says that no other env goes on with its episode.
        """
        ...

    def any_actions(self) -> NDArray[Any]:
        """Return a batch of valid actions for all envs, where the action space is one array."""
        ...

    def stepper(self) -> Callable[[int, int, Any], tuple[NDArray[np.bool_], Any]]:
        """Return what steps all envs with a batch of actions, faster than `step`: (at, row, actions) -> (over, infos).

        `over` says whose episode ended. What is chosen for an env that rests does not matter; it begins an episode with
        this step. Good until another block is attached, and only for envs that rest, with `keep_infos` off.
        """
        ...

    def never_rested(self) -> Exception:
        """Return what to raise if an env that rested in a step ended in it."""
        ...


@runtime_checkable
class ReportingExecutor(Protocol):
    """An executor that can tell what it chose and why, for `runner.executor`."""

    def report(self, name: str, /) -> ExecutorReport:
        """Return a report under the name that the executor was asked for by."""
        ...


class SupportsRollout(Protocol[ObsT_co, ActT_contra, HistoryT_co]):
    """The consumer's view of a runner: all that a learning algorithm needs, and nothing else."""

    def rollout(
        self, agent: Agent[ObsT_co, ActT_contra], steps: int | None = None, render: bool = False, fps: int = 30
    ) -> Sequence[HistoryT_co]:
        """Step every env `steps` times for the agent and return one history per env."""
        ...

    def close(self) -> None:
        """Release the envs."""
        ...


class Runner(Protocol[ObsT, ActT, HistoryT]):
    """The implementer's view: a runner of this shape needs no base class."""

    @property
    def MAX_STEPS(self) -> int:
        """The most steps per env that a rollout may take."""
        ...

    def make_env(self, seed: int | None = None) -> AnyEnv:
        """Return a new env."""
        ...

    def compute_action(self, agent: Agent[ObsT, ActT], obs_list: ObsT) -> ActT:
        """Return the agent's actions for a batch of observations."""
        ...

    def process_transition(self, history: HistoryT | None, transition: Transition[ObsT, ActT]) -> HistoryT:
        """Return the history with one more transition; the first call for an env gets None."""
        ...

    def rollout(
        self, agent: Agent[ObsT, ActT], steps: int | None = None, render: bool = False, fps: int = 30
    ) -> Sequence[HistoryT]:
        """Step every env `steps` times for the agent and return one history per env."""
        ...

    def close(self) -> None:
        """Release the envs."""
        ...


class PlainOptions(TypedDict, total=False):
    """The options of `GymRunner` that say nothing about the types of batches."""

    executor: str
    workers: int | None
    auto_reset: bool
    schedule: EpisodeSchedule | None
    keep_infos: bool
    keep_raw: bool
    render_mode: str | None
    env_options: Mapping[str, Any] | None


class RunnerOptions(PlainOptions, total=False):
    """The options of `GymRunner` besides env, seed, n_envs, log_level and history; it explains them."""

    preprocessors: Sequence[str | ActionPreprocessor]
    postprocessors: Sequence[str | ActionPostprocessor]
