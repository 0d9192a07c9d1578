"""Reports in a real browser: no complaint on its console, keys do what the pointer does, and all fits the screen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from test_report import EVIL, PNG, Records, brittle

import runnerkit
from runnerkit import RandomAgent

pytest.importorskip("websockets", reason="the browser is driven with websockets, which is not installed")
from browser import Browser, Page, chromium

REPORTS = Path(__file__).parents[1] / ".docs" / "reports"

pytestmark = pytest.mark.skipif(
    chromium() is None, reason="there is no Chromium: apt-get update && apt-get install -y chromium"
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a report of one run, in which data try to be scripts."""
    path = tmp_path_factory.mktemp("one") / "report.html"
    with runnerkit.make(brittle, n_envs=2, seed=0, on_env_error="restart", max_restarts=100) as runner:
        histories = runner.rollout(RandomAgent(runner.action_space, seed=0), steps=150)
    runnerkit.report(histories, path, title=f"{EVIL}<img src=x onerror=alert(2)>", thumbnails={(0, 0): PNG})
    return path.as_uri()


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a report of three runs."""
    path = tmp_path_factory.mktemp("three") / "report.html"
    runs = {f"{name}-{'long' * 12}": Records([k, 2, 3, 5, k] * 9) for k, name in enumerate("abc")}
    runnerkit.report(runs, path)
    return path.as_uri()


def column(page: Page, name: str) -> list[str]:
    found: list[str] = page.ask(
        f"""(() => {{
            const table = document.querySelector("table.sortable");
            const k = [...table.tHead.rows[0].cells].findIndex(head => head.textContent === "{name}");
            return [...table.tBodies[0].rows].map(row => row.cells[k].textContent);
        }})()"""
    )
    return found


@pytest.mark.parametrize(("width", "dark"), [(1200, False), (1200, True), (390, False), (320, True)])
@pytest.mark.parametrize("report", ["one", "three", "cartpole", "ppo"])
def test_a_report_fits_the_screen_and_complains_of_nothing(
    report: str, width: int, dark: bool, browser: Browser, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    made = REPORTS / f"{report}.html"
    url = made.as_uri() if made.exists() else request.getfixturevalue(report)
    with browser.open(url, width=width, dark=dark) as page:
        assert page.complaints() == []
        assert page.ask("document.documentElement.scrollWidth") <= width
        edges = page.ask("[...document.querySelectorAll('.chart, h1')].map(one => one.getBoundingClientRect().right)")
        assert max(edges) <= width
        columns: str = page.ask("getComputedStyle(document.querySelector('.charts')).gridTemplateColumns")
        assert len(columns.split()) == (1 if width <= 700 else 2)
        red, green, blue = map(int, page.ask("getComputedStyle(document.body).backgroundColor.match(/\\d+/g)"))
        assert (max(red, green, blue) < 60) if dark else (min(red, green, blue) > 200)
        shot = page.screenshot(tmp_path / "shot.png", whole=False)
        assert len(shot) > 10_000  # an empty page has fewer bytes


def test_the_keyboard_sorts_the_table(one: str, browser: Browser) -> None:
    with browser.open(one) as page:
        before = column(page, "return")
        page.ask("document.querySelector('section:has(table.sortable) h2').scrollIntoView()")
        page.ask("document.querySelector('.tall:has(.sortable)').focus()")
        while page.ask("document.activeElement.textContent") != "return":
            page.press("Tab")
        assert page.ask("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        page.press("Enter")
        assert column(page, "return") == sorted(before, key=float)
        assert page.ask("document.activeElement.closest('th').ariaSort") == "ascending"
        assert "Sorted by return, ascending." in page.ask("document.querySelector('[role=status]').textContent")
        page.press("Enter")
        assert column(page, "return") == sorted(before, key=float, reverse=True)
        assert page.ask("document.querySelectorAll('[aria-sort=descending]').length") == 1
        assert page.complaints() == []


def test_seeds_sort_as_numbers_and_are_copied_with_the_enter_key(one: str, browser: Browser) -> None:
    with browser.open(one) as page:
        page.ask("navigator.clipboard.writeText = text => { window.copied = text; return Promise.resolve(); }")
        page.ask("document.querySelector('button.copy').focus()")
        page.press("Enter")
        page.ask("new Promise(done => setTimeout(done, 50))")
        assert page.ask("window.copied") == page.ask("document.querySelector('button.copy').dataset.copy")
        assert page.ask("document.querySelector('[role=status]').textContent").startswith("Copied ")


def test_arrow_keys_read_the_curves(three: str, browser: Browser) -> None:
    with browser.open(three) as page:
        page.ask("document.querySelector('[data-curves]').focus()")
        page.press("End")
        read = page.ask("document.querySelector('.readout').textContent")
        assert read.startswith("steps of all envs 225, mean return a-long")
        assert read.count(" to ") == 3  # each with its band
        page.press("ArrowLeft")
        assert page.ask("document.querySelector('.readout').textContent").startswith("steps of all envs 220")
        assert page.ask("document.querySelectorAll('.cursor:not([hidden]) circle').length") == 3
        page.press("Escape")
        assert page.ask("document.querySelector('.readout').textContent") == ""
        assert page.complaints() == []


def test_what_data_say_does_not_run(one: str, browser: Browser) -> None:
    with browser.open(one) as page:
        for where in ("h1", ".error"):
            assert EVIL in page.ask(f"document.querySelector('{where}').textContent")
        assert page.ask("document.querySelectorAll('script').length") == 1
        assert not [event for event in page.events if event["method"] == "Page.javascriptDialogOpening"]
        page.ask(
            "document.body.append(Object.assign(document.createElement('script'), { textContent: 'window.ran = 1' }))"
        )
        assert page.ask("window.ran") is None  # the policy of the page runs no other script
        assert any("Content Security Policy" in said for said in page.complaints())


@pytest.mark.parametrize("name", ["cartpole", "ppo"])
def test_the_reports_of_the_documentation_are_there(name: str) -> None:
    text = (REPORTS / f"{name}.html").read_text("utf-8")
    assert len(text.encode()) < 1_000_000
    assert "/tmp" not in text
