"""The cluster: started, shared, left, and refused in plain words."""

from __future__ import annotations

import contextlib
import gc
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import ray
import runnerkit_ray.cluster
from runnerkit_ray.cluster import Cluster, join
from runnerkit_ray.folders import Folder

from runnerkit.errors import ArgumentError, MissingDependencyError


def test_without_ray_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingDependencyError, match="pip install ray"):
        join()


@pytest.mark.parametrize("address", ["ray://10.0.0.1:10001", "10.0.0.1", "head:port", ":6379"])
def test_an_address_of_another_form_is_refused(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runnerkit_ray.cluster, "_membership", runnerkit_ray.cluster._Membership())  # not that of others
    monkeypatch.setattr(runnerkit_ray.cluster, "_is_connected", lambda: False)
    with pytest.raises(ArgumentError, match=r"has an address such as '10\.0\.0\.1:6379'"):
        join(address)


def test_an_address_where_nothing_listens_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runnerkit_ray.cluster, "_membership", runnerkit_ray.cluster._Membership())  # not that of others
    monkeypatch.setattr(runnerkit_ray.cluster, "_is_connected", lambda: False)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    with pytest.raises(ArgumentError, match=f"No Ray cluster answers at {address}"):
        join(address)


def test_a_process_is_in_one_cluster_which_all_who_join_share(cluster: Cluster) -> None:
    with pytest.raises(ArgumentError, match=f"in the Ray cluster at {cluster.address} already"):
        join("10.0.0.1:6379")
    for address in (None, "auto", "local", cluster.address):
        with join(address) as same:
            assert same.address == cluster.address
            assert same.is_local
            assert same.cpus == 2
        same.leave()  # once more
    assert ray.is_initialized(), "the first who joined has not left"


def test_a_cluster_that_others_began_later_is_not_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    here, ended = ["first"], list[str]()
    monkeypatch.setattr(runnerkit_ray.cluster, "_is_connected", lambda: True)
    monkeypatch.setattr(runnerkit_ray.cluster, "_address", lambda: here[0])
    monkeypatch.setattr(ray, "shutdown", lambda: ended.append(here[0]))

    def started() -> Cluster:
        membership = runnerkit_ray.cluster._Membership()
        monkeypatch.setattr(runnerkit_ray.cluster, "_membership", membership)
        membership._started_here = True
        membership._undo.callback(membership._disconnect)
        return join()

    before = started()
    here[0] = "second"  # after ray.shutdown() and ray.init() of the user
    after = join()
    assert (after.address, after.is_local) == ("second", False)
    before.leave()
    after.leave()
    assert not ended
    started().leave()
    assert ended == ["second"]


def test_a_fork_leaves_the_folder_of_its_parent_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(ray, "init", lambda **_: None)
    monkeypatch.setattr(runnerkit_ray.cluster, "new_folder", lambda: Folder(str(tmp_path)))
    membership = runnerkit_ray.cluster._Membership()
    membership._start(None, None, False)
    membership._pid += 1  # as in a fork
    membership._forget_what_ended()
    gc.collect()
    assert len(list(tmp_path.glob("rk-ray-*/in-use"))) == 1


def test_a_cluster_that_listens_on_all_interfaces_is_announced(monkeypatch: pytest.MonkeyPatch) -> None:
    def init(**options: object) -> None:
        raise RuntimeError("enough")

    monkeypatch.setattr(runnerkit_ray.cluster, "_membership", runnerkit_ray.cluster._Membership())  # not that of others
    monkeypatch.setattr(runnerkit_ray.cluster, "_is_connected", lambda: False)
    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    monkeypatch.delenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER")
    with (
        pytest.warns(RuntimeWarning, match="Set RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0 before Ray is imported"),
        pytest.raises(RuntimeError, match="enough"),
    ):
        join("local")


PROGRAM = """
import signal, sys, tempfile
from runnerkit_ray.cluster import join

folders, make = [], tempfile.mkdtemp
tempfile.mkdtemp = lambda *args, **keywords: folders.append(make(*args, **keywords)) or folders[-1]
signal.signal(signal.SIGTERM, handler := lambda *_: None)
with join(sys.argv[1] if len(sys.argv) > 1 else "local") as cluster:
    assert cluster.is_local == (len(sys.argv) == 1)
    assert cluster.cpus >= 1
    print(*folders)
assert signal.getsignal(signal.SIGTERM) is handler
"""


def test_leaving_gives_the_signal_handler_back_and_leaves_no_process_and_no_file() -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    run = subprocess.run(
        [sys.executable, "-Werror", "-c", PROGRAM], env=env, stdout=subprocess.PIPE, text=True, check=True
    )
    folder = run.stdout.split()[0]
    assert not Path(folder).exists()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has just ended
            assert folder.encode() not in path.read_bytes()


def test_another_process_connects_by_address_and_leaves_the_cluster_as_it_is(cluster: Cluster) -> None:
    subprocess.run([sys.executable, "-c", PROGRAM, cluster.address], check=True)
    assert cluster.cpus == 2
