"""The cluster that actors live in: one that runs already, or one of this machine alone, for as long as it is needed."""

from __future__ import annotations

import atexit
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from types import TracebackType
from typing import Any, Final, Self

from runnerkit.errors import ArgumentError, MissingDependencyError
from runnerkit_ray.folders import new_folder
from runnerkit_ray.processes import alive, processes_of

__all__ = ["Cluster", "is_in", "join", "keep_to_this_machine", "require_ray"]

_LOOPBACK: Final = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""With "0", all sockets are of the loopback interface, on Linux, too; else Ray replaces 127.0.0.1."""

_ENVIRONMENT: Final = {
    "RAY_USAGE_STATS_ENABLED": "0",
    _LOOPBACK: "0",
    "RAY_AUTH_MODE": "token",  # the default, which is announced unless it is given
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # else workers would install this environment again under `uv run`
    "RAY_DEDUP_LOGS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # what will be the default; else there is a warning
}
"""For a cluster of this machine alone, set before Ray is imported, as it reads some of it then.

What the user has set wins. If the program has imported Ray already, nothing is set.
"""

_ANSWER_S: Final = 5.0  # how long a cluster may take to accept a connection
_GONE_S: Final = 10.0  # how long its processes may take to end


def require_ray() -> None:
    """Raise MissingDependencyError if Ray is not installed."""
    if find_spec("ray") is None:
        raise MissingDependencyError("runnerkit-ray needs Ray, which is not installed. Install it: pip install ray")


def keep_to_this_machine() -> None:
    """Let Ray, unless it is imported already, listen on the loopback interface only, and tell nobody that it is used.

    `join` does so before it starts a cluster. A program that imports Ray earlier calls this before.
    """
    if "ray" not in sys.modules:  # else it would disagree with its own processes
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)


class Cluster:
    """A cluster that this process has joined; see `join`.

    Attributes:
        address: host and port, as in `ray.init(address=...)`.
        is_local: whether RunnerKit started it, on this machine alone.

    """

    def __init__(self, address: str, *, is_local: bool) -> None:
        self.address: str = address
        self.is_local: bool = is_local
        self._is_joined = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.leave()

    @property
    def cpus(self) -> float:
        """How many CPUs all its nodes have together, as Ray counts them."""
        import ray

        nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
        return sum(float(node["Resources"].get("CPU", 0.0)) for node in nodes if node["Alive"])

    def leave(self) -> None:
        """Leave it; may be called twice.

        The last one who leaves disconnects this process, if `join` has connected it, and ends a cluster that `join`
        has started: no process and no file of it is left.
        """
        if self._is_joined:
            self._is_joined = False
            _membership.leave(self.address)


def join(
    address: str | None = None,
    *,
    num_cpus: int | None = None,
    object_store_memory: int | None = None,
    log_to_driver: bool = False,
) -> Cluster:
    """Join a cluster, or start one on this machine::

        with join() as cluster:                     # that of this process, or a new one of this machine
        with join("local") as cluster:              # one of its own, which listens on the loopback interface only
        with join("10.0.0.1:6379") as cluster:      # one that runs already

    A process is in one cluster at a time, which all who join share. Whoever joins first may start it.

    Args:
        address: host and port of a running cluster, "auto" for the one that runs on this machine, "local" for one of
            this process alone, which is started. None is the cluster that this process is in, or else a new local one.
        num_cpus: how many CPUs a new cluster has, as Ray counts them; as many as this machine by default.
        object_store_memory: how many bytes of shared memory a new cluster has; Ray's own choice by default. Ray wants
            at least 75 MiB. What does not fit is written to disk.
        log_to_driver: show here what actors print.

    Raises:
        MissingDependencyError: Ray is not installed.
        ArgumentError: no cluster has this address, or this process is in another one.

    """
    require_ray()
    return _membership.join(address, num_cpus, object_store_memory, log_to_driver)


class _Membership:
    """The one cluster that this process may be in, and how many have joined it through RunnerKit."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._members = 0
        self._undo = contextlib.ExitStack()
        self._started_here = False
        self._where: str | None = None
        """The cluster that they have joined; each has another address."""
        self._pid = os.getpid()

    def join(
        self, address: str | None, num_cpus: int | None, object_store_memory: int | None, log_to_driver: bool
    ) -> Cluster:
        with self._lock:
            self._forget_what_ended()
            if _is_connected():
                where = self._require_same(address)
            else:
                if address is None or address == "local":
                    self._start(num_cpus, object_store_memory, log_to_driver)
                else:
                    self._connect(address, log_to_driver)
                where = _address()
            self._members, self._where = self._members + 1, where
            return Cluster(where, is_local=self._started_here)

    def leave(self, where: str) -> None:
        with self._lock:
            if self._pid != os.getpid() or self._where != where:
                return  # a fork, whose connection is not its own; or a cluster that ended before this one began
            self._members = max(0, self._members - 1)
            if not self._members:
                self._finish()

    def _finish(self) -> None:
        """Leave the cluster for good, and end it if it was started here; at the interpreter's exit, too."""
        if self._pid == os.getpid():
            self._members, self._started_here = 0, False
            self._undo.close()

    def _disconnect(self) -> None:
        """Disconnect this process, unless somebody else has connected it to another cluster since."""
        import ray

        if not _is_connected() or self._where in (None, _address()):
            ray.shutdown()

    def _forget_what_ended(self) -> None:
        """Forget a cluster that someone else has ended with `ray.shutdown`, and what a fork has from its parent."""
        if self._pid != os.getpid():
            self._pid, self._members, self._started_here, self._undo = os.getpid(), 0, False, contextlib.ExitStack()
        elif self._members and self._where is not None and not is_in(self._where):
            self._finish()

    def _require_same(self, address: str | None) -> str:
        here = _address()
        if address not in (None, "auto", here) and not (address == "local" and self._started_here):
            raise ArgumentError(
                f"This process is in the Ray cluster at {here} already, so that it cannot join {address!r}, too. "
                "Leave the address out to use that one, or leave it first (ray.shutdown())."
            )
        return here

    def _start(self, num_cpus: int | None, object_store_memory: int | None, log_to_driver: bool) -> None:
        keep_to_this_machine()
        if _LOOPBACK not in os.environ:
            warnings.warn(
                "The program has imported Ray before, so that the new Ray cluster listens on all interfaces of this "
                f"machine. Set {_LOOPBACK}=0 before Ray is imported, or call "
                "runnerkit_ray.cluster.keep_to_this_machine() before.",
                RuntimeWarning,
                stacklevel=4,
            )
        import ray

        self._where = None
        with contextlib.ExitStack() as undo:
            folder = new_folder()
            undo.callback(folder.remove)
            undo.callback(_end, folder.path, self._disconnect)
            atexit.register(self._finish)
            undo.callback(atexit.unregister, self._finish)
            with _sigterm_kept():
                ray.init(
                    address="local",
                    num_cpus=num_cpus,
                    object_store_memory=object_store_memory,
                    include_dashboard=False,
                    log_to_driver=log_to_driver,
                    logging_level=logging.ERROR,
                    _temp_dir=folder.path,
                )
            self._undo, self._started_here = undo.pop_all(), True

    def _connect(self, address: str, log_to_driver: bool) -> None:
        if address != "auto" and _listens_to_this_machine_only(*_require_answer(address)):
            keep_to_this_machine()
            if os.environ.get(_LOOPBACK) != "0":
                raise ArgumentError(
                    f"The Ray cluster at {address} listens on the loopback interface only, and Ray was imported for "
                    f"other clusters. Set {_LOOPBACK}=0 before Ray is imported."
                )
        import ray

        try:
            with _sigterm_kept():
                ray.init(address=address, log_to_driver=log_to_driver, logging_level=logging.ERROR)
        except (ConnectionError, RuntimeError) as error:
            ray.shutdown()
            what = (
                "No Ray cluster runs on this machine" if address == "auto" else f"No Ray cluster answers at {address}"
            )
            raise ArgumentError(f"{what}: {error}") from error
        self._undo.callback(self._disconnect)


_membership: Final = _Membership()


def _is_connected() -> bool:
    if "ray" not in sys.modules:
        return False
    import ray

    return bool(ray.is_initialized())


def is_in(address: str) -> bool:
    """Whether this process is in the cluster at that address: not after `ray.shutdown()`, nor in another one."""
    return _is_connected() and _address() == address


def _address() -> str:
    import ray

    return str(ray.get_runtime_context().gcs_address)


def _require_answer(address: str) -> tuple[str, int]:
    """Return host and port; raise ArgumentError unless something listens there: Ray would try for a long time."""
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isdigit() or "/" in host:
        raise ArgumentError(
            f"A Ray cluster has an address such as '10.0.0.1:6379' (or 'auto', or 'local'), not {address!r}. This "
            "program must run on a machine of the cluster: an address of a Ray client (ray://...) does not do."
        )
    where = host.strip("[]"), int(port)
    try:
        socket.create_connection(where, _ANSWER_S).close()
    except (OSError, OverflowError) as error:
        raise ArgumentError(
            f"No Ray cluster answers at {address}: {error}. `ray status` on its head node tells the address, "
            "'local' starts a cluster on this machine."
        ) from error
    return where


def _listens_to_this_machine_only(host: str, port: int) -> bool:
    """Whether a cluster that answers there has sockets of the loopback interface only."""
    if not (host == "localhost" or host.startswith("127.")):
        return False
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_way:
        any_way.connect(("192.0.2.1", 9))  # nothing is sent; it shows which of this machine's addresses others see
        outer: str = any_way.getsockname()[0]
        socket.create_connection((outer, port), _ANSWER_S).close()
        return False
    return True


@contextlib.contextmanager
def _sigterm_kept() -> Iterator[None]:
    """Give the driver its handler of SIGTERM back, which Ray replaces."""
    if threading.current_thread() is not threading.main_thread():
        yield  # Ray leaves it alone, too
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)


def _end(folder: str, disconnect: Callable[[], None]) -> None:
    """End the cluster of that folder, and wait for all its processes; what does not end is killed."""
    processes = processes_of(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # Ray forgets its processes before they have ended
        disconnect()
        gc.collect()
    end = time.monotonic() + _GONE_S
    while left := processes & alive():
        if time.monotonic() > end:
            for pid, _ in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            end = float("inf")
        time.sleep(0.02)
