"""GymRunner: the constructor of runners, with the types that it promises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, overload

from typing_extensions import TypeVar, Unpack

from runnerkit._core.types import ActArrayT, ActT, AnyMakeEnv, ArraysName, ObsArrayT, ObsT
from runnerkit._plugins.manager import Plugins, installed_plugins
from runnerkit._rollout.calling import CallingRunner
from runnerkit._rollout.config import RunnerConfig
from runnerkit.history.arrays import ArrayHistory, HistoryT
from runnerkit.history.base import HistoryFormat
from runnerkit.keys import EnvKey, HistoryKey, PartName, Use
from runnerkit.processors import ActionPostprocessor, ActionPreprocessor
from runnerkit.records import Transition
from runnerkit.typing import PlainOptions, RunnerOptions

if TYPE_CHECKING:
    from runnerkit.history.torch import TorchHistory

__all__ = ["GymRunner"]

# For overloads of the constructor that annotate `self`: the class's own type variables are not allowed there. Overloads
# without an annotated `self` are valid for derived runners, too.
O = TypeVar("O")  # noqa: E741
A = TypeVar("A")
H = TypeVar("H")


class GymRunner(CallingRunner[ObsT, ActT, HistoryT]):
    """Rolls out an agent in `n_envs` Gymnasium envs::

        with GymRunner("CartPole-v1", seed=0, n_envs=8) as runner:
            agent = RandomAgent(runner.action_space, seed=0)
            histories = runner.rollout(agent, steps=1000)       # one ArrayHistory per env
            histories[0].rewards, histories[0].episodes

    The same seed, agent and number of envs give the same bytes with every executor. To change a part, derive from this
    class and override `make_env`, `compute_action` or `process_transition`.

    Args:
        env_id: a Gymnasium id; `"atari:Pong"` for the env Pong of a plugin's factory `atari`; an `EnvKey`; a function
            (seed) -> env; or a list of such functions, one per env. A function with a parameter `env_index` or
            `n_envs` gets it. A function may return one `gymnasium.vector.VectorEnv` of n_envs envs.
        seed: the seed of the run, from which all seeds of envs and episodes follow. None draws one, see `runner.seed`.
        n_envs: the number of envs.
        log_level: the level of Gymnasium's logger while this runner works: 30 shows warnings, 40 only errors.
        history: the format of the histories: "arrays", "torch", "transitions", a plugin's format, or a
            HistoryFormat object.
        executor: "serial", "threads", "processes" or, for envs with `async def step`, "asyncio"; "auto", which measures
            and chooses "serial" or "threads"; a plugin's executor; an executor object; or a function (n_envs, workers)
            that makes one.
        workers: how many workers step the envs, including the calling thread, and n_envs at most. By default the
            executor chooses.
        auto_reset: whether an env begins a new episode as soon as one ends. If False, the env is left out of
            the next batches, and the rollout ends when no env is left.
        min_batch: the default of `rollout(min_batch=...)`, which removes the wait for the slowest env. A stream always
            waits for all envs.
        preprocessors: names or objects, in the order in which they process observations.
        postprocessors: names or objects, in the order in which they process actions.
        reward_processors: names, functions or objects, in the order in which they process rewards for the learner. The
            histories have both `rewards` and `processed_rewards`.
        schedule: chooses the seed and reset options of each episode, see `EpisodeSchedule`. The default is
            `SeedSchedule`, whose seeds follow from the run's seed.
        keep_infos: keep the infos that are not empty.
        keep_raw: keep the observations from before the preprocessors, too.
        thread_safe: whether the envs may be stepped in several threads at once; None if you do not know.
        isolate: run every env outside of the calling process, so that an env that crashes cannot end it. It needs
            "processes".
        strict_spaces: raise EnvSpaceError where an env breaks its own spaces, even if no data is lost. Otherwise this
            is an EnvSpaceWarning.
        step_timeout: the most seconds that one step of an env may take, or one render; then EnvTimeoutError is raised.
            It needs "processes", which kills the env's process, or "threads", which leaves the env's thread behind.
            Then the calling thread steps no env itself, and "auto" means "processes". Without a timeout, a call of more
            than 60 s is warned of.
        reset_timeout: the same for a reset.
        make_timeout: the same for making an env.
        on_env_error: "raise" ends the rollout where an env fails. "restart" makes that env anew: its episode ends as
            crashed or timed out, and its next one begins. All other envs go on as if nothing had happened.
            `history.faults` tells of it. The step that failed has no row, so that the history is a row shorter.
            "restart" needs "serial", "threads" or "processes". With "processes", an env may die with its process; the
            other envs of that process are brought back by executing their episodes again. "auto" means "serial", or
            "threads" with a timeout.
        max_restarts: how often each env may be made anew during the life of the runner, or a pair (each env, all of
            them together). The next fault is raised.
        spare_envs: how many spare envs each env has, beside it in the same process. While the env is stepped, its next
            episode begins in a spare, in a thread of its own, and takes over when it ends: for envs whose reset waits,
            or releases the GIL, for long. The data stay the same. Envs must be functions of their episode's seed,
            which is checked as the runner is built, and must share nothing, as with "threads". It needs "serial",
            "threads", "processes" or "auto".
        repeatable: whether the episodes of the envs are functions of their seed and their actions. None lets
            `spare_envs` find out, in other processes, in about 1000 steps; True spares that.
        timings: measure where the time goes, for `runner.timings`. It costs about a microsecond per step of an env.
        render_mode: the render mode of the envs: "rgb_array" or "human" for `rollout(render=True)`.
        env_options: more keyword arguments for `gymnasium.make`, or for the factory.
        wrappers: wrappers that are put around each env, the first one next to the env: classes or functions that take
            an env and return one, or names such as "gymnasium.wrappers:TimeAwareObservation", also with options. The
            types of an `EnvKey` are those of the wrapped env.
        lock: a file that `runnerkit lock -o run.lock` wrote. A runner of other parts or versions is refused.
        plugins: where names are looked up; by default in the installed plugins.

    Raises:
        ArgumentError: an argument has an invalid value.
        UnknownNameError: no env, format, processor or executor has that name.
        SpaceError: a link of env -> preprocessors -> agent -> postprocessors -> env -> history does not fit.
        EnvError: an env could not be made.
        LockError: the runner is made of other parts or versions than `lock` has.

    """

    @overload
    def __init__(
        self,
        env_id: EnvKey[ObsT, ActT],
        seed: int | None = None,
        n_envs: int = 1,
        log_level: int = 40,
        *,
        history: ArraysName = "arrays",
        plugins: Plugins | None = None,
        **options: Unpack[PlainOptions],
    ) -> None: ...
    @overload
    def __init__(
        self: GymRunner[O, A, list[Transition[Any, Any]]],
        env_id: EnvKey[O, A],
        seed: int | None = None,
        n_envs: int = 1,
        log_level: int = 40,
        *,
        history: Literal["transitions"],
        plugins: Plugins | None = None,
        **options: Unpack[PlainOptions],
    ) -> None: ...
    @overload
    def __init__(
        self: GymRunner[ObsArrayT, ActArrayT, TorchHistory],
        env_id: EnvKey[ObsArrayT, ActArrayT],
        seed: int | None = None,
        n_envs: int = 1,
        log_level: int = 40,
        *,
        history: Literal["torch"],
        plugins: Plugins | None = None,
        **options: Unpack[PlainOptions],
    ) -> None: ...
    @overload
    def __init__(
        self: GymRunner[O, A, TorchHistory[Any, Any]],
        env_id: EnvKey[O, A],
        seed: int | None = None,
        n_envs: int = 1,
        log_level: int = 40,
        *,
        history: Literal["torch"],
        plugins: Plugins | None = None,
        **options: Unpack[PlainOptions],
    ) -> None: ...
    @overload
    def __init__(
        self,
        env_id: EnvKey[ObsT, ActT],
        seed: int | None = None,
        n_envs: int = 1,
        log_level: int = 40,
        *,
        history: HistoryKey[HistoryT] | Use[HistoryT] | HistoryFormat[HistoryT],
        plugins: Plugins | None = None,
        **options: Unpack[PlainOptions],
    ) -> None: ...
    @overload
    def __init__(
        self: GymRunner[Any, Any, ArrayHistory[Any, Any]],
        env_id: str | AnyMakeEnv | Sequence[AnyMakeEnv],
        seed: int | None = None,
        n_envs: int = 1,
        log_level: int = 40,
        *,
        history: ArraysName = "arrays",
        plugins: Plugins | None = None,
        **options: Unpack[RunnerOptions],
    ) -> None: ...
    @overload
    def __init__(
        self: GymRunner[Any, Any, ArrayHistory[Any, Any]],
        env_id: EnvKey[Any, Any],
        seed: int | None = None,
        n_envs: int = 1,
        log_level: int = 40,
        *,
        history: ArraysName = "arrays",
        preprocessors: Sequence[PartName | ActionPreprocessor],
        postprocessors: Sequence[PartName | ActionPostprocessor] = (),
        plugins: Plugins | None = None,
        **options: Unpack[PlainOptions],
    ) -> None: ...
    @overload
    def __init__(
        self: GymRunner[O, Any, ArrayHistory[O, Any]],
        env_id: EnvKey[O, Any],
        seed: int | None = None,
        n_envs: int = 1,
        log_level: int = 40,
        *,
        history: ArraysName = "arrays",
        postprocessors: Sequence[PartName | ActionPostprocessor],
        plugins: Plugins | None = None,
        **options: Unpack[PlainOptions],
    ) -> None: ...
    @overload
    def __init__(
        self: GymRunner[Any, Any, list[Transition[Any, Any]]],
        env_id: str | EnvKey[Any, Any] | AnyMakeEnv | Sequence[AnyMakeEnv],
        seed: int | None = None,
        n_envs: int = 1,
        log_level: int = 40,
        *,
        history: Literal["transitions"],
        plugins: Plugins | None = None,
        **options: Unpack[RunnerOptions],
    ) -> None: ...
    @overload
    def __init__(
        self: GymRunner[Any, Any, TorchHistory[Any, Any]],
        env_id: str | EnvKey[Any, Any] | AnyMakeEnv | Sequence[AnyMakeEnv],
        seed: int | None = None,
        n_envs: int = 1,
        log_level: int = 40,
        *,
        history: Literal["torch"],
        plugins: Plugins | None = None,
        **options: Unpack[RunnerOptions],
    ) -> None: ...
    @overload
    def __init__(
        self: GymRunner[Any, Any, H],
        env_id: str | EnvKey[Any, Any] | AnyMakeEnv | Sequence[AnyMakeEnv],
        seed: int | None = None,
        n_envs: int = 1,
        log_level: int = 40,
        *,
        history: HistoryKey[H] | Use[H] | HistoryFormat[H],
        plugins: Plugins | None = None,
        **options: Unpack[RunnerOptions],
    ) -> None: ...
    @overload
    def __init__(
        self: GymRunner[O, A, object],
        env_id: EnvKey[O, A],
        seed: int | None = None,
        n_envs: int = 1,
        log_level: int = 40,
        *,
        history: str | tuple[str, Mapping[str, object]],
        plugins: Plugins | None = None,
        **options: Unpack[PlainOptions],
    ) -> None: ...
    @overload
    def __init__(
        self: GymRunner[Any, Any, object],
        env_id: str | EnvKey[Any, Any] | AnyMakeEnv | Sequence[AnyMakeEnv],
        seed: int | None = None,
        n_envs: int = 1,
        log_level: int = 40,
        *,
        history: str | tuple[str, Mapping[str, object]],
        plugins: Plugins | None = None,
        **options: Unpack[RunnerOptions],
    ) -> None: ...
    @overload
    def __init__(
        self,
        env_id: str | EnvKey[ObsT, ActT] | AnyMakeEnv | Sequence[AnyMakeEnv],
        seed: int | None = None,
        n_envs: int = 1,
        log_level: int = 40,
        *,
        history: str
        | tuple[str, Mapping[str, object]]
        | HistoryKey[HistoryT]
        | Use[HistoryT]
        | HistoryFormat[HistoryT] = "arrays",
        plugins: Plugins | None = None,
        **options: Unpack[RunnerOptions],
    ) -> None: ...
    def __init__(
        self,
        env_id: str | EnvKey[Any, Any] | AnyMakeEnv | Sequence[AnyMakeEnv],
        seed: int | None = None,
        n_envs: int = 1,
        log_level: int = 40,
        *,
        history: PartName | HistoryKey[Any] | HistoryFormat[Any] = "arrays",
        plugins: Plugins | None = None,
        **options: Unpack[RunnerOptions],
    ) -> None:
        config = RunnerConfig.of(env_id, seed, n_envs, log_level, history, **options)
        self._assemble(plugins or installed_plugins(), config)
