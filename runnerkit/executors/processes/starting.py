"""Starting the interpreter of a helper process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

from runnerkit.executors.processes import boot
from runnerkit.executors.processes.surroundings import environment

__all__ = ["start_helper"]


def start_helper(fds: Sequence[int], n_envs: int, low: int, high: int, seed: int) -> subprocess.Popen[bytes]:
    """Start the interpreter that runs this one, with the same flags; its arguments tell what it is for."""
    numbers = [*fds, os.getpid(), n_envs, low, high]
    command = [sys.executable, *_flags(), "-P", boot.__file__, *map(str, numbers)]
    return subprocess.Popen(
        [*command, f"runnerkit: envs {low} to {high - 1}"],
        pass_fds=fds,
        stdin=subprocess.DEVNULL,
        stdout=_output(1),
        stderr=_output(2),
        env=environment(seed),
    )


def _output(fd: int) -> int | None:
    """Return where a helper's output goes: where this process's does, but nowhere if that is closed."""
    return None if os.get_inheritable(fd) else subprocess.DEVNULL


def _flags() -> list[str]:
    flags = [f"-W{option}" for option in sys.warnoptions]
    flags += [f"-X{name}" if value is True else f"-X{name}={value}" for name, value in sys._xoptions.items()]
    flags += ["-O"] * sys.flags.optimize
    given = {"-B": sys.flags.dont_write_bytecode, "-E": sys.flags.ignore_environment, "-s": sys.flags.no_user_site}
    return flags + [flag for flag, is_given in given.items() if is_given]
