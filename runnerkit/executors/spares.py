"""Envs that begin their next episode in a spare env while they are stepped, so that nobody waits for a reset.

This needs no change anywhere else: to its share, such an env is one env whose reset takes no time. It is known which
episode comes next, since every episode has a seed of its own. What was begun in vain is dropped, so that the data never
depend on it.
"""

from __future__ import annotations

import contextvars
import copy
import functools
import os
import queue
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, Final, TypeAlias, cast

import gymnasium
from gymnasium.envs.registration import EnvSpec
from typing_extensions import override

from runnerkit._core.comparing import exact
from runnerkit._core.faults import close_after, describe
from runnerkit._core.types import AnyEnv
from runnerkit._core.wording import warn
from runnerkit.records import EpisodeSchedule, EpisodeStart

__all__ = ["MakeWithSpares", "SpareEnv"]

_CLOSE_S: Final = 5.0  # how long a reset that is under way may take when the env is closed

_Job: TypeAlias = "tuple[AnyEnv, EpisodeStart, Future[Any]]"


class MakeWithSpares:
    """Makes envs with `spares` spare envs each; `schedule` says how episodes will probably begin."""

    def __init__(self, make_env: Callable[[int], AnyEnv], spares: int, schedule: EpisodeSchedule) -> None:
        self._make_env, self._spares, self._schedule = make_env, spares, schedule

    def __call__(self, env_index: int) -> AnyEnv:
        """Make one env, and its spares; all of them are equal."""
        envs: list[AnyEnv] = []
        try:
            for _ in range(1 + self._spares):
                env: Any = self._make_env(env_index)
                if not isinstance(env, gymnasium.Env) and not envs:
                    return cast(AnyEnv, env)  # which nobody takes
                if any(env.unwrapped is other.unwrapped for other in envs):
                    raise ValueError("the env factory returned the same env twice, but spare_envs needs a new one each")
                envs.append(env)
            return SpareEnv(envs, functools.partial(self._schedule, env_index), f"runnerkit-spare-{env_index}")
        except BaseException as error:
            for env in envs:
                close_after(error, env.close)
            raise


class SpareEnv(gymnasium.Wrapper[Any, Any, Any, Any]):
    """One env to all who use it: the one in `env`, and others in which its next episodes begin meanwhile.

    Which env is in `env` changes with each reset. The other envs are reset in a thread each.
    """

    def __init__(self, envs: Sequence[AnyEnv], start_of: Callable[[int], EpisodeStart], name: str) -> None:
        super().__init__(envs[0])
        self.env: AnyEnv = envs[0]
        self.episode_index: int | None = None
        """The episode that `reset` begins, for whoever resets the env to say; nothing is begun ahead otherwise."""
        self._start_of, self._pid = start_of, os.getpid()
        self._spares = [_Spare(env, f"{name}-{k}") for k, env in enumerate(envs[1:])]

    @property
    @override
    def spec(self) -> EnvSpec | None:  # type: ignore[override]  # as it is in Gymnasium's Wrapper
        """The spec of the env: this wrapper is none of the user's."""
        return self.env.spec

    @override
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode, or go on with one that a spare has begun. What its reset raised is raised here."""
        start = EpisodeStart(seed, options)
        spare = next((spare for spare in self._present() if spare.has_begun(start)), None)
        if spare is None:
            result: tuple[Any, dict[str, Any]] = self.env.reset(seed=seed, options=options)
        else:
            result = spare.take()
            self.env, spare.env = spare.env, self.env
        self._begin_ahead()
        return result

    @override
    def step(self, action: Any) -> Any:
        """Step the env. From now on, until the next reset, this costs nothing: the method is the env's own."""
        self._begin_ahead()
        return self.step(action)

    def ask(self, question: Callable[[AnyEnv], Any], *, changes: bool) -> Any:
        """Return the answer of the env to a question. One that `changes` envs is for the spares, too.

        Their episodes begin again then, with the next step.
        """
        if not changes:
            return question(self.env)
        vars(self).pop("step", None)
        asked = [(spare, _copy_of(question)) for spare in self._present()]  # as envs may keep and change what they get
        raises = True
        try:
            answer = question(self.env)
            raises = False
        finally:  # the env may have changed though it raised, and so may the spares
            for spare, own in asked:
                spare.ask(own, raises=raises)
        return answer

    @override
    def close(self) -> None:
        """Close all envs. A spare that hangs in its reset is left behind."""
        spares, self._spares = self._present(), []
        faults: list[Exception] = []
        end = time.monotonic() + _CLOSE_S
        for spare in spares:
            spare.stop()
        idle = [spare.env for spare in spares if spare.ends(end)]
        for env in (self.env, *idle):
            try:
                env.close()
            except Exception as fault:
                faults.append(fault)
        if faults:
            for other in faults[1:]:
                faults[0].add_note(f"Besides, another env of the same index failed to close: {other}")
            raise faults[0]

    def _present(self) -> list[_Spare]:
        """Return the spares. A fork of the process has none: their threads are not there."""
        return self._spares if os.getpid() == self._pid else []

    def _begin_ahead(self) -> None:
        """Begin the next episodes in the spares that have not."""
        vars(self)["step"] = self.env.step
        if self.episode_index is None:
            return
        spares = self._present()
        first = self.episode_index + 1
        starts = [self._guess(k) for k in range(first, first + len(spares))]
        free, missing = list(spares), []
        for start in filter(None, starts):
            begun = next((spare for spare in free if spare.has_begun(start)), None)
            if begun is None:
                missing.append(start)
            else:
                free.remove(begun)
        for spare, start in zip((spare for spare in free if spare.is_free), missing, strict=False):
            spare.begin(start)

    def _guess(self, episode_index: int) -> EpisodeStart | None:
        """Return how an episode will probably begin; None if that is unknown."""
        try:
            start: object = self._start_of(episode_index)
        except Exception:  # the user's schedule is asked when the episode begins, and what it raises then is told
            return None
        return start if isinstance(start, EpisodeStart) and start.seed is not None else None


class _Spare:
    """An env, and the thread in which it begins an episode."""

    def __init__(self, env: AnyEnv, name: str) -> None:
        self.env: AnyEnv = env
        self._todo: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._differs = False  # from the env that is stepped, so that it may begin no episode
        self._begun: tuple[EpisodeStart, Future[Any]] | None = None
        # Context variables, such as the precision of decimals, are those of the thread that steps the env.
        work = functools.partial(contextvars.copy_context().run, _work, self._todo)
        self._thread = threading.Thread(target=work, name=name, daemon=True)
        self._thread.start()
        weakref.finalize(self, self._todo.put, None).atexit = False

    @property
    def is_free(self) -> bool:
        """Whether it may begin an episode: nothing is under way, and its env is equal to the one that is stepped."""
        return not self._differs and (self._begun is None or self._begun[1].done())

    def has_begun(self, start: EpisodeStart) -> bool:
        """Whether this episode was begun."""
        if self._begun is None or self._begun[0].seed != start.seed:
            return False
        options = self._begun[0].options, start.options
        return options == (None, None) or exact(options[0]) == exact(options[1])

    def begin(self, start: EpisodeStart) -> None:
        """Begin an episode, in the thread of this spare."""
        future: Future[Any] = Future()
        self._begun = start, future
        self._todo.put((self.env, start, future))

    def take(self) -> Any:
        """Wait for the reset, and return or raise what it did; the env is then free."""
        assert self._begun is not None
        _, future = self._begun
        fault = future.exception()  # Ctrl-C may come here, and the episode then stays begun
        self._begun = None
        if fault is not None:
            fault.add_note("This reset was made ahead of time, in a spare env and a thread of its own (spare_envs).")
            raise fault
        return future.result()

    def drop(self) -> None:
        """Wait until nothing is under way, and forget what was begun."""
        if self._begun is not None:
            self._begun[1].exception()
            self._begun = None

    def ask(self, question: Callable[[AnyEnv], Any] | None, *, raises: bool) -> None:
        """Ask the env what was asked of the one that is stepped, which `raises` or not.

        If this one does otherwise, it is not used any more.
        """
        self.drop()
        if question is None:
            seen = "what is passed cannot be copied"
        else:
            try:
                question(self.env)
                seen = "it raised nothing" if raises else ""
            except Exception as error:
                seen = "" if raises else f"it raised {describe(error)}"
        if seen and not self._differs:
            self._differs = True
            warn(
                f"{self._thread.name} is not used any more, because a call went otherwise in this spare env than in "
                f"the env that is stepped: {seen}.",
                RuntimeWarning,
            )

    def stop(self) -> None:
        """Let the thread end, after what is under way."""
        self._todo.put(None)

    def ends(self, end: float) -> bool:
        """Wait for the thread until `end`; warn and return False if it does not end."""
        self._thread.join(max(0.0, end - time.monotonic()))
        if self._thread.is_alive():
            warnings.warn(
                f"{self._thread.name} did not end in time: a spare env hangs in reset. The thread is left behind; it "
                "ends with the program.",
                RuntimeWarning,
                stacklevel=2,
            )
        return not self._thread.is_alive()


def _copy_of(question: Callable[[AnyEnv], Any]) -> Callable[[AnyEnv], Any] | None:
    try:
        return copy.deepcopy(question)
    except Exception:  # a socket, say; the spare is not used any more then
        return None


def _work(todo: queue.SimpleQueue[_Job | None]) -> None:
    while (job := todo.get()) is not None:
        env, start, future = job
        try:
            options = None if start.options is None else copy.deepcopy(dict(start.options))
            future.set_result(env.reset(seed=start.seed, options=options))
        except BaseException as fault:  # sys.exit() in a reset, too, is for whoever waits for the episode
            future.set_exception(fault)
        del job, env, start, future  # keep nothing alive while waiting
