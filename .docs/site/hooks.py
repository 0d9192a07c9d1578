"""Makes one site of the documents in this repository, wherever they lie.

The pages in `.docs/` are joined by the READMEs, the changelog and a page for each public module, so that no text exists
twice. Links are those of the files: they work in a checkout, and are turned into those of the site here.
"""

from __future__ import annotations

import importlib
import posixpath
import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from reference import PUBLIC, sentence  # noqa: E402

EXAMPLES = ROOT / ".docs" / "examples"
PACKAGES = sorted(ROOT.glob("plugins/*/README.md"))
ELSEWHERE = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE", "plugins/README.md")),
    *PACKAGES,
    *ROOT.glob("tests/benchmarks/*.svg"),
]
"""The files outside of `.docs/` that belong to the site."""

LINK = re.compile(r"\]\((?P<path>[\w./-]+)(?P<anchor>#[\w-]+)?\)")
PROGRAM = re.compile(r"^The whole program is in \[`(?P<name>\w+\.py)`\].*$", re.MULTILINE)
ENTRY = re.compile(r"^- `(?P<name>\w+)`: ", re.MULTILINE)


def on_config(config: MkDocsConfig) -> None:
    """Add the packages and the modules to the navigation."""
    sections: dict[str, list[Any]] = {key: pages for part in config.nav or [] for key, pages in _items(part)}
    sections["Packages"] += [path.relative_to(ROOT).as_posix() for path in PACKAGES]
    sections["Reference"] += [{module: _page_of(module)} for module in PUBLIC]


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add the files from elsewhere, and a page for each public module."""
    for path in ELSEWHERE:
        files.append(File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)))
    for module, subject in PUBLIC.items():
        files.append(File.generated(config, _page_of(module), content=_reference(module, subject)))


def on_page_markdown(markdown: str, *, page: Page, **_: object) -> str:
    """Turn links between files into links between pages, link the index of the reference, and show programs."""
    here = page.file.src_uri
    if here == "reference.md":
        return _linked_index(markdown)
    source = here if page.file.src_dir is None else f".docs/{here}"
    return PROGRAM.sub(_with_program, LINK.sub(lambda link: _relinked(link, source, here), markdown))


def _items(part: Any) -> Any:
    return part.items() if isinstance(part, dict) else ()


def _page_of(module: str) -> str:
    return f"reference/{module}.md"


def _reference(path: str, subject: str) -> str:
    """Return the page of a module. A function with the name of a module is hidden by that, and stands as a sentence."""
    module = importlib.import_module(path)
    names = sorted(module.__all__, key=str.lower)
    hidden = [name for name in names if ROOT.joinpath(*path.split("."), f"{name}.py").exists()]
    sentences = [f"## {name} {{ #{path}.{name} }}\n\n{sentence(module, name)}\n" for name in hidden]
    shown = f"# {path}\n\n{subject}.\n\n::: {path}\n    options:\n      members: {names}\n"
    return "\n".join([shown, *sentences])


def _relinked(link: re.Match[str], source: str, here: str) -> str:
    target = posixpath.normpath(posixpath.join(posixpath.dirname(source), link["path"]))
    if (ROOT / target).is_dir():
        target += "/README.md"
    if not (ROOT / target).exists():
        return link[0]
    relative = posixpath.relpath(target.removeprefix(".docs/"), posixpath.dirname(here) or ".")
    return f"]({relative}{link['anchor'] or ''})"


def _with_program(line: re.Match[str]) -> str:
    code = (EXAMPLES / line["name"]).read_text("utf-8")
    return f"{line[0]}\n\n```python\n{code}```\n"


def _linked_index(markdown: str) -> str:
    head, *sections = markdown.split("\n## ")
    return "\n## ".join([head, *map(_linked_section, sections)])


def _linked_section(section: str) -> str:
    return ENTRY.sub(rf"- [`\g<name>`][{section.split()[0]}.\g<name>]: ", section)
