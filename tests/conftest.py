"""One Hypothesis profile for everyone: the same examples in every run, and no deadline on a noisy machine.

And one cache of mypy for the messages in typing/plugin, which are run by pytest-mypy-plugins where it is installed.
"""

from __future__ import annotations

import gc
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings

settings.register_profile(
    "runnerkit",
    deadline=None,
    derandomize=True,
    phases=(Phase.explicit, Phase.generate, Phase.shrink),  # explaining a failure takes minutes
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("runnerkit")

collect_ignore_glob = [] if find_spec("runnerkit_mypy") else ["test_mypy_*"]


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # So it is in a job in the background of a shell (nohup, cron, some CI), and all programs that tests start would
        # inherit that, and never hear of the Ctrl-C's that they are sent.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if "mypy_testing_base" in config.option:
        base = Path(tempfile.mkdtemp(prefix="mypy-plugins-"))
        config.option.mypy_testing_base = str(base)
        config.add_cleanup(lambda: shutil.rmtree(base))
        # It takes mypy from the PATH: let that be the one of this Python.
        (base / "mypy").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m mypy "$@"\n')
        (base / "mypy").chmod(0o700)
        os.environ["PATH"] = f"{base}{os.pathsep}{os.environ['PATH']}"


@pytest.fixture(autouse=True, scope="module")
def _garbage_is_looked_for_among_new_objects() -> Iterator[None]:
    """Leave what one module of tests has imported and kept out of all later looks, which would take a second each."""
    yield
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="module")
def _no_process_of_the_kit_is_left() -> Iterator[None]:
    """End the processes that the conformance kit keeps waiting, as other modules count those of this one."""
    yield
    kit = sys.modules.get("runnerkit._envs.elsewhere")
    if kit is not None:
        kit.end_processes()
