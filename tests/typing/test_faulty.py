"""Faulty plugins, agents, processors and names, one fault each, under mypy, pyright and Python itself.

mypy with the plugin finds each on its line, marked FAULT, and nothing anywhere else; Python refuses each when the
plugin is registered, the runner is built or the rollout begins, in the same sentence.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from typing_extensions import override

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
FAULTY = HERE / "faulty"

# What mypy says by itself; at run time, too, the name that was meant is in the error.
IN_WORDS_OF_MYPY = {"a_misspelt_typed_hook": "history_formats", "a_misspelt_option": "tryfirst"}

# What only mypy finds: Python does not hold annotations against what comes, as code may work all the same.
ONLY_BY_MYPY = {
    "actions_that_are_forces",
    "actions_that_are_doubles",
    "actions_that_are_flags",
    "no_actions",
    "a_word_for_an_action",
    "an_agent_for_pixels",
    "an_agent_for_indices",
    "an_agent_for_dicts",
    "an_agent_for_arrays_where_there_are_tuples",
    "an_agent_of_the_wrong_type_for_a_runner_of_ones_own",
    "an_agent_for_a_runner_that_was_handed_over",
    "names_instead_of_contributions",
    "a_dict_instead_of_contributions",
    "one_contribution_instead_of_several",
    "contributions_of_another_kind",
    "processors_of_the_other_end",
    "executors_instead_of_what_makes_them",
    "formats_without_open",
    "bind_with_another_result",
    "preprocessors_that_do_not_connect",
    "a_preprocessor_for_other_observations",
    "a_postprocessor_for_other_actions",
}

# What types alone cannot say: names, plain @hookimpl, what an async __call__ returns, and what goes through a list.
UNSEEN_BY_PYRIGHT = {
    "a_misspelt_plain_hook",
    "an_argument_of_a_plain_hook",
    "an_async_plain_hook",
    "a_wrapper",
    "an_async_call",
    "an_async_postprocessor",
    "a_name_instead_of_a_list",
    "preprocessors_that_do_not_connect",
    "a_preprocessor_for_other_observations",
    "a_postprocessor_for_other_actions",
    "an_agent_that_begins_without_envs",
    "a_misspelt_history_format",
    "a_misspelt_executor",
    "a_misspelt_preprocessor",
    "a_misspelt_postprocessor",
}


@dataclass(frozen=True)
class Fault:
    """A function of a faulty file, and the lines on which its fault may be reported."""

    path: Path
    name: str
    lines: range

    @override
    def __str__(self) -> str:
        return f"{self.path.stem}-{self.name}"


def faults() -> Iterator[Fault]:
    for path in sorted(FAULTY.glob("*.py")):
        source = path.read_text("utf-8")
        marked = {number for number, line in enumerate(source.splitlines(), 1) if line.endswith("# FAULT")}
        for statement in ast.parse(source).body:
            if isinstance(statement, ast.FunctionDef):
                inside = marked & set(range(statement.lineno, (statement.end_lineno or 0) + 1))
                for line in inside:
                    yield Fault(path, statement.name, header(statement, line))
                marked -= inside
        assert not marked, f"{path.name} marks lines {marked} outside of functions"


def header(function: ast.FunctionDef, line: int) -> range:
    """Return the lines of a decorated function up to its body, if the line is one of these, or just the line."""
    for node in ast.walk(function):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.decorator_list:
            lines = range(min(decorator.lineno for decorator in node.decorator_list), node.body[0].lineno)
            if line in lines:
                return lines
    return range(line, line + 1)


FAULTS = list(faults())
FILES = [str(path) for path in sorted(FAULTY.glob("*.py"))]


@cache
def run(*command: str) -> subprocess.CompletedProcess[str]:
    # pyright looks for packages beside the python that it finds on the PATH
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": "typings"}
    return subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


def output(*command: str) -> str:
    """Return what a checker that found errors printed."""
    done = run(*command)
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout


@cache
def mypy_errors() -> dict[tuple[str, int], list[str]]:
    errors = defaultdict(list)
    for line in output("mypy", *FILES).splitlines():
        match = re.match(r"(.+?):(\d+): error: (.*?)(?:  \[[\w-]+\])?$", line)
        if match:
            errors[Path(match[1]).name, int(match[2])].append(match[3])
    return errors


@cache
def pyright_errors() -> set[tuple[str, int]]:
    report = json.loads(output("pyright", "--outputjson", "-p", str(FAULTY)))
    return {
        (Path(error["file"]).name, error["range"]["start"]["line"] + 1)
        for error in report["generalDiagnostics"]
        if error["severity"] == "error"
    }


def by_mypy(fault: Fault) -> list[str]:
    return [message for line in fault.lines for message in mypy_errors().get((fault.path.name, line), [])]


def is_seen_by_pyright(fault: Fault) -> bool:
    return any((fault.path.name, line) in pyright_errors() for line in fault.lines)


@cache
def functions_of(path: Path) -> dict[str, Callable[[], None]]:
    spec = importlib.util.spec_from_file_location(f"faulty_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where annotations are resolved
    spec.loader.exec_module(module)
    return vars(module)


def refused(function: Callable[[], Any]) -> str:
    with pytest.raises(Exception) as caught:  # noqa: PT011 (which it is depends on the fault; the text is looked at)
        function()
    return str(caught.value)


def test_there_are_many_faults_of_each_kind() -> None:
    assert {path.stem for path in FAULTY.glob("*.py")} == {"agents", "formats", "hooks", "names", "processors"}
    assert len(FAULTS) == len({fault.name for fault in FAULTS}) >= 70


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_mypy_and_python_say_the_same_of_a_fault(fault: Fault) -> None:
    messages = by_mypy(fault)
    assert messages
    if fault.name in ONLY_BY_MYPY:
        return
    error = refused(functions_of(fault.path)[fault.name])
    meant = IN_WORDS_OF_MYPY.get(fault.name)
    if meant:
        assert any(meant in message for message in messages), messages
        assert meant in error
    else:
        # mypy does not know how a runner was built that was handed over
        said = [message.replace("the runner", "the env") for message in messages]
        assert any(message in error for message in said), (messages, error)


def test_mypy_finds_nothing_but_the_faults() -> None:
    expected = {(fault.path.name, line) for fault in FAULTS for line in fault.lines}
    assert {place: said for place, said in mypy_errors().items() if place not in expected} == {}


def test_pyright_alone_finds_most_faults() -> None:
    assert {fault.name for fault in FAULTS if not is_seen_by_pyright(fault)} == UNSEEN_BY_PYRIGHT
    assert len(UNSEEN_BY_PYRIGHT) <= 0.2 * len(FAULTS)
