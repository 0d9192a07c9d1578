"""Checks the table of well-known projects against the projects themselves, which are too heavy for the test suite.

Run `python with_real_hosts.py`: it makes a virtual environment, installs them there without what they depend on, and
checks one plugin of each with mypy. Errors must be on the lines marked `# BAD`, and nowhere else. Prints what differs,
and exits with 1 if anything does. It takes a minute.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

HERE = Path(__file__).parent
HOSTS = ("hatchling", "kedro", "devpi-server", "devpi-web", "devpi-client", "datasette", "llm", "tox")
NEEDED = ("mypy", "pluggy", "click")

CONFIG = """
[tool.mypy]
strict = true
plugins = ["runnerkit_mypy"]
[[tool.mypy.overrides]]
module = ["datasette.*", "devpi_web.*", "devpi.*"]
follow_untyped_imports = true
"""

PLUGINS = {
    "hatch": """
from typing import Any
from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.plugin import hookimpl
from hatchling.version.source.plugin.interface import VersionSourceInterface
class Hook(BuildHookInterface[Any]):
    PLUGIN_NAME = "x"
class Source(VersionSourceInterface):
    PLUGIN_NAME = "x"
    def get_version_data(self) -> dict[str, Any]:
        return {}
@hookimpl
def hatch_register_build_hook() -> type[Hook]:
    return Hook
@hookimpl
def hatch_register_version_source() -> list[type[VersionSourceInterface]]:
    return [Source]
@hookimpl
def hatch_register_environment() -> type[object]:
    return object
@hookimpl
def hatch_register_environment_collector() -> type[object]:
    return object
@hookimpl
def hatch_register_publisher() -> type[object]:
    return object
@hookimpl
def hatch_register_template() -> type[object]:
    return object
class Wrong:
    @hookimpl
    def hatch_register_build_hok(self) -> type[Hook]:  # BAD
        return Hook
    @hookimpl
    def hatch_register_builder(self, config: str) -> None:  # BAD
        pass
    @hookimpl(tryfirst=True)
    def hatch_register_metadata_hooks(self) -> None:  # BAD
        pass
""",
    "kedro": """
from typing import Any
from kedro.framework.hooks import hook_impl
from kedro.framework.cli.hooks import cli_hook_impl
from kedro.framework.context import KedroContext
from kedro.framework.startup import ProjectMetadata
from kedro.io import CatalogProtocol, DataCatalog
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node
class Hooks:
    @hook_impl
    def after_catalog_created(self, catalog: CatalogProtocol[Any, Any]) -> None: ...
    @hook_impl
    def before_node_run(self, node: Node, inputs: dict[str, Any]) -> dict[str, Any] | None:
        return None
    @hook_impl(tryfirst=True)
    def after_pipeline_run(self, run_result: dict[str, Any], pipeline: Pipeline) -> None: ...
    @hook_impl
    def after_context_created(self, context: KedroContext) -> None: ...
    @hook_impl
    def on_node_error(self, error: Exception) -> None: ...
class CLI:
    @cli_hook_impl
    def before_command_run(self, project_metadata: ProjectMetadata, command_args: list[str]) -> None: ...
    @cli_hook_impl
    def after_command_run(self, command_arg: list[str], exit_code: int) -> None: ...  # BAD
class Wrong:
    @hook_impl
    def after_catalog_created(self, catalog: DataCatalog) -> None: ...  # BAD
    @hook_impl
    def after_catalog_create(self, catalog: DataCatalog) -> None: ...  # BAD
    @hook_impl
    def before_node_run(self, nodes: Node) -> None: ...  # BAD
    @hook_impl
    def before_pipeline_run(self, run_params: list[str]) -> None: ...  # BAD
    @hook_impl
    def after_dataset_loaded(self, dataset_name: str, data: Any = None) -> None: ...  # BAD
    @hook_impl
    def on_pipeline_error(self, *, error: Exception) -> None: ...  # BAD
""",
    "devpi": """
from typing import Any
from pluggy import HookimplMarker
server_hookimpl = HookimplMarker("devpiserver")
web_hookimpl = HookimplMarker("devpiweb")
client_hookimpl = HookimplMarker("devpiclient")
@server_hookimpl
def devpiserver_add_parser_options(parser: Any) -> None: ...
@server_hookimpl(tryfirst=True)
def devpiserver_get_features() -> set[str]:
    return set()
@web_hookimpl
def devpiweb_get_status_info(request: Any) -> list[dict[str, str]]:
    return []
@client_hookimpl
def devpiclient_get_password(url: str, username: str) -> str | None:
    return None
class Wrong:
    @server_hookimpl
    def devpiserver_get_feature(self) -> set[str]:  # BAD
        return set()
    @server_hookimpl
    def devpiserver_cmdline_run(self, xon: Any) -> None: ...  # BAD
    @web_hookimpl
    def devpiweb_get_status_infos(self, request: Any) -> list[dict[str, str]]:  # BAD
        return []
    @web_hookimpl
    def devpiweb_indexer_backend(self, config: Any) -> dict[str, str]:  # BAD
        return {}
    @client_hookimpl
    def devpiclient_get_pasword(self, url: str) -> str | None:  # BAD
        return None
    @client_hookimpl
    def devpiclient_subcommands(self, parser: Any) -> list[Any]:  # BAD
        return []
""",
    "datasette": """
from typing import Any
from datasette.hookspecs import hookimpl
@hookimpl
def startup(datasette: Any) -> None: ...
@hookimpl
def prepare_connection(conn: Any, database: str) -> None: ...
@hookimpl(trylast=True)
async def permission_allowed(datasette: Any, actor: Any, action: str) -> bool:
    return True
@hookimpl
def extra_template_vars(datasette: Any, request: Any) -> dict[str, Any]:
    return {}
class Wrong:
    @hookimpl
    def prepare_conection(self, conn: Any) -> None: ...  # BAD
    @hookimpl
    def startup(self, dataset: Any) -> None: ...  # BAD
    @hookimpl
    def register_routes(self, datasette: Any = None) -> list[Any]:  # BAD
        return []
""",
    "llm": """
from typing import Any
import llm
import click
@llm.hookimpl
def register_models(register: Any) -> None: ...
@llm.hookimpl
def register_commands(cli: click.Group) -> None: ...
class Wrong:
    @llm.hookimpl
    def register_model(self, register: Any) -> None: ...  # BAD
    @llm.hookimpl
    def register_tools(self, registr: Any) -> None: ...  # BAD
""",
    "tox": """
from tox.config.cli.parser import ToxParser
from tox.config.sets import ConfigSet
from tox.plugin import impl
from tox.session.state import State
@impl
def tox_add_option(parser: ToxParser) -> None: ...
@impl
def tox_add_core_config(core_conf: ConfigSet, state: State) -> None: ...
class Wrong:
    @impl
    def tox_add_options(self, parser: ToxParser) -> None: ...  # BAD
    @impl
    def tox_add_env_config(self, conf: ConfigSet) -> None: ...  # BAD
""",
}


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        return _check(Path(folder))


def _check(folder: Path) -> int:
    venv.create(folder / "venv", with_pip=True)
    python = str(folder / "venv" / "bin" / "python")
    pip = [python, "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, *NEEDED, str(HERE.parent)], check=True)
    subprocess.run([*pip, "--no-deps", *HOSTS], check=True)
    (folder / "pyproject.toml").write_text(CONFIG, "utf-8")
    for name, code in PLUGINS.items():
        (folder / f"{name}_plugin.py").write_text(code, "utf-8")
    files = [f"{name}_plugin.py" for name in PLUGINS]
    done = subprocess.run([python, "-m", "mypy", *files], cwd=folder, capture_output=True, text=True, check=False)
    found = {
        (name, int(line)) for name, line in re.findall(r"^(\w+)_plugin\.py:(\d+): error", done.stdout, re.MULTILINE)
    }
    wanted = {
        (name, number)
        for name, code in PLUGINS.items()
        for number, line in enumerate(code.splitlines(), 1)
        if line.endswith("# BAD")
    }
    print(done.stdout, done.stderr)
    for name, line in sorted(found ^ wanted):
        print(f"{name}_plugin.py:{line}: {'nothing is said' if (name, line) in wanted else 'is right'}")
    return int(found != wanted)


if __name__ == "__main__":
    sys.exit(main())
