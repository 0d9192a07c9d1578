"""What the mypy plugin reads beside mypy's own configuration, and how it refuses what is wrong there."""

from __future__ import annotations

from pathlib import Path

import pytest
from mypy.options import Options
from runnerkit_mypy.config import Config, ConfigError, read_config


def read(folder: Path, **files: str) -> Config:
    """Read the configuration where mypy's is in the first of the files; `_` is the dot of a file's name."""
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text)
    options = Options()
    options.config_file = str(folder / next(iter(files)).replace("_", "."))
    return read_config(options)


def test_a_toml_file_says_what_is_checked(tmp_path: Path) -> None:
    config = read(
        tmp_path,
        pyproject_toml="""
            [tool.runnerkit.mypy]
            specs = ["_pytest.hookspec", "llm.hookspecs:Specs.Inner", "_pytest.hookspec"]
            markers = ["pytest.hookimpl"]
            [tool.runnerkit.mypy.names]
            some = "thing"
        """,
    )
    assert config == Config(
        "pyproject.toml", ("_pytest.hookspec", "llm.hookspecs:Specs.Inner"), ("pytest.hookimpl",), (), {"some": "thing"}
    )


def test_a_well_known_project_stands_for_its_specifications(tmp_path: Path) -> None:
    config = read(tmp_path, pyproject_toml='[tool.runnerkit.mypy]\nspecs = ["pytest", "devpi-server", "mine.specs"]')
    assert config.specs == ("_pytest.hookspec", "devpi_server.hookspecs", "mine.specs")


def test_an_ini_file_says_the_same(tmp_path: Path) -> None:
    text = """
[mypy]
strict = true
[runnerkit.mypy]
specs = _pytest.hookspec, llm.hookspecs:Specs
prefixes = my_, your_
markers =
    pytest.hookimpl
    my_plugin.hookimpl
[runnerkit.mypy.names]
some = thing
"""
    config = read(tmp_path, mypy_ini=text, pyproject_toml='[tool.runnerkit.mypy]\nspecs = ["not.read"]')
    assert config == Config(
        "mypy.ini",
        ("_pytest.hookspec", "llm.hookspecs:Specs"),
        ("pytest.hookimpl", "my_plugin.hookimpl"),
        ("my_", "your_"),
        {"some": "thing"},
    )


def test_an_ini_file_that_says_nothing_leaves_it_to_the_pyproject_toml_beside_it(tmp_path: Path) -> None:
    config = read(tmp_path, setup_cfg="[mypy]\n", pyproject_toml='[tool.runnerkit.mypy]\nspecs = ["project.hooks"]')
    assert config == Config("pyproject.toml", ("project.hooks",))


def test_nothing_is_configured_by_default(tmp_path: Path) -> None:
    assert read(tmp_path, mypy_ini="[mypy]\n") == Config()
    assert read(tmp_path, pyproject_toml="[tool.mypy]\n[tool.runnerkit]\n") == Config()
    assert read_config(Options()) == Config()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            "[tool.runnerkit.mypy]\nspec = []",
            "has no key 'spec'. Did you mean 'specs'? Known: markers, names, prefixes, specs.",
        ),
        ('specs = "a.b"', """specs must be a list of "module" or "module:Class", not 'a.b'. Write specs = ['a.b']."""),
        ("specs = 1", 'specs must be a list of "module" or "module:Class", not 1.'),
        ('specs = ["a-b"]', """specs must be a list of "module" or "module:Class", but one is 'a-b'."""),
        ('specs = ["a:b:c"]', """specs must be a list of "module" or "module:Class", but one is 'a:b:c'."""),
        ("specs = [1]", 'specs must be a list of "module" or "module:Class", but one is 1.'),
        ('prefixes = ["my-"]', """prefixes must be a list of "my_project_", but one is 'my-'."""),
        ('markers = ["hookimpl"]', """markers must be a list of "module.hookimpl", but one is 'hookimpl'."""),
        ("names = []", "names must be a table, not []."),
        ("[tool.runnerkit]\nmypy = 1", "must be a table, but 'mypy' is 1."),
    ],
)
def test_a_wrong_key_or_value_is_named(tmp_path: Path, text: str, complaint: str) -> None:
    table = text if text.startswith("[") else f"[tool.runnerkit.mypy]\n{text}"
    with pytest.raises(ConfigError) as refused:
        read(tmp_path, pyproject_toml=table)
    start = f"{tmp_path / 'pyproject.toml'}: error: [tool.runnerkit.mypy] "
    assert str(refused.value) == start + complaint


def test_a_wrong_key_in_an_ini_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"mypy\.ini: error: \[runnerkit\.mypy\] has no key 'marker'\. Did you mean"):
        read(tmp_path, mypy_ini="[mypy]\n[runnerkit.mypy]\nmarker = a.b\n")


def test_a_pyproject_toml_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"pyproject\.toml: error: this is not TOML: Expected"):
        read(tmp_path, mypy_ini="[mypy]\n", pyproject_toml="[tool")
