"""Plugins: found late, asked once, refused with a reason, and out of the way in a step."""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import json
import os
import re
import subprocess
import sys
import textwrap
import types
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar, cast
from unittest.mock import MagicMock, Mock

import gymnasium
import numpy as np
import pytest
from faulty_envs import Constant, ScriptedEnv, build
from numpy.typing import NDArray
from typing_extensions import override

from runnerkit import Contribution, HistoryKey, Registry, hookimpl
from runnerkit._plugins.manager import Plugins
from runnerkit._plugins.offers import KINDS, Kind
from runnerkit.errors import ArgumentError, MissingDependencyError, PluginError, SpaceError, UnknownNameError
from runnerkit.executors.serial import SerialExecutor
from runnerkit.history.arrays import ArrayFormat, ArrayHistory
from runnerkit.history.transitions import TransitionFormat
from runnerkit.mypy.names import BUILTIN
from runnerkit.processors import Clip, Flatten
from runnerkit.typing import AnyEnv, HistoryFormat

BUILT_IN = {
    "env_factories": [],
    "action_preprocessors": ["flatten", "frame-stack", "last-action", "normalize", "scale-image", "time-aware"],
    "action_postprocessors": ["clip", "rescale"],
    "reward_processors": ["clip", "normalize-reward", "scale", "sign"],
    "history_formats": ["arrays", "npz", "torch", "transitions"],
    "executors": ["auto", "serial", "threads"],
}


def names(plugins: Plugins) -> dict[str, list[str]]:
    return {kind: sorted(plugins.offers(kind)) for kind in KINDS}


def module_of(**functions: Callable[..., Any]) -> types.ModuleType:
    """Return a module with these functions as hook implementations."""
    module = types.ModuleType("by_hand")
    for name, function in functions.items():
        setattr(module, name, hookimpl(function))
    return module


def offering(*offered: str, kind: str = "history_formats") -> types.ModuleType:
    return module_of(**{kind: lambda: [Contribution(name, ArrayFormat) for name in offered]})


# ---- by hand


def test_the_built_ins_are_there_from_the_start() -> None:
    plugins = Plugins()
    known = names(plugins)
    assert {kind: sorted(set(known[kind]) & set(expected)) for kind, expected in BUILT_IN.items()} == BUILT_IN
    offer = plugins.get("history_formats", "arrays")
    assert (offer.plugin, offer.distribution) == ("builtin", "runnerkit")
    assert offer.version == importlib.metadata.version("runnerkit")
    assert offer.source == f"runnerkit {offer.version}"
    assert isinstance(offer.make(), ArrayFormat)


def test_a_module_can_be_registered() -> None:
    plugins = Plugins()
    plugins.register(offering("arrow"))
    offer = plugins.get("history_formats", "arrow")
    assert (offer.name, offer.plugin, offer.distribution, offer.version) == ("arrow", "by_hand", "", "")
    assert offer.source == "plugin by_hand"


def test_an_object_can_be_registered_under_a_name() -> None:
    class Mine:
        @hookimpl
        def history_formats(self) -> Iterator[Contribution[ArrayFormat]]:
            yield Contribution("columns", ArrayFormat, "by column")

        @hookimpl
        def env_factories(self) -> list[Contribution[Any]]:
            return [Contribution("mine", lambda: lambda env_id, seed: ScriptedEnv())]

    registry = Registry()
    registry.register(Mine(), name="my plugin")
    assert registry.history_formats["columns"].plugin == "my plugin"
    assert registry.history_formats["columns"].contribution.summary == "by column"
    assert "mine" in registry.env_factories
    columns: HistoryKey[ArrayHistory[Any, Any]] = HistoryKey("columns")
    with registry.build("mine:anything", history=columns, n_envs=2) as runner:
        assert [len(history) for history in runner.rollout(Constant(), steps=3)] == [3, 3]


def test_an_object_without_a_name_has_that_of_its_class() -> None:
    class Mine:
        @hookimpl
        def history_formats(self) -> list[Contribution[ArrayFormat]]:
            return [Contribution("arrow", ArrayFormat)]

    plugins = Plugins()
    plugins.register(Mine())
    assert plugins.get("history_formats", "arrow").plugin == "Mine"


def test_two_objects_of_one_class_are_two_plugins() -> None:
    class Mine:
        def __init__(self, name: str) -> None:
            self.name = name

        @hookimpl
        def history_formats(self) -> list[Contribution[ArrayFormat]]:
            return [Contribution(self.name, ArrayFormat)]

    plugins = Plugins()
    plugins.register(Mine("one"))
    plugins.register(Mine("two"))
    assert {"one", "two"} <= set(plugins.offers("history_formats"))


def test_registering_twice_changes_nothing() -> None:
    plugins, module = Plugins(), offering("arrow")
    plugins.register(module)
    before = names(plugins)
    plugins.register(module)
    assert names(plugins) == before


def test_a_plugin_may_offer_nothing() -> None:
    plugins = Plugins()
    before = names(plugins)
    plugins.register(module_of(history_formats=lambda: (), executors=lambda: ()))
    assert names(plugins) == before


def test_one_name_may_be_used_for_two_kinds() -> None:
    plugins = Plugins()
    plugins.register(
        module_of(
            env_factories=lambda: [Contribution("x", lambda: None)],
            history_formats=lambda: [Contribution("x", ArrayFormat)],
        )
    )
    assert plugins.find("env_factories", "x") is not None
    assert plugins.find("history_formats", "x") is not None


def test_a_contribution_is_made_only_when_it_is_asked_for_and_each_time_anew() -> None:
    made: list[ArrayFormat] = []

    def make() -> ArrayFormat:
        made.append(ArrayFormat())
        return made[-1]

    registry = Registry()
    registry.register(module_of(history_formats=lambda: [Contribution("lazy", make)]))
    assert "lazy" in registry.history_formats
    assert made == []
    for count in (1, 2):
        registry.build(lambda seed: ScriptedEnv(), history="lazy").close()
        assert len(made) == count


def test_registries_do_not_see_each_other_s_plugins() -> None:
    one, other = Registry(), Registry()
    one.register(offering("arrow"))
    assert "arrow" in one.history_formats
    assert "arrow" not in other.history_formats


def test_what_fails_as_it_is_made_names_its_plugin() -> None:
    def make() -> ArrayFormat:
        raise OSError("no disk")

    registry = Registry()
    registry.register(module_of(history_formats=lambda: [Contribution("broken", make)]))
    with pytest.raises(PluginError) as caught:
        registry.build(lambda seed: ScriptedEnv(), history="broken")
    assert str(caught.value) == "history format 'broken' of plugin by_hand could not be made: OSError: no disk"
    assert isinstance(caught.value.__cause__, OSError)


def test_a_missing_dependency_stays_one_and_tells_who_needs_it() -> None:
    def make() -> ArrayFormat:
        raise MissingDependencyError("pip install zarr")

    plugins = Plugins()
    plugins.register(module_of(history_formats=lambda: [Contribution("zarr", make)]))
    with pytest.raises(MissingDependencyError, match="pip install zarr") as caught:
        plugins.get("history_formats", "zarr").make()
    assert caught.value.__notes__ == ["while making the history format 'zarr' of plugin by_hand"]


class OnlyBinds:
    def bind(self, space: Any, /) -> Any:
        return space


class NeedsMore:
    def open(self, spec: Any, compression: str) -> None: ...


def env_without_seed(env_id: str) -> None: ...


def env_by_two_names(env_id: str, level: str, *, seed: int | None) -> None: ...


def executor_of_envs(n_envs: int) -> None: ...


async def slow_env(env_id: str, *, seed: int | None) -> None: ...


@pytest.mark.parametrize(
    ("kind", "made", "says"),
    [
        (
            "env_factories",
            ScriptedEnv(),
            "Env factory ScriptedEnv has no method __call__(env_id, *, seed, **options).",
        ),
        (
            "env_factories",
            env_without_seed,
            "Env factory env_without_seed: it is called as env_without_seed(env_id, *, seed, **options), "
            "not env_without_seed(env_id). Change its parameters.",
        ),
        ("env_factories", slow_env, "Env factory slow_env: slow_env is async, but nothing awaits it."),
        ("executors", None, "Executor NoneType has no method __call__(n_envs, workers). Give it one."),
        ("executors", executor_of_envs, "it is called as executor_of_envs(n_envs, workers), not executor_of_envs(n_"),
        ("executors", OnlyBinds, "Executor OnlyBinds: it is called as OnlyBinds(n_envs, workers), not OnlyBinds()."),
        ("action_preprocessors", Flatten, "Preprocessor Flatten is a class. Make one: Flatten()."),
        ("action_preprocessors", OnlyBinds(), "Preprocessor OnlyBinds has no method __call__(observations)."),
        ("action_preprocessors", ArrayFormat(), "Preprocessor ArrayFormat has no method bind(space). Give it one."),
        ("action_postprocessors", len, "Postprocessor builtin_function_or_method has no method bind(space)."),
        ("action_postprocessors", OnlyBinds(), "Postprocessor OnlyBinds has no method __call__(actions)."),
        ("action_postprocessors", Clip, "Postprocessor Clip is a class. Make one: Clip()."),
        ("history_formats", ArrayFormat, "History format ArrayFormat is a class. Make one: ArrayFormat()."),
        ("history_formats", OnlyBinds(), "History format OnlyBinds has no method open(spec). Give it one."),
        (
            "history_formats",
            NeedsMore(),
            "History format NeedsMore: it is called as open(spec), not open(spec, compression). Change its parameters.",
        ),
    ],
)
def test_what_is_made_must_be_of_its_kind(kind: Kind, made: object, says: str) -> None:
    plugins = Plugins()
    plugins.register(module_of(**{kind: lambda: [Contribution("x", lambda: made)]}))
    for _ in range(2):  # the second look is as good as the first
        with pytest.raises(PluginError) as caught:
            plugins.get(kind, "x").make()
        assert str(caught.value).startswith(f"{KINDS[kind]} 'x' of plugin by_hand: ")
        assert says in str(caught.value)


class StepsOnly:
    def step(self) -> None: ...


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (None, "Executor NoneType has no method open(make_env, options). Give it one."),
        (StepsOnly(), "Executor StepsOnly has no method open(make_env, options). Give it one."),
        (SerialExecutor, "Executor SerialExecutor is a class. Make one: SerialExecutor()."),
    ],
)
def test_what_makes_executors_must_make_one(made: object, says: str) -> None:
    registry = Registry()
    registry.register(module_of(executors=lambda: [Contribution("mine", lambda: lambda n_envs, workers: made)]))
    with pytest.raises(PluginError) as caught:
        registry.build("CartPole-v1", executor="mine")
    assert str(caught.value) == f"executor mine of plugin by_hand: {says}"


class ByStaticMethod:
    @staticmethod
    def open(spec: Any) -> None: ...


class ByCall:
    def __call__(self, *arguments: Any, **options: Any) -> None: ...


@pytest.mark.parametrize(
    ("kind", "made"),
    [
        ("env_factories", lambda env_id, seed: None),
        ("env_factories", lambda env_id, *, seed, length=5: None),
        ("env_factories", env_by_two_names),  # env_options may bring the level
        ("env_factories", functools.partial(env_by_two_names, level="big")),
        ("env_factories", lambda *arguments, **options: None),
        ("env_factories", ByCall()),
        ("env_factories", Mock()),
        ("executors", lambda n_envs, workers=None, extra=3: None),
        ("executors", functools.partial(print, "made")),
        ("executors", ByCall()),
        ("executors", dict.fromkeys),  # of C, and what it takes nobody knows
        ("executors", Mock()),
        ("history_formats", ByStaticMethod),
        ("history_formats", Mock()),
        ("history_formats", types.SimpleNamespace(open=lambda spec, *rest: None)),
        ("action_preprocessors", MagicMock()),
        ("action_postprocessors", MagicMock()),
    ],
)
def test_what_can_be_used_as_its_kind_is_taken(kind: Kind, made: object) -> None:
    plugins = Plugins()
    plugins.register(module_of(**{kind: lambda: [Contribution("x", lambda: made)]}))
    assert plugins.get(kind, "x").make() is made


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_built_in_is_of_its_kind(kind: Kind) -> None:
    pytest.importorskip("torch")
    plugins = Plugins()
    for name in BUILT_IN[kind]:
        assert plugins.get(kind, name).make() is not None


def test_an_executor_may_be_a_class() -> None:
    plugins = Plugins()
    plugins.register(module_of(executors=lambda: [Contribution("mine", lambda: SerialExecutor)]))
    assert plugins.get("executors", "mine").make() is SerialExecutor


# ---- by hand, and wrong


MUST_RETURN = "Hook 'history_formats' must return Iterable[Contribution[HistoryFormat[object]]]"


def _nothing() -> list[Contribution[ArrayFormat]]:
    return []


def _raising() -> Any:
    raise ZeroDivisionError("at work")


def _raising_late() -> Any:
    yield Contribution("early", ArrayFormat)
    raise ZeroDivisionError("late")


@pytest.mark.parametrize(
    ("plugin", "says"),
    [
        (module_of(history_format=_nothing), "history_format"),
        (module_of(history_formats=lambda spec: []), "spec"),
        (module_of(history_formats=lambda: ["arrow"]), "must yield Contribution(name, make), not 'arrow'"),
        (module_of(history_formats=lambda: "arrow"), f"Plugin by_hand: {MUST_RETURN}, not str."),
        (module_of(history_formats=lambda: [Contribution]), "must yield Contribution(name, make)"),
        (
            module_of(executors=lambda: [Contribution("x", cast(Any, 3))]),
            "offers 'x' with make=3, which cannot be called.",
        ),
        (module_of(history_formats=lambda: Contribution("arrow", ArrayFormat)), f"{MUST_RETURN}, not Contribution."),
        (module_of(history_formats=lambda: 3), f"{MUST_RETURN}, not int."),
        (
            module_of(history_formats=_raising),
            "by_hand, hook history_formats, raised ZeroDivisionError: at work",
        ),
        (
            module_of(history_formats=_raising_late),
            "by_hand, hook history_formats, raised ZeroDivisionError: late",
        ),
        (offering("arrays"), "offers 'arrays', which runnerkit"),
        (offering("twice", "twice"), "offers 'twice', which the same plugin has already"),
        (offering("a:b"), "offers 'a:b', but a name has neither ':' nor '/'"),
        (offering("a/b"), "offers 'a/b', but a name has neither ':' nor '/'"),
        (offering(""), "offers '', but a name has"),
        (module_of(history_formats=lambda: None), "Hook 'history_formats' returned None. Yield its contributions, or"),
        (
            module_of(action_preprocessors=lambda: [Contribution("mine", cast(Any, Flatten()))]),
            "offers the object Flatten itself as 'mine', but each runner needs one of its own. Write lambda: Flatten(",
        ),
        (
            module_of(history_formats=lambda: [Contribution("mine", "no_colon")]),
            "'mine' with make='no_colon'. Write a string as 'module:attribute'.",
        ),
        (types.ModuleType("by_hand"), "Plugin by_hand offers nothing: mark its functions with @hookimpl"),
        (
            module_of(
                env_factories=lambda: [Contribution("fine", lambda: None)],
                history_formats=lambda: [Contribution("fine", ArrayFormat), Contribution("torch", ArrayFormat)],
            ),
            "offers 'torch', which runnerkit",
        ),
    ],
    ids=lambda value: value.replace("'", "") if isinstance(value, str) else "",
)
def test_a_wrong_plugin_is_refused_with_a_reason_and_changes_nothing(plugin: types.ModuleType, says: str) -> None:
    plugins = Plugins()
    before = names(plugins)
    with pytest.raises(PluginError) as caught:
        plugins.register(plugin)
    assert says in str(caught.value)
    assert "by_hand" in str(caught.value)
    assert names(plugins) == before
    assert plugins.problems == ()
    plugins.register(offering("arrow"))
    assert "arrow" in plugins.offers("history_formats")


# ---- implementations of hooks that cannot work, refused before they are called


async def _awaited() -> list[Contribution[ArrayFormat]]:
    return []


async def _awaited_each() -> AsyncIterator[Contribution[ArrayFormat]]:
    yield Contribution("arrow", ArrayFormat)


def _by_name_only(*, spec: object) -> list[Contribution[ArrayFormat]]:
    return []


@pytest.mark.parametrize(
    ("function", "options", "says"),
    [
        (lambda spec: [], {}, "has no argument 'spec'. It has none: remove it."),
        (_by_name_only, {}, "has no argument 'spec'. It has none: remove it."),
        (_awaited, {}, "is async, but nothing awaits it. Make it a plain function."),
        (_awaited_each, {}, "is async, but nothing awaits it. Make it a plain function."),
        (_nothing, {"wrapper": True}, "cannot be wrapped, as each plugin is asked by itself."),
        (_nothing, {"hookwrapper": True}, "cannot be wrapped, as each plugin is asked by itself."),
    ],
)
def test_an_implementation_that_cannot_work_is_refused_in_our_words(
    function: Callable[..., Any], options: dict[str, bool], says: str
) -> None:
    module = types.ModuleType("by_hand")
    mark: Any = hookimpl
    module.history_formats = mark(function, **options)  # type: ignore[attr-defined]
    with pytest.raises(PluginError) as caught:
        Plugins().register(module)
    assert str(caught.value).startswith(f"Plugin by_hand: Hook 'history_formats' {says}")


class _Called:
    def __call__(self) -> list[Contribution[ArrayFormat]]:
        return []


@pytest.mark.parametrize("made", [functools.partial(_nothing), functools.cache(_nothing), _Called(), _Called])
@pytest.mark.parametrize("mark", [hookimpl, hookimpl(tryfirst=True), hookimpl.history_formats])
def test_what_pluggy_would_pass_over_cannot_be_marked(mark: Any, made: object) -> None:
    with pytest.raises(TypeError, match=r"^hookimpl marks functions, not a \w+, which pluggy would not see\."):
        mark(made)


def test_an_unknown_hook_gets_the_closest_one_and_all_that_there_are() -> None:
    with pytest.raises(PluginError) as caught:
        Plugins().register(module_of(history_format=_nothing))
    assert str(caught.value) == (
        "Plugin by_hand: No hook is called 'history_format'. Did you mean 'history_formats'? Known: "
        "action_postprocessors, action_preprocessors, env_factories, executors, history_formats, reward_processors."
    )


def test_a_hook_of_another_version_may_be_optional() -> None:
    module = offering("arrow")
    module.agents = hookimpl(_nothing, optionalhook=True)  # type: ignore[attr-defined]
    plugins = Plugins()
    plugins.register(module)
    assert "arrow" in plugins.offers("history_formats")


def test_the_hook_of_an_implementation_may_have_another_name() -> None:
    module = types.ModuleType("by_hand")
    module.formats = hookimpl(lambda: 3, specname="history_formats")  # type: ignore[attr-defined]
    with pytest.raises(PluginError, match="Hook 'history_formats' must return"):
        Plugins().register(module)


def test_a_class_that_is_registered_instead_of_an_object_is_told_so() -> None:
    class Mine:
        @hookimpl
        def history_formats(self) -> list[Contribution[ArrayFormat]]:
            return [Contribution("arrow", ArrayFormat)]

    with pytest.raises(PluginError, match=r"^Plugin Mine: Plugin Mine is a class\. Make one: Mine\(\)\.$"):
        Plugins().register(Mine)
    plugins = Plugins()
    plugins.register(Mine())
    assert "arrow" in plugins.offers("history_formats")


def test_a_class_whose_hooks_need_no_object_is_a_plugin() -> None:
    class Mine:
        @hookimpl
        @staticmethod
        def history_formats() -> list[Contribution[ArrayFormat]]:
            return [Contribution("arrow", ArrayFormat)]

    plugins = Plugins()
    plugins.register(Mine)
    assert "arrow" in plugins.offers("history_formats")


def annotated(result: object) -> Callable[[], object]:
    """Return an implementation that says what it returns, and does return what it may."""

    def offer() -> object:
        return [Contribution("arrow", ArrayFormat)]

    offer.__annotations__["return"] = result
    return offer


@pytest.mark.parametrize(
    "annotation",
    [
        None,
        Any,
        object,
        "Nowhere",
        "list[Contribution[Nowhere]]",
        list,
        Iterable,
        list[Any],
        list[Contribution[Any]],
        list[Contribution[object]],
        list[Contribution],  # type: ignore[type-arg]
        list[Contribution[ArrayFormat]] | None,
        Iterator[Contribution[HistoryFormat[object]]],
        Generator[Contribution[ArrayFormat], None, None],
        tuple[Contribution[ArrayFormat], Contribution[Any]],
        Iterable[Contribution[ArrayFormat] | Contribution[TransitionFormat]],
        TypeVar("AnyT"),
    ],
    ids=str,
)
def test_an_annotated_result_that_may_be_that_of_the_hook_is_taken(annotation: object) -> None:
    plugins = Plugins()
    plugins.register(module_of(history_formats=annotated(annotation)))
    assert "arrow" in plugins.offers("history_formats")


def test_nothing_is_known_of_the_result_of_a_decorated_hook() -> None:
    @functools.wraps(annotated(list[str]))
    def decorated() -> list[Contribution[ArrayFormat]]:
        return [Contribution("arrow", ArrayFormat)]

    plugins = Plugins()
    plugins.register(module_of(history_formats=decorated))
    assert "arrow" in plugins.offers("history_formats")


def test_the_error_of_a_plugin_without_distribution_does_not_leave_a_gap_where_it_would_be() -> None:
    with pytest.raises(PluginError) as caught:
        Plugins().register(offering("arrays"))
    assert "( )" not in str(caught.value)


def test_a_hook_that_raises_is_the_cause() -> None:
    with pytest.raises(PluginError) as caught:
        Plugins().register(module_of(history_formats=_raising))
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_a_refused_plugin_may_be_mended_and_registered_again() -> None:
    plugins = Plugins()
    module = offering("arrays")
    with pytest.raises(PluginError):
        plugins.register(module)
    module.history_formats = hookimpl(lambda: [Contribution("arrow", ArrayFormat)])  # type: ignore[attr-defined]
    plugins.register(module)
    assert "arrow" in plugins.offers("history_formats")


def test_a_taken_name_tells_which_plugin_has_it() -> None:
    plugins = Plugins()
    plugins.register(offering("arrow"), name="first")
    with pytest.raises(PluginError, match=r"offers 'arrow', which plugin first has already\. Give it another name"):
        plugins.register(offering("arrow"), name="second")
    assert plugins.get("history_formats", "arrow").plugin == "first"


def test_of_two_plugins_of_one_name_the_second_is_told_of_another_one() -> None:
    plugins = Plugins()
    plugins.register(offering("arrow"))
    with pytest.raises(PluginError, match=r"Plugin by_hand, .* which another plugin of that name has already\."):
        plugins.register(offering("arrow"))


def test_functions_that_are_not_marked_offer_nothing() -> None:
    class Forgot:
        def history_formats(self) -> list[Contribution[ArrayFormat]]:
            return [Contribution("arrow", ArrayFormat)]

    with pytest.raises(PluginError, match="Plugin Forgot offers nothing: mark its functions with @hookimpl"):
        Plugins().register(Forgot())


@pytest.mark.parametrize(
    "contribution",
    [
        Contribution(cast(Any, 3), ArrayFormat),
        Contribution("", ArrayFormat),
        Contribution("arrow", cast(Any, ArrayFormat())),
    ],
    ids=["number for a name", "empty name", "make cannot be called"],
)
def test_a_contribution_that_could_never_work_is_refused_at_once(contribution: Any) -> None:
    with pytest.raises(PluginError):
        Plugins().register(module_of(history_formats=lambda: [contribution]))


def test_offers_cannot_be_changed_from_outside() -> None:
    offers: Any = Plugins().offers("history_formats")
    with pytest.raises(TypeError):
        offers["mine"] = None


# ---- installed

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Return a function that installs a distribution with a plugin module, as pip would leave it."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr("importlib.metadata.distributions", _only_of(tmp_path, importlib.metadata.distributions))
    modules: list[str] = []

    def put(name: str, source: str, *, entry_point: str | None = None, version: str = "1.2") -> None:
        module = f"rk_plugin_{name}"
        modules.append(module)
        (tmp_path / f"{module}.py").write_text(textwrap.dedent(source))
        info = tmp_path / f"rk_{name}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: rk-{name}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[runnerkit]\n{name} = {entry_point or module}\n")
        importlib.invalidate_caches()

    yield put
    for module in modules:
        sys.modules.pop(module, None)


def _only_of(folder: Path, distributions: Callable[..., Any]) -> Callable[..., Any]:
    """Leave out the plugins that happen to be installed where the tests run."""

    def found() -> Any:
        return [known for known in distributions() if str(known.locate_file("")).startswith(str(folder))]

    return found


GOOD = """
    from runnerkit import Contribution, hookimpl
    from runnerkit.history.arrays import ArrayFormat

    @hookimpl
    def history_formats():
        yield Contribution({name!r}, ArrayFormat)
"""


def test_installed_plugins_are_imported_only_when_an_unknown_name_is_asked_for(install: Install) -> None:
    install("arrow", GOOD.format(name="arrow"))
    registry = Registry()
    registry.build("CartPole-v1", history="arrays", executor="threads", preprocessors=["flatten"]).close()
    assert "arrow" not in registry.history_formats
    assert "rk_plugin_arrow" not in sys.modules
    registry.build("CartPole-v1", history="arrow").close()
    assert "rk_plugin_arrow" in sys.modules
    assert "arrow" in registry.history_formats


def test_discover_imports_all_installed_plugins_once(install: Install) -> None:
    install("arrow", GOOD.format(name="arrow"))
    install("zarr", GOOD.format(name="zarr"), version="0.9")
    plugins = Plugins()
    assert not {"rk_plugin_arrow", "rk_plugin_zarr"} & sys.modules.keys()
    plugins.discover()
    plugins.discover()
    assert {"rk_plugin_arrow", "rk_plugin_zarr"} <= sys.modules.keys()
    assert plugins.problems == ()
    offer = plugins.get("history_formats", "zarr")
    assert (offer.plugin, offer.distribution, offer.version) == ("zarr", "rk-zarr", "0.9")
    assert offer.source == "rk-zarr 0.9"


def test_an_entry_point_may_name_an_object(install: Install) -> None:
    install(
        "object",
        """
        from runnerkit import Contribution, hookimpl
        from runnerkit.history.arrays import ArrayFormat

        class Mine:
            @hookimpl
            def history_formats(self):
                return [Contribution("mine", ArrayFormat)]

        mine = Mine()
        """,
        entry_point="rk_plugin_object:mine",
    )
    assert Plugins().get("history_formats", "mine").distribution == "rk-object"


BROKEN = {
    "import": "import no_such_module_at_all",
    "syntax": "def",
    "exit": "raise SystemExit(3)",
    "hook": GOOD.format(name="x").replace("history_formats", "history_format"),
    "unmarked": GOOD.format(name="x").replace("@hookimpl", ""),
    "colon": GOOD.format(name="a:b"),
    "raises": GOOD.format(name="x") + "        raise ZeroDivisionError('hook')\n",
}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_plugin_hurts_only_itself_and_is_named(install: Install, broken: str) -> None:
    install("aaa", GOOD.format(name="first"))
    install("broken", BROKEN[broken], version="6.6")
    install("zzz", GOOD.format(name="last"))
    plugins = Plugins()
    try:
        plugins.discover()
    except SystemExit:  # which would end the tests
        pytest.fail("a plugin ended the program")
    assert {"first", "last"} <= set(plugins.offers("history_formats"))
    (problem,) = plugins.problems
    assert (problem.plugin, problem.distribution, problem.version) == ("broken", "rk-broken", "6.6")
    assert str(problem).startswith("plugin broken (rk-broken 6.6), ")
    assert problem.stage == ("import of rk_plugin_broken" if broken in ("import", "syntax", "exit") else "registration")
    with pytest.raises(UnknownNameError) as caught:
        plugins.get("history_formats", "lastt")
    assert "Did you mean 'last'?" in str(caught.value)
    assert "Left out: plugin broken (rk-broken 6.6)" in str(caught.value)
    assert ". Known: " in str(caught.value)
    assert ".." not in str(caught.value)


def test_an_entry_point_to_an_attribute_that_is_not_there_is_a_problem(install: Install) -> None:
    install("gone", GOOD.format(name="x"), entry_point="rk_plugin_gone:nothing")
    plugins = Plugins()
    plugins.discover()
    (problem,) = plugins.problems
    assert isinstance(problem.error, AttributeError)


def test_an_unknown_env_of_a_broken_plugin_mentions_what_was_left_out(install: Install) -> None:
    install("atari", "import no_such_module_at_all")
    with pytest.raises(UnknownNameError, match=r"Left out: plugin atari \(rk-atari 1.2\)"):
        Registry().build("atari:Pong")
    with pytest.raises(UnknownNameError, match=r"Left out: plugin atari \(rk-atari 1.2\)"):
        Registry().build("Pongg-v0")


def test_a_name_that_two_distributions_offer_is_an_error_when_it_is_asked_for(install: Install) -> None:
    install("one", GOOD.format(name="same") + "        yield Contribution('own', ArrayFormat)\n")
    install("two", GOOD.format(name="same"))
    plugins = Plugins()
    assert plugins.get("history_formats", "own").distribution == "rk-one"
    assert plugins.problems == ()
    said = "rk-one 1.2 and rk-two 1.2 offer the history format 'same'. Ask for 'rk-one/same' or 'rk-two/same'."
    with pytest.raises(PluginError, match=re.escape(said)):
        plugins.get("history_formats", "same")
    assert plugins.get("history_formats", "rk-two/same").distribution == "rk-two"
    assert plugins.get("history_formats", "RK_one/own").distribution == "rk-one"
    assert {"rk-one/same", "rk-two/same", "own"} <= set(plugins.offers("history_formats"))
    with pytest.raises(UnknownNameError, match="rk-three/same"):
        plugins.get("history_formats", "rk-three/same")


def test_a_plugin_that_loses_a_name_to_a_built_in_keeps_its_others(install: Install) -> None:
    install("bold", GOOD.format(name="arrays") + "        yield Contribution('own', ArrayFormat)\n")
    plugins = Plugins()
    said = "rk-bold 1.2 offers the history format 'arrays', but that name means the one of runnerkit"
    with pytest.warns(RuntimeWarning, match=said):
        plugins.discover()
    assert plugins.get("history_formats", "arrays").is_built_in
    assert plugins.get("history_formats", "own").distribution == "rk-bold"
    assert plugins.get("history_formats", "rk-bold/arrays").distribution == "rk-bold"
    (problem,) = plugins.problems
    assert "Ask for 'rk-bold/arrays' to get that of rk-bold 1.2." in str(problem)


def test_a_malformed_file_of_one_distribution_hides_no_other(install: Install, tmp_path: Path) -> None:
    install("good", GOOD.format(name="good"))
    odd = tmp_path / "odd-1.0.dist-info"
    odd.mkdir()
    (odd / "METADATA").write_text("Metadata-Version: 2.1\nName: odd\nVersion: 1.0\n")
    (odd / "entry_points.txt").write_text("[runnerkit]\nnonsense line\n")
    other = tmp_path / "other-1.0.dist-info"  # which is not about us
    other.mkdir()
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (other / "entry_points.txt").write_text("[console_scripts]\nnonsense line\n")
    nameless = tmp_path / "rk_nameless-3.dist-info"  # without metadata
    nameless.mkdir()
    (nameless / "entry_points.txt").write_text("[runnerkit]\ngood = rk_plugin_good\nbad = no_such_module\n")
    plugins = Plugins()
    for _ in range(2):
        assert plugins.get("history_formats", "good").distribution == "rk-good"
        with pytest.raises(UnknownNameError, match=r"odd 1\.0"):
            plugins.get("history_formats", "nothing like it")
    assert {problem.distribution for problem in plugins.problems} == {"odd", "rk_nameless"}


def test_a_package_that_is_installed_after_a_miss_is_found_by_the_same_process(install: Install) -> None:
    plugins = Plugins()
    with pytest.raises(UnknownNameError):
        plugins.get("history_formats", "late")
    install("late", GOOD.format(name="late"))
    assert plugins.get("history_formats", "late").distribution == "rk-late"
    assert plugins.problems == ()


def test_of_two_plugins_of_one_distribution_the_second_loses_the_name(install: Install, tmp_path: Path) -> None:
    install("one", GOOD.format(name="same"))
    install("two", GOOD.format(name="same") + "        yield Contribution('own', ArrayFormat)\n")
    (tmp_path / "rk_two-1.2.dist-info" / "entry_points.txt").write_text("")
    entries = "[runnerkit]\none = rk_plugin_one\ntwo = rk_plugin_two\n"
    (tmp_path / "rk_one-1.2.dist-info" / "entry_points.txt").write_text(entries)
    plugins = Plugins()
    assert plugins.get("history_formats", "same").plugin == "one"
    assert plugins.get("history_formats", "own").plugin == "two"
    assert "Give it another name." in str(plugins.problems[0])


class Pool(SerialExecutor):
    """An executor whose arguments have defaults, so that it can be called without any, too."""

    def __init__(self, n_envs: int = 1, workers: int | None = None) -> None:
        super().__init__(n_envs, workers)


def make_scripted(env_id: str = "x", /, *, seed: int | None = None, **options: Any) -> AnyEnv:
    del env_id, seed, options
    return ScriptedEnv()


@pytest.mark.parametrize("given", ["itself", "returned", "named"])
def test_factories_and_executors_are_offered_themselves_by_a_function_or_by_a_string(given: str) -> None:
    def offer(thing: Any, name: str) -> Any:
        return {"itself": thing, "returned": lambda: thing, "named": f"{__name__}:{name}"}[given]

    registry = Registry()
    registry.register(
        module_of(
            env_factories=lambda: [Contribution("scripted", offer(make_scripted, "make_scripted"))],
            executors=lambda: [Contribution("pool", offer(Pool, "Pool"))],
        )
    )
    assert registry.executors["pool"].make() is Pool
    with registry.build("scripted:any", executor="pool", n_envs=2) as runner:
        assert runner.executor_report.name == "pool"


def test_a_string_to_nowhere_is_an_error_of_its_plugin_when_it_is_asked_for() -> None:
    plugins = Plugins()
    plugins.register(module_of(executors=lambda: [Contribution("far", "no_such_module:Far")]))
    with pytest.raises(PluginError, match="executor 'far' of plugin by_hand could not be made: ModuleNotFoundError"):
        plugins.get("executors", "far").make()


def test_mypy_knows_the_built_in_names_as_they_are_offered() -> None:
    for kind in KINDS:
        offers = Plugins().offers(kind)
        assert list(offers) == list(BUILTIN[kind])
        if kind != "history_formats":  # of which mypy knows the histories
            assert [offer.contribution.make for offer in offers.values()] == list(BUILTIN[kind].values())


def test_a_plugin_registered_by_hand_comes_before_an_installed_one(install: Install) -> None:
    install("arrow", GOOD.format(name="arrow"))
    plugins = Plugins()
    plugins.register(offering("arrow"), name="mine")
    plugins.discover()
    assert plugins.get("history_formats", "arrow").plugin == "mine"
    assert [problem.plugin for problem in plugins.problems] == ["arrow"]
    assert plugins.get("history_formats", "rk-arrow/arrow").distribution == "rk-arrow"


def test_an_env_factory_of_an_installed_plugin_is_found_by_its_prefix(install: Install) -> None:
    install(
        "grid",
        """
        from faulty_envs import ScriptedEnv
        from runnerkit import Contribution, hookimpl

        def make(env_id, *, seed, length=5):
            assert env_id == "Maze:big"
            return ScriptedEnv(length)

        @hookimpl
        def env_factories():
            yield Contribution("grid", lambda: make)
        """,
    )
    with Registry().build("grid:Maze:big", env_options={"length": 3}) as runner:
        assert runner.env_id == "grid:Maze:big"
        assert [episode.length for episode in runner.rollout(Constant(), steps=7)[0].episodes] == [3, 3, 1]


def test_importing_runnerkit_imports_no_plugin_and_nothing_heavy(install: Install, tmp_path: Path) -> None:
    install("arrow", GOOD.format(name="arrow"))
    script = "import runnerkit, sys, json; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    imported = set(json.loads(done.stdout))
    assert "runnerkit" in imported
    assert not imported & {"torch", "click", "rich", "pygame", "ale_py", "mujoco", "rk_plugin_arrow"}


def test_a_rollout_in_arrays_imports_neither_torch_nor_plugins(install: Install, tmp_path: Path) -> None:
    install("arrow", GOOD.format(name="arrow"))
    script = """
        import json, sys, runnerkit
        with runnerkit.make("CartPole-v1", n_envs=2, executor="threads") as runner:
            runner.rollout(runnerkit.RandomAgent(runner.action_space, seed=0), steps=5)
        print(json.dumps(sorted(sys.modules)))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    assert not set(json.loads(done.stdout)) & {"torch", "click", "rich", "pygame", "rk_plugin_arrow"}


# ---- in a step


@pytest.mark.parametrize("executor", ["auto", "serial", "threads"])
def test_no_pluggy_frame_is_in_a_step(executor: str) -> None:
    modules: set[str] = set()

    class Watching(ScriptedEnv):
        @override
        def step(self, action: Any) -> Any:
            frame: types.FrameType | None = sys._getframe()
            while frame is not None:
                modules.add(frame.f_globals.get("__name__", ""))
                frame = frame.f_back
            return super().step(action)

    with build(lambda seed: Watching(), n_envs=2, executor=executor, preprocessors=["flatten"]) as runner:
        runner.rollout(Constant(), steps=3)
    assert "runnerkit.executors.share" in modules
    ours = {name for name in modules if name.startswith("runnerkit")}
    assert ours <= {
        "runnerkit.executors.share",
        "runnerkit.executors.rounds",
        "runnerkit.executors.worker_thread",
        "runnerkit._rollout.loop",
        "runnerkit._rollout.stepping",
        "runnerkit._rollout.config",
        "runnerkit.executors.auto",
        "runnerkit.executors.serial",
        "runnerkit.executors.sharing",
        "runnerkit.executors.threads",
    }


def test_pluggy_itself_is_not_called_in_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[object] = []
    runner = build("CartPole-v1", n_envs=2, preprocessors=["flatten"])
    with monkeypatch.context() as patch:  # for so long only, as pytest is made of pluggy, too
        patch.setattr("pluggy._hooks.HookCaller.__call__", lambda *args, **kwargs: calls.append(args))
        patch.setattr("pluggy.PluginManager.register", lambda *args, **kwargs: calls.append(args))
        runner.rollout(Constant(1), steps=30)
        runner.rollout(Constant(1), episodes=2)
    runner.close()
    assert calls == []


def test_gymnasium_ids_are_not_shadowed_by_factories() -> None:
    registry = Registry()
    registry.register(module_of(env_factories=lambda: [Contribution("CartPole-v1", lambda: None)]))
    with registry.build("CartPole-v1") as runner:
        assert isinstance(runner.action_space, gymnasium.spaces.Discrete)


def test_a_registry_has_its_own_plugins_and_takes_no_others() -> None:
    make: Any = Registry().build
    with pytest.raises(ArgumentError, match="Pass plugins= to GymRunner"):
        make("CartPole-v1", plugins=None)


def test_what_cannot_be_made_with_options_is_refused_when_it_is_offered() -> None:
    class Named(ArrayFormat):
        def __init__(self, name: str, /) -> None:
            self.name = name

    make: Any = Named
    with pytest.raises(PluginError, match=r"Contribution arrow: it is called as make\(\), not make\(name\)\."):
        Plugins().register(module_of(history_formats=lambda: [Contribution("arrow", make)]))


@pytest.mark.parametrize(
    ("bind", "said"),
    [
        (lambda space: None, "Preprocessor Mine: bind must return Space[Any], not None."),
        (lambda space: [][0], "preprocessor mine of plugin by_hand raised in bind("),
    ],
)
def test_what_a_processor_of_a_plugin_does_wrong_is_told_with_its_plugin(bind: Callable[..., Any], said: str) -> None:
    class Mine:
        def bind(self, space: Any) -> Any:
            return bind(space)

        def __call__(self, observations: NDArray[np.uint8]) -> Any:
            return observations

    registry = Registry()
    registry.register(module_of(action_preprocessors=lambda: [Contribution("mine", Mine)]))
    with pytest.raises((PluginError, SpaceError)) as caught:
        registry.build("CartPole-v1", preprocessors=["mine"])
    assert said in str(caught.value)
    assert "mine of plugin by_hand" in str(caught.value)
