"""Who made the data: the parts of a runner are in its histories, with distributions, versions and options."""

from __future__ import annotations

import copy
import dataclasses
import functools
import importlib.metadata
import json
import pickle
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from click.testing import CliRunner
from faulty_envs import Constant, ScriptedEnv
from typing_extensions import override

import runnerkit
from runnerkit import Contribution, MadeBy, PartRecord, RandomAgent, Registry, hookimpl, use
from runnerkit._cli.main import main
from runnerkit._core import origins
from runnerkit.executors import ThreadsExecutor
from runnerkit.history import ArrayHistory
from runnerkit.history.arrays import ArrayFormat
from runnerkit.processors import Normalize
from runnerkit.typing import AnyEnv

GYMNASIUM = ("gymnasium", gymnasium.__version__)
OURS = ("runnerkit", importlib.metadata.version("runnerkit"))


def make_env(seed: int | None) -> AnyEnv:
    return ScriptedEnv(length=3)


class Columns(ArrayFormat):
    def __init__(self, path: object = None) -> None: ...


@pytest.fixture
def registry() -> Registry:
    registry = Registry()

    @hookimpl
    def history_formats() -> Iterator[Contribution[ArrayFormat]]:
        yield Contribution("columns", Columns)

    registry.register(types.SimpleNamespace(history_formats=history_formats), "mine")
    return registry


@pytest.mark.parametrize("executor", ["serial", "threads", "processes"])
def test_each_history_tells_of_each_part(executor: str) -> None:
    with runnerkit.make(
        "Pendulum-v1",
        n_envs=2,
        executor=executor,
        preprocessors=[use("normalize", clip=5), "flatten"],
        postprocessors=["clip"],
        env_options={"g": 9.0},
    ) as runner:
        agent = RandomAgent(runner.action_space, seed=0)
        ended: list[ArrayHistory[Any, Any]] = []
        histories = runner.rollout(agent, steps=201, on_episode=lambda end: ended.append(end.history()))
    expected = (
        PartRecord("env", "Pendulum-v1", *GYMNASIUM, {"g": 9.0}),
        PartRecord("preprocessor", "normalize", *OURS, {"clip": 5}),
        PartRecord("preprocessor", "flatten", *OURS),
        PartRecord("postprocessor", "clip", *OURS),
        PartRecord("executor", executor, *OURS),
        PartRecord("history format", "arrays", *OURS),
    )
    made_by = runner.made_by
    assert made_by.parts == expected
    assert made_by.packages["numpy"] == np.__version__
    assert made_by.packages.keys() == {"python", "runnerkit", "gymnasium", "numpy"}
    stacked, single = runnerkit.stack(histories), pickle.loads(pickle.dumps(histories[1]))
    for history in (*histories, *ended, stacked, single, copy.deepcopy(histories[0])):
        assert history.made_by == made_by
    assert MadeBy.of(json.loads(json.dumps(made_by.document()))) == made_by
    assert len(ended) == 2


def test_what_has_no_name_is_recorded_by_its_class_or_function_and_where_that_is_from() -> None:
    with runnerkit.make(make_env, history=Columns(), preprocessors=[Normalize()]) as runner:
        env, normalize, _, history = runner.made_by.parts
    assert (env.name, env.distribution) == (f"{__name__}:make_env", "")
    assert (normalize.name, normalize.distribution) == ("runnerkit.processors.normalize:Normalize", "runnerkit")
    assert (history.name, history.distribution) == (f"{__name__}:Columns", "")


class Keeps:
    """A preprocessor that keeps what it was made with, but not all of it."""

    def __init__(self, low: float, high: float = 1.0, *more: int, secret: str = "", names: Any = ("a", "b")) -> None:
        self.low, self.high, self.names = low, high, names
        self.more = more

    def bind(self, space: Any, /) -> Any:
        return space

    def __call__(self, observations: Any, /) -> Any:
        return observations


@dataclasses.dataclass(slots=True)
class Declared(Keeps):
    depth: int
    width: int = 3


class Says(Keeps):
    def __init__(self) -> None:
        self.options = {"said": 1}


@pytest.mark.parametrize(
    ("part", "kept"),
    [
        (Keeps(-1, secret="x", names=np.arange(2)), {"low": -1, "names": "array([0, 1])"}),
        (Keeps(0.0, 2.0, 5), {"low": 0.0, "high": 2.0}),
        (Declared(4), {"depth": 4}),
        (Says(), {"said": 1}),
        (Normalize(clip=5), {"clip": 5}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_options_of_an_object_are_those_that_it_keeps(part: Any, kept: dict[str, object]) -> None:
    with runnerkit.make("CartPole-v1", preprocessors=[part]) as runner:
        assert runner.made_by.parts[1].options == kept


def test_options_of_a_partial_are_its_keywords() -> None:
    part: Any = functools.partial(ThreadsExecutor)
    short = functools.partial(gymnasium.wrappers.TimeLimit, max_episode_steps=4)
    with runnerkit.make("CartPole-v1", executor=part, wrappers=[short]) as runner:
        (_, wrapper, executor, _) = runner.made_by.parts
    assert (wrapper.name.rpartition(":")[2], wrapper.options) == ("TimeLimit", {"max_episode_steps": 4})
    assert executor.name == "runnerkit.executors.threads:ThreadsExecutor"


@pytest.mark.parametrize("elsewhere", [{}, {"executor": "processes", "isolate": True}], ids=["here", "in helpers"])
def test_an_env_of_another_package_is_recorded_with_that(elsewhere: dict[str, Any]) -> None:
    pytest.importorskip("runnerkit_atari")
    version = importlib.metadata.version("runnerkit-atari")
    with runnerkit.make("atari:Pong", **elsewhere) as runner:
        env, factory = runner.made_by.parts[:2]
    assert (env.name, env.distribution) == ("ALE/Pong-v5", "ale-py")
    assert (factory.kind, factory.name, factory.distribution) == ("env factory", "atari", "runnerkit-atari")
    assert factory.version == version


class Opaque:
    pass


class Unpicklable:
    @override
    def __reduce__(self) -> str:
        raise TypeError("not me")

    @override
    def __repr__(self) -> str:
        return "Unpicklable()"


@pytest.mark.parametrize(
    ("option", "kept"),
    [
        (np.float32(0.5), 0.5),
        (float("nan"), "nan"),
        (Path("a") / "b", str(Path("a") / "b")),
        ((1, [None, True]), [1, [None, True]]),
        ({1: {"x": 2.0}}, {"1": {"x": 2.0}}),
        (make_env, f"{__name__}:make_env"),
        (Opaque, f"{__name__}:Opaque"),
        (Opaque(), f"{__name__}:Opaque"),
        (Unpicklable(), "Unpicklable()"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_options_are_kept_as_plain_values_so_that_histories_can_be_pickled(
    registry: Registry, option: object, kept: object
) -> None:
    with registry.build("CartPole-v1", history=use("columns", path=option)) as runner:
        history: Any = runner.rollout(Constant(), steps=2)[0]
    document = json.loads(json.dumps(pickle.loads(pickle.dumps(history)).made_by.document(), allow_nan=False))
    assert document["parts"][-1]["options"] == {"path": kept}


def test_a_module_is_not_of_a_distribution_that_only_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "site" / "lookalike-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lookalike\nVersion: 1.0\n")
    module = types.ModuleType("lookalike")
    monkeypatch.setitem(sys.modules, "lookalike", module)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    for place, expected in (("site", ("lookalike", "1.0")), ("elsewhere", ("", ""))):
        module.__file__ = str(tmp_path / place / "lookalike" / "__init__.py")
        origins._look_up.cache_clear()
        assert origins.distribution_of("lookalike.envs") == expected


def test_the_distribution_of_a_package_is_known_before_it_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "pluggy")
    origins._look_up.cache_clear()
    assert origins.distribution_of("pluggy.hooks") == ("pluggy", importlib.metadata.version("pluggy"))
    assert "pluggy" not in sys.modules


def test_the_command_line_tells_of_them_in_json() -> None:
    arguments = [
        "rollout",
        "CartPole-v1",
        "--steps",
        "3",
        "--executor",
        "serial",
        "--pre",
        "normalize:clip=3",
        "--json",
    ]
    document = json.loads(CliRunner().invoke(main, arguments).stdout)
    made_by = MadeBy.of(document["made_by"])
    assert [(part.name, dict(part.options)) for part in made_by.parts] == [
        ("CartPole-v1", {}),
        ("normalize", {"clip": 3}),
        ("serial", {}),
        ("arrays", {}),
    ]
