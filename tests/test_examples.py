"""The examples in `.docs/examples` run, each in a short form, and are as short as they are said to be."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

EXAMPLES = Path(__file__).parents[1] / ".docs" / "examples"
SHORT = {
    "custom_executor": ["--steps", "5", "--no-check"],
    "evaluate_sb3": ["--steps", "1024", "--episodes", "2"],
    "offline_dataset": ["--steps", "4000", "--epochs", "1"],
    "recurrent_ppo": ["--steps", "1024", "--every", "1024"],
    "dqn": ["--steps", "1024", "--every", "1024"],
    "ppo": ["--steps", "512", "--every", "200"],
}
PRINTED = {
    "custom_executor": "the same data",
    "evaluate_sb3": "trained - untrained: ",
    "offline_dataset": "clone: mean return",
    "recurrent_ppo": "1024 steps: mean return",
    "dqn": "1024 steps: mean return",
    "ppo": "the trained agent: mean return",
}


@pytest.fixture(scope="module")
def printed() -> dict[str, str]:
    """What was printed by those that have been run."""
    return {}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, printed: dict[str, str]) -> Callable[[str], str]:
    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.chdir(tmp_path)  # for the files that they write

    def run(name: str) -> str:
        command = importlib.import_module(name).main
        assert isinstance(command, click.Command)
        printed[name] = CliRunner().invoke(command, [*SHORT[name], "--seed", "3"], catch_exceptions=False).output
        return printed[name]

    return run


@pytest.mark.parametrize("name", sorted(path.stem for path in EXAMPLES.glob("*.py")))
def test_an_example_runs(name: str, run: Callable[[str], str]) -> None:
    assert PRINTED[name] in run(name)


def test_the_seed_of_an_example_decides_everything(run: Callable[[str], str], printed: dict[str, str]) -> None:
    before = printed.get("ppo") or run("ppo")
    assert run("ppo") == before


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_an_example_is_short(path: Path) -> None:
    lines = path.read_text("utf-8").splitlines()
    assert len(lines) < 150
    assert not [line for line in lines if "type: ignore" in line or "cast(" in line or "noqa" in line]
