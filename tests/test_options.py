"""Options of parts: given with a name, checked by a signature, read from a terminal, listed, and kept."""

from __future__ import annotations

import json
import types
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, assert_type, cast

import gymnasium
import pytest
from click.testing import CliRunner
from faulty_envs import Constant, ScriptedEnv

import runnerkit
from runnerkit import Contribution, HistoryKey, PartRecord, Registry, Use, _sentences, hookimpl, use
from runnerkit._cli import spelling
from runnerkit._cli.main import main
from runnerkit._plugins.manager import Plugins
from runnerkit._plugins.options import Option, Typed, options_of
from runnerkit.errors import ArgumentError, PluginError, RunnerKitError
from runnerkit.executors import Executor, MakeExecutor, SerialExecutor
from runnerkit.history.arrays import ArrayFormat, ArrayHistory
from runnerkit.typing import ActionPreprocessor, AnyEnv, EnvFactory, HistoryFormat, RunnerOptions

if TYPE_CHECKING:
    from nowhere import Unknown  # type: ignore[import-not-found]


class Columns(ArrayFormat):
    """Arrays that remember how they were asked for.

    Args:
        compression: how the columns are packed,
            one by one.
        level: how much.
        folder: where to.

    """

    def __init__(
        self,
        compression: Literal["zstd", "none"] | None = None,
        *,
        level: int | None = None,
        folder: Path = Path(),
        ratio: float = 1.0,
        label: str = "",
        exact: bool = False,
        other: Unknown = None,
        _hidden: int = 0,
    ) -> None:
        self.options: dict[str, object] = {
            "compression": compression, "level": level, "folder": folder, "ratio": ratio, "label": label,
            "exact": exact, "other": other,
        }  # fmt: skip


class Stack:
    def __init__(self, k: int) -> None:
        self.k = k

    def bind(self, space: gymnasium.Space[Any], /) -> gymnasium.Space[Any]:
        return space

    def __call__(self, observations: Any, /) -> Any:
        return observations


class Slow(SerialExecutor):
    def __init__(self, n_envs: int, workers: int | None = None, *, pause: float = 0.0) -> None:
        super().__init__(n_envs, workers)
        self.pause = pause


def make_lake(env_id: str, /, *, seed: int | None, size: int = 4, n_envs: int = 1) -> AnyEnv:
    return ScriptedEnv(length=size)


def sized(seed: int | None, size: int = 4) -> AnyEnv:
    return ScriptedEnv(length=size)


def slow_by_function(url: str = "") -> MakeExecutor:
    def make(n_envs: int, workers: int | None, /) -> Executor:
        return Slow(n_envs, workers, pause=len(url))

    return make


class Mine:
    @hookimpl.history_formats
    def history_formats(self) -> Iterator[Contribution[HistoryFormat[object]]]:
        yield Contribution("columns", Columns)

    @hookimpl.action_preprocessors
    def action_preprocessors(self) -> Iterator[Contribution[ActionPreprocessor]]:
        yield Contribution("stack", Stack)

    @hookimpl.executors
    def executors(self) -> Iterator[Contribution[MakeExecutor]]:
        yield Contribution("slow", Slow)
        yield Contribution("slow-lambda", lambda: Slow)
        yield Contribution("slow-url", slow_by_function)

    @hookimpl.env_factories
    def env_factories(self) -> Iterator[Contribution[EnvFactory]]:
        yield Contribution("lake", cast(EnvFactory, make_lake))  # mypy asks for **options


@pytest.fixture
def registry() -> Registry:
    registry = Registry()
    registry.register(Mine())
    return registry


def parts(runner: runnerkit.GymRunner[Any, Any, Any]) -> dict[str, PartRecord]:
    return {part.kind: part for part in runner.made_by.parts}


COLUMNS: HistoryKey[ArrayHistory[Any, Any]] = HistoryKey("columns")


@pytest.mark.parametrize(
    "history",
    [
        ("columns", {"compression": "zstd", "level": 3}),
        use("columns", compression="zstd", level=3),
        use(COLUMNS, compression="zstd", level=3),
        spelling.part("columns:compression=zstd,level=3", "--history"),
    ],
    ids=["pair", "use", "use-key", "terminal"],
)
def test_a_history_format_gets_its_options_however_they_are_spelled(registry: Registry, history: Any) -> None:
    with registry.build("CartPole-v1", history=history) as runner:
        made: Any = runner._blueprint.history.thing
        assert (made.options["compression"], made.options["level"]) == ("zstd", 3)
        assert parts(runner)["history format"] == PartRecord(
            "history format", "columns", options={"compression": "zstd", "level": 3}
        )


@pytest.mark.parametrize("executor", ["slow", "slow-lambda"])
def test_an_executor_and_processors_get_theirs(registry: Registry, executor: str) -> None:
    with registry.build(
        "lake:Small", executor=use(executor, pause=0.5), preprocessors=[("stack", {"k": 4}), use("normalize", clip=5)],
        env_options={"size": 3},
    ) as runner:  # fmt: skip
        made: Any = runner._parts.executor
        assert made.pause == 0.5
        records = runner.made_by.parts
        assert [(part.kind, part.name, part.distribution, dict(part.options)) for part in records] == [
            ("env", "lake:Small", "", {}),
            ("env factory", "lake", "", {"size": 3}),
            ("preprocessor", "stack", "", {"k": 4}),
            ("preprocessor", "normalize", "runnerkit", {"clip": 5}),
            ("executor", executor, "", {"pause": 0.5}),
            ("history format", "arrays", "runnerkit", {}),
        ]
        assert len(runner.rollout(Constant(), steps=2)[0]) == 2


def test_a_function_that_returns_what_makes_executors_has_options_of_its_own(registry: Registry) -> None:
    with registry.build("CartPole-v1", executor=use("slow-url", url="abc")) as runner:
        made: Any = runner._parts.executor
        assert made.pause == 3


def test_what_is_passed_as_an_object_is_recorded_by_its_class() -> None:
    with runnerkit.make("CartPole-v1", history=Columns(), preprocessors=[Stack(2)], executor=Slow) as runner:
        names = [f"{__name__}:{name}" for name in ("Stack", "Slow", "Columns")]
        assert [part.name for part in runner.made_by.parts] == ["CartPole-v1", *names]


def test_all_options_of_a_runner_are_known_as_such_where_they_are_given_to_a_part() -> None:
    parts = {"executor", "history", "preprocessors", "postprocessors", "reward_processors"}
    assert {"seed", "n_envs", "log_level", *RunnerOptions.__annotations__} - parts == _sentences._OF_RUNNERS


def build_with(**given: Any) -> Callable[[Registry], object]:
    return lambda registry: registry.build(given.pop("env", "CartPole-v1"), **given)


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (
            build_with(history=use("columns", levl=3)),
            "History format 'columns' of plugin Mine has no option 'levl'. Did you mean 'level'? Its options:",
        ),
        (build_with(history=use("arrays", x=3)), "'arrays' of runnerkit "),  # type: ignore[runnerkit-option]
        (build_with(history=use("columns", level="3")), "option 'level' expects int | None, not '3'."),
        (build_with(history=use("columns", compression="zst")), "expects Literal['zstd', 'none'] | None, not 'zst'."),
        (build_with(history=use("columns", folder="here")), "option 'folder' expects Path, not 'here'."),
        (build_with(history=use("columns", exact="yes")), "option 'exact' expects bool, not 'yes'."),
        (build_with(history=use("columns", _hidden=1)), "has no option '_hidden'."),
        (build_with(preprocessors=["stack"]), "Preprocessor 'stack' of plugin Mine needs the option 'k' (int)."),
        (build_with(preprocessors=use("stack", k=4)), "is one part, not a list. Write preprocessors=[Use("),
        (build_with(preprocessors=("stack", {"k": 4})), "Write preprocessors=[('stack', {'k': 4})]."),
        (build_with(history=("columns", 3)), "A name with options is a pair such as ('frame-stack', {'k': 4}), not"),
        (build_with(history=("columns", {3: 3})), "A name with options is a pair such as"),
        (lambda _: use(Columns, level=3), "the part with its options: Columns(...)."),  # type: ignore[call-overload]
        (build_with(history=Use(None)), "not Use(name=None, options={})."),  # type: ignore[arg-type]
        (build_with(preprocessors=[Use(["stack"])]), "not Use(name=['stack'], options={})."),  # type: ignore[arg-type]
        (build_with(env=("lake:Small", {"size": 3})), "The options of an env go into env_options={...}, not beside"),
        (build_with(env=use("lake:Small", size=3)), "The options of an env go into env_options={...}, not beside"),
        (build_with(reward_processors=[None]), "a name, or a function (rewards) -> rewards, not None."),
        (build_with(executor=use("slow", n_envs=3)), "Executor 'slow' of plugin Mine has no option 'n_envs'."),
        (
            build_with(executor=use("serial", isolate=True), isolate=True),  # type: ignore[runnerkit-option]
            "executor='serial' steps envs in it.",
        ),
        (build_with(env="lake:Small", env_options={"sise": 3}), "lake' of plugin Mine has no option 'sise'."),
        (build_with(env=sized, env_options={"sise": 3}), "Env factory 'sized' has no option 'sise'. Did you mean"),
        (build_with(env=[sized], env_options={"size": "3"}), "factory 'sized': option 'size' expects int, not '3'."),
        (build_with(executor=use("slow", workers=1)), "It is an option of the runner itself: make(..., workers=...)."),
        (build_with(env="lake:Small", env_options={"size": "3"}), "option 'size' expects int, not '3'."),
    ],
)  # fmt: skip
def test_what_is_surely_wrong_is_refused_before_anything_is_made(
    registry: Registry, build: Callable[[Registry], object], says: str
) -> None:
    with pytest.raises(ArgumentError) as caught:
        build(registry)
    assert says in str(caught.value)


def test_what_nobody_can_know_is_passed_on(registry: Registry) -> None:
    class Open(ArrayFormat):
        def __init__(self, **options: object) -> None:
            self.options = options

    registry.register(
        types.SimpleNamespace(history_formats=hookimpl.history_formats(lambda: [Contribution("o", Open)]))
    )
    given = {"anything": [1, 2], "level": "3"}
    with registry.build("CartPole-v1", history=("o", given)) as runner:
        made: Any = runner._blueprint.history.thing
        assert made.options == given
    with registry.build("CartPole-v1", history=use("columns", other=3, ratio=1, level=True)) as runner:
        made = runner._blueprint.history.thing
        assert made.options["other"] == 3


@pytest.mark.parametrize(
    ("annotation", "texts"),
    [
        (str, {"1": "1", "none": "none", "": ""}),
        (int, {"12": 12, "x": ValueError, "1.5": ValueError}),
        (float, {"1": 1.0, "1e-3": 0.001, "true": ValueError}),
        (bool, {"true": True, "No": False, "1": ValueError}),
        (int | None, {"3": 3, "none": None, "x": ValueError}),
        (str | None, {"none": None, "3": "3"}),
        (bool | int, {"1": 1, "true": True}),
        (Literal["zstd", 3, None], {"zstd": "zstd", "3": 3, "none": None, "lz4": ValueError}),
        (Path, {"a/b": Path("a/b")}),
        (Path | None, {"none": None, "x": Path("x")}),
        (list[int], {"[1, 2]": [1, 2], "x": "x"}),
        (int | list[int], {"1": 1, "[1]": [1]}),
        (Option("x").annotation, {"1": 1, "1.5": 1.5, "true": True, "null": None, "zstd": "zstd", '"1"': "1"}),
    ],
    ids=str,
)
def test_what_is_typed_is_read_as_the_annotation_says(annotation: Any, texts: Mapping[str, object]) -> None:
    for text, meant in texts.items():
        option = Option("x", annotation)
        if meant is ValueError:
            with pytest.raises(ValueError, match=r"^$"):
                option.read(Typed(text))
        else:
            read = option.read(Typed(text))
            assert (read, type(read)) == (meant, type(meant))


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("flatten", "flatten"),
        ("dist/name:opt=val", Use("dist/name", {"opt": "val"})),
        ("parquet:compression=zstd,level=3", Use("parquet", {"compression": "zstd", "level": "3"})),
        ("x:a=[1,2],b={1:2,3:4},e='f,g',h=", Use("x", {"a": "[1,2]", "b": "{1:2,3:4}", "e": "'f,g'", "h": ""})),
        ("x:url=http://h:1/?a=b", Use("x", {"url": "http://h:1/?a=b"})),
    ],
)  # fmt: skip
def test_options_are_written_after_a_colon(text: str, part: object) -> None:
    assert spelling.part(text, "--history") == part


@pytest.mark.parametrize("text", ["parquet:zstd", "parquet:", "parquet:a=1,", "parquet:=3", "parquet:a b=3"])
def test_what_is_no_option_is_refused_with_how_to_write_one(text: str) -> None:
    with pytest.raises(ArgumentError, match=r"^--history parquet:.*write options as parquet:NAME=VALUE, not '"):
        spelling.part(text, "--history")


def test_an_option_that_is_given_twice_is_refused() -> None:
    with pytest.raises(ArgumentError, match=r"^--pre stack:k=3: the option k is there twice\. Give it once\.$"):
        spelling.part("stack:k=2,k=3", "--pre")
    with pytest.raises(ArgumentError, match=r"^--env-option size=4: the option size is there twice"):
        spelling.env_options(["size=3", "size=4"])


def test_a_terminal_gives_options_to_all_parts() -> None:
    words = "rollout CartPole-v1 --steps 20 --executor processes:isolate=true --pre normalize:clip=5 --json"
    result = CliRunner().invoke(main, [*words.split(), "--env-option", "max_episode_steps=7"])
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert {episode["length"] for episode in document["episodes"]} == {7, 6}
    assert document["preprocessors"] == ["normalize:clip=5"]
    wrong = CliRunner().invoke(main, ["rollout", "CartPole-v1", "--pre", "normalize:clip=much"])
    assert wrong.exit_code == 2
    assert "option 'clip' expects float, not 'much'." in wrong.stderr


def test_executors_are_measured_with_their_options_and_recommended_with_them() -> None:
    words = "tune CartPole-v1 --n-envs 2 --executor processes:own_envs=0 --workers 1 --seconds 0.2 --steps 8 --json"
    result = CliRunner().invoke(main, words.split())
    assert result.exit_code == 0, result.output
    measured = {found["executor"]: found["error"] for found in json.loads(result.stdout)["measurements"]}
    assert measured == {"serial": None, "processes:own_envs=0": None}


def test_the_options_of_a_part_are_listed_with_types_defaults_and_what_they_do() -> None:
    options = {option.name: option for option in options_of(Columns).known}
    assert list(options) == ["compression", "level", "folder", "ratio", "label", "exact", "other"]
    assert (options["compression"].type, options["compression"].default) == ("Literal['zstd', 'none'] | None", None)
    assert options["compression"].doc == "how the columns are packed, one by one."
    assert (options["level"].type, options["other"].type) == ("int | None", "")
    listed = CliRunner().invoke(main, ["plugins", "normalize"])
    assert listed.stdout.splitlines()[-2:] == [
        "epsilon  float  1e-08    a number above 0 that is added to the variance.",
        "clip     float  10.0     the bound of the output, above 0.",
    ]
    document = json.loads(CliRunner().invoke(main, ["plugins", "processes", "--json"]).stdout)
    assert [option["option"] for option in document["contributions"][0]["options"]] == ["isolate", "own_envs"]
    unknown = CliRunner().invoke(main, ["plugins", "nomalize"])
    assert "No part is called 'nomalize'. Did you mean 'normalize'?" in unknown.stderr


def test_an_option_that_makes_the_part_fail_is_told_with_the_part() -> None:
    with pytest.raises(RunnerKitError, match="Normalize needs") as caught:
        Plugins().get("action_preprocessors", "normalize").make({"clip": -1.0})
    assert isinstance(caught.value, (ArgumentError, PluginError))
    assert any("normalize" in note for note in caught.value.__notes__)


def test_use_keeps_the_type_of_a_key() -> None:
    assert_type(use(COLUMNS, level=3), Use[ArrayHistory[Any, Any]])
    assert_type(use("columns", level=3), Use[object])
    if TYPE_CHECKING:
        assert_type(
            runnerkit.make("CartPole-v1", history=use(COLUMNS, level=3)),
            runnerkit.GymRunner[Any, Any, ArrayHistory[Any, Any]],
        )
        name = "x"  # not the literal itself, of which mypy would say that there is no such format
        assert_type(runnerkit.make("CartPole-v1", history=(name, {"a": 1})), runnerkit.GymRunner[Any, Any, object])
        assert_type(runnerkit.make("CartPole-v1", history=use(name)), runnerkit.GymRunner[Any, Any, object])
