"""The options of a runner: written once for type checkers, once as values, and told to all who need them."""

from __future__ import annotations

import ast
import dataclasses
import importlib.metadata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from typing_extensions import override

import runnerkit
from runnerkit import GymRunner, RunSpec
from runnerkit._rollout.config import RunnerConfig
from runnerkit.executors import EnvFacts, RunOptions, SerialExecutor
from runnerkit.history.arrays import ArrayFormat, ArrayRecorder
from runnerkit.typing import AnyEnv, PlainOptions, RunnerOptions


def names(of: type) -> set[str]:
    return {field.name for field in dataclasses.fields(of)}


def test_every_typed_option_is_a_field_of_the_config_and_the_other_way_round() -> None:
    positional = {"env", "seed", "n_envs", "log_level", "history", "run"}
    assert set(RunnerOptions.__annotations__) == (names(RunnerConfig) | names(RunOptions)) - positional
    assert set(PlainOptions.__annotations__) < set(RunnerOptions.__annotations__)


def test_every_option_is_explained_where_users_look() -> None:
    lines = [line.strip() for line in (GymRunner.__doc__ or "").splitlines()]
    missing = [
        name for name in RunnerOptions.__annotations__ if not any(line.startswith(f"{name}: ") for line in lines)
    ]
    assert not missing


@pytest.mark.parametrize(
    "option", [{"thread_safe": True}, {"keep_infos": True}, {"spare_envs": 1, "repeatable": True}], ids=str
)
def test_an_option_reaches_executors_and_formats(option: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[RunOptions] = []
    plainly = SerialExecutor.open

    def open_(self: SerialExecutor, make: Callable[[int], AnyEnv], options: RunOptions, /) -> Sequence[EnvFacts]:
        told.append(options)
        return plainly(self, make, options)

    class Format(ArrayFormat):
        @override
        def open(self, spec: RunSpec, /) -> ArrayRecorder:
            told.append(spec.options)
            return super().open(spec)

    monkeypatch.setattr(SerialExecutor, "open", open_)
    with runnerkit.make("CartPole-v1", seed=3, executor="serial", history=Format(), **option):
        assert told == [RunOptions(3, **option)] * 2


@pytest.mark.parametrize("build", [runnerkit.make, GymRunner])
def test_an_unknown_option_is_answered_with_the_one_that_was_meant(build: Callable[..., object]) -> None:
    with pytest.raises(TypeError, match=r"A runner has no option 'n_env'. Did you mean 'n_envs'\?"):
        build("CartPole-v1", n_env=4)
    with pytest.raises(TypeError, match=r"What is for the env itself goes into env_options=\{'sutton_barto_reward'"):
        build("CartPole-v1", sutton_barto_reward=True)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((), r"^make \(Registry.build\) needs the argument 'env': an env id such as 'CartPole-v1'"),
        (("CartPole-v1", 0), "got 2 arguments without a name, but takes only env so. Pass the others by name"),
    ],
    ids=["no env", "a seed without a name"],
)
def test_a_call_of_make_that_cannot_be_is_explained(given: Sequence[Any], said: str) -> None:
    make: Any = runnerkit.make
    with pytest.raises(TypeError, match=said):
        make(*given)


def test_the_names_that_are_imported_late_are_those_that_type_checkers_see() -> None:
    imported = {
        f"{node.module}.{alias.name}"
        for node in ast.walk(ast.parse(Path(runnerkit.__file__).read_text("utf-8")))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("runnerkit.")
        for alias in node.names
        if alias.asname == alias.name
    }
    assert imported == {f"runnerkit.{home}.{name}" for name, home in runnerkit._HOME_OF.items()}


def test_the_version_is_that_of_the_installed_distribution() -> None:
    assert runnerkit.__version__ == importlib.metadata.version("runnerkit")
