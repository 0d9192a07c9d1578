"""One local cluster for all tests of this package: to start one takes seconds."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from runnerkit_ray.cluster import Cluster, join, keep_to_this_machine

keep_to_this_machine()  # before a module of tests imports Ray


def pytest_configure() -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a job in the background of a shell
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A cluster of this machine alone, whose object store is as small as Ray admits."""
    with join("local", num_cpus=2, object_store_memory=80 * 2**20) as cluster:
        yield cluster
