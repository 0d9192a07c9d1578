"""What is refused, and how, in the corners: nothing raw, nothing late, nothing silently wrong."""

from __future__ import annotations

import functools
import importlib.util
import sys
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Sized
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import gymnasium
import numpy as np
import pytest
from envs import summary
from faulty_envs import Constant, Faults, Fleet, ScriptedEnv, build, collected, raising
from gymnasium import Space, spaces
from gymnasium.envs.classic_control import CartPoleEnv
from typing_extensions import override

import runnerkit
from runnerkit import Contribution, EndReason, EpisodeStart, GymRunner, Progress, RandomAgent, hookimpl
from runnerkit.errors import (
    ArgumentError,
    EnvError,
    EnvSpaceError,
    PluginError,
    ProcessorError,
    RolloutError,
    RunnerKitError,
    UnknownNameError,
)
from runnerkit.history import ArrayHistory, Block
from runnerkit.typing import AnyEnv, HistoryFormat


class Identity:
    def bind(self, space: Space[Any], /) -> Space[Any]:
        return space

    def __call__(self, observations: Any, /) -> object:
        return observations


# ---- what is an env


def test_a_class_of_envs_would_take_the_seed_for_its_first_argument_and_is_refused() -> None:
    with pytest.raises(ArgumentError, match=r"CartPoleEnv is a class.*Pass lambda seed: CartPoleEnv\(\)"):
        build(CartPoleEnv)


def test_a_factory_that_returns_the_same_env_again_is_found_out() -> None:
    env = ScriptedEnv()
    with pytest.raises(EnvError, match=r"Env 1 is the very object that is env 0\. The factory must make a new env"):
        build(lambda seed: env, n_envs=2)
    assert env.calls("close") >= 1


def test_an_own_make_env_may_use_what_the_runner_knows_and_ids_that_gymnasium_does_not() -> None:
    class Own(GymRunner[Any, Any, Any]):
        @override
        def make_env(self, seed: int | None = None) -> AnyEnv:
            assert (self.env_id, self.n_envs, self.seed) == ("Mine-v0", 2, 7)
            return ScriptedEnv()

    with Own("Mine-v0", 7, 2) as runner:
        assert [len(history) for history in runner.rollout(Constant(), steps=3)] == [3, 3]


@pytest.mark.parametrize("env_options", ["abc", 3, [("a", 1)]])
def test_env_options_must_be_a_dict(env_options: Any) -> None:
    with pytest.raises(ArgumentError, match="env_options must be a dict"):
        build("CartPole-v1", env_options=env_options)


@pytest.mark.parametrize("log_level", ["x", None, 1.5, True])
def test_a_log_level_must_be_a_number(log_level: Any) -> None:
    with pytest.raises(ArgumentError, match="log_level must be a number"):
        build("CartPole-v1", log_level=log_level)


def test_the_log_level_is_what_it_was_after_rollouts_that_overlapped() -> None:
    before = gymnasium.logger.min_level
    gymnasium.logger.min_level = 30
    try:
        runners = [build(Fleet(length=3), n_envs=1, log_level=40) for _ in range(2)]

        class Slow(Constant):
            @override
            def act(self, observations: Any, /) -> Any:
                time.sleep(0.01)
                return super().act(observations)

        threads = [
            threading.Thread(target=runner.rollout, args=(Slow(), steps))
            for runner, steps in zip(runners, (10, 20), strict=True)
        ]
        for thread in threads:
            thread.start()
            time.sleep(0.02)
        for thread in threads:
            thread.join()
        for runner in runners:
            runner.close()
        assert gymnasium.logger.min_level == 30
    finally:
        gymnasium.logger.min_level = before


# ---- schedules and callbacks


@pytest.mark.parametrize("schedule", [5, "x"])
def test_a_schedule_must_be_a_function(schedule: Any) -> None:
    with pytest.raises(ArgumentError, match="schedule must be a function"):
        build(Fleet(), schedule=schedule)


@pytest.mark.parametrize("wrong", [None, (1, {}), 7])
def test_what_a_schedule_returns_wrongly_is_named_and_nothing_is_lost(wrong: Any) -> None:
    def schedule(env_index: int, episode_index: int) -> Any:
        return EpisodeStart(1) if episode_index == 0 else wrong

    with build(Fleet(length=3), n_envs=2, schedule=schedule) as runner:
        with pytest.raises(RolloutError, match=r"for env 0, episode 1, must return an EpisodeStart") as caught:
            runner.rollout(Constant(), steps=9)
        assert [len(history) for history in collected(caught.value)] == [2, 2]


def test_a_schedule_that_raises_is_named() -> None:
    def schedule(env_index: int, episode_index: int) -> EpisodeStart:
        raise ZeroDivisionError("curriculum")

    with build(Fleet(), schedule=schedule) as runner:
        with pytest.raises(RolloutError, match="env 0, episode 0, raised ZeroDivisionError: curriculum") as caught:
            runner.rollout(Constant(), steps=2)
        assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_a_progress_callback_that_raises_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runnerkit._rollout.progress._INTERVAL", 0.0)

    def progress(report: Progress) -> None:
        if report.steps >= 8:
            raise ZeroDivisionError("bar")

    with build(Fleet(length=3), n_envs=2) as runner:
        with pytest.raises(RolloutError, match="progress raised ZeroDivisionError: bar") as caught:
            runner.rollout(Constant(), steps=9, progress=progress)
        assert [len(history) for history in collected(caught.value)] == [4, 4]
        again = runner.rollout(Constant(), steps=2)
        assert [history.episodes[0].episode_index for history in again] == [2, 2]
        with pytest.raises(ArgumentError, match="progress must be a function"):
            runner.rollout(Constant(), steps=1, progress=5)  # type: ignore[arg-type]


def test_an_episode_that_cannot_begin_is_skipped_by_maybe_reset_too() -> None:
    fleet = Fleet({0: Faults(reset=lambda env: raising(OSError("level"), at_step=0, in_episode=1)(env))})
    with build(fleet) as runner:
        with pytest.raises(EnvError, match="raised in reset: OSError: level"):
            runner.maybe_reset()
        fleet.mend()
        (history,) = runner.rollout(Constant(), steps=2)
        assert history.episodes[0].episode_index == 1


def test_more_episodes_than_envs_without_auto_reset_are_refused() -> None:
    with (
        build(Fleet(), n_envs=2, auto_reset=False) as runner,
        pytest.raises(ArgumentError, match="each env makes one episode, so 2 envs cannot"),
    ):
        runner.rollout(Constant(), episodes=3)


def test_a_stateful_agent_of_length_0_is_told_of_its_episodes() -> None:
    class Empty(Constant):
        told = 0

        def __len__(self) -> int:
            return 0

        def begin_episodes(self, env_indices: Any, /) -> None:
            self.told += 1

    agent = Empty()
    with build(Fleet(length=3)) as runner:
        runner.rollout(agent, steps=9)
    assert agent.told == 3


# ---- infos and objects


class Informed(ScriptedEnv):
    """Gives the info that it is made with."""

    def __init__(self, info: Any) -> None:
        super().__init__(3)
        self.info = info

    @override
    def reset(self, **options: Any) -> Any:
        return super().reset(**options)[0], self.info

    @override
    def step(self, action: Any) -> Any:
        return *super().step(action)[:4], self.info


class Uncopyable:
    def __deepcopy__(self, memo: Any) -> Any:
        raise OSError("socket")


@pytest.mark.parametrize(
    ("info", "said"),
    [
        ({"a": Uncopyable()}, "the info cannot be copied .OSError: socket.: leave keep_infos out"),
        ([1], "must be a dict"),
    ],
)
def test_an_info_that_cannot_be_kept_is_named(info: Any, said: str) -> None:
    with build(lambda seed: Informed(info), keep_infos=True) as runner, pytest.raises(EnvSpaceError, match=said):
        runner.rollout(Constant(), steps=2)
    with build(lambda seed: Informed(info)) as careless:
        careless.rollout(Constant(), steps=2)


@pytest.mark.parametrize("preprocessors", [[], [Identity()]])
@pytest.mark.parametrize("keep_raw", [True, False])
def test_infos_of_first_observations_are_of_their_episodes_whatever_is_preprocessed(
    preprocessors: list[Any], keep_raw: bool
) -> None:
    class Counting(ScriptedEnv):
        @override
        def reset(self, **options: Any) -> Any:
            return super().reset(**options)[0], {"episode": self.episodes}

    with build(lambda seed: Counting(3), keep_infos=True, keep_raw=keep_raw, preprocessors=preprocessors) as runner:
        (history,) = runner.rollout(Constant(), steps=10)
    assert history.reset_infos == {0: {"episode": 1}, 3: {"episode": 2}, 6: {"episode": 3}, 9: {"episode": 4}}
    assert [part.reset_info for part in history.split()] == list(history.reset_infos.values())


def test_objects_are_not_shared_between_rollouts() -> None:
    class Boxes(Space[Any]):
        @override
        def contains(self, x: Any) -> bool:
            return isinstance(x, dict)

        @override
        def __eq__(self, other: object) -> bool:
            return isinstance(other, Boxes)

    class Env(ScriptedEnv):
        def __init__(self) -> None:
            super().__init__(9)
            self.observation_space = Boxes()

        @override
        def look(self) -> Any:
            return {"a": [self.steps]}

    with build(lambda seed: Env()) as runner:
        (first,) = runner.rollout(Constant(), steps=2)
        first.next_observations[-1]["a"].append("spoilt")
        (second,) = runner.rollout(Constant(), steps=2)
    assert second.observations[0] == {"a": [2]}


# ---- formats, processors, and what comes at the end


class Brittle:
    """A format whose recorder hands out what it is told to."""

    def __init__(self, finish: Any) -> None:
        self._finish = finish

    def open(self, spec: Any, /) -> Any:
        return self

    def finish(self, block: Block, /) -> Any:
        return self._finish(block)

    def close(self) -> None:
        """Do nothing."""


def _fail(block: Block) -> Any:
    raise OSError("disk full")


@pytest.mark.parametrize(
    ("finish", "said"),
    [(_fail, "failed to take the rollout: OSError: disk full"), (lambda block: [1], "1 histories for 2")],
)
def test_a_format_that_fails_at_the_end_leaves_the_arrays_in_the_error(finish: Any, said: str) -> None:
    with build(Fleet(), n_envs=2, seed=0) as plain:
        expected = plain.rollout(Constant(), steps=7)
    with build(Fleet(), n_envs=2, seed=0, history=Brittle(finish)) as runner:
        with pytest.raises(RolloutError, match=said) as caught:
            runner.rollout(Constant(), steps=7)
        histories: Any = caught.value.histories
        assert all(isinstance(history, ArrayHistory) for history in histories)
        assert [summary(history) for history in histories] == [summary(history) for history in expected]


class Opens:
    """A format that opens what it is told to."""

    def __init__(self, opened: object) -> None:
        self._opened = opened

    def open(self, spec: Any, /) -> Any:
        return self._opened


class HalfRecorder:
    def finish(self, block: Block, /) -> list[int]:
        return [0]


class ClosesNothing(HalfRecorder):
    def close(self) -> None: ...


class ClosesOnce(HalfRecorder):
    def close(self, block: Block) -> None: ...


@pytest.mark.parametrize(
    ("opened", "says"),
    [
        (None, "History format Opens: open must return Recorder[object], not None."),
        (3, "History format Opens: Recorder int has no method finish(block). Give it one."),
        (HalfRecorder(), "History format Opens: Recorder HalfRecorder has no method close(). Give it one."),
        (HalfRecorder, "History format Opens: Recorder HalfRecorder is a class. Make one: HalfRecorder()."),
        (
            ClosesOnce(),
            "History format Opens: Recorder ClosesOnce: it is called as close(), not close(block). "
            "Change its parameters.",
        ),
    ],
)
def test_a_format_that_opens_no_recorder_is_refused_when_the_runner_is_built(opened: object, says: str) -> None:
    fleet = Fleet()
    with pytest.raises(PluginError) as caught:
        build(fleet, history=Opens(opened))
    assert str(caught.value) == says
    assert [env.calls("close") for env in fleet.envs] == [1]


def test_a_module_may_be_a_format() -> None:
    module: Any = ModuleType("returns")
    module.open = lambda spec: ClosesNothing()
    with build(Fleet(), history=module) as runner:
        assert runner.rollout(Constant(), steps=1) == [0]


def test_a_recorder_that_is_refused_is_closed() -> None:
    class Takes:
        closed = 0

        def finish(self) -> list[int]:
            return []

        def close(self) -> None:
            self.closed += 1

    recorder = Takes()
    with pytest.raises(PluginError, match=r"Recorder Takes: it is called as finish\(block\), not finish\(\)"):
        build(Fleet(), history=Opens(recorder))
    assert recorder.closed == 1


@pytest.mark.parametrize("result", [Iterable[int], Collection[int], Sized, list, tuple, Any, np.ndarray])
def test_a_recorder_may_say_little_of_what_it_returns(result: Any) -> None:
    class Says(ClosesNothing): ...

    def finish(self: Any, block: Block, /) -> Any:
        return [block.n_envs]

    finish.__annotations__["return"] = result
    Says.finish = finish  # type: ignore[method-assign]
    with build(Fleet(), history=Opens(Says())) as runner:
        assert runner.rollout(Constant(), steps=1) == [1]


def test_postprocessors_that_leave_the_bounds_are_named_not_the_agent() -> None:
    class Doubles(Identity):
        @override
        def __call__(self, actions: Any, /) -> object:
            return actions * 2

    class Env(ScriptedEnv):
        def __init__(self) -> None:
            super().__init__()
            self.action_space: Any = spaces.Box(-1, 1, (), np.float64)

    with (
        build(lambda seed: Env(), n_envs=2, postprocessors=[Doubles()]) as runner,
        pytest.raises(ProcessorError, match="The postprocessors returned actions for env 0 that do not fit"),
    ):
        runner.rollout(Constant(1.0), steps=1)


def test_the_final_observation_is_kept_if_only_the_next_episode_fails_whatever_is_preprocessed() -> None:
    for preprocessors in ([], [Identity()]):
        fleet = Fleet({0: Faults(reset=lambda env: raising(OSError("level"), at_step=0, in_episode=2)(env))}, length=3)
        with build(fleet, n_envs=2, preprocessors=preprocessors) as runner:
            with pytest.raises(EnvError, match="raised in reset") as caught:
                runner.rollout(Constant(), steps=9)
            for history in collected(caught.value):
                assert [(e.length, e.end_reason) for e in history.episodes] == [(3, EndReason.TERMINATED)]
                assert history.next_observations[-1].tolist() == [3, 1]


def test_an_error_in_a_with_block_is_not_hidden_by_one_of_close() -> None:
    def stuck(env: ScriptedEnv) -> None:
        raise OSError("stuck")

    with (
        pytest.raises(KeyError, match="mine") as caught,
        build(Fleet({0: Faults(close=stuck)})),
    ):
        raise KeyError("mine")
    assert any("Closing failed, too: EnvError: Env 0 failed to close" in note for note in caught.value.__notes__)


def test_several_faults_at_once_are_all_told() -> None:
    fleet = Fleet({i: Faults(step=raising(OSError(f"of {i}"), at_step=2)) for i in (1, 2, 3)})
    with build(fleet, n_envs=4, executor="threads", workers=4) as runner:
        with pytest.raises(EnvError, match=r"Env 1 .*of 1") as caught:
            runner.rollout(Constant(), steps=5)
        assert sum("raised in step: OSError: of" in note for note in caught.value.__notes__) == 2


@pytest.mark.parametrize(
    ("options", "limit"),
    [({}, {"episodes": 1}), ({"auto_reset": False}, {"steps": 9}), ({}, {"steps": 3})],
    ids=["episodes", "no auto-reset", "last step"],
)
def test_a_preprocessor_that_fails_as_an_env_comes_to_rest_leaves_whole_histories(
    options: dict[str, Any], limit: dict[str, Any]
) -> None:
    class FailsAt(Identity):
        calls = 0

        @override
        def __call__(self, observations: Any, /) -> object:
            self.calls += 1
            if self.calls == 4:
                raise OSError("third step")
            return observations

    with build(Fleet(length=3), preprocessors=[FailsAt()], **options) as runner:
        with pytest.raises(ProcessorError, match="third step") as caught:
            runner.rollout(Constant(), **limit)
        (history,) = collected(caught.value)
        assert (len(history), len(history.rewards)) == (2, 2)
        assert [(e.length, e.end_reason) for e in history.episodes] == [(2, EndReason.INTERRUPTED)]


@pytest.mark.parametrize("scheduled", [True, False])
@pytest.mark.parametrize("limit", [{"steps": 5}, {"episodes": 5}])
def test_an_episode_that_cannot_begin_costs_the_other_envs_none(limit: dict[str, Any], scheduled: bool) -> None:
    fleet = Fleet({0: Faults(reset=lambda env: raising(OSError("level"), at_step=0, in_episode=2)(env))}, length=3)
    schedule = (lambda i, k: EpisodeStart(k)) if scheduled else None
    with build(fleet, n_envs=3, schedule=schedule) as runner:
        with pytest.raises(EnvError, match=r"Env 0 .*raised in reset"):
            runner.rollout(Constant(), **limit)
        fleet.mend()
        histories = runner.rollout(Constant(), steps=3)
        assert [history.episodes[0].episode_index for history in histories] == [2, 1, 1]


class _Breaks:
    """A history format that fails where it is told to."""

    def __init__(self, *where: str) -> None:
        self._where = where

    def open(self, spec: runnerkit.RunSpec) -> _Breaks:
        return self._at("open")

    def finish(self, block: object) -> list[object]:
        self._at("finish")
        return [None, None]

    def close(self) -> None:
        self._at("close")

    def _at(self, where: str) -> _Breaks:
        if where in self._where:
            raise OSError(f"{where} failed")
        return self


class _Dist:
    @hookimpl.history_formats
    def history_formats(self) -> Iterator[Contribution[HistoryFormat[object]]]:
        for name in ("open", "finish", "close"):
            yield Contribution(name, functools.partial(_Breaks, name))
        yield Contribution("both", functools.partial(_Breaks, "finish", "close"))


def _roll_out(registry: runnerkit.Registry, history: str) -> None:
    runner = registry.build("CartPole-v1", n_envs=2, seed=0, history=history)
    try:
        runner.rollout(RandomAgent(runner.action_space, seed=0), steps=3)
    finally:
        runner.close()


@pytest.mark.parametrize("where", ["open", "finish", "close"])
def test_a_history_format_that_fails_is_named_with_its_plugin(where: str) -> None:
    registry = runnerkit.Registry()
    registry.register(_Dist(), "dist")
    with pytest.raises(RunnerKitError, match=f"{where} of plugin dist.*OSError: {where} failed"):
        _roll_out(registry, where)


def test_an_error_of_close_does_not_hide_that_of_the_rollout() -> None:
    registry = runnerkit.Registry()
    registry.register(_Dist(), "dist")
    with pytest.raises(RolloutError, match="finish failed") as caught:
        _roll_out(registry, "both")
    assert len(caught.value.histories) == 2
    assert "close failed" in caught.value.__notes__[0]


def test_an_unknown_argument_of_rollout_is_answered_with_the_one_that_was_meant() -> None:
    with runnerkit.make("CartPole-v1") as runner:
        wrong: Any = {"step": 3}
        with pytest.raises(TypeError, match=r"rollout has no argument 'step'\. Did you mean 'steps'\?"):
            runner.rollout(RandomAgent(runner.action_space, seed=0), **wrong)


@pytest.mark.parametrize(
    ("env", "says"),
    [
        ("envpool_:Pong-v5", r"Importing envpool_ failed"),
        ("veector:CartPole-v1", r"Did you mean 'vector:CartPole-v1'\?"),
        (
            "CartPol-v1",
            r"Did you mean 'CartPole-v1'\?.* Known: CartPole-v1, .* and \d+ more \(gymnasium.pprint_registry",
        ),
        pytest.param(
            "Pong-v5",
            r"Did you mean 'ALE/Pong-v5'\?",
            marks=pytest.mark.skipif(not find_spec("ale_py"), reason="needs ale-py"),
        ),
    ],
)
def test_an_unknown_env_is_answered_with_the_nearest_names(env: str, says: str) -> None:
    with pytest.raises(UnknownNameError, match=says) as caught:
        runnerkit.make(env)
    assert len(str(caught.value)) < 700


class Exits:
    """A part that ends the program, in whichever way it is asked."""

    def __call__(self, *given: object) -> Any:
        sys.exit(3)

    bind = open = __call__


@pytest.mark.parametrize(
    ("part", "says"),
    [
        ({"executor": lambda n_envs, workers: sys.exit(3)}, r"executor .*lambda.* could not be made: SystemExit: 3"),
        ({"history": Exits()}, r"History format .*Exits failed to open: SystemExit: 3"),
        ({"preprocessors": [Exits()]}, r"preprocessor .*Exits raised in bind.*SystemExit: 3"),
    ],
)
def test_a_part_that_ends_the_program_while_a_runner_is_built_is_named_instead(part: Any, says: str) -> None:
    with pytest.raises(PluginError, match=says):
        runnerkit.make("CartPole-v1", **part)


@pytest.mark.parametrize("family", ["atari", "envpool"])
def test_a_family_of_envs_that_is_not_installed_is_answered_with_its_package(family: str) -> None:
    if importlib.util.find_spec(family):
        pytest.skip(f"a module of that name is installed: {family}")
    with pytest.raises(UnknownNameError, match=f"pip install runnerkit-{family}"):
        runnerkit.Registry(allow=[]).build(f"{family}:Pong")
