"""pyright's strict mode where torch is not installed: nothing of RunnerKit but `history="torch"` is unknown."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import numpy

ROOT = Path(__file__).parents[2]

CODE = """
import numpy as np
from numpy.typing import NDArray
import runnerkit
from runnerkit import EnvKey, GymRunner, Registry, RandomAgent

CARTPOLE: EnvKey[NDArray[np.float32], NDArray[np.int64]] = EnvKey("CartPole-v1")

with runnerkit.make("CartPole-v1", n_envs=2, seed=0) as runner:
    print(len(runner.rollout(RandomAgent(runner.action_space, seed=0), steps=5)[0]))
with Registry().build(CARTPOLE, history="transitions") as transitions:
    print(transitions.seed)
with GymRunner(CARTPOLE) as built:
    print(built.seed)
for path in ("CartPole-v1", "Pendulum-v1"):
    print(GymRunner(path, history="arrays").seed)
"""


def test_without_torch_nothing_is_unknown_to_pyright(tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", symlinks=True)
    (site,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    for installed in Path(numpy.__file__).parents[1].iterdir():
        if installed.name.startswith(("gymnasium", "numpy", "typing_extensions", "pluggy", "cloudpickle")):
            (site / installed.name).symlink_to(installed)
    (site / "runnerkit").symlink_to(ROOT / "runnerkit")
    (tmp_path / "pyrightconfig.json").write_text(json.dumps({"include": ["case.py"], "typeCheckingMode": "strict"}))
    (tmp_path / "case.py").write_text(CODE)
    path = f"{tmp_path / 'venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [sys.executable, "-m", "pyright", "--outputjson"],
        cwd=tmp_path,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    said = json.loads(done.stdout)
    assert said["generalDiagnostics"] == []
    assert said["summary"]["filesAnalyzed"] == 1
