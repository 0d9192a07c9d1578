"""The auto executor with its trial by a script instead of a clock, so that envs move within the shortest rollout."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any

from typing_extensions import override

from runnerkit import Contribution, hookimpl
from runnerkit._plugins.manager import Plugins
from runnerkit.executors import AutoExecutor
from runnerkit.executors.trial import Course, Trial, Way

__all__ = ["RESTLESS", "moving"]


def moving(ways: Sequence[Way], choice: Way) -> Plugins:
    """Return plugins with an executor `restless`: auto that steps in these ways, then stays with the choice."""

    class Scripted(Trial):
        @override
        def course(self) -> Course:
            for way in ways:
                seconds, _ = yield way
                assert seconds >= 0
            return choice

    class Offer:
        @hookimpl
        def executors(self) -> Iterator[Contribution[Any]]:
            yield Contribution("restless", lambda: functools.partial(AutoExecutor, _make_trial=Scripted))

    plugins = Plugins()
    plugins.register(Offer(), "restless")
    return plugins


RESTLESS: dict[str, Any] = {
    "executor": "restless",
    "workers": 3,
    "plugins": moving(["serial", "threads", "serial", "serial", "threads", "threads", "serial"], "threads"),
}
"""Options of a runner whose envs move four times within the first seven steps and stay in threads."""
