"""Reports: what a page says of runs, whatever they are made of. `test_report_browser.py` looks at it in a browser."""

from __future__ import annotations

import html
import html.parser
import re
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import gymnasium
import numpy as np
import pytest
from click.testing import CliRunner
from envs import SPACES, HashAgent, SampleEnv
from gymnasium import spaces
from typing_extensions import override

import runnerkit
from runnerkit import EndReason, Episode, RandomAgent
from runnerkit._cli.main import main
from runnerkit.errors import ArgumentError
from runnerkit.records import EnvTimings, Timings
from runnerkit.reporting import Thumbnails
from runnerkit.reporting.numbers import number, tick
from runnerkit.reporting.runs import gathered
from runnerkit.reporting.stored_timings import keep_timings, kept_timings
from runnerkit.reporting.svg import Scale

EVIL = "<script>alert(1)</script>"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(8)


class Records:
    """Episodes with these returns, and nothing else."""

    def __init__(self, returns: Sequence[float], env: str = "Some-v0") -> None:
        self.env = env
        self.episodes = [
            Episode(0, k, 10 * k, None, 5 * k, 5, value, EndReason.TERMINATED) for k, value in enumerate(returns)
        ]


def brittle(seed: int | None) -> gymnasium.Env[Any, Any]:
    return Brittle(gymnasium.make("CartPole-v1"))


class Brittle(gymnasium.Wrapper[Any, Any, Any, Any]):
    """An env whose fifth step fails in every third episode, with a text that is no text for HTML."""

    @override
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self.left = 5 if seed is not None and seed % 3 == 0 else -1
        return self.env.reset(seed=seed, options=options)

    @override
    def step(self, action: Any) -> Any:
        self.left -= 1
        if self.left == 0:
            raise RuntimeError(f"{EVIL} \x00 \ud800 & so on")
        return self.env.step(action)


def page_of(runs: Any, path: Path, **options: Any) -> str:
    return runnerkit.report(runs, path / "report.html", **options).read_text("utf-8")


def words(page: str) -> str:
    """Return the text of a page, without its script and its style."""
    body = re.sub(r"<(script|style)>.*?</\1>", " ", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]*>", " ", body)))


def rollouts(steps: Sequence[int], n_envs: int = 2) -> list[Any]:
    """Return the histories of several rollouts, one after the other."""
    with runnerkit.make("CartPole-v1", n_envs=n_envs, seed=3) as runner:
        agent = RandomAgent(runner.action_space, seed=0)
        return [history for n in steps for history in runner.rollout(agent, steps=n)]


class Tags(html.parser.HTMLParser):
    """Checks that tags are closed in order."""

    VOID = ("meta", "link", "img", "br", "input")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)
        self.close()
        assert self.open == []

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    @override
    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    @override
    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


# ---- a stored run


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with runs, and a report of them by the command line."""
    folder = tmp_path_factory.mktemp("stored")
    for arguments in (
        f"rollout CartPole-v1 --n-envs 2 --episodes 12 --seed 1 -o {folder}/my-runs --timings",
        f"report {folder}/my-runs -o {folder}/report.html",
    ):
        done = CliRunner().invoke(main, arguments.split())
        assert done.exit_code == 0, done.output
    return folder


def test_the_page_has_each_episode_with_its_seed_and_a_command_that_replays_it(stored: Path) -> None:
    page = (stored / "report.html").read_text("utf-8")
    episodes = [record for record in runnerkit.load(stored / "my-runs").episodes if record.complete]
    assert len(episodes) >= 12
    for record in episodes:
        assert f'data-copy="{record.seed}"' in page
    commands = [html.unescape(command) for command in re.findall(r'data-copy="(runnerkit replay [^"]*)"', page)]
    assert len(commands) == len(set(commands)) >= len(episodes)
    done = CliRunner().invoke(main, shlex.split(commands[-1])[1:])
    assert done.exit_code == 0, done.output


def test_the_page_says_what_made_the_data(stored: Path) -> None:
    text = words((stored / "report.html").read_text("utf-8"))
    for part in (
        "CartPole-v1 (gymnasium ",
        "seed of the run 1",
        "envs 2",
        "history format npz",
        "options of the runner timings=True",
        f"numpy {np.__version__}",
    ):
        assert part in text


def test_times_of_all_runs_of_a_folder_are_shown_together(stored: Path, tmp_path: Path) -> None:
    assert f"Where the time went: {stored}/my-runs" in words((stored / "report.html").read_text("utf-8"))
    timings = Timings(2.0, 3, 0.5, 0.5, 0.0, 0.0, 1.0, (), (EnvTimings(1, (1, 2), 3, 0.25, 1, 0.0),))
    for _ in range(2):
        keep_timings(tmp_path, timings)
    (found,) = kept_timings(tmp_path)
    assert found == Timings(4.0, 6, 1.0, 1.0, 0.0, 0.0, 2.0, (), (EnvTimings(1, (1, 2), 6, 0.5, 2, 0.0),))
    (tmp_path / "timings.jsonl").write_text('{"seconds"')
    with pytest.raises(ArgumentError, match=r"timings\.jsonl cannot be read"):
        kept_timings(tmp_path)


def test_the_page_is_one_file_that_asks_for_nothing(stored: Path) -> None:
    page = (stored / "report.html").read_text("utf-8")
    assert len(page) < 1_000_000
    tags = Tags(page).seen
    sources = [of[name] or "" for _, of in tags for name in ("src", "href") if name in of]
    assert {source for source in sources if not source.startswith(("#", "data:"))} == {
        "https://arxiv.org/abs/2108.13264"
    }
    policy = next(of["content"] for tag, of in tags if of.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none';")


def test_who_cannot_see_the_charts_is_told_what_they_show(stored: Path) -> None:
    tags = Tags((stored / "report.html").read_text("utf-8")).seen
    pictures = [of for tag, of in tags if tag == "svg"]
    assert len(pictures) > 5
    assert all(of.get("aria-label") or of.get("aria-hidden") for of in pictures)
    ids = [of["id"] for _, of in tags if "id" in of]
    assert len(ids) == len(set(ids))
    assert {(of["aria-labelledby"] or "") for tag, of in tags if tag == "section"} <= set(ids)


def test_names_are_those_that_were_given_and_a_missing_folder_is_told(stored: Path, tmp_path: Path) -> None:
    arguments = ["report", f"old={stored}/my-runs", f"new={stored}/my-runs", "-o", str(tmp_path / "two.html")]
    assert CliRunner().invoke(main, arguments).exit_code == 0
    assert "No significant difference between old and new in " in words((tmp_path / "two.html").read_text("utf-8"))
    for words_given, said in {
        f"{tmp_path}/none": "There is no folder",
        f"={stored}/my-runs": "has no name before the '='. Write NAME=DIR, or DIR alone",
        "old=": "names no folder. Write NAME=DIR",
        f"{stored}/my-runs {stored}/./my-runs": "is given twice",
    }.items():
        done = CliRunner().invoke(main, ["report", *words_given.split()])
        assert (done.exit_code, said in done.stderr) == (2, True), done.output


# ---- histories in memory


def test_an_episode_that_rollouts_cut_counts_once() -> None:
    (whole,) = gathered("a", "a", rollouts([60]))
    (parts,) = gathered("a", "a", rollouts([7, 9, 30, 14]))
    assert [e.total_return for e in parts.episodes] == [e.total_return for e in whole.episodes]
    assert [(e.env_index, e.episode_index) for e in parts.episodes] == [
        (e.env_index, e.episode_index) for e in whole.episodes
    ]
    assert parts.steps.tolist() == whole.steps.tolist()
    assert parts.total_steps == whole.total_steps == 120


def test_runs_of_several_runners_are_not_mixed_up() -> None:
    (one,) = gathered("a", "a", rollouts([30]))
    (both,) = gathered("a", "a", [*rollouts([30]), *rollouts([30])])  # the same episode indices, but begun anew
    assert len(both.episodes) == 2 * len(one.episodes)
    assert sorted(both.returns.tolist()) == sorted([*one.returns.tolist()] * 2)


def test_faults_are_listed_and_times_are_split(tmp_path: Path) -> None:
    with runnerkit.make(brittle, n_envs=2, seed=0, on_env_error="restart", timings=True) as runner:
        histories = runner.rollout(RandomAgent(runner.action_space, seed=0), steps=100)
        page = page_of(histories, tmp_path, timings=runner.timings)
    text = words(page)
    n = len(histories[0].faults) + len(histories[1].faults)
    assert n > 2
    assert f"{n} faults. After each, the env was made anew" in text
    assert "crashed" in text
    assert "Where the time went" in text
    assert "env.step" in text
    assert page.count("<script>") == 1  # our own
    assert EVIL in text


def test_a_fault_is_replayed_in_its_own_run_where_several_share_a_folder(tmp_path: Path) -> None:
    for seed in (0, 1):
        history = runnerkit.use("npz", path=str(tmp_path / "runs"))
        with runnerkit.make(brittle, n_envs=2, seed=seed, on_env_error="restart", history=history) as runner:
            runner.rollout(RandomAgent(runner.action_space, seed=0), steps=60)
    runs = runnerkit.load(tmp_path / "runs")
    table = page_of(runs, tmp_path).partition("Table of faults")[2].partition("</table>")[0]
    replayed = re.findall(r'data-copy="(\d+)".*?data-copy="runnerkit replay \S+ (\d+)"', table)
    assert len(replayed) == len(runs.env_faults) > 2
    assert all(runs.episodes[int(number)].seed == int(seed) for seed, number in replayed)


def test_the_shares_of_several_runs_are_not_said_to_be_of_the_steps_of_the_first(tmp_path: Path) -> None:
    text = words(page_of({"a": rollouts([20]), "b": rollouts([30])}, tmp_path))
    assert "% of the steps of each run." in text
    assert "of 40 steps" not in text


@pytest.mark.parametrize("where", ["title", "name", "env"])
def test_what_data_say_is_text_and_never_html(where: str, tmp_path: Path) -> None:
    env = EVIL if where == "env" else "Some-v0"
    runs = {EVIL if where == "name" else "one": Records([1, 2, 3], env), "two": Records([1, 2], env)}
    page = page_of(runs, tmp_path, title=EVIL if where == "title" else None)
    assert page.count("<script") == 1
    assert EVIL in words(page)
    Tags(page)


@pytest.mark.parametrize("name", SPACES)
def test_any_space_is_reported_on(name: str, tmp_path: Path) -> None:
    def make(seed: int | None) -> SampleEnv:
        return SampleEnv(spaces.Dict({"it": SPACES[name], "n": spaces.Discrete(3)}), SPACES[name])

    with runnerkit.make(make, n_envs=2, seed=0) as runner:
        page = page_of(runner.rollout(HashAgent(runner.action_space), steps=12), tmp_path)
    Tags(page)
    is_drawn = "Not drawn" not in words(page)
    assert is_drawn == all(not leaf_is_object(space) for space in leaves(SPACES[name])), words(page)


def leaves(space: Any) -> list[Any]:
    parts = space.values() if isinstance(space, spaces.Dict) else space if isinstance(space, spaces.Tuple) else None
    return [space] if parts is None else [leaf for part in parts for leaf in leaves(part)]


def leaf_is_object(space: Any) -> bool:
    return not isinstance(space, spaces.Box | spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary)


@pytest.mark.parametrize(
    ("runs", "said"),
    [
        ([], "run is empty: it has no episode."),
        ({"a": [], "b": Records([1, 2])}, "a is empty: it has no episode."),
        (Records([5.0]), "mean return 5"),
        (Records([7.0] * 30), "best · worst 7 · 7"),
        (Records([1.0, float("nan"), float("inf"), 3.0]), "out 2 episodes whose return is no number below 1e+150"),
        (Records([float("nan")]), "charts and scores leave out 1 episode"),
        (Records([1e149, -1e149, 1e-300]), "1e+149"),
        (Records([1e16, 1e16 + 2]), "1e+16"),
        ({"a": Records([1], "One-v0"), "b": Records([2], "Two-v0")}, "of 2 different envs: One-v0, Two-v0."),
        (rollouts([2]), "has no complete episode"),
    ],
)  # fmt: skip
def test_odd_runs_are_told_in_words(runs: Any, said: str, tmp_path: Path) -> None:
    page = page_of(runs, tmp_path)
    assert said in words(page)
    assert not re.search(r'[dxy]="[^"]*(nan|inf)', page)
    Tags(page)


def test_runs_of_different_envs_are_not_compared(tmp_path: Path) -> None:
    runs = {name: Records([k] * 9, f"Env{k}-v0") for k, name in enumerate("ab")}
    text = words(page_of(runs, tmp_path))
    assert "Which is better" not in text
    assert "Probability of improvement" not in text


# ---- several runs


def test_methods_with_several_runs_are_compared_by_their_runs(tmp_path: Path) -> None:
    for k in range(8):
        with runnerkit.make("CartPole-v1", seed=k, history=runnerkit.use("npz", path=str(tmp_path / f"{k}"))) as runner:
            agent: Any = RandomAgent(runner.action_space, seed=k)
            if k >= 4:
                agent = lambda observations: (observations[:, 2] + observations[:, 3] > 0).astype(np.int64)  # noqa: E731
            runner.rollout(agent, steps=600)
    folders = [tmp_path / f"{k}" for k in range(8)]
    text = words(page_of({"random": folders[:4], "upright": folders[4:]}, tmp_path))
    assert "upright is better than random in CartPole-v1: a random run of it has a higher return" in text
    assert "a probability of 100 % (95 % interval: 100 % to 100 %), p = 0.029." in text  # 2 of 70 ways to part them
    few = words(page_of({"random": folders[:3], "upright": folders[4:7]}, tmp_path))
    assert "No significant difference between random and upright in " in few
    assert "With so few runs, the test cannot reach p = 0.05" in few


def test_single_runs_are_compared_by_their_episodes_and_the_page_says_so(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    runs = {name: Records(rng.normal(mean, 1, 60).tolist()) for name, mean in (("a", 0), ("b", 0.1), ("c", 3))}
    text = words(page_of(runs, tmp_path))
    assert "c is better than a in Some-v0" in text
    assert "No significant difference between a and b in " in text
    assert "not how other training runs of the same method would turn out" in text
    assert "arXiv:2108.13264" in text


def test_methods_that_share_several_envs_are_compared_over_all_of_them(tmp_path: Path) -> None:
    runs = {name: [Records([k, k, k + 1], env) for env in ("One-v0", "Two-v0")] for k, name in enumerate("ab")}
    text = words(page_of(runs, tmp_path))
    assert "Over 2 envs, a random score of b is higher than one of a with a mean probability of 88.9 %" in text


def test_scores_are_of_the_last_episodes(tmp_path: Path) -> None:
    text = words(page_of({"a": Records([0] * 50 + [9] * 5), "b": Records([9] * 5)}, tmp_path, last=5))
    assert "a Some-v0 5 episodes 9 9 to 9" in text


def test_evaluations_and_comparisons_are_sources(tmp_path: Path) -> None:
    agents: dict[str, Callable[[Any], Any]] = {
        "left": lambda observations: np.zeros(len(observations), np.int64),
        "right": lambda observations: np.ones(len(observations), np.int64),
    }
    found = runnerkit.compare(agents, "CartPole-v1", episodes=6, seed=0)
    assert "mean return" in words(page_of(found.evaluations["left"], tmp_path))
    text = words(page_of(found, tmp_path))
    assert "between left and right" in text
    assert "Not drawn: actions, as these sources keep none" in text


# ---- bounds


def test_a_hundred_thousand_episodes_fit_into_a_page_that_says_what_it_leaves_out(tmp_path: Path) -> None:
    returns = np.random.default_rng(0).normal(size=100_000).tolist()
    page = page_of(Records(returns), tmp_path)
    assert len(page) < 1_000_000
    assert (
        "The table has 800 of 100,000 episodes of run: the 200 with the lowest and the 200 with the highest"
        in words(page)
    )
    for value in (min(returns), max(returns), returns[-1]):
        assert f'data-value="{value!r}"' in page


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (1234.5, "1,234"),
        (0.0123456, "0.01235"),
        (float("nan"), "\N{EN DASH}"),
        (float("-inf"), "-\N{INFINITY}"),
        (-5.0, "-5"),
    ],
)
def test_numbers_are_short(value: float, said: str) -> None:
    assert number(value) == said


def test_ticks_are_round_and_axes_need_few() -> None:
    assert [tick(value) for value in Scale(0, 20_480, 0, 1).ticks()] == ["0", "5k", "10k", "15k", "20k"]
    assert [tick(value) for value in Scale(-0.21, 0.2, 0, 1).ticks()] == ["-0.2", "-0.1", "0", "0.1", "0.2"]


# ---- thumbnails, and what is refused


@pytest.mark.parametrize("key", [(0, 1), ("run", 0, 1)])
def test_thumbnails_are_shown(key: Any, tmp_path: Path) -> None:
    thumbnails: Thumbnails = {key: PNG}
    page = page_of(Records([1, 2, 3]), tmp_path, thumbnails=thumbnails)
    images = [of for tag, of in Tags(page).seen if tag == "img"]
    assert [of["alt"] for of in images] == ["Episode 1 of env 0"] * 2  # among the pictures, and in the table
    assert all((of["src"] or "").startswith("data:image/png;base64,") for of in images)


@pytest.mark.parametrize(
    ("runs", "options", "said"),
    [
        ([np.zeros(3)], {}, "a folder that history='npz' wrote, .* not ndarray"),
        (3, {}, "not int"),
        ({}, {}, "at least one run"),
        (None, {}, "not NoneType"),
        (Records([1]), {"timings": [3]}, r"timings must be runner.timings, .* not \[3\]"),
        (Records([1]), {"thumbnails": [PNG]}, "thumbnails must be a dict of pictures"),
        (Records([1]), {"last": 0}, "last must be a whole number of at least 1, not 0"),
        (Records([1]), {"thumbnails": {(0, 0): b"GIF89a"}}, "neither a PNG nor a JPEG"),
        (
            Records([1, 2]),
            {"thumbnails": {(0, 2): PNG}},
            r"\(0, 2\), .* no such episode.*'run' has episodes 0 to 1 of env 0",
        ),
        (
            {"a": Records([1]), "b": Records([2])},
            {"thumbnails": {(0, 0): PNG}},
            r"A key is \(name, .*; 'b' has episodes",
        ),
        ("no-such-folder", {}, "There is no folder .*no-such-folder"),
        ({"a": ["runs", "x/../runs"]}, {}, "x/../runs is given twice under the name 'a'. Give it once"),
        ({"a": Records([1])}, {"timings": {"b": None}}, "timings has 'b', but there is no such run. The runs are a."),
    ],
)
def test_what_is_no_run_is_refused(runs: Any, options: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=said):
        page_of(runs, tmp_path, **options)


def test_a_page_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"there is no folder .*no. Make it, or choose another path"):
        runnerkit.report("what is never read", tmp_path / "no" / "folder.html")
    with pytest.raises(ArgumentError, match=r"is a folder. Give the name of a file"):
        runnerkit.report("what is never read", tmp_path)
    with pytest.raises(ArgumentError, match=r"path must be that of a file"):
        runnerkit.report("what is never read", cast(Any, None))
