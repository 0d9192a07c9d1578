"""RayRunner: rollouts of whole episodes on the actors of a cluster."""

from __future__ import annotations

import collections
import contextlib
import secrets
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Final, Generic, Literal, Self, TypeAlias, cast, overload

from gymnasium import Space
from numpy.typing import NDArray
from typing_extensions import TypeVar, Unpack, override

from runnerkit import EnvKey, HistoryKey, MadeBy, Use
from runnerkit.errors import ArgumentError, ClosedError, RolloutInterrupted
from runnerkit.history import ArrayHistory, HistoryFormat, RunSpec
from runnerkit.typing import ActT, Agent, Answer, HistoryT, MakeEnv, ObsT, PartName
from runnerkit_ray.actor import Recipe
from runnerkit_ray.cluster import Cluster
from runnerkit_ray.collecting import Collected, Collection
from runnerkit_ray.formats import Histories
from runnerkit_ray.interrupts import Interrupt
from runnerkit_ray.jobs import Done, Limits
from runnerkit_ray.options import ActorOptions, RayOptions, check_count, check_seconds, runner_options
from runnerkit_ray.policies import Choice, Policies
from runnerkit_ray.starting import start
from runnerkit_ray.stats import RayStats
from runnerkit_ray.units import Plan, Unit

__all__ = ["RayRunner"]

O = TypeVar("O")  # noqa: E741
A = TypeVar("A")
H = TypeVar("H")
HistoryT_co = TypeVar("HistoryT_co", covariant=True)

AnyEnvs: TypeAlias = "str | EnvKey[Any, Any] | MakeEnv | Sequence[MakeEnv]"
AnyHistory: TypeAlias = "PartName | HistoryKey[Any] | HistoryFormat[Any]"

_STATE_VERSION: Final = 1


class RayRunner(Generic[ObsT, ActT, HistoryT]):
    """Rolls out an agent in whole episodes, on the actors of a Ray cluster::

        with RayRunner("CartPole-v1", seed=0, actors=8) as runner:
            agent = RowAgent(runner.action_space)
            for collected in runner.collect(100, agent):            # 100 units, in order
                collected.unit, collected.history.rewards
            histories = runner.rollout(agent, episodes=20)          # or all at once, as of a GymRunner

    The work is cut into units: whole episodes of one env, whose data follow from the run's seed, the address of the
    unit and the weights, and from nothing else. So any actor may make a unit, and if an actor is lost, another one
    makes it once more. The data are, bit by bit, those of one `GymRunner` of the same seed and `n_envs`, whatever the
    number of actors and whichever of them are lost: those of its env i, episode by episode.

    That holds for agents whose action for a row depends on that row alone: on its observation, on what they remember of
    its episode, and on random numbers of `set_rows`. Each unit begins with a fresh copy of the agent. `RandomAgent`,
    whose numbers go on from episode to episode, is refused; `RowAgent` stands in. Processors with running statistics
    are refused until they are frozen.

    Args:
        make: what makes the envs, as for `runnerkit.make`: an id, an `EnvKey`, a function (seed) -> env, or a list of
            functions, but for vector envs. It travels to the actors, where its modules must be installed. An actor
            makes one env for each env index of which it gets a unit.
        seed: the seed of the run. None draws one, see `runner.seed`.
        n_envs: how many envs the run has, that is, how many rows of episodes. It says nothing about speed: one is
            enough for any number of actors, if all envs are alike.
        actors: how many actors there are. Each has a process of its own.
        history: the history format, as for `runnerkit.make`. It works on the driver, so that files are written there.
        episodes_per_unit: how many episodes a unit has. A unit costs a few milliseconds beside its steps, so give
            it a hundred or more to do.
        in_flight: how many units are with each actor: one to make, the others so that it never waits.
        window: how many units may be under way, or wait for an earlier one, if they come in order. The default is
            2 * actors * in_flight. So many units must fit into the object store.
        unit_timeout: the most seconds that a unit may take; then its actor is ended and replaced.
        start_timeout: the most seconds that an actor may wait for room in the cluster, start and make its env.
        max_attempts: how many actors a unit may end, or block, before it is given up. One that had nothing to do when
            it got the unit counts if the next one is lost at that unit, too.
        max_restarts: how many actors may be replaced during the life of the runner.
        on_poison: what happens, at the end, if units were given up: PoisonError, or a warning. Both have their seeds.
        address: which cluster, as for `runnerkit_ray.join`. None is the one that this process is in, or else a new one
            of this machine, with a CPU per actor at the least. `close` leaves it.
        actor_options: what each actor asks the cluster for; one CPU by default.
        schedule: chooses seed and reset options of each episode, as a function of (env index, episode index) alone.
        keep_infos: keep the infos that are not empty.
        keep_raw: keep the observations from before the preprocessors, too.
        strict_spaces: raise EnvSpaceError where an env breaks its own spaces, even if no data is lost.
        on_env_error: "raise" or "restart", as for `GymRunner`, for envs that raise.
        max_env_restarts: how often an actor may make an env anew with "restart".
        env_options: more keyword arguments for `gymnasium.make`, or for the factory.
        wrappers: wrappers that are put around each env.
        preprocessors: names or objects, in the order in which they process observations.
        postprocessors: names or objects, in the order in which they process actions.
        reward_processors: names, functions or objects, in the order in which they process rewards for the learner.

    Raises:
        ArgumentError: an argument has an invalid value, or no cluster has that address.
        EnvError: an env could not be made.
        ActorsLostError: no actor could make its env, as all were lost, or as the cluster has no room for them.

    Whatever `GymRunner` raises as it is built, actors raise, too, and so does this.

    """

    @overload
    def __init__(
        self,
        make: EnvKey[ObsT, ActT],
        seed: int | None = None,
        n_envs: int = 1,
        *,
        history: Literal["arrays"] = "arrays",
        **options: Unpack[RayOptions],
    ) -> None: ...
    @overload
    def __init__(
        self,
        make: EnvKey[ObsT, ActT],
        seed: int | None = None,
        n_envs: int = 1,
        *,
        history: HistoryKey[HistoryT] | Use[HistoryT] | HistoryFormat[HistoryT],
        **options: Unpack[RayOptions],
    ) -> None: ...
    @overload
    def __init__(
        self: RayRunner[Any, Any, ArrayHistory[Any, Any]],
        make: str | MakeEnv | Sequence[MakeEnv],
        seed: int | None = None,
        n_envs: int = 1,
        *,
        history: Literal["arrays"] = "arrays",
        **options: Unpack[RayOptions],
    ) -> None: ...
    @overload
    def __init__(
        self: RayRunner[Any, Any, H],
        make: str | MakeEnv | Sequence[MakeEnv],
        seed: int | None = None,
        n_envs: int = 1,
        *,
        history: HistoryKey[H] | Use[H] | HistoryFormat[H],
        **options: Unpack[RayOptions],
    ) -> None: ...
    @overload
    def __init__(
        self: RayRunner[O, A, object],
        make: EnvKey[O, A],
        seed: int | None = None,
        n_envs: int = 1,
        *,
        history: str | tuple[str, Mapping[str, object]],
        **options: Unpack[RayOptions],
    ) -> None: ...
    @overload
    def __init__(
        self: RayRunner[Any, Any, object],
        make: str | MakeEnv | Sequence[MakeEnv],
        seed: int | None = None,
        n_envs: int = 1,
        *,
        history: str | tuple[str, Mapping[str, object]],
        **options: Unpack[RayOptions],
    ) -> None: ...
    def __init__(
        self,
        make: AnyEnvs,
        seed: int | None = None,
        n_envs: int = 1,
        *,
        actors: int,
        history: AnyHistory = "arrays",
        episodes_per_unit: int = 1,
        in_flight: int = 2,
        window: int | None = None,
        unit_timeout: float | None = None,
        start_timeout: float | None = 300.0,
        max_attempts: int = 3,
        max_restarts: int = 100,
        on_poison: Literal["raise", "warn"] = "raise",
        address: str | None = None,
        actor_options: ActorOptions | None = None,
        **options: Any,
    ) -> None:
        n_actors = check_count("actors", actors)
        n_envs = len(make) if isinstance(make, Sequence) and not isinstance(make, str) else n_envs
        limits = Limits(
            in_flight=check_count("in_flight", in_flight),
            unit_timeout=check_seconds("unit_timeout", unit_timeout),
            start_timeout=check_seconds("start_timeout", start_timeout),
            max_attempts=check_count("max_attempts", max_attempts),
            max_restarts=check_count("max_restarts", max_restarts, 0),
        )
        self.n_envs: int = check_count("n_envs", n_envs)
        self.seed: int = secrets.randbits(63) if seed is None else check_count("seed", seed, 0)
        self.actors: int = n_actors
        window = 2 * n_actors * in_flight if window is None else check_count("window", window)
        if on_poison not in ("raise", "warn"):
            raise ArgumentError(f"on_poison must be 'raise' or 'warn', not {on_poison!r}.")
        recipe = Recipe(make, self.seed, self.n_envs, runner_options(options))
        self._schedule = recipe.schedule
        self._plan = Plan(self.n_envs, check_count("episodes_per_unit", episodes_per_unit))
        self._policies = Policies()
        self._is_busy = self._is_closed = False
        self._begin(recipe, history, address, actor_options or {}, limits)
        warns = on_poison == "warn"
        self._collection = Collection(self._pool, self._plan, window, self.seed, self._schedule, warns=warns)

    def _begin(
        self, recipe: Recipe, history: AnyHistory, address: str | None, options: ActorOptions, limits: Limits
    ) -> None:
        """Start the actors and open the history format; leave nothing behind if that fails."""
        with contextlib.ExitStack() as undo:
            self.cluster: Cluster
            self.cluster, self._pool = start(undo, address, recipe, self.actors, options, limits)
            hello, own = self._pool.greet(), self._schedule is not None
            spec = replace(hello.spec, n_envs=self.n_envs, own_schedule=own, workers=self.actors)
            self._histories = Histories(history, spec)
            undo.callback(self._histories.close)
            self._end = undo.pop_all()

    # ---- what it is

    @property
    def env_id(self) -> str:
        """The name of the env, or of the function that makes it."""
        return self.spec.env_id

    @property
    def spec(self) -> RunSpec:
        """What the history format was told of the run."""
        return self._histories.spec

    @property
    def made_by(self) -> MadeBy:
        """The parts of this runner, with distributions, versions and options; its histories have it, too."""
        return self.spec.made_by

    @property
    def observation_space(self) -> Space[Any]:
        """The space of one observation as the agent sees it, after preprocessors."""
        return self.spec.observation_space

    @property
    def action_space(self) -> Space[Any]:
        """The space of one action as the agent chooses it, before postprocessors."""
        return self.spec.action_space

    def stats(self) -> RayStats:
        """Return where it stands: what was made, what is under way, and which actors were lost."""
        pool, made = self._pool, self._collection
        return RayStats(
            units=made.units,
            episodes=made.episodes,
            steps=made.steps,
            version=self._policies.version,
            in_flight=pool.in_flight,
            waiting=made.waiting,
            retries=pool.retries,
            restarts=pool.restarts,
            timeouts=pool.timeouts,
            poisoned=tuple(made.poisoned),
            actors=pool.stats(),
        )

    @override
    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.env_id} actors={self.actors} n_envs={self.n_envs} seed={self.seed}>"

    # ---- weights

    def set_weights(self, weights: Mapping[str, NDArray[Any]]) -> int:
        """Let the agent of `collect` act with these weights from the next unit on, and return their version::

            version = runner.set_weights({"w": w})          # also in the middle of collect

        They are copied to the object store once, and all actors of a machine share them. Units that are under way keep
        the weights that they began with, also if they are made once more. From now on, histories have the extra column
        `weights_version`, and `Collected` has `version`.

        Raises ArgumentError if `weights` is no dict of arrays, or if the agent has no `set_weights`.
        """
        self._check_open()
        return self._policies.set_weights(weights)

    # ---- collecting

    def collect(
        self,
        units: int,
        agent: Agent[ObsT, Answer[ActT]] | Callable[[ObsT], Answer[ActT]] | None = None,
        *,
        ordered: bool = True,
    ) -> Generator[Collected[HistoryT], None, None]:
        """Give the histories of the next units, as they come::

            for collected in runner.collect(100, agent):
                learner.update(collected.history)

        With the format `arrays`, the arrays of a history are read-only and lie in the object store, without a copy.
        They stay there as long as you keep the history: copy what you keep (`copy.deepcopy`), if that is more than the
        store holds.

        Leave the loop whenever you like: units that were not handed out are the next ones.

        Args:
            units: how many.
            agent: as for `GymRunner.rollout`. It is sent as it is now. None stands for the one of the call before.
            ordered: whether units come in order, as they would from one actor. If False, each comes as soon as it is
                there.

        Raises:
            ArgumentError: there is no agent, or units is below 1.
            EnvError: an env raised. The unit is skipped by the next call.
            PoisonError: at the end, if units were given up.
            ActorsLostError: no more actors may be replaced.
            RolloutInterrupted: Ctrl-C was pressed. `histories` has what was made but not handed out, as that of other
                errors has.

        """
        check_count("units", units)
        self._check_open()
        choice = self._policies.choice(agent)
        return self._collected(units, choice, ordered=ordered)

    def _collected(self, units: int, choice: Choice, *, ordered: bool) -> Generator[Collected[HistoryT], None, None]:
        left = iter(range(units))

        def take() -> Unit | None:
            return None if next(left, None) is None else self._plan.take()

        def hand_out(done: Done) -> Collected[HistoryT]:
            (history,) = self._histories.each([done])
            return Collected(done.job.unit, done.job.policy.version, cast(HistoryT, history))

        def histories(given: Sequence[Collected[HistoryT]], rest: Sequence[Done]) -> list[object]:
            return [*(one.history for one in given), *self._histories.each(rest)]

        with self._claimed():
            self._policies.choose(choice)
            made = self._collection.made(take, self._policies.chosen, hand_out, histories, ordered=ordered)
            with contextlib.closing(made):
                yield from made

    def rollout(
        self,
        agent: Agent[ObsT, Answer[ActT]] | Callable[[ObsT], Answer[ActT]],
        steps: int | None = None,
        render: bool = False,
        fps: int = 30,
        *,
        episodes: int | None = None,
    ) -> list[HistoryT]:
        """Roll out an agent and return one history per env::

            histories = runner.rollout(agent, episodes=20)

        These are the next 20 episodes, `20 // n_envs` or one more of each env (or more, if a unit has several). With
        one env they are those of `GymRunner.rollout`. With several, that takes the first ones by order of start, which
        nobody knows beforehand. The histories own their memory, as those of `GymRunner` do.

        The agent is sent to the actors as it is now, with its own weights: those of `set_weights` are for `collect`.

        Raises:
            ArgumentError: `episodes` is missing. For steps, use `runnerkit.make(..., executor="ray")`.

        What `collect` raises, this raises, too; `histories` of these errors has all that was made.

        """
        del fps
        if render:
            raise ArgumentError("A RayRunner cannot render. Replay episodes with runnerkit.replay, or runnerkit-video.")
        if steps is not None or episodes is None:
            raise ArgumentError(
                "A RayRunner collects whole episodes: rollout(agent, episodes=20). For steps, use a GymRunner with "
                "executor='ray'."
            )
        left = check_count("episodes", episodes)
        self._check_open()
        policy, made = self._policies.send(agent), list[Done]()

        def take() -> Unit | None:
            nonlocal left
            if not left:
                return None
            unit = self._plan.take(left)
            left -= unit.episodes
            return unit

        def keep(done: Done) -> None:
            made.append(replace(done, data=done.data.owned()))

        def histories(_: object, rest: Sequence[Done]) -> list[object]:
            return self._histories.joined([*made, *rest])

        with self._claimed():
            collected = self._collection.made(take, lambda: policy, keep, histories, ordered=False)
            with contextlib.closing(collected):
                collections.deque(collected, maxlen=0)  # no line of Python, at which Ctrl-C would lose what was made
            stop = Interrupt()
            try:
                with stop:
                    found = self._histories.joined(made)
            finally:
                stop.end()
            if stop.requested:
                raise RolloutInterrupted(found)
            return cast("list[HistoryT]", found)

    # ---- inside

    @contextlib.contextmanager
    def _claimed(self) -> Iterator[None]:
        self._check_open()
        if self._is_busy:
            raise ArgumentError(f"{self!r} is busy with another collect. Finish it, or close() the generator.")
        self._is_busy = True
        try:
            yield
        finally:
            self._is_busy = False

    # ---- state

    def state_dict(self) -> dict[str, Any]:
        """Return where the runner stands: numbers, strings, lists and dicts, for `json.dump` or `torch.save`::

            for collected in runner.collect(1000):
                learner.update(collected.history)
                json.dump(runner.state_dict(), file)        # goes on after this unit

        It has the seed of the run, and which units were handed out. Weights and agent save themselves.
        """
        return {
            "version": _STATE_VERSION,
            **self._identity(),
            "weights": self._policies.version,
            "plan": self._plan.state(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where a runner stood whose `state_dict()` this is; the number of actors may be another one.

        If weights were set, set the same again: they get the version that they had.

        Raises ArgumentError if the state is of another env, another seed or another number of envs.
        """
        given: object = state  # the value may differ from the annotation
        mine = self._identity()
        if not isinstance(given, Mapping) or not {"version", "weights", "plan", *mine} <= given.keys():
            raise ArgumentError("load_state_dict needs what state_dict() of a RayRunner returned.")
        for name, own in mine.items():
            if state[name] != own:
                raise ArgumentError(
                    f"The state is of a runner whose {name} is {state[name]!r}, but this one's is {own!r}."
                )
        with self._claimed():
            self._plan.load(state["plan"])
            self._policies.go_back(state["weights"])

    def _identity(self) -> dict[str, Any]:
        return {"env_id": self.env_id, "seed": self.seed, "n_envs": self.n_envs}

    # ---- the end

    def close(self) -> None:
        """End the actors, after those that are idle closed their envs. You may call it twice."""
        if self._is_closed:
            return
        self._is_closed = True
        self._end.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _check_open(self) -> None:
        if self._is_closed:
            raise ClosedError(f"{self!r} was closed. Build a new runner.")
