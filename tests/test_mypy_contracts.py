"""Agents, processors and formats under the mypy plugin: what the run time would refuse is said in its sentences."""

from __future__ import annotations

import textwrap

import pytest
from mypy_project import Project

SKIPPED = ("torch.*",)

PARTS = """
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar
import gymnasium
import numpy as np
from gymnasium import Space
from numpy.typing import NDArray
from runnerkit import EnvKey, GymRunner, RunSpec, Transition
from runnerkit.executors.serial import SerialExecutor
from runnerkit.history.block import Block
from runnerkit.typing import ActionPreprocessor, AnyEnv, Recorder, TensorLike

Obs = NDArray[np.float32]
Act = NDArray[np.int64]
KEY: EnvKey[Obs, Act] = EnvKey("CartPole-v1")
TEXTS: EnvKey[list[str], Act] = EnvKey("Texts-v0")
DICT: EnvKey[dict[str, Obs], Act] = EnvKey("Dict-v0")

T = TypeVar("T")
D = TypeVar("D", bound=np.generic)

OTHER: EnvKey[Obs, Obs] = EnvKey("Pendulum-v1")

class Mine(GymRunner[Obs, Act, float]):
    def process_transition(self, history: float | None, transition: Transition[Obs, Act]) -> float: ...
class Declared(GymRunner[Obs, Act]): ...
class OtherRows(GymRunner[Obs, Act, int]):
    def process_transition(self, history: int | None, transition: Transition[NDArray[np.uint8], np.int64]) -> int: ...
class ListsForRows(GymRunner[list[str], Act, int]):
    def process_transition(self, history: int | None, transition: Transition[list[str], Act]) -> int: ...
class Rows(GymRunner[list[str], Act, int]):
    def process_transition(self, history: int | None, transition: Transition[str, np.int64]) -> int: ...
A = TypeVar("A")
class Counts(GymRunner[T, A, int]):
    def process_transition(self, history: int | None, transition: Transition[T, A]) -> int: ...

class Binds:
    def bind(self, space: Space[Any], /) -> Space[Any]: return space

class Scale(Binds):
    def __call__(self, observations: Obs, /) -> Obs: ...
class ToBytes(Binds):
    def __call__(self, observations: Obs, /) -> NDArray[np.uint8]: ...
class OfBytes(Binds):
    def __call__(self, observations: NDArray[np.uint8], /) -> NDArray[np.uint8]: ...
class Planes(Binds):
    def __call__(
        self, observations: np.ndarray[tuple[int, int], np.dtype[np.float32]], /
    ) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]: ...
class Floating(Binds):
    def __call__(self, observations: NDArray[np.number[Any]], /) -> NDArray[np.float64]: ...
class Same(Binds):
    def __call__(self, observations: T, /) -> T: ...
class Either(Binds):
    def __call__(self, observations: NDArray[np.uint8] | Obs, /) -> Any: ...
class ToList(Binds):
    def __call__(self, observations: Obs, /) -> list[float]: ...
class Untyped(Binds):
    def __call__(self, observations): ...  # type: ignore[no-untyped-def]
class OfDicts(Binds):
    def __call__(self, observations: Mapping[str, NDArray[Any]], /) -> Obs: ...
class Delegating:
    def __getattr__(self, name: str) -> Any: ...
class NoBind:
    def binds(self, space: Space[Any], /) -> Space[Any]: return space
    def __call__(self, observations: Obs, /) -> Obs: ...
class NoCall(Binds):
    pass
class AsyncCall(Binds):
    async def __call__(self, observations: Obs, /) -> Obs: ...
class TwoArguments(Binds):
    def __call__(self, observations: Obs, mask: Obs = ..., *rest: Obs, scale: float) -> Obs: ...
class BeginsEpisode(Binds):
    def begin_episode(self, env_indices: Sequence[int], /) -> None: ...
    def __call__(self, observations: Obs, /) -> Obs: ...
class FinalsAlone(Binds):
    def final_observations(self) -> Obs: ...
    def __call__(self, observations: Obs, /) -> Obs: ...
class BindsNothing:
    def bind(self, space: Space[Any], /) -> Space[Any] | None: ...
    def __call__(self, observations: Obs, /) -> Obs: ...

class Forgets(Binds):
    def __call__(self, observations: Obs, /) -> None: ...
class ForgetsActions(Binds):
    def __call__(self, actions: Act, /) -> None: ...
class Generic1(Binds, Generic[D]):
    def __call__(self, observations: NDArray[D], /) -> NDArray[D]: ...
class ToFloats(Binds):
    def __call__(self, actions: Act, /) -> Obs: ...
class ToInts(Binds):
    def __call__(self, actions: Obs, /) -> Act: ...
class ToIntList(Binds):
    def __call__(self, actions: Obs, /) -> list[int]: ...

class Returns:
    def open(self, spec: RunSpec, /) -> Recorder[float]: ...
class NoOpen:
    def opens(self, spec: RunSpec, /) -> Recorder[float]: ...
class OpenAlone:
    def open(self) -> Recorder[float]: ...
class AsyncOpen:
    async def open(self, spec: RunSpec, /) -> Recorder[float]: ...
class OpenNone:
    def open(self, spec: RunSpec, /) -> None: ...
class NoClose:
    def finish(self, block: Block, /) -> list[int]: ...
class OpenNoClose:
    def open(self, spec: RunSpec, /) -> NoClose: ...
class FinishAlone:
    def finish(self) -> list[int]: ...
    def close(self) -> None: ...
class OpenFinishAlone:
    def open(self, spec: RunSpec, /) -> FinishAlone: ...
class FinishOne:
    def finish(self, block: Block, /) -> int: ...
    def close(self) -> None: ...
class OpenFinishOne:
    def open(self, spec: RunSpec, /) -> FinishOne: ...

class Left:
    def act(self, observations: Obs, /) -> Act: ...
class Tensors:
    def act(self, observations: Obs, /) -> TensorLike: ...
class Lists:
    def act(self, observations: Obs, /) -> list[float]: ...
class Loose:
    def act(self, observations: object, /, state: int = 0) -> Any: ...
class Unannotated:
    def act(self, observations): ...  # type: ignore[no-untyped-def]
class Namespace:
    @staticmethod
    def act(observations: Obs) -> Act: ...
class Holds:
    def __init__(self, act: Callable[[Obs], Act]) -> None:
        self.act = act
class Acts:
    act = 3
class NoAct:
    def acts(self, observations: Obs, /) -> Act: ...
class AsyncAct:
    async def act(self, observations: Obs, /) -> Act: ...
class AsyncFloats:
    async def act(self, observations: Obs, /) -> NDArray[np.float64]: ...
class AsyncUnannotated:
    async def act(self, observations): ...  # type: ignore[no-untyped-def]
class TwoActs:
    def act(self, observations: Obs, state: int, *, key: int = 3) -> Act: ...
class TakesBytes:
    def act(self, observations: NDArray[np.uint8], /) -> Act: ...
class GivesFloats:
    def act(self, observations: Obs, /) -> NDArray[np.float64]: ...
class GivesNothing:
    def act(self, observations: Obs, /) -> None: ...
class BeginsAlone(Left):
    def begin_episodes(self) -> None: ...
class BeginsOne(Left):
    def begin_episode(self, env_indices: Sequence[int]) -> None: ...
class SetsTwo(Left):
    def set_active_envs(self, env_indices: Sequence[int], more: int) -> None: ...
class AsyncBegins(Left):
    async def begin_episodes(self, env_indices: Sequence[int]) -> None: ...

def make_lake(env_id: str, /, *, seed: int | None, **options: Any) -> AnyEnv: ...
def make_pond(env_id: str, n: int) -> AnyEnv: ...
class Unfit(SerialExecutor):
    def __init__(self) -> None: ...
def anything() -> Any: ...
def handed_over() -> GymRunner[Obs, Act]: ...
def make_typed(seed: int | None) -> gymnasium.Env[Obs, np.int64]: ...
def make_nested(seed: int | None) -> gymnasium.Env[dict[str, Obs], int]: ...
def processor() -> ActionPreprocessor: ...
def flag() -> bool: ...
def positional() -> tuple[Any, ...]: ...
def named() -> dict[str, Any]: ...
"""

IMPORTS = """
from typing import *
from parts import *
import numpy as np
import runnerkit
from numpy.typing import NDArray
from runnerkit import Contribution, GymRunner, HistoryKey, Transition, hookimpl, make
from runnerkit.executors.serial import SerialExecutor
from runnerkit.history.arrays import ArrayFormat, ArrayHistory
from runnerkit.executors import MakeExecutor
from runnerkit.processors import Clip, ClipReward, Flatten, Normalize, NormalizeReward
from runnerkit.typing import ActionPostprocessor, ActionPreprocessor, EnvFactory, HistoryFormat
runner = make(KEY)
awaiting = make(KEY, executor="asyncio")
processed = make(KEY, preprocessors=[ToBytes()])
Bytes = NDArray[np.uint8]
"""

ASYNC = "is async, but nothing awaits it. Make it a plain method, or use executor='asyncio'."
OTHERWISE = "Change the annotation, or insert a preprocessor."
FROM_ENV = f"but the env provides NDArray[float32]. {OTHERWISE}"
TO_ENV = "but the env expects NDArray[int64]. Change the annotation, or insert a postprocessor."

DECLARED = "Runner Declared declares"
CHANGE = "Change the types in the brackets of its base class, or what it is built of."
OF_ARRAYS = (
    f"{DECLARED} histories of type ArrayHistory[NDArray[float32], NDArray[int64]], but the history format provides"
)

FAULTY = {
    # processors
    "make(KEY, preprocessors='flatten')": (
        "preprocessors='flatten' is a string, not a list. Write preprocessors=['flatten']."
    ),
    "make(KEY, preprocessors=[Scale])": "Preprocessor Scale is a class. Make one: Scale().",
    "make(KEY, preprocessors=[NoBind()])": "Preprocessor NoBind has no method bind(space). Did you mean 'binds'?",
    "make(KEY, preprocessors=[NoCall()])": "Preprocessor NoCall has no method __call__(observations). Give it one.",
    "make(KEY, preprocessors=[len])": "Preprocessor function has no method bind(space). Give it one.",
    "make(KEY, postprocessors=[NoCall()])": "Postprocessor NoCall has no method __call__(actions). Give it one.",
    "make(KEY, preprocessors=(AsyncCall(),))": (
        "Preprocessor AsyncCall: __call__ is async, but nothing awaits it. Make it a plain method."
    ),
    "make(KEY, preprocessors=[TwoArguments()])": (
        "Preprocessor TwoArguments: it is called as __call__(observations), not "
        "__call__(observations, mask, *rest, scale). Change its parameters."
    ),
    "make(KEY, preprocessors=[BeginsEpisode()])": (
        "Preprocessor BeginsEpisode: begin_episode is never called. Did you mean begin_episodes(env_indices)? "
        "Rename it. If it is your own, start its name with an underscore."
    ),
    "make(KEY, preprocessors=[FinalsAlone()])": (
        "Preprocessor FinalsAlone: it is called as final_observations(observations), not final_observations(). "
        "Change its parameters."
    ),
    "make(KEY, reward_processors=[Left()])": "Reward processor Left has no method __call__(rewards). Give it one.",
    "make(KEY, reward_processors=[ClipReward])": "Reward processor ClipReward is a class. Make one: ClipReward().",
    "make(KEY, reward_processors=[lambda: 3])": (
        "Reward processor function: it is called as function(rewards), not function(). Change its parameters."
    ),
    "make(KEY, preprocessors=[BindsNothing()])": (
        "Preprocessor BindsNothing: bind must return Space[Any], not Space[Any] | None."
    ),
    "make(KEY, preprocessors=[OfBytes()])": f"Preprocessor OfBytes expects NDArray[uint8], {FROM_ENV}",
    "make(KEY, preprocessors=[Scale(), ToBytes(), Scale(), Flatten()])": (
        f"Preprocessor Scale expects NDArray[float32], but Preprocessor ToBytes provides NDArray[uint8]. {OTHERWISE}"
    ),
    "GymRunner('CartPole-v1', preprocessors=['normalize', OfBytes()])": (
        "Preprocessor OfBytes expects NDArray[uint8], but Preprocessor Normalize provides NDArray[float32]. "
        f"{OTHERWISE}"
    ),
    "Mine(KEY, preprocessors=[OfBytes()])": f"Preprocessor OfBytes expects NDArray[uint8], {FROM_ENV}",
    "make(DICT, preprocessors=[Scale()])": (
        f"Preprocessor Scale expects NDArray[float32], but the env provides dict[str, NDArray[float32]]. {OTHERWISE}"
    ),
    "make(KEY, postprocessors=[ToFloats()])": f"Postprocessor ToFloats provides NDArray[float32], {TO_ENV}",
    "make(KEY, postprocessors=[ToInts(), ToInts()])": (
        "Postprocessor ToInts provides NDArray[int64], but Postprocessor ToInts expects NDArray[float32]. "
        "Change the annotation, or insert a postprocessor."
    ),
    "with GymRunner(KEY, preprocessors=[OfBytes()]) as r1: r1.seed": (
        f"Preprocessor OfBytes expects NDArray[uint8], {FROM_ENV}"
    ),
    "print([make(KEY, preprocessors=[OfBytes()]).rollout(anything()) for _ in range(3)])": (
        f"Preprocessor OfBytes expects NDArray[uint8], {FROM_ENV}"
    ),
    # history formats
    "make(KEY, history=Returns)": "History format Returns is a class. Make one: Returns().",
    "make(KEY, history=NoOpen())": "History format NoOpen has no method open(spec). Did you mean 'opens'?",
    "make(KEY, history=AsyncOpen())": (
        "History format AsyncOpen: open is async, but nothing awaits it. Make it a plain method."
    ),
    "make(KEY, history=OpenAlone())": (
        "History format OpenAlone: it is called as open(spec), not open(). Change its parameters."
    ),
    "make(KEY, history=OpenNone())": "History format OpenNone: open must return Recorder[object], not None.",
    "make(KEY, history=OpenNoClose())": "Recorder NoClose has no method close(). Give it one.",
    "GymRunner(KEY, history=OpenFinishAlone())": (
        "Recorder FinishAlone: it is called as finish(block), not finish(). Change its parameters."
    ),
    "make(KEY, history=OpenFinishOne())": "Recorder FinishOne: finish must return Sequence[object], not int.",
    # agents
    "runner.rollout(Left)": "Agent Left is a class. Make one: Left().",
    "runner.rollout(None)": "Agent NoneType has no method act(observations). Give it one.",
    "runner.rollout(lambda observations: 0)": f"Agent function provides int, {TO_ENV}",
    "runner.rollout(lambda observations, state: 0)": (
        "Agent function: it is called as function(observations), not function(observations, state). "
        "Change its parameters."
    ),
    "runner.rollout(TakesBytes().act)": f"Agent act expects NDArray[uint8], {FROM_ENV}",
    "runner.rollout(AsyncAct().act)": f"Agent act: act {ASYNC}",
    "runner.rollout(runnerkit)": "Agent module has no method act(observations). Give it one.",
    "runner.rollout(Acts())": "Agent Acts has no method act(observations). Give it one.",
    "runner.rollout(NoAct())": "Agent NoAct has no method act(observations). Did you mean 'acts'?",
    "runner.rollout(agent=AsyncAct())": f"Agent AsyncAct: act {ASYNC}",
    "runner.rollout(AsyncUnannotated())": f"Agent AsyncUnannotated: act {ASYNC}",
    "awaiting.rollout(AsyncFloats())": f"Agent AsyncFloats provides NDArray[float64], {TO_ENV}",
    "runner.rollout(TwoActs(), steps=3)": (
        "Agent TwoActs: it is called as act(observations), not act(observations, state, *, key). Change its parameters."
    ),
    "runner.rollout(TakesBytes())": f"Agent TakesBytes expects NDArray[uint8], {FROM_ENV}",
    "runner.rollout(GivesFloats())": f"Agent GivesFloats provides NDArray[float64], {TO_ENV}",
    "runner.rollout(GivesNothing())": f"Agent GivesNothing provides None, {TO_ENV}",
    "Mine('CartPole-v1').rollout(TakesBytes())": f"Agent TakesBytes expects NDArray[uint8], {FROM_ENV}",
    "make(KEY, preprocessors=[ToBytes()]).rollout(Left())": (
        f"Agent Left expects NDArray[float32], but Preprocessor ToBytes provides NDArray[uint8]. {OTHERWISE}"
    ),
    "runner.rollout(BeginsAlone())": (
        "Agent BeginsAlone: it is called as begin_episodes(env_indices), not begin_episodes(). Change its parameters."
    ),
    "runner.rollout(BeginsOne())": (
        "Agent BeginsOne: begin_episode is never called. Did you mean begin_episodes(env_indices)? "
        "Rename it. If it is your own, start its name with an underscore."
    ),
    "make('CartPole-v1', n_env=4)": "A runner has no option 'n_env'. Did you mean 'n_envs'?",
    "GymRunner('CartPole-v1', n_env=4)": "A runner has no option 'n_env'. Did you mean 'n_envs'?",
    "make(KEY, hissing=4)": (
        "A runner has no option 'hissing'. What is for the env itself goes into env_options={'hissing': ...}."
    ),
    "make(KEY, history=None)": "history must be a name, a HistoryKey or a HistoryFormat object, not None.",
    "make(KEY, history=3)": "history must be a name, a HistoryKey or a HistoryFormat object, not int.",
    "make('CartPole-v1', executor=3)": (
        "executor must be a name such as 'auto', 'serial' or 'threads', an executor, or a function "
        "(n_envs, workers) that makes one, not int."
    ),
    "runner.rollout(SetsTwo())": (
        "Agent SetsTwo: it is called as set_active_envs(env_indices), not set_active_envs(env_indices, more). "
        "Change its parameters."
    ),
    "runner.rollout(AsyncBegins())": (
        "Agent AsyncBegins: begin_episodes is async, but nothing awaits it. Make it a plain method."
    ),
}

FAULTY |= {
    # who is before and after the agent
    "processed.rollout(Left())": (
        f"Agent Left expects NDArray[float32], but Preprocessor ToBytes provides NDArray[uint8]. {OTHERWISE}"
    ),
    "make(KEY, postprocessors=[ToInts()]).rollout(GivesFloats())": (
        "Agent GivesFloats provides NDArray[float64], but Postprocessor ToInts expects NDArray[float32]. "
        "Change the annotation, or insert a postprocessor."
    ),
    "handed_over().rollout(TakesBytes())": (
        f"Agent TakesBytes expects NDArray[uint8], but the runner provides NDArray[float32]. {OTHERWISE}"
    ),
    "make(KEY, preprocessors=[Forgets(), Scale()])": (
        "Preprocessor Forgets: __call__ must return observations, not None."
    ),
    "make(KEY, postprocessors=[ForgetsActions()])": (
        "Postprocessor ForgetsActions: __call__ must return actions, not None."
    ),
    # runners of one's own
    "Declared(KEY, history='torch')": f"{OF_ARRAYS} TorchHistory[Any, Any]. {CHANGE}",  # torch is not read here
    "Declared('x', history=Returns())": f"{OF_ARRAYS} float. {CHANGE}",
    "Declared(OTHER)": (f"{DECLARED} actions of type NDArray[int64], but the env expects NDArray[float32]. {CHANGE}"),
    "Declared(KEY, preprocessors=[ToBytes()])": (
        f"{DECLARED} observations of type NDArray[float32], but Preprocessor ToBytes provides NDArray[uint8]. {CHANGE}"
    ),
    "Mine(OTHER, 0, 2)": (
        f"Runner Mine declares actions of type NDArray[int64], but the env expects NDArray[float32]. {CHANGE}"
    ),
    "make(KEY, n_envs='3')": "Option 'n_envs' of a runner must be int, not '3'.",
    "Mine(KEY, 0, [2])": "Option 'n_envs' of a runner must be int, not list[int].",
    "make('x', workers=1.5)": "Option 'workers' of a runner must be int | None, not float.",
    "GymRunner(KEY, on_env_error='restrt')": (
        "Option 'on_env_error' of a runner must be Literal['raise', 'restart'], not 'restrt'."
    ),
    "make(KEY, executor=Left())": (
        "Option 'executor' of a runner must be a name, an executor, or a function (n_envs, workers) that makes one, "
        "not Left."
    ),
    "make(KEY, preprocessors=[3])": (
        "Option 'preprocessors' of a runner must be a list of names and processors, not list[int]."
    ),
    "OtherRows(KEY)": (
        "Runner OtherRows is declared with observations of NDArray[float32], but its process_transition expects "
        "NDArray[uint8] for one row of them. Change the types of its Transition."
    ),
    "ListsForRows('x')": (
        "Runner ListsForRows is declared with observations of list[str], but its process_transition expects list[str] "
        "for one row of them. Change the types of its Transition."
    ),
    "wrong_key: HistoryKey[int] = HistoryKey('arrays')": (
        "History format 'arrays' provides ArrayHistory[Any, Any], not int. "
        "Write HistoryKey[ArrayHistory[Any, Any]]('arrays')."
    ),
    "make(make_typed).rollout(TakesBytes())": f"Agent TakesBytes expects NDArray[uint8], {FROM_ENV}",
}

OFFERS = {  # which mypy itself refuses as well
    ("ActionPreprocessor", "NoBind"): "Preprocessor NoBind has no method bind(space). Did you mean 'binds'?",
    ("ActionPostprocessor", "lambda: NoCall()"): "Postprocessor NoCall has no method __call__(actions). Give it one.",
    ("ActionPreprocessor", "lambda: Scale"): "Preprocessor Scale is a class. Make one: Scale().",
    ("HistoryFormat[object]", "NoOpen"): "History format NoOpen has no method open(spec). Did you mean 'opens'?",
    ("EnvFactory", "lambda: make_pond"): (
        "Env factory make_pond: it is called as make_pond(env_id, *, seed, **options), not make_pond(env_id, n). "
        "Change its parameters."
    ),
    ("MakeExecutor", "lambda: Unfit"): (
        "Executor Unfit: it is called as Unfit(n_envs, workers), not Unfit(). Change its parameters."
    ),
}

RIGHT = """
    make(KEY, reward_processors=["sign", NormalizeReward(), np.sign, np.abs, lambda rewards: rewards * 2])
    runner.rollout(Left(), steps=3)
    runner.rollout(Tensors())
    awaiting.rollout(AsyncAct())
    awaiting.rollout(AsyncUnannotated(), steps=3)
    awaiting.rollout(AsyncAct().act)
    make(KEY, executor=("asyncio", {})).rollout(AsyncAct())
    runner.rollout(Lists())
    runner.rollout(Loose())
    runner.rollout(Unannotated())
    runner.rollout(Namespace)
    runner.rollout(Namespace())
    runner.rollout(Holds(Left().act))
    runner.rollout(Left().act, steps=3)
    runner.rollout(Unannotated().act)
    runner.rollout(lambda observations: (observations[:, 2] > 0).astype(np.int64))
    runner.rollout(lambda observations: [0 for _ in observations])
    runner.rollout(Delegating().agent)
    runner.rollout(anything())
    runner.rollout(NoAct())  # type: ignore[runnerkit-contract]
    GymRunner("CartPole-v1").rollout(TakesBytes())
    runner.rollout(*positional())
    runner.rollout(**named())
    runner.rollout(Left(), **named())
    make(KEY, preprocessors=[Planes(), Scale(), Same(), OfBytes()])
    make(KEY, preprocessors=[Same(), Either(), OfBytes(), Floating()])
    make(KEY, preprocessors=[ToList(), OfBytes()])
    make(KEY, preprocessors=[Untyped(), OfBytes()])
    make(KEY, preprocessors=[processor(), OfBytes()])
    make(KEY, preprocessors=[anything(), Delegating(), OfBytes()])
    make(KEY, preprocessors=[Scale() if flag() else "flatten"])
    make(KEY, preprocessors=[*[ToBytes()], OfBytes()])
    make(KEY, preprocessors=[ToBytes(), OfBytes()], history=Returns())
    make(DICT, preprocessors=[OfDicts(), Scale()])
    make(KEY, postprocessors=[ToFloats(), ToInts()])
    make(KEY, postprocessors=[ToIntList()])
    make(KEY, postprocessors=[anything()])
    make(KEY, preprocessors=[])
    make(KEY, history=anything())
    make(KEY, preprocessors=[OfBytes()])  # type: ignore[runnerkit-contract]
    assert_type(make(KEY, history=Returns()), GymRunner[Obs, Act, float])
    assert_type(make(KEY, history=ArrayFormat()), GymRunner[Obs, Act, ArrayHistory[Any, Any]])
    assert_type(make(KEY, preprocessors=[ToBytes()]), GymRunner[Bytes, Act, ArrayHistory[Bytes, Act]])
    assert_type(
        make(KEY, preprocessors=["scale-image", ToBytes()], history="transitions"),
        GymRunner[Bytes, Act, list[Transition[Any, Any]]],
    )
    assert_type(make(KEY, postprocessors=(ToInts(),)), GymRunner[Obs, Obs, ArrayHistory[Obs, Obs]])
    assert_type(
        GymRunner("CartPole-v1", preprocessors=["flatten", Normalize()], postprocessors=[Clip()]),
        GymRunner[Obs, NDArray[Any], ArrayHistory[Obs, NDArray[Any]]],
    )
    assert_type(GymRunner("CartPole-v1"), GymRunner[Any, Any, ArrayHistory[Any, Any]])
    assert_type(make(KEY, preprocessors=[processor()]), GymRunner[Any, Act, ArrayHistory[Any, Act]])
    assert_type(make(KEY, preprocessors=[], history="arrays"), GymRunner[Obs, Act, ArrayHistory[Obs, Act]])
    assert_type(Mine("CartPole-v1", preprocessors=[Scale()]), Mine)
    make(KEY, preprocessors=[Generic1(), Scale()])
    assert_type(make(KEY, preprocessors=[Generic1()]).rollout(Loose())[0].rewards, NDArray[np.float64])
    Declared(KEY, 0, history="arrays")
    Declared("x", history=anything())
    Mine(KEY, history="transitions")
    Rows("x")
    assert_type(make(TEXTS, history="transitions"), GymRunner[list[str], Act, list[Transition[str, Any]]])
    rows = make(DICT, history="transitions").rollout(runnerkit.RandomAgent(runner.action_space), steps=1)
    assert_type(rows, list[list[Transition[dict[str, Any], Any]]])
    assert_type(Counts(KEY), Counts[Obs, Act])
    assert_type(Counts("x"), Counts[Any, Any])
    assert_type(make(make_typed), GymRunner[Obs, Act, ArrayHistory[Obs, Act]])
    assert_type(make(make_nested), GymRunner[Any, Any, ArrayHistory[Any, Any]])
    open_key: HistoryKey[object] = HistoryKey("arrays")
    exact_key: HistoryKey[list[Transition[Obs, Act]]] = HistoryKey("transitions")
    declared: GymRunner[Obs, Act, ArrayHistory[Obs, Act]] = make("CartPole-v1", preprocessors=[Planes()])
    declared.rollout(Left())
    for history in (Returns(), "arrays"):
        assert_type(GymRunner("CartPole-v1", history=history), GymRunner[Any, Any, Any])
    several = (ToBytes(), OfBytes())
    assert_type(make(KEY, preprocessors=several), GymRunner[Bytes, Act, ArrayHistory[Bytes, Act]])
    listed: list[ActionPreprocessor] = [OfBytes()]
    assert_type(make(KEY, preprocessors=listed), GymRunner[Any, Act, ArrayHistory[Any, Act]])
    offers: list[Contribution[HistoryFormat[object]]] = [Contribution("a", Returns), Contribution("b", ArrayFormat)]
    envs: list[Contribution[EnvFactory]] = [Contribution("lake", lambda: make_lake)]
    executors: list[Contribution[MakeExecutor]] = [Contribution("serial", lambda: SerialExecutor)]
    processors: list[Contribution[ActionPreprocessor]] = [Contribution("scale", Scale)]
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(tmp_path_factory.mktemp("contracts"), SKIPPED)
    project.configure(SKIPPED, '\n[[tool.mypy.overrides]]\nmodule = "parts"\ndisable_error_code = "empty-body"\n')
    project.write("parts", PARTS)
    project.write("faulty", IMPORTS + "\n".join(FAULTY) + "\n")
    offers = (f"o{i}: Contribution[{kind}] = Contribution('x', {make})" for i, (kind, make) in enumerate(OFFERS))
    project.write("offers", IMPORTS + "\n".join(offers) + "\n")
    project.write("right", IMPORTS + "def right() -> None:\n" + textwrap.indent(textwrap.dedent(RIGHT), "    "))
    return project


@pytest.fixture(scope="module")
def messages(project: Project) -> dict[str, list[str]]:
    return project.check()


def lines_of(messages: list[str], index: int) -> list[str]:
    """Return what is said of a line after the imports."""
    start = f"{IMPORTS.count(chr(10)) + 1 + index}: "
    return [message.removeprefix(start) for message in messages if message.startswith(start)]


@pytest.mark.parametrize("code", FAULTY)
def test_a_fault_is_said_once_and_nothing_else_of_it(messages: dict[str, list[str]], code: str) -> None:
    said = lines_of(messages["faulty"], list(FAULTY).index(code))
    assert said == [f"{FAULTY[code]}  [runnerkit-contract]"]


@pytest.mark.parametrize("offer", OFFERS, ids=str)
def test_what_an_offer_lacks_is_said_beside_the_error_of_mypy(
    messages: dict[str, list[str]], offer: tuple[str, str]
) -> None:
    said = lines_of(messages["offers"], list(OFFERS).index(offer))
    assert said.count(f"{OFFERS[offer]}  [runnerkit-contract]") == 1
    assert any("[arg-type]" in message for message in said)


@pytest.mark.parametrize("module", ["parts", "right"])
def test_nothing_is_said_of_what_is_right_or_open(messages: dict[str, list[str]], module: str) -> None:
    assert messages[module] == []


def test_what_comes_from_the_cache_is_judged_alike(project: Project, messages: dict[str, list[str]]) -> None:
    for module in ("faulty", "right"):
        project.write(module, (project.code / f"{module}.py").read_text() + "# changed\n")
    again = project.check()
    assert again["faulty"] == messages["faulty"]
    assert again["right"] == []
