"""The documents: what the README and the pages of the site show is run, and their links lead somewhere.

`plugins/README.md` has tests of its own. The Python blocks of a page are run one after another, as one program, and
then the lines of its console blocks that begin with `runnerkit`.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from runnerkit._cli.main import main

ROOT = Path(__file__).parents[1]
DOCS = ROOT / ".docs"
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in [ROOT / "README.md", *DOCS.rglob("*.md")]
}
LINKED = {**PAGES, "plugins/README.md": (ROOT / "plugins" / "README.md").read_text("utf-8")}
SLOW = {"for update in range(60)": "for update in range(2)"}  # what is shortened here
NOT_RUN = ("runnerkit tune",)  # takes a quarter of a minute; its arguments are read


def blocks(text: str, language: str) -> list[str]:
    found: list[str] = re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return found


def commands(text: str) -> list[str]:
    lines = [line for block in blocks(text, "console") for line in block.replace("\\\n", " ").splitlines()]
    return [line for line in lines if line.startswith("runnerkit ")]


@pytest.mark.parametrize("page", [page for page, text in PAGES.items() if blocks(text, "python") or commands(text)])
def test_what_a_page_shows_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # for the files that it writes
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    code = "\n".join(blocks(PAGES[page], "python"))
    for long, short in SLOW.items():
        code = code.replace(long, short)
    exec(compile(code, page, "exec"), {"__name__": "page"})
    for line in commands(PAGES[page]):
        arguments = line.removeprefix("runnerkit ").split()
        if line.startswith(NOT_RUN):
            main.commands[arguments[0]].make_context(arguments[0], arguments[1:])
            continue
        done = CliRunner().invoke(main, arguments)
        assert done.exit_code == 0, f"{line}: {done.output}"


def test_the_example_of_the_readme_prints_what_it_made(capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile("\n".join(blocks(PAGES["README.md"], "python")), "README.md", "exec"), {"__name__": "page"})
    assert "(500, 4)" in capsys.readouterr().out


def test_the_configuration_that_pages_show_is_toml() -> None:
    shown = [block for text in PAGES.values() for block in blocks(text, "toml")]
    assert len(shown) > 1
    for block in shown:
        assert tomllib.loads(block)


def test_no_block_is_overlooked() -> None:
    known = {"python", "py", "console", "toml", "text"}
    languages = {language for text in PAGES.values() for language in re.findall(r"^```(\w*)\n(?!$)", text, re.M)}
    assert languages - {""} <= known


def anchors(text: str) -> set[str]:
    """Return the anchors of the headings, as they are made of their words."""
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", LINKED)
def test_every_link_between_files_leads_somewhere(page: str) -> None:
    for path, anchor in re.findall(r"\]\(([\w./-]+)(#[\w-]+)?\)", LINKED[page]):
        target = (ROOT / page).parent / path
        assert target.exists(), f"{page} has a link to {path}"
        if anchor:
            assert anchor[1:] in anchors(target.read_text("utf-8")), f"{page} has a link to {path}{anchor}"
