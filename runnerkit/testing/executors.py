"""The checks of executors: all of them against the serial one."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypedDict

from typing_extensions import override

from runnerkit._checks.contracts import CONTRACTS, EXECUTOR
from runnerkit._core.comparing import difference, exact
from runnerkit._core.faults import describe
from runnerkit._envs.traces import left_behind
from runnerkit._plugins.manager import Plugins
from runnerkit._rollout.gym_runner import GymRunner
from runnerkit.errors import ArgumentError, EnvError
from runnerkit.executors import RunOptions
from runnerkit.executors.base import MakeExecutor
from runnerkit.executors.paces import SupportsPaces
from runnerkit.executors.seeds import SeedSchedule
from runnerkit.hooks import Contribution, hookimpl
from runnerkit.testing.checks import Checks, Fault, Skip, check
from runnerkit.testing.samples import SPACES, HashAgent, SampleEnv

__all__ = ["ExecutorChecks"]

_NAME: Final = "executor-under-test"
_STEPS: Final = 12
_LAW: Final = "step the envs through runnerkit.executors.Share, which all executors have in common"
_COLUMNS: Final = (
    *("observations", "actions", "rewards", "terminated", "truncated", "next_observations", "last_observations"),
    *("episodes", "infos", "reset_infos"),
)


class _Make:
    """Makes the envs of a run; a class, so that it can be pickled."""

    def __init__(self, observation: str) -> None:
        self._observation = observation

    def __call__(self, seed: int | None) -> SampleEnv:
        return SampleEnv(SPACES[self._observation], SPACES["Discrete"])


class _Crashing(SampleEnv):
    """Fails in the step that leads to its seventh observation."""

    seen = 0

    @override
    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.seen += 1
        if self.seen == 7:
            raise RuntimeError("crashed on purpose")
        return super().step(action)


class _Logged(SampleEnv):
    """Writes a letter into a file when it is made, and when it is closed; other processes can read that, too."""

    def __init__(self, path: str) -> None:
        super().__init__(SPACES["float32"], SPACES["Discrete"])
        self._path = path
        self._write("made ")

    def _write(self, word: str) -> None:
        with open(self._path, "a") as file:
            file.write(word)

    @override
    def close(self) -> None:
        self._write("closed ")


class _MakeLogged:
    def __init__(self, path: str, refused: int | None = None) -> None:
        self._path = path
        self._refused = refused

    def __call__(self, seed: int | None) -> SampleEnv:
        if seed is not None and seed == self._refused:
            raise RuntimeError("cannot be made, on purpose")
        return _Logged(self._path)

    def counted(self) -> tuple[int, int]:
        """Return how many were made, and how many were closed."""
        words = Path(self._path).read_text().split() if Path(self._path).exists() else []
        return words.count("made"), words.count("closed")


class _Asked(TypedDict, total=False):
    steps: int
    episodes: int
    min_batch: int


class ExecutorChecks(Checks):
    """The checks of an executor, which is made for n envs and some workers."""

    def __init__(self, make: MakeExecutor) -> None:
        super().__init__()
        self._make = make

    def _plugins(self) -> Plugins:
        make = self._make

        class Offering:
            @hookimpl.executors
            def executors(self) -> list[Contribution[MakeExecutor]]:
                return [Contribution(_NAME, lambda: make)]

        plugins = Plugins()
        plugins.register(Offering())
        return plugins

    def _runner(self, make_env: Callable[[int | None], Any], executor: str, **options: Any) -> GymRunner[Any, Any, Any]:
        made: GymRunner[Any, Any, Any] = GymRunner(
            make_env, options.pop("seed", 0), executor=executor, plugins=self._plugins(), **options
        )
        return made

    def _recorded(self, observation: str, executor: str, rollout: _Asked, **options: Any) -> list[Any]:
        make_env = _Make(observation)
        with self._runner(make_env, executor, **options) as runner:
            agent = HashAgent(runner.action_space)
            rollouts = [runner.rollout(agent, **rollout) for _ in range(2)]
            return [
                {name: exact(getattr(history, name)) for name in _COLUMNS}
                for histories in rollouts
                for history in histories
            ]

    def _compare(self, what: str, observation: str, rollout: _Asked, **options: Any) -> None:
        plain = {name: value for name, value in options.items() if name != "workers"}
        serial = self._recorded(observation, "serial", rollout, **plain)
        if seen := difference(serial, self._recorded(observation, _NAME, rollout, **options), "histories"):
            raise Fault(f"{what}, {seen} ('the first time' is serial)", _LAW)

    @check("It is made by a call (n_envs, workers), and has the methods of an Executor.")
    def contract(self) -> None:
        """Check its methods."""
        if fault := CONTRACTS["executors"].look(self._make).fault:
            raise Fault(fault, "let it be called as make(n_envs, workers)")
        executor = self._make(2, None)
        if fault := EXECUTOR.look(executor).fault:
            raise Fault(fault, "give it the methods that runnerkit.typing.Executor describes")
        workers: object = getattr(executor, "workers", None)
        if not isinstance(workers, int) or workers < 1:
            raise Fault(f"workers is {workers!r}", "say how many workers step envs, the calling one included")
        executor.close()

    @check("Its histories have the bytes of serial ones, for spaces of all kinds.", needs=["contract"])
    def same_bytes(self) -> None:
        """Check arrays, scalars, nested and ragged spaces."""
        for observation in ("float32", "nested"):
            self._compare(f"observations of {observation!r}", observation, {"steps": _STEPS}, n_envs=3)

    @check("Its histories have the bytes of serial ones, for any number of envs and workers.", needs=["same_bytes"])
    def any_number_of_workers(self) -> None:
        """Check one env, and several workers."""
        for n_envs, workers in ((1, None), (3, 2)):
            what = f"with n_envs={n_envs}, workers={workers}"
            try:
                self._compare(what, "float32", {"steps": _STEPS}, n_envs=n_envs, workers=workers)
            except ArgumentError as error:
                if workers in (None, 1):
                    raise Fault(f"{what}, {describe(error)}", "take workers=None, and 1 for 1 env") from error

    @check("Its histories have the bytes of serial ones without auto-reset, too.", needs=["same_bytes"])
    def without_auto_reset(self) -> None:
        """Check that envs that ended are left out."""
        self._compare("with auto_reset=False", "float32", {"steps": _STEPS}, n_envs=3, auto_reset=False)

    @check("Its histories have the bytes of serial ones for whole episodes, too.", needs=["without_auto_reset"])
    def whole_episodes(self) -> None:
        """Check `rollout(episodes=...)`."""
        self._compare("with episodes=4", "float32", {"episodes": 4}, n_envs=3)

    @check("When envs go at their own pace, the histories are those of a serial run.", needs=["without_auto_reset"])
    def own_pace(self) -> None:
        """Check `rollout(min_batch=...)`."""
        executor = self._make(3, None)
        has_paces = isinstance(executor, SupportsPaces)
        executor.close()
        if not has_paces:
            raise Skip("It has no paces(), so that rollout(min_batch=...) refuses it.")
        serial = self._recorded("float32", "serial", {"steps": _STEPS}, n_envs=3)
        for least in (1, 2):
            found = self._recorded("float32", _NAME, {"steps": _STEPS, "min_batch": least}, n_envs=3)
            if seen := difference(serial, found, "histories"):
                raise Fault(f"with min_batch={least}, {seen} ('the first time' is serial, without min_batch)", _LAW)

    @check("Its infos are those of serial ones.", needs=["same_bytes"])
    def infos(self) -> None:
        """Check `keep_infos`."""
        self._compare("with keep_infos=True", "float32", {"steps": _STEPS}, n_envs=3, keep_infos=True)

    @check("An env that fails is named, with episode, seed and step, as in a serial run.", needs=["same_bytes"])
    def names_the_env_that_fails(self) -> None:
        """Check the error of a crash, and the histories that come with it."""
        found = []
        for executor in ("serial", _NAME):
            with self._runner(_crashing, executor, n_envs=2) as runner:
                try:
                    runner.rollout(HashAgent(runner.action_space), steps=_STEPS)
                except EnvError as error:
                    histories: list[Any] = error.histories
                    reasons = [str(history.episodes[-1].end_reason) for history in histories if len(history)]
                    found.append([error.env_index, error.episode_index, error.seed, error.step, reasons])
                except Exception as error:
                    raise Fault(f"the rollout raised {describe(error)}", f"let it be an EnvError: {_LAW}") from error
                else:
                    raise Fault("the env's exception was lost", _LAW)
        if seen := difference(exact(found[0]), exact(found[1]), "(env, episode, seed, step, end reasons)"):
            raise Fault(f"{seen} ('the first time' is serial)", _LAW)

    @check("When an env cannot be made, those that were made are closed.", needs=["same_bytes"])
    def closes_after_a_failed_start(self) -> None:
        """Check that nothing is left of a runner that could not be built."""
        with tempfile.TemporaryDirectory() as folder:
            make_env = _MakeLogged(f"{folder}/log", refused=SeedSchedule(0).env_seed(2))
            with suppress(EnvError):
                self._runner(make_env, _NAME, n_envs=3).close()
            made, closed = make_env.counted()
        if closed != made:
            raise Fault(f"of {made} envs that were made, {closed} were closed", "close them before you raise")

    @check("close() closes every env once, may be called twice, and leaves nothing behind.", needs=["contract"])
    def closes(self) -> None:
        """Check that nothing is left of a runner that was closed."""
        with left_behind() as new, tempfile.TemporaryDirectory() as folder:
            make_env = _MakeLogged(f"{folder}/log")
            executor = self._make(3, None)
            executor.open(lambda index: make_env(index), RunOptions(0))
            executor.close()
            try:
                executor.close()
            except Exception as error:
                raise Fault(f"the second close() raised {describe(error)}", "do nothing if it is closed") from error
            made, closed = make_env.counted()
            if made != closed:
                raise Fault(f"of {made} envs, {closed} were closed", "close every env once")
            if left := new():
                raise Fault(f"there is still {left}", "end threads and processes in close(), and wait for them")


def _crashing(seed: int | None) -> SampleEnv:  # noqa: ARG001  (runners pass it)
    return _Crashing(SPACES["float32"], SPACES["Discrete"])
