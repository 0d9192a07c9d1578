"""SteppingRunner: rollouts and streams, for one caller at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any, Literal, cast

from typing_extensions import override

from runnerkit._core.faults import close_after
from runnerkit._core.interrupts import Interrupt
from runnerkit._core.interrupts import deadline as stop_after
from runnerkit._core.loglevel import gymnasium_log_level
from runnerkit._core.types import ActT, Answer, ObsT
from runnerkit._plugins.manager import Plugins
from runnerkit._rollout.assembled import AssembledRunner
from runnerkit._rollout.config import (
    RunnerConfig,
    check_callable,
    check_min_batch,
    check_seconds,
    explains_wrong_calls,
    is_count,
)
from runnerkit._rollout.ends import tell_of
from runnerkit._rollout.loop import Rollout
from runnerkit._rollout.occupancy import Claim, Occupancy
from runnerkit._rollout.own_pace import OwnPaceRollout, check_own_pace
from runnerkit._rollout.plan import Plan, limit_of
from runnerkit._rollout.rendering import Screen
from runnerkit._rollout.stream import batches, check_streams
from runnerkit.agents import Agent
from runnerkit.errors import ArgumentError, ClosedError, EnvError, RolloutError, RolloutInterrupted
from runnerkit.executors.hanging import WATCH
from runnerkit.executors.reexecution import Course
from runnerkit.history.arrays import HistoryT
from runnerkit.history.ended import EpisodeCallback
from runnerkit.records import ProgressCallback, Timings

__all__ = ["SteppingRunner"]


class SteppingRunner(AssembledRunner[ObsT, ActT, HistoryT]):
    """An assembled runner that steps its envs."""

    @override
    def _assemble(self, plugins: Plugins, config: RunnerConfig) -> None:
        self._was_interrupted = False
        self._owes_interrupt = False  # a rollout returned after Ctrl-C, and `interrupted` was not read since
        super()._assemble(plugins, config)
        self._occupancy: Occupancy = Occupancy(repr(self))
        if config.min_batch is not None:
            try:
                self._check_own_pace(render=False)
            except BaseException as error:
                close_after(error, self.close)
                raise

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C ended the last rollout early.

        After `rollout(on_interrupt="return")`, read it before the next rollout; otherwise that one raises.
        """
        self._owes_interrupt = False
        return self._was_interrupted

    @property
    def timings(self) -> Timings:
        """Where the time of all rollouts went up to now; the runner must be built with `timings=True`."""
        watch = self._standing.stopwatch
        if watch is None:
            raise ArgumentError("Nothing was measured. Build the runner with timings=True.")
        return watch.read()

    def maybe_reset(self) -> None:
        """Begin an episode in every env that has none. The next rollout continues these episodes."""
        executor = self._parts.executor
        with self._working():
            block = self._parts.block(1, window=True)
            executor.attach(block)
            try:
                self._standing.begin(block, range(self.n_envs))
                self._standing.keep(block, 0)
                self._standing.reset_infos += executor.drain().reset_infos
            except BaseException:
                self._standing.abandon()
                raise
            finally:
                executor.drain()
                executor.attach(None)

    @override
    @explains_wrong_calls("rollout", "an agent")
    def rollout(
        self,
        agent: Agent[ObsT, Answer[ActT]] | Callable[[ObsT], Answer[ActT]],
        steps: int | None = None,
        render: bool = False,
        fps: int = 30,
        *,
        episodes: int | None = None,
        min_batch: int | None = None,
        deadline: float | None = None,
        progress: ProgressCallback | None = None,
        on_episode: EpisodeCallback[ObsT, ActT] | None = None,
        on_interrupt: Literal["raise", "return"] = "raise",
    ) -> list[HistoryT]:
        """Roll out an agent and return one history per env::

            histories = runner.rollout(agent, steps=1000)           # 1000 steps of each env
            histories = runner.rollout(agent, episodes=20)          # 20 whole episodes, over all envs
            histories = runner.rollout(lambda observations: observations.argmax(axis=1), steps=1000)

        Each env continues where the last rollout left it. The record of a continued episode says so.

        Args:
            agent: an object with `act(observations)`, or a function of observations that returns actions. It may return
                extra columns, too: `(actions, {"value": values})`. See `Agent`, `SupportsBeginEpisodes` and
                `SupportsSetActiveEnvs`.
            steps: the number of steps per env. Without `steps` and `episodes`, it is MAX_STEPS.
            render: whether to draw every step; the runner needs a `render_mode`.
            fps: the most steps that are drawn per second.
            episodes: the number of whole episodes to collect over all envs, instead of `steps`. They are the first ones
                by order of start, so short episodes are not over-represented. All of them are new: an episode that
                the last rollout cut is given up.
            min_batch: ask the agent as soon as so many envs have an observation, instead of all of them, so that nobody
                waits for the slowest env. The data are the same, if what the agent does with a row depends on that row
                alone: see "Envs that differ in speed" in the documents. The default is the `min_batch` of the runner.
            deadline: return what there is after so many seconds, as if the steps were up. The step that is under way is
                finished first; `step_timeout` limits that.
            progress: a function that gets a `Progress`, at most ten times a second.
            on_episode: a function that gets an `EndedEpisode` as soon as an episode ends, or a queue with `put`. Calls
                come in the order of the last steps; episodes that end in the same step come in the order of their envs.
                The order is the same with every executor, but for `min_batch`. An episode that the rollout cuts has not
                ended.
            on_interrupt: what happens after Ctrl-C, as soon as the current step is finished. "raise" raises
                RolloutInterrupted, a KeyboardInterrupt whose `histories` hold what was collected. "return" returns
                these histories and sets `interrupted`; the next rollout raises unless `interrupted` was read.

        Returns:
            One history per env. If `episodes` is below n_envs, some envs make no step. Their histories are empty; if
            `process_transition` is overridden, they are what `empty_history` returns.

        Raises:
            ArgumentError: steps or episodes is below 1, or both are given.
            AgentError: the agent failed, or did not return a batch of actions.
            EnvError: an env failed.
            RolloutError: `progress`, `on_episode` or a schedule raised.
            MemoryBudgetError: the arrays would not fit into memory.
            RenderError: render is set, but the envs cannot be drawn, or there is no display.
            RolloutInterrupted: Ctrl-C was pressed. The running episodes are over. A second Ctrl-C raises a plain
                KeyboardInterrupt at once.

        Any other exception that ends the rollout, such as `sys.exit()` in an env, has `histories`, too.

        """
        check_callable(progress, "progress", "a function that takes a Progress")
        tell_ended = tell_of(on_episode)
        check_seconds(deadline, "deadline")
        if on_interrupt not in ("raise", "return"):
            raise ArgumentError(f"on_interrupt must be 'raise' or 'return', not {on_interrupt!r}.")
        if self._owes_interrupt:
            self._owes_interrupt = False
            raise RolloutInterrupted
        plan = Plan(
            limit=limit_of(steps, episodes, self.auto_reset, self.n_envs, self.MAX_STEPS),
            episodes=None if episodes is None else int(episodes),
            auto_reset=self.auto_reset,
            compute_action=self._chooser(agent),
            process_transition=self.process_transition if self._makes_own_history() else None,
            empty_history=self._empty_history(episodes),
        )
        least = self._own_pace(min_batch, render=render)
        claim, interrupt, histories = Claim(), Interrupt(), None
        try:
            self._occupancy.take(claim)
            self._check_open()
            with interrupt, gymnasium_log_level(self.log_level), self._screen(render, fps) as screen:
                self._was_interrupted = False
                rollout = (
                    Rollout(self._parts, self._standing, plan, agent, screen, progress, tell_ended)
                    if least is None
                    else OwnPaceRollout(self._parts, self._standing, plan, agent, progress, tell_ended, min_batch=least)
                )
                try:
                    with stop_after(interrupt, deadline):
                        histories = self._measured(rollout.run)(interrupt)
                except BaseException:
                    if not rollout.is_over:  # what was raised may have come as it was being finished
                        self._standing.abandon()
                    raise
                finally:
                    self._was_interrupted = interrupt.requested
        except KeyboardInterrupt as press:
            if histories is None:  # a second press, or one before anything was collected
                raise
            raise RolloutInterrupted(histories) from press
        except RolloutError as error:
            if interrupt.requested:  # that, too, may not be lost
                raise RolloutInterrupted(error.histories) from error
            self._allow_second_try(error)
            raise
        finally:  # no call, so that no signal handler's exception can come before it is done
            claim.is_over = interrupt.is_over = True
        if interrupt.requested:  # asked now that no other press can come
            self._was_interrupted = True
            if on_interrupt == "raise":
                raise RolloutInterrupted(histories or ())
            self._owes_interrupt = True
        return cast("list[HistoryT]", histories)

    @explains_wrong_calls("stream", "an agent")
    def stream(
        self,
        agent: Agent[ObsT, Answer[ActT]] | Callable[[ObsT], Answer[ActT]],
        steps: int,
    ) -> Generator[HistoryT, None, None]:
        """Roll out an agent without an end, and give batch after batch of `steps` steps per env::

            for batch in runner.stream(agent, steps=16):
                learner.update(batch.observations, batch.actions, batch.rewards, batch.next_observations)

        A batch is one history of all envs, with columns `[steps, n_envs]`, as `stack(runner.rollout(...))` makes it.
        The data are those of one long rollout. Short batches cost much less than short rollouts, as all batches use
        the same arrays: **read a batch before you ask for the next one, and copy what you keep.** A batch that is over
        refuses to be read; arrays that you took from it change.

        `batch.episodes` tells which episodes the envs ended in the batch: those whose record is `complete`.
        `total_return` and `total_length` of a record count the earlier batches, too. Episodes that a fault ended are in
        `batch.faults`; they have no record here if the fault came at the first step of the batch.

        With `on_env_error="restart"`, the first step of an env's next episode takes the row of a step that failed: the
        agent is asked once more then, for that env alone.

        Leave the loop whenever you like: the next rollout goes on where the stream ended. While a stream is open, the
        runner is busy; `close()` of the generator ends it.

        Args:
            agent: as for `rollout`.
            steps: the number of steps per env in each batch.

        Raises:
            ArgumentError: steps is below 1, or the runner cannot stream: it overrides `process_transition`, its history
                format has no columns, `auto_reset` is False, or it has a vector env whose envs skip a step.
            RolloutInterrupted: Ctrl-C was pressed while envs stepped. Its histories are those of the last batch.

        Whatever `rollout` raises, `stream` raises, too; the histories are those of the batch that was being made.

        """
        if not is_count(steps):
            raise ArgumentError(f"steps must be a whole number of at least 1, not {steps!r}.")
        plan = Plan(
            limit=limit_of(steps, None, self.auto_reset, self.n_envs, self.MAX_STEPS),
            episodes=None,
            auto_reset=self.auto_reset,
            compute_action=self._chooser(agent),
            process_transition=None,
            has_windows=True,
        )
        recorder = check_streams(
            self._parts, self._standing, auto_reset=self.auto_reset, makes_own=self._makes_own_history()
        )
        stream = batches(self._parts, self._standing, plan, agent, recorder, self._streaming)
        self._occupancy.add(stream)
        return stream

    def _own_pace(self, min_batch: int | None, *, render: bool) -> int | None:
        """Return for how many envs the agent is to be asked at least; None if for all active envs, in lockstep."""
        least = self._blueprint.config.min_batch if min_batch is None else min_batch
        if least is None:
            return None
        check_min_batch(least, self.n_envs)
        if least == self.n_envs:
            return None
        self._check_own_pace(render=render)
        return int(least)

    def _check_own_pace(self, *, render: bool) -> None:
        blueprint = self._blueprint
        if self._makes_own_history():
            raise ArgumentError("min_batch needs a history format, but this runner overrides process_transition.")
        if render:
            raise ArgumentError("render=True draws all envs at the same step. Leave min_batch or render out.")
        parts = (*blueprint.preprocessors, *blueprint.postprocessors, *blueprint.reward_processors)
        check_own_pace(self._parts, blueprint.config.executor_name, [(part.title, part.thing) for part in parts])

    @contextlib.contextmanager
    def _streaming(self, interrupt: Interrupt) -> Iterator[None]:
        with self._working(), interrupt:
            try:
                yield
            except RolloutError as error:
                self._allow_second_try(error)
                raise
            finally:
                self._was_interrupted = interrupt.requested

    def _allow_second_try(self, error: RolloutError) -> None:
        """Let the error of an env make its episode once more."""
        if isinstance(error, EnvError) and isinstance(error.course, Course):
            from runnerkit._rollout.second_try import second_try

            error.second_try = second_try(self._parts, self._maker(), error.env_index, error.course)

    def state_dict(self) -> dict[str, Any]:
        """Return where the runner stands: numbers, strings, lists and dicts, for `json.dump` or `torch.save`::

            runner.rollout(agent, steps=1000)
            torch.save({"agent": agent.state_dict(), "runner": runner.state_dict()}, path)
            ...                                             # in a new process, with a runner of the same parts
            runner.load_state_dict(torch.load(path)["runner"])
            runner.rollout(agent, steps=1000)               # the bytes that the first runner would have given

        It has the seed of the run, the episode of each env, and the state of processors and of a schedule that has
        `state_dict`. A running episode is saved as its seed and its actions, or as the snapshot of an env that has
        one, see `runnerkit.typing.SupportsSnapshot`. The agent saves its state itself.

        Raises:
            ArgumentError: a processor has state but no `episode_state`, a value has no plain form, or a vector env is
                in the middle of an episode.

        """
        from runnerkit._rollout.resume import state_of  # which few programs need

        with self._working():
            return state_of(self._blueprint, self._parts, self._standing)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where the runner stood whose `state_dict()` this is; its executor may be another one.

        The envs make their running episodes once more, from seed and actions, or restore their snapshots. If an env
        does not come where it stood, this is an error. Then, or if a part fails, all envs begin new episodes with the
        next rollout.

        Raises:
            ArgumentError: the state is of another env, another seed, another number of envs or of other parts; or an
                env is not a function of its seed.
            EnvError: an env failed.

        """
        from runnerkit._rollout.resume import load_state

        with self._working():
            load_state(self._blueprint, self._parts, self._standing, state)

    @override
    def close(self) -> None:
        """Close the envs and the executor. You may call it twice. A stream that is open ends."""
        if not self._finalizer.alive:
            return
        for stream in self._occupancy.open_streams():
            stream.close()
        with Interrupt() as interrupt, self._claimed():
            if self._finalizer.detach() is not None:  # else another thread was faster
                try:
                    self._parts.executor.close()
                finally:
                    self._parts.claims.release()
                    self._parts.close_recorder()
                    WATCH.rest()
        if interrupt.requested:
            raise KeyboardInterrupt  # now that nothing is left behind

    def _screen(self, render: bool, fps: int) -> contextlib.AbstractContextManager[Screen | None]:
        if not render:
            return contextlib.nullcontext()
        return contextlib.closing(Screen(self._parts.render_mode, fps, self.env_id))

    def _measured(self, run: Callable[[Interrupt], list[object]]) -> Callable[[Interrupt], list[object]]:
        watch = self._standing.stopwatch
        return run if watch is None else watch.around_rollout(run)

    @contextlib.contextmanager
    def _working(self) -> Iterator[None]:
        with self._claimed():
            self._check_open()
            yield

    @contextlib.contextmanager
    def _claimed(self) -> Iterator[None]:
        with self._occupancy.claimed(), gymnasium_log_level(self.log_level):
            yield

    def _check_open(self) -> None:
        if not self._finalizer.alive:  # asked after the claim, as another thread may just have closed it
            raise ClosedError(f"{self!r} was closed. Build a new runner.")
