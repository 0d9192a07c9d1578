"""The exceptions of RunnerKit.

Every error names the thing that is wrong, what was expected, what was given, and the way out::

    RunnerKitError
    ├── ArgumentError           (ValueError)    an argument is invalid: n_envs=0, steps and episodes at once
    ├── UnknownNameError        (LookupError)   no such env, history format, processor or executor
    ├── SpaceError              (TypeError)     a link of env -> processors -> agent -> env -> history does not fit
    ├── LockError                               the runner is made of other parts or versions than its lock has
    ├── PluginError                             a plugin cannot be registered, or what it offers does not work
    ├── MissingDependencyError  (ImportError)   an optional package is not installed
    ├── ClosedError                             the runner was closed
    ├── ConformanceError        (AssertionError) a part failed a check of `runnerkit.testing`
    └── RolloutError                            a rollout broke off; `histories` holds what was collected
        ├── MemoryBudgetError   (MemoryError)   the arrays of a rollout would not fit into memory
        ├── RenderError                         the envs cannot be drawn, or there is no display
        ├── ProcessorError      (PluginError)   a processor raised, or its output does not fit its space
        ├── AgentError                          the agent raised, or did not return a batch of actions
        └── EnvError                            an env raised; says which env, episode, seed, step and action
            ├── EnvSpaceError                   what an env returned does not fit its own spaces
            └── EnvTimeoutError                 an env did not answer in time

Ctrl-C ends a rollout with RolloutInterrupted, which is a KeyboardInterrupt: `except Exception` does not catch it.

An env may break its contract without losing data. This is an `EnvSpaceWarning`, or an EnvSpaceError with
`strict_spaces=True`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

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
    "EnvTimeoutError",
    "LockError",
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
    """The base class of RunnerKit's errors."""


class ArgumentError(RunnerKitError, ValueError):
    """Raised when an argument has an invalid value, or contradicts another argument."""


class UnknownNameError(RunnerKitError, LookupError):
    """Raised when nothing has that name. The message has the closest match and the known names.

    Attributes:
        kind: what was looked up, such as "history format".
        name: the unknown name.
        known: the known names, sorted.
        hint: more advice; may be empty.

    """

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
    """Raised when two connected spaces do not fit. The message names the link and the sub-space."""


class PluginError(RunnerKitError):
    """Raised when a plugin cannot be registered. The message names its distribution, version and hook."""


class LockError(RunnerKitError):
    """Raised when a runner is made of other parts, or of other versions, than the lock file has.

    Attributes:
        differences: what differs, one sentence each.

    """

    def __init__(self, message: str, differences: Sequence[str] = ()) -> None:
        self.differences: tuple[str, ...] = tuple(differences)
        super().__init__(message)


class MissingDependencyError(RunnerKitError, ImportError):
    """Raised when an optional package is not installed. The message has the command that installs it."""


class ClosedError(RunnerKitError):
    """Raised when a runner is used after `close()`."""


class ConformanceError(RunnerKitError, AssertionError):
    """Raised when a part fails a check of `runnerkit.testing`. The message says what to fix."""


class RolloutError(RunnerKitError):
    """Raised when a rollout fails before its end.

    The running episodes have the end reason `interrupted`; the episode of a failed env has `crashed`.

    Attributes:
        histories: what was collected, one history per env, in the runner's format. They are `ArrayHistory` objects if
            the format itself failed.

    """

    histories: list[object]

    def __init__(self, message: str) -> None:
        self.histories = []
        super().__init__(message)


class RolloutInterrupted(KeyboardInterrupt):
    """Raised by `rollout` after Ctrl-C, as soon as the current step is finished::

        try:
            histories = runner.rollout(agent, steps=1000)
        except RolloutInterrupted as stop:
            histories = stop.histories

    The running episodes have the end reason `interrupted`.

    Attributes:
        histories: what was collected, one history per env.

    """

    def __init__(self, histories: Sequence[object] = ()) -> None:
        self.histories: list[object] = list(histories)
        super().__init__()


class MemoryBudgetError(RolloutError, MemoryError):
    """Raised when the arrays of a rollout do not fit into memory: before it, or when they have to grow."""


class RenderError(RolloutError):
    """Raised when `render=True` is set, but the envs cannot be drawn, or there is no display."""


class AgentError(RolloutError):
    """Raised when an agent fails, or returns actions that do not fit the action space."""


class ProcessorError(RolloutError, PluginError):
    """Raised when a pre- or postprocessor fails in a rollout. The message names it."""


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
        self.second_try: Callable[[], EnvError | None] | None = None
        """Makes the episode once more; None if that cannot be done."""
        self.course: object = None
        """What the env was asked in the episode, for those who make it once more."""

    def replay(self) -> EnvError | None:
        """Make the episode that failed once more, in a new env, and return the error that comes of it::

            except EnvError as error:
                again = error.replay()          # None: the env does not fail each time

        The env gets the same seed and the same actions, up to the one at which it failed. It is made where the env was:
        with "processes", in a process of its own. The error that was raised by `rollout` or `stream` can do so, not a
        copy that was pickled.

        Raises:
            ArgumentError: the error does not know the episode, as that of an env that could not be made, of a vector
                env, or of an episode without a seed.

        """
        if self.second_try is None:
            raise ArgumentError(
                "This error does not know its episode: only the EnvError of a rollout does, of a single env, in an "
                "episode with a seed. Pass the histories to runnerkit.replay."
            )
        return self.second_try()

    @override
    def __reduce__(self) -> tuple[Any, ...]:
        state = {name: value for name, value in vars(self).items() if name != "second_try"}
        return type(self), self.args, {**state, "second_try": None}

    @override
    def __str__(self) -> str:
        facts = {"episode": self.episode_index, "seed": self.seed, "step": self.step, "action": self.action}
        where = ", ".join(f"{name} {value}" for name, value in facts.items() if value is not None)
        which = f"Env {self.env_index}" if self.env_index >= 0 else "The vector env"
        return f"{which}{f' ({where})' if where else ''} {self.args[0]}"


class EnvSpaceError(EnvError):
    """Raised when an env returns an observation, reward or flag that does not fit its own spaces."""


class EnvTimeoutError(EnvError):
    """Raised when an env does not answer within `step_timeout`, `reset_timeout` or `make_timeout`.

    The env has been given up: its process was killed, or its thread was left behind. Build a new runner to go on.
    """


class EnvSpaceWarning(UserWarning):
    """Issued when an env breaks its own contract without losing data, once per runner.

    Examples are a first observation outside of its bounds, a flag that is not a bool, or a reward of shape (1,). The
    rollout continues, and the value is recorded. With `strict_spaces=True`, an `EnvSpaceError` is raised instead.
    """
