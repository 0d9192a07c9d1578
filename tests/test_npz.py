"""The format npz: what was written is read again exactly, whatever became of the program that wrote it."""

from __future__ import annotations

import copy
import errno
import gc
import json
import os
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import gymnasium
import kill_npz
import numpy as np
import pytest
from click.testing import CliRunner
from envs import SPACES as SPACES_BY_NAME
from envs import SampleEnv, exact
from faulty_envs import Constant, Faults, Fleet, build, raising
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from numpy.typing import NDArray
from typing_extensions import override

import runnerkit
from runnerkit import EpisodeStart, RandomAgent
from runnerkit._cli.main import main
from runnerkit._core.space_json import space_from_json, space_to_json
from runnerkit._rollout.own_pace import OwnPaceRollout
from runnerkit._rollout.windows import Windows
from runnerkit.errors import AgentError, ArgumentError, RolloutError, SpaceError
from runnerkit.history import ArrayFormat, ArrayHistory, EndedEpisode
from runnerkit.history.npz import NpzFormat
from runnerkit.history.npz.convert import convert
from runnerkit.history.npz.following import Following
from runnerkit.history.npz.large import LargeFile
from runnerkit.history.npz.manifest import Manifest
from runnerkit.records import EndReason
from runnerkit.testing import SampleEnv as EndlessEnv


def record(path: Path | None, *, env: Any = "CartPole-v1", rollouts: int = 2, **options: Any) -> list[Any]:
    """Return the parts of episodes of a run that is written to a folder, or not."""
    history: Any = "arrays" if path is None else ("npz", {"path": path})
    with runnerkit.make(env, seed=3, n_envs=2, history=history, **options) as runner:
        agent = RandomAgent(runner.action_space, seed=0)
        found: list[ArrayHistory[Any, Any]] = []
        for _ in range(rollouts):
            found += runner.rollout(agent, steps=60)
    return [part for history in found for part in history.split()]


def assert_equal(found: Any, expected: Any) -> None:
    if isinstance(expected, dict):
        for key in expected:
            assert_equal(found[key], expected[key])
    elif isinstance(expected, tuple):
        for one, other in zip(found, expected, strict=True):
            assert_equal(one, other)
    elif expected is not None:
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


COLUMNS = (
    "observations",
    "actions",
    "env_actions",
    "rewards",
    "processed_rewards",
    "terminated",
    "truncated",
    "raw_observations",
)


@pytest.mark.parametrize("executor", ["serial", "threads", "processes"])
@pytest.mark.parametrize(
    ("env", "options"),
    [
        ("CartPole-v1", {}),
        (
            "Pendulum-v1",
            {
                "preprocessors": ["normalize"],
                "postprocessors": ["clip"],
                "keep_raw": True,
                "reward_processors": ["sign"],
            },
        ),
        ("Blackjack-v1", {}),
    ],
    ids=["plain", "processed", "tuple"],
)
def test_what_is_loaded_equals_arrays(tmp_path: Path, executor: str, env: str, options: dict[str, Any]) -> None:
    expected = record(None, env=env, executor="serial", **options)
    record(tmp_path / "runs", env=env, executor=executor, **options)
    runs = runnerkit.load(tmp_path / "runs")
    assert len(runs) == len(expected) > 2
    for history, episode, part in zip(runs, runs.episodes, expected, strict=True):
        (found,) = history.split()
        assert found.record == episode
        assert (episode.seed, episode.return_, episode.end_reason, episode.steps_before) == (
            part.record.seed, part.record.return_, part.record.end_reason, part.record.steps_before
        )  # fmt: skip
        for name in COLUMNS:
            assert_equal(getattr(found, name), getattr(part, name))
    assert runs[-1].made_by == runs.made_by[-1]
    assert runs.made_by[0].parts[-1].name == "npz"
    assert list(runs.faults()) == []


SPACES_IN_JSON: list[spaces.Space[Any]] = [
    spaces.Box(-np.inf, np.array([1, np.inf], np.float32), dtype=np.float32),
    spaces.Box(0, 255, (2, 3), np.uint8),
    spaces.Box(-1.5, 0.1, (), np.float64),
    spaces.Discrete(4, start=-2),
    spaces.MultiBinary([2, 2]),
    spaces.MultiDiscrete(np.array([[2, 3], [4, 5]])),
    spaces.Dict([("b", spaces.Discrete(2)), ("a", spaces.Tuple([spaces.Discrete(3), spaces.MultiBinary(2)]))]),
]


@pytest.mark.parametrize("space", [*SPACES_IN_JSON, *SPACES_BY_NAME.values()], ids=str)
def test_spaces_are_the_same_after_json(space: spaces.Space[Any]) -> None:
    again = space_from_json(json.loads(json.dumps(space_to_json(space, "observation"), allow_nan=False)))
    assert again == space
    assert repr(again) == repr(space)
    assert again.dtype == space.dtype


def test_a_reopened_folder_is_appended_to_and_that_of_another_env_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "runs"
    first = len(record(path, rollouts=1))
    record(path, rollouts=1)
    runs = runnerkit.load(path)
    assert len(runs) == 2 * first
    assert repr(runs) == f"<StoredRuns {path}: {2 * first} episodes of 2 runs>"
    assert_equal(runs[first].observations, runs[0].observations)
    other: list[tuple[str, dict[str, Any]]] = [
        ("its env is CartPole-v1, this one's is Acrobot-v1", {"env": "Acrobot-v1"}),
        ("its observation space is Box.* this one's is Box", {"preprocessors": ["normalize"]}),
        ("it had no reward processors, this one has some", {"reward_processors": ["normalize-reward"]}),
        ("its keep_raw is False, this one's is True", {"keep_raw": True}),
    ]
    for said, options in other:
        with pytest.raises(ArgumentError, match=f"has episodes of another runner: {said}"):
            record(path, **options)
    with (
        runnerkit.make("CartPole-v1", history=("npz", {"path": path})),
        pytest.raises(ArgumentError, match="Another runner writes to"),
    ):
        record(path)


def test_a_folder_stays_where_it_is_when_the_program_goes_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    with runnerkit.make("CartPole-v1", seed=0, history=("npz", {"path": "runs"})) as runner:
        agent = RandomAgent(runner.action_space, seed=0)
        runner.rollout(agent, steps=30)
        runs = runnerkit.load("runs")
        monkeypatch.chdir("elsewhere")
        (history,) = runner.rollout(agent, steps=30)
        assert isinstance(history, ArrayHistory)
        assert len(history.observations) == 30
    for stored in runs:
        assert isinstance(stored, ArrayHistory)
        assert len(stored.observations)


@pytest.mark.skipif(os.name != "posix", reason="pipes with names are of POSIX")
def test_a_manifest_that_is_a_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "manifest.jsonl")
    for opened in (lambda: runnerkit.load(tmp_path), lambda: record(tmp_path)):
        with pytest.raises(ArgumentError, match="is no file"):
            opened()


def test_a_torn_line_is_told_left_out_and_mended(tmp_path: Path) -> None:
    path = tmp_path / "runs"
    count = len(record(path))
    manifest = path / "manifest.jsonl"
    whole = manifest.read_bytes()
    manifest.write_bytes(whole[:-20])
    with pytest.warns(RuntimeWarning, match="of a torn line, as its program was killed"):
        assert len(runnerkit.load(path)) == count - 1
    with pytest.warns(RuntimeWarning, match="of a torn line"):
        record(path, rollouts=1)
    assert len(runnerkit.load(path)) > count - 1


# ---- windows


def short_windows(monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    """Let each window have so many steps, and keep only a few bytes of running episodes in memory."""

    def turn(windows: Windows, before: int) -> None:
        windows.before = before
        windows.steps = min(steps, windows._limit - before)

    monkeypatch.setattr("runnerkit._rollout.windows._FIRST_STEPS", steps)
    monkeypatch.setattr(OwnPaceRollout, "_least_window", steps)
    monkeypatch.setattr(Windows, "turn", turn)
    monkeypatch.setattr("runnerkit.history.npz.recorder._PART", 100)


def rolled_out(history: Any, env: Any, calls: list[dict[str, Any]], options: dict[str, Any]) -> list[Any]:
    """Return the histories of some rollouts, and what was told of each episode as it ended."""
    found: list[Any] = []
    with runnerkit.make(env, seed=7, history=history, **options) as runner:
        agent = RandomAgent(runner.action_space, seed=1)
        for call in calls:
            found.append(runner.rollout(agent, on_episode=lambda ended: found.append(as_told(ended)), **call))
    return found


def as_told(ended: EndedEpisode[Any, Any]) -> Any:
    return ended.record, ended.steps, ended.history()


def everything(found: Any) -> Any:
    """Return what is found as plain values."""
    if isinstance(found, ArrayHistory):
        columns = [exact(getattr(found, name)) for name in (*COLUMNS, "next_observations", "bootstrap")]
        notes = [exact(dict(found.infos)), exact(dict(found.reset_infos)), found.faults, found.seeding]
        return len(found), found.episodes, columns, notes
    return [everything(part) for part in found] if isinstance(found, list | tuple) else found


def vector(mode: AutoresetMode) -> Callable[..., Any]:
    return lambda seed=None: SyncVectorEnv([lambda: gymnasium.make("CartPole-v1")] * 2, autoreset_mode=mode)


class Brittle(gymnasium.Env[Any, Any]):
    """Raises in about one of ten steps."""

    observation_space: spaces.Space[Any] = spaces.Box(-1e9, 1e9, (2,), np.float32)
    action_space: spaces.Space[Any] = spaces.Discrete(3)

    @override
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        return np.zeros(2, np.float32), {}

    @override
    def step(self, action: Any) -> Any:
        drawn = self.np_random.random()
        if drawn < 0.1:
            raise ValueError("broken")
        return np.array([drawn, action], np.float32), drawn, bool(drawn > 0.9), False, {}


def brittle(seed: int | None) -> Brittle:
    return Brittle()


PROCESSED = {
    "preprocessors": ["normalize"],
    "postprocessors": ["clip"],
    "reward_processors": ["sign"],
    "keep_raw": True,
    "keep_infos": True,
}
KINDS: list[tuple[str, Any, list[dict[str, Any]], dict[str, Any]]] = [
    ("CartPole", "CartPole-v1", [{"steps": 1}, {"steps": 33}, {"steps": 20}], {}),
    ("processed", "Pendulum-v1", [{"steps": 205}, {"steps": 201}], PROCESSED),
    ("whole episodes", "CartPole-v1", [{"episodes": 5}, {"episodes": 1}], {}),
    ("no reset", "CartPole-v1", [{"steps": 60}], {"auto_reset": False}),
    ("made anew", brittle, [{"steps": 40}, {"episodes": 5}], {"on_env_error": "restart", "max_restarts": 999}),
    ("late", vector(AutoresetMode.NEXT_STEP), [{"steps": 30}, {"steps": 31}], {"executor": "auto"}),
    ("vector", vector(AutoresetMode.SAME_STEP), [{"steps": 30}, {"steps": 31}], {"executor": "auto"}),
]


@pytest.mark.parametrize("steps", [1, 7])
@pytest.mark.parametrize(("name", "env", "calls", "options"), KINDS, ids=[kind[0] for kind in KINDS])
def test_windows_cannot_be_seen_in_the_data(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    env: Any,
    calls: list[dict[str, Any]],
    options: dict[str, Any],
    steps: int,
) -> None:
    options = {"executor": "serial", "n_envs": 2, **options}
    expected = everything(rolled_out("arrays", env, calls, options))
    short_windows(monkeypatch, steps)
    assert everything(rolled_out(("npz", {"path": tmp_path / "runs"}), env, calls, options)) == expected


@pytest.mark.parametrize("executor", ["threads", "processes"])
def test_windows_are_the_same_with_every_executor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, executor: str
) -> None:
    calls, options = [{"steps": 40}, {"episodes": 3}], {"n_envs": 3}
    expected = everything(rolled_out("arrays", "CartPole-v1", calls, {**options, "executor": "serial"}))
    short_windows(monkeypatch, 6)
    history = ("npz", {"path": tmp_path / "runs"})
    assert everything(rolled_out(history, "CartPole-v1", calls, {**options, "executor": executor})) == expected


OWN_PACE_KINDS: list[tuple[str, Any, list[dict[str, Any]], dict[str, Any]]] = [
    ("CartPole", "CartPole-v1", [{"steps": 1}, {"steps": 33}, {"steps": 20}], {}),
    (
        "processed",
        "CartPole-v1",
        [{"steps": 40}, {"episodes": 7}],
        {**PROCESSED, "preprocessors": ["time-aware", "frame-stack"], "postprocessors": ()},
    ),
    ("whole episodes", "CartPole-v1", [{"episodes": 9}, {"steps": 5}, {"episodes": 2}], {"keep_infos": True}),
    ("schedule", "CartPole-v1", [{"episodes": 9}], {"schedule": lambda i, k: EpisodeStart(10 * i + k)}),
    ("no reset", "CartPole-v1", [{"steps": 60}], {"auto_reset": False}),
]


OWN_PACE_CASES = [
    *(
        pytest.param(how, *kind, id=f"{how[0]}, {kind[0]}")
        for how in [("serial", 1), ("threads", 7)]
        for kind in OWN_PACE_KINDS
    ),
    pytest.param(("asyncio", 5), *OWN_PACE_KINDS[2], id="asyncio"),
    pytest.param(("processes", 3), *OWN_PACE_KINDS[1], id="processes"),
]


@pytest.mark.parametrize(("executor", "name", "env", "calls", "options"), OWN_PACE_CASES)
def test_at_their_own_pace_envs_write_windows_that_cannot_be_seen_in_the_data(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    env: Any,
    calls: list[dict[str, Any]],
    options: dict[str, Any],
    executor: tuple[str, int],
) -> None:
    def by_start(found: list[Any]) -> Any:
        """Return histories, and what was told of episodes in another order than that of lockstep."""
        told = [one for one in found if isinstance(one, tuple)]
        told.sort(key=lambda one: (one[0].env_index, one[0].episode_index))
        histories = [one for one in found if isinstance(one, list)]
        return everything(histories), [(record, everything(history)) for record, _, history in told]

    options = {"n_envs": 3, **options}
    expected = by_start(rolled_out("arrays", env, calls, {**options, "executor": "serial"}))
    how, steps = executor
    short_windows(monkeypatch, steps)
    options |= {"executor": how, "min_batch": 1 if how == "threads" else 2}
    assert by_start(rolled_out(("npz", {"path": tmp_path / "runs"}), env, calls, options)) == expected


@pytest.mark.parametrize("how", ["lockstep", "min_batch", "stream"])
def test_an_error_of_the_agent_names_the_step_of_the_rollout_and_not_of_a_window(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    answers = iter(range(9))

    def agent(observations: Any) -> Any:
        if next(answers) == 8:
            raise KeyError("policy")
        return np.zeros(len(observations), np.int64)

    def roll_out(runner: Any) -> None:
        if how == "stream":
            list(runner.stream(agent, steps=3))
        runner.rollout(agent, steps=20, min_batch=2 if how == "min_batch" else None)

    short_windows(monkeypatch, 3)
    history: Any = "arrays" if how == "stream" else ("npz", {"path": tmp_path / "runs"})
    with (
        runnerkit.make("CartPole-v1", n_envs=2, seed=3, history=history, executor="serial") as runner,
        pytest.raises(AgentError, match="at step 8 of the rollout: KeyError"),
    ):
        roll_out(runner)


@pytest.mark.parametrize("name", ["Text", "Graph", "Sequence", "OneOf", "nested", "float16", "nothing"])
def test_samples_of_any_space_are_the_same_without_pickle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def env(seed: int | None) -> Any:
        return SampleEnv(copy.deepcopy(SPACES_BY_NAME[name]), copy.deepcopy(SPACES_BY_NAME[name]))

    calls, options = [{"steps": 12}], {"n_envs": 2, "executor": "serial", "keep_infos": True}
    expected = everything(rolled_out("arrays", env, calls, options))
    short_windows(monkeypatch, 5)
    assert everything(rolled_out(("npz", {"path": tmp_path / "runs"}), env, calls, options)) == expected


@pytest.mark.parametrize("min_batch", [None, 1])
def test_episodes_are_listed_while_the_rollout_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, min_batch: int | None
) -> None:
    short_windows(monkeypatch, 10)
    monkeypatch.setattr("runnerkit.history.npz.recorder._SECONDS", 0.0)
    listed: list[int] = []
    history = ("npz", {"path": tmp_path / "runs"})
    with runnerkit.make("CartPole-v1", seed=0, n_envs=2, executor="serial", history=history) as runner:
        agent = RandomAgent(runner.action_space, seed=0)
        on_episode = lambda _: listed.append(len(runnerkit.load(tmp_path / "runs")))  # noqa: E731
        runner.rollout(agent, steps=300, min_batch=min_batch, on_episode=on_episode)
    assert 0 < listed[-1] < len(runnerkit.load(tmp_path / "runs"))


# ---- kill -9


@pytest.mark.skipif(os.name != "posix", reason="kills by signal")
@pytest.mark.filterwarnings("ignore:.*of a torn line.*:RuntimeWarning")
@pytest.mark.parametrize(("executor", "min_batch"), [("serial", None), ("threads", 1), ("processes", None)])
def test_every_listed_episode_is_exact_after_a_kill(tmp_path: Path, executor: str, min_batch: int | None) -> None:
    assert kill_npz.killed_once(tmp_path / "runs", executor, seconds=0.3, min_batch=min_batch) > 0


def test_what_is_changed_missing_or_elsewhere_is_told(tmp_path: Path) -> None:
    path = tmp_path / "runs"
    record(path)
    listed = CliRunner().invoke(main, ["ls", str(path)])
    assert (listed.exit_code, "run0-rollout0-env0-episode0-step0.npz" in listed.stdout) == (0, True)
    assert CliRunner().invoke(main, ["verify", str(path)]).exit_code == 0
    runs = runnerkit.load(path)
    told = json.loads(CliRunner().invoke(main, ["ls", str(path), "--json"]).stdout)["episodes"]
    assert [(row["seed"], row["length"], row["return"]) for row in told] == [
        (record_.seed, record_.length, record_.return_) for record_ in runs.episodes
    ]
    changed, missing = (path / name for name in runs.files[:2])
    changed.write_bytes(changed.read_bytes()[:-1] + b"?")
    missing.unlink()
    result = CliRunner().invoke(main, ["verify", str(path)])
    assert result.exit_code == 1
    assert f"{changed.name} was changed since it was written" in result.stdout
    assert f"{missing.name} is missing" in result.stdout
    with pytest.raises(ArgumentError, match="cannot be read"):
        runs[1].rewards.sum()
    manifest = path / "manifest.jsonl"
    manifest.write_text(manifest.read_text().replace(changed.name, "../secret.npz"))
    with pytest.raises(ArgumentError, match=r"line 2, is not what .* no episode has the file '../secret.npz'"):
        runnerkit.load(path)


@pytest.mark.parametrize("opened", [runnerkit.load, Following], ids=["load", "watch"])
def test_a_folder_without_a_run_is_refused_with_what_it_is_and_what_is_wanted(
    opened: Callable[[Path], object], tmp_path: Path
) -> None:
    file = tmp_path / "notes.txt"
    file.touch()
    beginnings = {
        tmp_path / "nowhere": f"There is no folder {tmp_path / 'nowhere'}.",
        file: f"{file} is a file, not the folder of a run.",
        tmp_path: f"{tmp_path} has no episodes of history='npz': it has no manifest.jsonl.",
    }
    for path, beginning in beginnings.items():
        with pytest.raises(ArgumentError) as refused:
            opened(path)
        wanted = "Give the folder that `runnerkit rollout -o DIR` or history=('npz', {'path': DIR}) writes to."
        assert str(refused.value) == f"{beginning} {wanted}"


@pytest.mark.parametrize(
    "damage",
    [lambda whole: b"", lambda whole: whole[: len(whole) // 2], lambda whole: whole[:200] + b"!" + whole[201:]],
    ids=["empty", "torn", "another byte"],
)
def test_a_damaged_file_is_named_however_it_is_damaged(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "runs"
    record(path, rollouts=1)
    runs = runnerkit.load(path)
    file = path / runs.files[0]
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(ArgumentError, match=f"{runs.files[0]} cannot be read"):
        runs[0].rewards.sum()


@pytest.mark.parametrize(
    ("line", "old", "new", "words"),
    [
        (1, b'"made_by"', b'"by"', "line 1, is not what"),
        (1, b'"Discrete"', b'"Secret"', "no space is called 'Secret'"),
        (1, b'{"runnerkit":3', b'{"runnerkit":1', "is of format version 1, but this RunnerKit reads 3"),
        (2, b'"run":0', b'"run":0.5', r"run is 0\.5"),
        (2, b'"length":', b'"length":1000000000000', "too few for the 1000000000000"),
    ],
)
def test_a_damaged_manifest_is_refused(tmp_path: Path, line: int, old: bytes, new: bytes, words: str) -> None:
    path = tmp_path / "runs"
    record(path, rollouts=1)
    manifest = path / "manifest.jsonl"
    lines = manifest.read_bytes().split(b"\n")
    assert old in lines[line - 1]
    lines[line - 1] = lines[line - 1].replace(old, new)
    manifest.write_bytes(b"\n".join(lines))
    with pytest.raises(ArgumentError, match=words):
        runnerkit.load(path)[0].rewards.sum()


def test_a_full_disk_is_told_and_what_was_written_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "runs"
    with runnerkit.make("CartPole-v1", seed=0, n_envs=2, history=("npz", {"path": path})) as runner:
        agent = runnerkit.RandomAgent(runner.action_space, seed=0)
        runner.rollout(agent, steps=30)
        before = len(runnerkit.load(path))
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(RolloutError, match="No space left on device") as caught:
            runner.rollout(agent, steps=30)
        monkeypatch.undo()
        lengths = [len(history) for history in caught.value.histories if isinstance(history, ArrayHistory)]
        assert lengths[0] == lengths[1] > 0  # the steps since the last window
        assert not list(path.glob("*.partial"))
        assert len(runnerkit.load(path)) == before
        runner.rollout(agent, steps=30)
    runs = runnerkit.load(path)
    assert len(runs) > before
    assert list(runs.faults()) == []


def test_on_a_full_disk_the_latest_files_make_room_for_the_lines_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, most = tmp_path / "runs", 12
    appended = Manifest.append

    def append(self: Manifest, entries: Any) -> None:
        if len([*path.glob("*.npz")]) > most:
            raise OSError(errno.ENOSPC, "No space left on device")
        appended(self, entries)

    monkeypatch.setattr(Manifest, "append", append)
    with runnerkit.make("CartPole-v1", seed=0, n_envs=2, history=("npz", {"path": path})) as runner:
        agent = runnerkit.RandomAgent(runner.action_space, seed=0)
        with pytest.raises(RolloutError, match="No space left on device"):
            runner.rollout(agent, steps=300)
    runs = runnerkit.load(path)
    assert 0 < len(runs) <= most
    assert [*runs.faults(), *runs.unlisted()] == []


def test_where_the_size_of_files_is_limited_what_is_complete_is_listed_and_one_sentence_says_so(tmp_path: Path) -> None:
    path, limits = tmp_path / "runs", resource.getrlimit(resource.RLIMIT_FSIZE)
    with runnerkit.make("CartPole-v1", seed=0, n_envs=2, history=("npz", {"path": path})) as runner:
        agent = runnerkit.RandomAgent(runner.action_space, seed=0)
        begun = (path / "manifest.jsonl").stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (begun + 9000, limits[1]))  # some 25 lines; files have 3 kB
        try:
            with pytest.raises(
                RolloutError, match=r"^history='npz' cannot write to .*: File too large\. All"
            ) as caught:
                runner.rollout(agent, steps=1500)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    lengths = [len(history) for history in caught.value.histories if isinstance(history, ArrayHistory)]
    assert lengths[0] == lengths[1] > 0
    runs, manifest = runnerkit.load(path), path / "manifest.jsonl"
    assert manifest.stat().st_size > begun + 9000 - 500  # no line more would have had room
    assert len(runs) > 15
    assert list(runs.faults()) == []


def test_a_large_file_that_is_given_up_leaves_nothing_and_says_nothing(tmp_path: Path) -> None:
    large = LargeFile(tmp_path / "whole.npz", tmp_path / "part")
    large.write("rewards", None, np.zeros(9))
    large.discard()
    del large  # what this raises is a warning, which is an error here
    gc.collect()
    assert list(tmp_path.iterdir()) == []


def _left(observations: NDArray[np.float32]) -> NDArray[np.int64]:
    return np.zeros(len(observations), np.int64)


def _right(observations: NDArray[np.float32]) -> NDArray[np.int64]:
    return np.ones(len(observations), np.int64)


def test_a_runner_that_goes_back_writes_no_listed_file_again(tmp_path: Path) -> None:
    with runnerkit.make("CartPole-v1", seed=0, history=("npz", {"path": tmp_path})) as runner:
        runner.rollout(_left, steps=5)
        saved = runner.state_dict()
        for agent in (_left, _right):
            runner.load_state_dict(saved)
            runner.rollout(agent, steps=30)
    runs = runnerkit.load(tmp_path)
    assert list(runs.faults()) == []
    assert {int(history.actions[-1]) for history in runs} == {0, 1}
    replayed = runnerkit.replay(runs)
    assert (replayed.first, replayed.left_out) == (None, ())
    assert sum(episode.total_length for episode in replayed.episodes) == 70  # the first 5 steps twice
    for index in range(len(runs)):
        assert CliRunner().invoke(main, ["replay", str(tmp_path), str(index)]).exit_code == 0


def test_faults_are_kept_and_told_by_formats_that_do_not_have_them(tmp_path: Path) -> None:
    def fleet() -> Fleet:
        return Fleet({1: Faults(step=raising(ValueError("broken"), at_step=2, in_episode=1))})

    with build(fleet(), n_envs=2, on_env_error="restart", history=("npz", {"path": tmp_path / "runs"})) as runner:
        runner.rollout(Constant(), steps=1)
        histories = runner.rollout(Constant(), steps=6)
    (fault,) = histories[1].faults
    assert (fault.env_index, fault.end_reason, "broken" in fault.error) == (1, EndReason.CRASHED, True)
    runs = runnerkit.load(tmp_path / "runs")
    stored = [history.faults for history in runs if history.faults]
    assert stored == [[fault]]
    assert runs.env_faults == [fault]
    with build(fleet(), n_envs=2, on_env_error="restart", history="transitions") as runner:
        runner.rollout(Constant(), steps=1)
        with pytest.warns(RuntimeWarning, match="do not have its faults"):
            runner.rollout(Constant(), steps=6)


def test_pickles_are_never_read(tmp_path: Path) -> None:
    path = tmp_path / "runs"
    record(path, rollouts=1)
    runs = runnerkit.load(path)
    with np.load(path / runs.files[0]) as columns:
        values = dict(columns)
    np.savez(path / runs.files[0], **{**values, "rewards": np.array([print] * len(values["rewards"]), object)})
    with pytest.raises(ArgumentError, match="cannot be read"):
        runs[0].rewards.sum()


def test_what_cannot_be_written_is_refused_when_the_runner_is_built(tmp_path: Path) -> None:
    class Own(spaces.Text):
        pass

    space = spaces.Dict({"says": Own(3)})
    with pytest.raises(SpaceError, match=r"cannot hold observation\['says'\]"):
        record(tmp_path / "runs", env=lambda seed: EndlessEnv(space, spaces.Discrete(2)))
    assert not (tmp_path / "runs").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(ArgumentError, match="cannot be written to"):
        record(tmp_path / "file")
    for path in ("", 3, "a\0b"):
        with pytest.raises(ArgumentError, match="must be a folder, not"):
            NpzFormat(cast(Any, path))


class OwnText(spaces.Text):
    """A space of a class that Gymnasium does not have, as MiniGrid's missions are."""


class OnlyNumber:
    """A preprocessor that leaves such a space out."""

    def bind(self, space: gymnasium.Space[Any], /) -> gymnasium.Space[Any]:
        assert isinstance(space, spaces.Dict)
        return space["number"]

    def __call__(self, observations: Any, /) -> Any:
        return observations["number"].copy()


def test_a_space_of_another_kind_that_a_preprocessor_leaves_out_is_named_only(tmp_path: Path) -> None:
    space = spaces.Dict({"says": OwnText(3), "number": spaces.Box(0.0, 1.0, (2,), np.float32)})
    options: dict[str, Any] = {"env": lambda seed: EndlessEnv(space, spaces.Discrete(2))}
    for _ in range(2):  # the second appends
        record(tmp_path / "runs", preprocessors=[OnlyNumber()], **options)
    runs = runnerkit.load(tmp_path / "runs")
    assert_equal(runs[0].observations, record(None, preprocessors=[OnlyNumber()], **options)[0].observations[:-1])
    assert "OwnText" in str(runs.runs[0].spec.env_observation_space)
    assert runs.runs[0].spec.env_observation_space == runs.runs[1].spec.env_observation_space
    with pytest.raises(SpaceError, match=r"cannot hold env_observation\['says'\]"):
        record(tmp_path / "raw", preprocessors=[OnlyNumber()], keep_raw=True, **options)


def test_half_files_of_a_killed_program_are_removed_by_the_next_one(tmp_path: Path) -> None:
    record(tmp_path / "runs", rollouts=1)
    half = tmp_path / "runs" / "run0-rollout0-env0-episode9-step0.npz.partial"
    half.write_bytes(b"PK")
    record(tmp_path / "runs", rollouts=1)
    assert not half.exists()


def test_by_name_alone_the_folder_is_called_after_the_env_and_the_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with runnerkit.make("CartPole-v1", seed=5, history="npz") as runner:
        (history,) = runner.rollout(RandomAgent(runner.action_space, seed=0), steps=10)
    assert type(history) is ArrayHistory
    assert len(runnerkit.load("cartpole-v1-seed5")) > 0
    runnerkit.make("CartPole-v1", seed=5, history="npz").close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cartpole-v1-seed5", "cartpole-v1-seed5-2"]


def test_the_commands_show_mend_and_convert(tmp_path: Path) -> None:
    path = tmp_path / "runs"
    rolled = CliRunner().invoke(main, ["rollout", "CartPole-v1", "--steps", "60", "--seed", "1", "-o", str(path)])
    assert rolled.exit_code == 0, rolled.output
    runs = runnerkit.load(path)
    shown = CliRunner().invoke(main, ["show", str(path), "1", "--json"])
    assert json.loads(shown.stdout)["columns"]["observations"] == f"float32 [{runs.episodes[1].length + 1}, 4]"
    assert CliRunner().invoke(main, ["show", str(path), "99"]).exit_code == 2
    left = path / "run0-rollout0-env0-episode99-step0.npz"
    left.write_bytes(b"PK")
    with (path / "manifest.jsonl").open("a") as manifest:
        manifest.write('{"run":0')
    torn = CliRunner().invoke(main, ["verify", str(path)])
    assert torn.exit_code == 1
    assert "--mend cuts them off" in torn.stdout
    assert f"{left.name} is not listed" in torn.stdout
    assert CliRunner().invoke(main, ["verify", str(path), "--mend"]).exit_code == 0
    assert not left.exists()
    for target, said in {
        "torch": "keeps histories in memory only",
        "nnpz:there": "Did you mean 'npz'?",
        "npz": "does not say where to write. Write --to npz:PATH.",
        "npz:": "does not say where to write. Write --to npz:PATH.",
        "npz:pth=there": "Did you mean 'path'?",
        f"npz:path={path}/.": "into itself",
        f"npz:{tmp_path}": "a folder that has files already",
    }.items():
        refused = CliRunner().invoke(main, ["convert", str(path), "--to", target])
        assert (refused.exit_code, said in refused.stderr) == (2, True), refused.output
    assert os.listdir(tmp_path) == ["runs"]
    done = CliRunner().invoke(main, ["convert", str(path), "--to", f"npz:{tmp_path / 'there'}"])
    assert done.stdout == f"Wrote {len(runs)} episodes of {path} to {tmp_path / 'there'} (npz).\n"
    assert len(runnerkit.load(tmp_path / "there")) == len(runs)
    for history, part in zip(convert(runs, ArrayFormat()), runs, strict=True):
        assert everything(history)[1:3] == everything(part)[1:3]
