"""Well-known projects that are extended through pluggy: where their hooks are specified, and who implements them.

All is text: none of them needs to be installed, and nothing is imported.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final, NamedTuple


class Host(NamedTuple):
    """A project with hooks."""

    project: str
    """Its name in `HookimplMarker("...")`."""
    home: str
    """The module that plugins import for its marker, or a package around it."""
    specs: tuple[str, ...]
    prefix: str = ""
    """How functions begin that are hooks without a marker."""
    markers: tuple[str, ...] = ()
    """Markers that are declared as plain callables, which hides from mypy what they are."""


_KEDRO: Final = ("DataCatalog", "Node", "Pipeline", "Dataset", "KedroContext")

HOSTS: Final[dict[str, Host]] = {
    "pytest": Host("pytest", "pytest", ("_pytest.hookspec",), prefix="pytest_"),
    "tox": Host("tox", "tox.plugin", ("tox.plugin.spec",), markers=("tox.plugin.impl",)),
    "llm": Host("llm", "llm", ("llm.hookspecs",)),
    "datasette": Host("datasette", "datasette", ("datasette.hookspecs",)),
    "hatch": Host("hatch", "hatchling.plugin", ("hatchling.plugin.specs",)),
    "kedro": Host(
        "kedro", "kedro.framework.hooks", tuple(f"kedro.framework.hooks.specs:{name}Specs" for name in _KEDRO)
    ),
    "kedro-cli": Host("kedro_cli", "kedro.framework.cli.hooks", ("kedro.framework.cli.hooks.specs:CLICommandSpecs",)),
    "devpi-server": Host("devpiserver", "devpi_server", ("devpi_server.hookspecs",)),
    "devpi-web": Host("devpiweb", "devpi_web", ("devpi_web.hookspecs",)),
    "devpi-client": Host("devpiclient", "devpi", ("devpi.hookspecs",)),
}

HOST_MODULES: Final[tuple[str, ...]] = tuple(
    dict.fromkeys(spec.partition(":")[0] for host in HOSTS.values() for spec in host.specs)
)
"""The modules in which they specify their hooks."""


def used_by(imported: Collection[str], projects: Collection[str]) -> Iterator[Host]:
    """Yield the hosts of a file that imports such modules and makes markers for such projects."""
    for host in HOSTS.values():
        if host.project in projects or any(_is_of(host, name) for name in imported):
            yield host


def host_of(project: str, marker: str) -> Host | None:
    """Return the host of a marker, by its project if that is known, or else by its full name."""
    for host in HOSTS.values():
        if project == host.project or (not project and _is_of(host, marker)):
            return host
    return None


def _is_of(host: Host, name: str) -> bool:
    """Whether a full name is that of the host's home, or of something in it; `_pytest` is the inside of `pytest`."""
    return f"{name}.".lstrip("_").startswith(f"{host.home}.")
