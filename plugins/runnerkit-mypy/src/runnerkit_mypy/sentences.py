"""What is wrong with a hook implementation, in words.

RunnerKit says the same at run time: its module `_sentences` has each of these functions letter by letter, as a test
makes sure. Types come in as text: `list[str]`, `Iterable[str]`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

_MOST_NAMES = 10
_NEAREST = 4
_NEARLY = 0.88  # begin_epsiode; a letter more would make `rendered` a misspelt `render`


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a question after the closest of the known names, or nothing where none is close."""
    names = list(known)
    close = [other for other in names if other.endswith(f"/{name}")]  # Pong-v5 without its namespace
    close += [other for other in names if name.endswith(f"_{other}")]  # num_episodes
    close += difflib.get_close_matches(name, names, n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


def unknown(kind: str, name: str, known: Sequence[str], hint: str = "", *, brief: bool = False) -> str:
    """Say that nothing of a kind is called so; `known` is sorted, and left out with `brief` if one of it is close."""
    guess = did_you_mean(name, known)
    there = f" Known: {_listed(kind, name, known)}." if known else f" No {kind} is known."
    return f"No {kind} is called {name!r}.{guess}{' ' + hint if hint else ''}{'' if brief and guess else there}"


def _listed(kind: str, name: str, known: Sequence[str]) -> str:
    """Return the known names: all if there are few, else those nearest to a name, and how many more there are."""
    if len(known) <= _MOST_NAMES:
        return ", ".join(known)
    nearest = difflib.get_close_matches(name, known, n=_NEAREST, cutoff=0.0)
    where = " (gymnasium.pprint_registry() lists all)" if kind == "env" else ""
    return f"{', '.join(nearest)} and {len(known) - len(nearest)} more{where}"


def nearly(name: str, meant: str) -> bool:
    """Whether a name is so close to another that it was surely meant to be it: `begin_episode`, `beginEpisodes`.

    The first letter must be the same: `get_active_envs` is not `set_active_envs`, nor `deallocate` `allocate`.
    """
    first, second = (text.replace("_", "").lower() for text in (name, meant))
    if name == meant or first[:1] != second[:1]:
        return False
    return sorted(first) == sorted(second) or difflib.SequenceMatcher(None, first, second).ratio() >= _NEARLY


def unknown_argument(hook: str, argument: str, known: Sequence[str]) -> str:
    """Say that the hook passes no such argument; `known` are those that it passes."""
    way_out = f" Known: {', '.join(known)}." if known else " It has none: remove it."
    return f"Hook {hook!r} has no argument {argument!r}.{did_you_mean(argument, known)}{way_out}"


def wrong_argument(hook: str, argument: str, given: str, passed: str) -> str:
    """Say that the annotation of an argument does not take what the hook passes."""
    return f"Argument {argument!r} of hook {hook!r} is {passed}, which {given} does not take. Annotate it as {passed}."


def default_argument(hook: str, argument: str) -> str:
    """Say that an argument of the hook has a default in the implementation."""
    return f"Argument {argument!r} of hook {hook!r} has a default, so that pluggy never passes it. Remove the default."


def keyword_only_argument(hook: str, argument: str) -> str:
    """Say that an argument is keyword-only in the implementation."""
    return f"Argument {argument!r} of hook {hook!r} is keyword-only, but pluggy passes by position. Remove the '*'."


def wrong_result(hook: str, given: str, wanted: str) -> str:
    """Say that an implementation returns what the hook does not take."""
    return f"Hook {hook!r} must return {wanted}, not {given}."


def async_hook(hook: str) -> str:
    """Say that an implementation is a coroutine function, or an async generator."""
    return f"Hook {hook!r} is async, but nothing awaits it. Make it a plain function."


def wrapper_without_yield(hook: str) -> str:
    """Say that a wrapper is no generator function."""
    return f"A wrapper of hook {hook!r} must be a generator function. Yield once, where the hook itself is to run."


def no_wrapper(hook: str) -> str:
    """Say that RunnerKit's own hooks have no wrappers."""
    return f"Hook {hook!r} cannot be wrapped, as each plugin is asked by itself. Yield contributions of your own."
