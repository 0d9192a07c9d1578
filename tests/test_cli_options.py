"""The options of what a runner is made of: every command that builds a runner has all of them."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from click.types import FloatParamType, IntParamType

from runnerkit import default_registry
from runnerkit._cli.main import main
from runnerkit._cli.options import Parts

COMMANDS = {
    "rollout": ["CartPole-v1", "--steps", "3", "--json"],
    "evaluate": ["CartPole-v1", "--episodes", "1", "--json"],
    "tune": ["CartPole-v1", "--seconds", "0.01", "--steps", "1", "--n-envs", "1", "--executor", "threads", "--json"],
    "why": ["normalize", "--env", "CartPole-v1", "--json"],
}
"""The commands that build a runner, and what they need besides."""
PLUGIN = """
    import gymnasium
    from runnerkit import Contribution, hookimpl

    used = []

    class Marked:
        def __init__(self, what):
            self.what = what
        def bind(self, space):
            return space
        def __call__(self, batch):
            used.append(self.what)
            return batch

    class Noted(gymnasium.Wrapper):
        def __init__(self, env, name: str):
            super().__init__(env)
            self.name = name

        def step(self, action):
            used.append(self.name)
            return super().step(action)

    @hookimpl
    def action_preprocessors():
        yield Contribution("marked", lambda: Marked("pre"), "a mark")

    @hookimpl
    def action_postprocessors():
        yield Contribution("marked", lambda: Marked("post"), "a mark")

    @hookimpl
    def reward_processors():
        yield Contribution("marked", lambda: Marked("reward"), "a mark")
"""


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder, as the current one, with a plugin that is not installed."""
    (tmp_path / "my_marks.py").write_text("\n".join(line[4:] for line in PLUGIN.splitlines()))
    (tmp_path / "not_asked.py").write_text("def never(observations):\n    raise AssertionError('it was asked')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    yield tmp_path
    module = sys.modules.pop("my_marks", None)
    if module is not None:
        default_registry.unregister(module)


def run(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(main, list(arguments))
    assert result.exit_code == code, result.output
    return result


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_that_builds_a_runner_builds_it_of_the_parts_that_were_typed(command: str) -> None:
    marks = ["--pre", "marked", "--post", "marked", "--reward", "marked", "--env-option", "sutton_barto_reward=true"]
    marks += ["--wrapper", "my_marks:Noted:name=wrapper"]
    result = run(command, *COMMANDS[command], "-p", "my_marks", *marks)
    assert json.loads(result.stdout)
    if command != "why":  # which builds it, but makes no step
        assert {"pre", "post", "reward", "wrapper"} <= set(sys.modules["my_marks"].used)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_that_builds_a_runner_refuses_what_was_locked_otherwise(command: str, workplace: Path) -> None:
    run("lock", "-o", "run.lock")
    run(command, *COMMANDS[command], "--lock", "run.lock")
    text = (workplace / "run.lock").read_text()
    (workplace / "run.lock").write_text(text.replace('"normalize"', '"normalise"'))
    failed = run(command, *COMMANDS[command], "--lock", "run.lock", "--pre", "normalize", code=1)
    assert "normalize" in failed.stderr
    assert "run.lock" in failed.stderr


def test_rollout_draws_as_fast_as_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    arguments = ["CartPole-v1", "--seed", "0", "--steps", "8", "--executor", "serial", "--json"]
    drawn = json.loads(run("rollout", *arguments, "--render", "--fps", "40").stdout)
    assert drawn["seconds"] > 7 / 40
    assert drawn["episodes"] == json.loads(run("rollout", *arguments).stdout)["episodes"]


@pytest.mark.parametrize(
    ("words", "package"),
    [
        ("rollout CartPole-v1 --agent not_asked:never --video videos", "runnerkit-video"),
        ("rollout CartPole-v1 --agent not_asked:never --ray local", "runnerkit-ray"),
        ("video runs", "runnerkit-video"),
        ("replay runs 0 --video episode.mp4", "runnerkit-video"),
        ("report runs --thumbnails", "runnerkit-video"),
    ],
)
def test_a_package_that_is_missing_is_told_before_the_work_and_is_no_wrong_usage(
    words: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("rollout", "CartPole-v1", "--episodes", "1", "-o", "runs")
    for module in ("runnerkit_video", "runnerkit_ray"):
        monkeypatch.setitem(sys.modules, module, None)
    failed = run(*words.split(), code=1)
    assert f"pip install {package}" in failed.stderr
    assert "Usage" not in failed.stderr


@pytest.mark.parametrize(
    "words",
    [
        "rollout CartPole-v1 --agent not_asked:never --video file/sub/videos",
        "rollout CartPole-v1 --agent not_asked:never -o file/runs",
        "rollout CartPole-v1 --agent not_asked:never --history npz:path=file/runs",
        "video no-runs -o file/videos",
        "replay no-runs 0 --video file/episode.mp4",
        "report no-runs -o file/report.html",
    ],
)
def test_a_place_where_nothing_can_be_written_is_refused_before_the_work(words: str) -> None:
    Path("file").touch()
    assert "written to" in run(*words.split(), code=2).stderr


NUMBERS = [
    (name, parameter)
    for name, command in main.commands.items()
    for parameter in command.params
    if isinstance(parameter.type, IntParamType | FloatParamType)
]
FROM_0 = {"seed", "spare_envs", "numbers", "episode"}
"""The numbers that may be 0: seeds, spares and indices."""


@pytest.mark.parametrize(("name", "parameter"), NUMBERS, ids=[f"{name}-{number.name}" for name, number in NUMBERS])
def test_a_number_that_cannot_be_is_refused_with_the_name_of_the_option_and_the_least_one(
    name: str, parameter: click.Parameter
) -> None:
    least, wrong = "at least 1", ["0", "1e9"]
    if parameter.name in FROM_0:
        least, wrong = "at least 0", ["1e9"]
    elif parameter.name == "seconds":
        least, wrong = "above 0", ["0", "1e999"]
    option = parameter.opts[:1] if isinstance(parameter, click.Option) else []
    for value in ("-1", "nan", "inf", "x", "", *wrong):
        told = run(name, "runs", *option, value, code=2).stderr
        assert "Invalid value" in told
        assert (option[0] if option else "EPISODE") in told
        assert f"number of {least}" in told or f"number {least}" in told


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("rollout CartPole-v1 --repeatable", "--repeatable needs --spare-envs M."),
        ("rollout CartPole-v1 --max-restarts 3", "--max-restarts needs --on-env-error restart."),
        ("rollout CartPole-v1 --on-env-error restart --max-restarts -1", "such as 10, or two such as 10,50, not '-1'"),
        ("show runs 1", "runs has no episode 1: it has 1 episode, 0."),
        pytest.param(
            "video runs --episode 1",
            "runs has no episode 1: it has 1 episode, 0.",
            marks=pytest.mark.skipif(not find_spec("runnerkit_video"), reason="runnerkit-video is not installed"),
        ),
        ("replay runs --check CartPole-v1", "Give FOLDER or --check ENV, not both."),
    ],
)
def test_options_that_do_not_go_together_are_told(words: str, said: str) -> None:
    if "runs" in words:
        run("rollout", "CartPole-v1", "--episodes", "1", "-o", "runs")
    assert said in run(*words.split(), code=2).stderr


def test_what_help_says_is_whole_and_fits_into_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert "..." not in run("--help").stdout.partition("Commands:")[2]
    for name in main.commands:
        told = run(name, "--help").stdout
        assert max(map(len, told.splitlines())) <= 80, name
        assert "default: (" not in told, name


def test_a_command_has_the_whole_group_or_none_of_it() -> None:
    names = {field.name for field in dataclasses.fields(Parts)}
    for name, command in main.commands.items():
        given = names & {parameter.name for parameter in command.params}
        allowed = [{"modules", "plugin_folders"}, set()] if name not in COMMANDS else [names]
        assert given in allowed, name
