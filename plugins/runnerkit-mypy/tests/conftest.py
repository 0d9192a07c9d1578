"""One cache of mypy for all messages in test_hookimpls.yml, which pytest-mypy-plugins runs where it is installed."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest


def pytest_configure(config: pytest.Config) -> None:
    if "mypy_testing_base" in config.option:
        base = Path(tempfile.mkdtemp(prefix="mypy-plugins-"))
        config.option.mypy_testing_base = str(base)
        config.add_cleanup(lambda: shutil.rmtree(base))
        # It takes mypy from the PATH: let that be the one of this Python.
        (base / "mypy").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m mypy "$@"\n')
        (base / "mypy").chmod(0o700)
        os.environ["PATH"] = f"{base}{os.pathsep}{os.environ['PATH']}"
