"""The options that several commands have, each declared once.

What a runner is made of is one group: `rollout`, `evaluate`, `tune` and `why` take it as one value, `parts`::

    @click.command()
    @click.argument("env")
    @takes_parts
    def rollout(env: str, parts: Parts) -> None:
        parts.register()
        with GymRunner(env, **parts.keywords()) as runner: ...

A new option of this group is an entry of `_OPTIONS`, a field of `Parts` and a key of `Keywords`.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypedDict, cast

import click
from typing_extensions import TypeVar

from runnerkit._cli import own_plugins
from runnerkit._cli.numbers import AT_LEAST_1

if TYPE_CHECKING:
    from runnerkit.keys import Use

__all__ = [
    "AGENT",
    "PART",
    "Keywords",
    "Parts",
    "executor_option",
    "min_batch_option",
    "no_progress_option",
    "takes_parts",
]

F = TypeVar("F", bound=Callable[..., Any])

PART: Final = "NAME[:OPTION=VALUE,...]"
"""How a part is written."""
AGENT: Final = "random|MODULE:ATTRIBUTE|FAMILY:..."
"""How an agent is written."""

_OPTIONS: Final = (
    click.option("--pre", metavar=PART, multiple=True, help="A preprocessor of observations; repeat it for a chain."),
    click.option("--post", metavar=PART, multiple=True, help="A postprocessor of actions; repeat it for a chain."),
    click.option(
        "--reward",
        metavar=PART,
        multiple=True,
        help="A processor of rewards for a learner; repeat it for a chain. Returns stay those of the env.",
    ),
    click.option(
        "--env-option",
        "env_options",
        metavar="OPTION=VALUE",
        multiple=True,
        help="A keyword argument for the env, or for the factory that makes it; repeat it for several.",
    ),
    click.option(
        "--wrapper",
        "wrappers",
        metavar="MODULE:CLASS[:OPTION=VALUE,...]",
        multiple=True,
        help="A wrapper around each env, such as gymnasium.wrappers:TimeAwareObservation; repeat it for several, the "
        "first one next to the env.",
    ),
    click.option(
        "--lock",
        metavar="FILE",
        type=click.Path(dir_okay=False),
        help="Refuse to run if a part or a version differs from this file, which `runnerkit lock` writes.",
    ),
    own_plugins.module_option,
    own_plugins.folder_option,
)

executor_option = click.option(
    "--executor", metavar=PART, default="auto", show_default=True, help="How the envs are stepped."
)
min_batch_option = click.option(
    "--min-batch",
    metavar="K",
    type=AT_LEAST_1,
    help="Ask the agent as soon as K envs are ready, so that nobody waits for the slowest env.  [default: all envs]",
)
no_progress_option = click.option(
    "--no-progress", is_flag=True, help="Show no progress bar. There is none, either, with --json or in a pipe."
)


class Keywords(TypedDict):
    """The arguments of `GymRunner` that the group stands for."""

    preprocessors: list[str | Use[Any]]
    postprocessors: list[str | Use[Any]]
    reward_processors: list[str | Use[Any]]
    env_options: dict[str, object]
    wrappers: list[str | Use[Any]]
    lock: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a runner is made of, as it was typed."""

    pre: tuple[str, ...] = ()
    post: tuple[str, ...] = ()
    reward: tuple[str, ...] = ()
    env_options: tuple[str, ...] = ()
    wrappers: tuple[str, ...] = ()
    lock: str | None = None
    modules: tuple[str, ...] = ()
    plugin_folders: tuple[str, ...] = ()

    def register(self) -> None:
        """Let the current directory be imported from, and register the plugins that are not installed."""
        own_plugins.register(self.modules, self.plugin_folders)

    def keywords(self) -> Keywords:
        """Return them as arguments of a runner; raises ArgumentError where one is not written as it must be."""
        from runnerkit._cli import spelling

        return {
            "preprocessors": [spelling.part(text, "--pre") for text in self.pre],
            "postprocessors": [spelling.part(text, "--post") for text in self.post],
            "reward_processors": [spelling.part(text, "--reward") for text in self.reward],
            "env_options": spelling.env_options(self.env_options),
            "wrappers": [spelling.wrapper(text) for text in self.wrappers],
            "lock": self.lock,
        }

    def document(self) -> dict[str, object]:
        """Return what was typed for JSON."""
        return {
            "preprocessors": list(self.pre),
            "postprocessors": list(self.post),
            "reward_processors": list(self.reward),
            "env_options": list(self.env_options),
            "wrappers": list(self.wrappers),
            "lock": self.lock,
        }

    def words(self) -> Iterator[str]:
        """Yield the words that say the same in a command."""
        for option, texts in (
            ("--pre", self.pre),
            ("--post", self.post),
            ("--reward", self.reward),
            ("--env-option", self.env_options),
            ("--wrapper", self.wrappers),
            ("--lock", () if self.lock is None else (self.lock,)),
            ("-p", self.modules),
            ("--plugins-dir", self.plugin_folders),
        ):
            for text in texts:
                yield from (option, text)


def takes_parts(command: F) -> F:
    """Give a command the options of what a runner is made of; it gets them as one argument, `parts`."""
    names = [field.name for field in dataclasses.fields(Parts)]

    @functools.wraps(command)
    def gathered(**given: Any) -> Any:
        parts = Parts(**{name: given.pop(name) for name in names})
        return command(parts=parts, **given)

    for option in reversed(_OPTIONS):
        option(gathered)
    return cast(F, gathered)
