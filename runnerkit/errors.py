"""The exceptions of RunnerKit.

Every error names the thing that is wrong, what was expected, what was given, and the way out::

    RunnerKitError
    ├── ArgumentError           (ValueError)    an argument cannot be: n_envs=0, steps and episodes at once
    ├── UnknownNameError        (LookupError)   no such env, history format, processor or executor
    ├── SpaceError              (TypeError)     a link of env -> processors -> agent -> env -> history does not fit
    ├── PluginError                             a plugin cannot be registered, or what it offers does not work
    ├── MissingDependencyError  (ImportError)   an optional package is not installed
    ├── ClosedError                             the runner was closed
    ├── ConformanceError        (AssertionError) a part failed a check of `runnerkit.testing`
    └── RolloutError                            a rollout broke off; `histories` holds what was collected
        ├── MemoryBudgetError   (MemoryError)   the arrays of a rollout would not fit into memory
        ├── RenderError                         there is nothing to draw, or nothing to draw on
        ├── ProcessorError      (PluginError)   a processor raised, or returned what its space does not allow
        ├── AgentError                          the agent raised, or returned what is no batch of actions
        └── EnvError                            an env raised; says which env, episode, seed, step and action
            └── EnvSpaceError                   an env returned what its own spaces do not allow

RolloutInterrupted is a KeyboardInterrupt and none of these: Ctrl-C ended a rollout. `except Exception` lets it pass.

What breaks an env's contract but loses nothing is an `EnvSpaceWarning`, unless the runner has `strict_spaces=True`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from typing_extensions import override

from runnerkit._sentences import unknown

if TYPE_CHECKING:
    from runnerkit.records import EndReason

__all__ = [
    "AgentError",
    "ArgumentError",
    "ClosedError",
    "ConformanceError",
    "EnvError",
    "EnvSpaceError",
    "EnvSpaceWarning",
    "MemoryBudgetError",
    "MissingDependencyError",
    "PluginError",
    "ProcessorError",
    "RenderError",
    "RolloutError",
    "RolloutInterrupted",
    "RunnerKitError",
    "SpaceError",
    "UnknownNameError",
]


class RunnerKitError(Exception):
    """The root of all errors that RunnerKit raises on purpose."""


class ArgumentError(RunnerKitError, ValueError):
    """Raised when an argument has a value that makes no sense, or that contradicts another."""


class UnknownNameError(RunnerKitError, LookupError):
    """Raised when nothing of that name is there; names the closest match and all that is there."""

    def __init__(self, kind: str, name: str, known: Iterable[str], hint: str = "") -> None:
        self.kind: str = kind
        self.name: str = name
        self.known: tuple[str, ...] = tuple(sorted(known))
        self.hint: str = hint
        super().__init__(kind, name, self.known, hint)

    @override
    def __str__(self) -> str:
        return unknown(self.kind, self.name, self.known, self.hint)


class SpaceError(RunnerKitError, TypeError):
    """Raised when a space does not fit what it is connected to; names the link and the sub-space."""


class PluginError(RunnerKitError):
    """Raised when a plugin cannot be registered; names its distribution, version and hook."""


class MissingDependencyError(RunnerKitError, ImportError):
    """Raised when an optional package is needed; gives the line that installs it."""


class ClosedError(RunnerKitError):
    """Raised when a runner is used after `close()`."""


class ConformanceError(RunnerKitError, AssertionError):
    """Raised when a part fails a check of `runnerkit.testing`; says what was checked, what was seen, and the fix."""


class RolloutError(RunnerKitError):
    """Raised when a rollout breaks off half-way.

    `histories` holds, per env, what was collected until then, in the runner's own history format (as arrays, if
    that is what failed); the episodes that ran are marked `interrupted`, that of a failing env `crashed`.
    """

    histories: list[object]

    def __init__(self, message: str) -> None:
        self.histories = []
        super().__init__(message)


class RolloutInterrupted(KeyboardInterrupt):
    """Raised by `rollout` when Ctrl-C has ended it, once everything is in order::

        try:
            histories = runner.rollout(agent, steps=1000)
        except RolloutInterrupted as stop:
            histories = stop.histories

    `histories` holds what was collected, one history per env; the episodes that ran are marked `interrupted`.
    """

    def __init__(self, histories: Sequence[object] = ()) -> None:
        self.histories: list[object] = list(histories)
        super().__init__()


class MemoryBudgetError(RolloutError, MemoryError):
    """Raised before a rollout whose arrays would not fit into memory, or in one that outgrows it."""


class RenderError(RolloutError):
    """Raised when `render=True` has nothing to draw, or no display to draw on."""


class AgentError(RolloutError):
    """Raised when an agent fails, or returns what the envs cannot take."""


class ProcessorError(RolloutError, PluginError):
    """Raised when a pre- or postprocessor fails in a rollout; names it."""


class EnvError(RolloutError):
    """Raised when an env fails; the original exception is its `__cause__`.

    `env_index`, `episode_index`, `seed`, `step` (steps that the episode had behind it) and `action` tell
    where. They are None where there is nothing to tell, as for an env that could not even be made. `env_index` is
    -1 where a vector env failed, which does not say in which of its envs.

    `end_reason` says how the episode is recorded that breaks off: as `EndReason.CRASHED` if None. An executor with
    deadlines says `EndReason.TIMED_OUT`.
    """

    def __init__(
        self,
        what: str,
        *,
        env_index: int = -1,
        episode_index: int | None = None,
        seed: int | None = None,
        step: int | None = None,
        action: object = None,
        after_step: bool = False,
        end_reason: EndReason | None = None,
    ) -> None:
        super().__init__(what)
        self.env_index: int = env_index
        self.episode_index: int | None = episode_index
        self.seed: int | None = seed
        self.step: int | None = step
        self.action: object = action
        self.after_step: bool = after_step
        self.end_reason: EndReason | None = end_reason

    @override
    def __str__(self) -> str:
        facts = {"episode": self.episode_index, "seed": self.seed, "step": self.step, "action": self.action}
        where = ", ".join(f"{name} {value}" for name, value in facts.items() if value is not None)
        which = f"Env {self.env_index}" if self.env_index >= 0 else "The vector env"
        return f"{which}{f' ({where})' if where else ''} {self.args[0]}"


class EnvSpaceError(EnvError):
    """Raised when an env returns an observation, reward or flag that its own spaces do not allow."""


class EnvSpaceWarning(UserWarning):
    """Warned of, once per runner, when an env breaks its own contract in a way that loses nothing.

    Such as a first observation outside of its declared bounds, a flag that is not a bool, or a reward of shape (1,).
    The rollout goes on, and what the env returned is recorded. `strict_spaces=True` makes it an `EnvSpaceError`.
    """
