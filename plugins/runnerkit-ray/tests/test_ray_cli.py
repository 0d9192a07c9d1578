"""`runnerkit rollout --ray`: the same episodes as without, in step and as a whole."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from runnerkit_ray.cluster import Cluster

import runnerkit
from runnerkit._cli.main import main

AGENT = "--agent ray_agents:lean --seed 0 --n-envs 2 --json"


@pytest.fixture(autouse=True)
def _agents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ray_agents.py").write_text(
        "def lean(observations):\n    return (observations[:, 2] > 0).astype('int64')\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])  # the command adds the current directory


def run(words: str, code: int = 0) -> Any:
    done = CliRunner().invoke(main, words.split(), catch_exceptions=False)
    assert done.exit_code == code, done.output
    return json.loads(done.stdout) if code == 0 else done.stderr


def episodes(document: Any) -> list[tuple[int, int, int, float]]:
    return sorted((e["env_index"], e["seed"], e["length"], e["return"]) for e in document["episodes"])


def test_whole_episodes_and_steps_of_actors_are_those_of_one_process(cluster: Cluster, tmp_path: Path) -> None:
    del cluster
    plain = run(f"rollout CartPole-v1 --steps 40 {AGENT}")
    stepped = run(f"rollout CartPole-v1 --steps 40 --ray local --actors 1 {AGENT}")
    assert stepped["executor"] == "ray"
    assert episodes(stepped) == episodes(plain)
    whole = run(f"rollout CartPole-v1 --episodes 4 --ray local --actors 1 -o {tmp_path / 'out'} {AGENT}")
    assert whole["executor"] == "ray"
    assert len(whole["episodes"]) == 4
    ended = {e[:3] for e in episodes(plain)}
    assert len({e[:3] for e in episodes(whole)} & ended) >= 2, "the first episodes of each env are the same"
    assert [(e["env_index"], e["episode_index"]) for e in whole["episodes"]] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    rows = runnerkit.load(tmp_path / "out").rows
    assert sorted(row.rollout for row in rows) == [0, 1, 2, 3], "each was written as it came"
    assert sorted((row.episode.env_index, row.episode.seed) for row in rows) == [e[:2] for e in episodes(whole)]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--actors 2", "--actors are those of --ray"),
        ("--ray local --executor serial", "Give --ray and --actors, or --executor"),
        ("--ray local --episodes 2 --render", "cannot do --render"),
    ],
)
def test_what_does_not_go_together_is_said(words: str, said: str) -> None:
    assert said in run(f"rollout CartPole-v1 {words}", code=2)
