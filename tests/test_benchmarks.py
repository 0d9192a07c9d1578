"""The benchmark script: whoever fails becomes a line, tables and charts can be made again, nothing is left behind."""

from __future__ import annotations

import importlib
import json
import os
import re
import signal
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / "tests" / "benchmarks" / "bench.py"
RESULTS = ROOT / "tests" / "benchmarks" / "results.json"
SHOWN = ROOT / ".docs" / "benchmark.md"
ANY_NOISE = ["--tolerance", "1e9"]
TINY = ["--repeats", "2", "--seconds", "0.001", *ANY_NOISE]

linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes in /proc")

# Envs: one ends its parent, if that is a contestant, so that it works but in a contestant's helper; one cannot step.
ODD = """
import os
import pathlib

import gymnasium
import numpy as np


class Odd(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(0, 1, (3,))
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        if b"contest.py" not in pathlib.Path(f"/proc/{os.getppid()}/cmdline").read_bytes():
            return np.zeros(3, np.float32), {}
        os.kill(os.getppid(), 9)

    def step(self, action):
        return np.ones(3, np.float32), 1.0, False, False, {}


class Broken(Odd):
    def step(self, action):
        raise ValueError("this env is broken")


gymnasium.register("Odd-v0", Odd, disable_env_checker=True)
gymnasium.register("Broken-v0", Broken, disable_env_checker=True)
"""


def bench(*arguments: str | Path, path: Path | None = None) -> str:
    """Return what the script prints; `path` has further packages."""
    packages = os.pathsep.join([str(path or ""), str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": packages},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def rows(report: str) -> dict[str, list[str]]:
    """Return the cells of the rows of the table of speed by the first of each, without emphasis."""
    lines = [line[2:-2].split(" | ") for line in report.partition("Memory")[0].splitlines() if line.startswith("|")]
    return {line[0].strip("*"): line[1:] for line in lines if line[0] != "---"}


def texts(picture: Path) -> list[str]:
    return [element.text or "" for element in ET.parse(picture).getroot().iter() if element.tag.endswith("}text")]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Measure two small cells and return the folder of the results and what was printed."""
    folder = tmp_path_factory.mktemp("measured")
    cells = ["CartPole-v1:2", "CartPole-v1:3"]
    names = ["--contestants", "RunnerKit serial", "RunnerKit threads", "gymnasium Sync"]
    report = bench(*cells, *TINY, *names, "--json", folder / "r.json", "--chart", folder / "r.svg")
    return folder, report


def test_a_table_has_a_row_per_contestant_and_a_column_per_cell(measured: tuple[Path, str]) -> None:
    table = rows(measured[1])
    assert table[""] == ["CartPole-v1 N=2", "CartPole-v1 N=3"]
    for name in ("RunnerKit serial", "RunnerKit threads", "gymnasium SyncVectorEnv"):
        for cell in table[name]:
            best, median, lower, upper = map(float, re.findall(r"\d+\.\d+", cell))
            assert best > 0
            assert 0 < lower <= median <= upper
    assert all(cell.endswith(" µs") for cell in table["bare loop, per env and step"])


def test_the_json_has_every_time_with_its_machine_date_and_versions(measured: tuple[Path, str]) -> None:
    raw: dict[str, Any] = json.loads((measured[0] / "r.json").read_text())
    assert {"runnerkit", "gymnasium", "numpy"} <= raw["versions"].keys()
    assert "cores" in raw["machine"]
    assert raw["date"] in measured[1]
    for cell in raw["cells"]:
        for outcome in cell["outcomes"]:
            assert len(outcome["seconds"]) == 2
            assert outcome["steps"] >= 4
            assert outcome["failure"] is None


def test_the_chart_has_a_bar_for_each_ratio_of_the_table(measured: tuple[Path, str]) -> None:
    chart = measured[0] / "r.svg"
    bests = [cell.split(" ")[0] for name, cells in rows(measured[1]).items() if "(" in cells[0] for cell in cells]
    bars = [element for element in ET.parse(chart).getroot().iter() if element.get("class", "").startswith("bar ")]
    assert len(bars) == len(bests) == 8
    assert set(bests) <= set(texts(chart))


def test_charts_have_the_colours_of_the_report_in_light_and_in_dark(measured: tuple[Path, str]) -> None:
    style = next(element for element in ET.parse(measured[0] / "r.svg").getroot() if element.tag.endswith("}style"))
    palette = (ROOT / "runnerkit" / "reporting" / "palette.css").read_text()
    assert palette in (style.text or "")
    assert "prefers-color-scheme: dark" in palette


def test_tables_and_charts_are_made_again_from_the_json_without_measuring(measured: tuple[Path, str]) -> None:
    folder, report = measured
    again = bench(
        "--from-json", folder / "r.json", "--json", folder / "s.json", "--chart", folder / "s.svg", *ANY_NOISE
    )
    assert again == report
    assert (folder / "s.json").read_text() == (folder / "r.json").read_text()
    assert (folder / "s.svg").read_text() == (folder / "r.svg").read_text()


def test_the_results_of_several_runs_on_a_machine_make_one_table(measured: tuple[Path, str]) -> None:
    folder, report = measured
    both = rows(bench("--from-json", folder / "r.json", folder / "r.json"))
    assert both == {name: [*cells, *cells] for name, cells in rows(report).items()}


def test_the_table_goes_between_the_marks_of_a_document_and_nothing_else_changes(measured: tuple[Path, str]) -> None:
    folder, report = measured
    document = folder / "README.md"
    marks = [line for line in SHOWN.read_text().splitlines() if "benchmark" in line and "<!--" in line]
    document.write_text(f"before\n{marks[0]}\nold\n{marks[1]}\nafter\n")
    bench("--from-json", folder / "r.json", "--readme", document, *ANY_NOISE)
    written = document.read_text()
    assert rows(written) == rows(report)
    assert written.startswith(f"before\n{marks[0]}\n")
    assert written.endswith(f"{marks[1]}\nafter\n")
    assert "old" not in written


def test_short_rollouts_are_compared_to_a_loop_that_stores_the_same() -> None:
    table = rows(bench("CartPole-v1:2:by4", *TINY, "--contestants", "RunnerKit", "gymnasium"))
    assert table[""] == ["CartPole-v1 N=2, by 4"]
    assert list(table)[1:5] == [
        "loop that stores, per env and step",
        "RunnerKit rollout",
        "RunnerKit stream",
        "gymnasium SyncVectorEnv, stored",
    ]
    assert "failed" not in str(table)


def test_no_file_is_written_where_the_machine_was_too_noisy(tmp_path: Path) -> None:
    raw = json.loads(RESULTS.read_text())
    raw["cells"] = raw["cells"][:1]
    bare = raw["cells"][0]["outcomes"][0]
    bare["seconds"] = [seconds * (k + 1) for k, seconds in enumerate(bare["seconds"])]
    (tmp_path / "noisy.json").write_text(json.dumps(raw))
    arguments = ["--from-json", tmp_path / "noisy.json", "--chart", tmp_path / "r.svg"]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "the machine was too noisy.\nCartPole-v1 N=8: the bare loop itself varied by" in done.stderr
    assert not (tmp_path / "r.svg").exists()


def test_a_network_acts_for_batches_and_for_the_lists_of_the_bare_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(SCRIPT.parent)
    cells = importlib.import_module("cells")
    policy = cells.make_policy(cells.parse_cell("Acrobot-v1:8:mlp"))
    batch = np.zeros((5, 6), np.float32)
    for observations in (batch, list(batch)):
        actions = np.concatenate([policy.act(observations) for _ in range(100)])
        assert actions.shape == (500,)
        assert set(actions) == {0, 1, 2}


@linux
def test_a_contestant_that_hangs_is_ended_with_all_its_helpers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(SCRIPT.parent)
    arena, cells, contestants, procfs = map(importlib.import_module, ["arena", "cells", "contestants", "procfs"])
    monkeypatch.setattr(arena, "END_LIMIT", 0.1)
    player = arena.Player("gymnasium AsyncVectorEnv")
    try:
        player.ask(contestants.Job(cells.parse_cell("CartPole-v1:2"), 4), 60)
        assert len(player.helpers) >= 2
        os.kill(player.pid, signal.SIGSTOP)
        with pytest.raises(arena.ContestantError, match="no answer within 0 s"):
            player.ask("run", 0)
    finally:
        player.end()
    assert procfs.members(player.pid) == []


@linux
def test_a_contestant_that_raises_or_dies_is_a_line_and_the_others_go_on(tmp_path: Path) -> None:
    (tmp_path / "odd.py").write_text(ODD)
    names = ["--contestants", "RunnerKit serial", "gymnasium Sync", "AsyncVectorEnv"]
    chart = tmp_path / "r.svg"
    report = bench("odd:Odd-v0:2", "odd:Broken-v0:2", *TINY, *names, "--chart", chart, path=tmp_path)
    table = rows(report)
    assert table["gymnasium AsyncVectorEnv"][0] == "failed"
    assert "- gymnasium AsyncVectorEnv, odd:Odd-v0 N=2: failed: its process ended with code -9" in report
    assert "failed" not in table["gymnasium SyncVectorEnv"][0]
    assert "failed" not in table["RunnerKit serial"][0]
    assert table.pop("")[1] == "odd:Broken-v0 N=2"
    assert {cells[1] for cells in table.values()} == {"failed"}
    assert "- bare loop, odd:Broken-v0 N=2: failed: ValueError: this env is broken" in report
    assert texts(chart).count("failed") == 6  # the limit has a helper, too


def test_what_it_costs_to_have_envs_open_is_measured_too() -> None:
    table = rows(bench("--only", "start", *TINY, "--contestants", "RunnerKit serial", "AsyncVectorEnv"))
    header = table[""]
    assert header[:3] == ["start-up, first", "best", "helpers"]
    assert table["RunnerKit serial"][2] == "0"
    assert int(table["gymnasium AsyncVectorEnv"][2]) >= 8
    assert table["gymnasium AsyncVectorEnv"][3].endswith(" MiB")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["CartPole-v1"],
            "A cell is ENV:N, ENV:N:mlp, ENV:N:vector or ENV:N:by4, such as CartPole-v1:8, not 'CartPole-v1'.",
        ),
        (["CartPole-v1:0"], "not 'CartPole-v1:0'."),
        (["--repeats", "0"], "must be a whole number of at least 1, not '0'"),
        (["--readme", str(ROOT / "CHANGELOG.md")], "The document needs a line '<!-- benchmark"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_measured(arguments: list[str], said: str) -> None:
    done = subprocess.run([sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert said in done.stderr


def test_the_page_on_speed_shows_the_results_that_are_kept(tmp_path: Path) -> None:
    page = tmp_path / "benchmark.md"
    page.write_text(SHOWN.read_text())
    chart = tmp_path / "results.svg"
    bench("--from-json", RESULTS, "--readme", page, "--chart", chart, *ANY_NOISE)
    assert page.read_text() == SHOWN.read_text()
    for name in ("results.svg", "results-scaling.svg"):
        assert (tmp_path / name).read_text() == RESULTS.with_name(name).read_text()
        assert f"tests/benchmarks/{name}" in page.read_text()


def test_the_timeline_of_a_step_tells_what_each_process_does(tmp_path: Path) -> None:
    picture = tmp_path / "step.svg"
    arguments = ["CartPole-v1:2", "--steps", "20", "--own-envs", "1", "--fastest", "50", "--svg", str(picture)]
    script = SCRIPT.with_name("timeline.py")
    done = subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith(("caller", "helper 1"))]
    between = re.compile(
        r"(caller|helper 1) +begins [\d.]+ .* after the agent, works for [\d.]+ .*, and is done [\d.]+ "
    )
    assert all(map(between.match, lines[2:4]))
    told = [line.split() for line in (*lines[:2], *lines[4:])]
    assert [len(words) for words in told] == [5, 6, 2, 3]  # the parts of the time, then the bars
    assert all(abs(sum(float(part.rstrip("%")) for part in words[-4:]) - 100) < 1 for words in told[:2])
    assert set(told[2][-1]) <= set("a#r.")
    assert ET.parse(picture).getroot().tag.endswith("svg")
