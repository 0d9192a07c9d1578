"""The history format minari: what is in the dataset is what `arrays` would have handed out."""

from __future__ import annotations

import copy
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import gymnasium
import minari  # type: ignore[import-untyped]
import numpy as np
import pytest
from gymnasium import Space, spaces
from gymnasium.vector import SyncVectorEnv
from runnerkit_minari import MINARI, MinariFormat, MinariHistory

from runnerkit import EndReason, EpisodeStart, GymRunner, MadeBy, RandomAgent, use
from runnerkit._plugins.manager import Plugins
from runnerkit.errors import ArgumentError, EnvError, RolloutError, SpaceError
from runnerkit.history import ArrayHistory

CARTPOLE = "CartPole-v1"
FORMATS = ["hdf5", "arrow", "parquet"]


@pytest.fixture(autouse=True)
def datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    return tmp_path


class AnySpaceEnv(gymnasium.Env[Any, Any]):
    """Returns samples of its space; an episode lasts for 3 to 8 steps."""

    def __init__(self, observation: Space[Any], action: Space[Any] | None = None) -> None:
        self.observation_space = observation
        self.action_space = spaces.Discrete(3) if action is None else action

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        self._left = int(self.np_random.integers(3, 9))
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action)
        self._left -= 1
        return self.observation_space.sample(), float(self.np_random.normal()), self._left == 0, False, {}


class FailingEnv(AnySpaceEnv):
    """Fails in the 5th step of its life."""

    def __init__(self) -> None:
        super().__init__(spaces.Box(-1, 1, (2,)))
        self._steps = 0

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._steps += 1
        if self._steps == 5:
            raise RuntimeError("broken")
        observation, reward, *_ = super().step(action)
        return observation, reward, False, False, {}


def roll(env: Any, history: Any, rollouts: Sequence[int], n_envs: int = 2, **options: Any) -> list[list[Any]]:
    with GymRunner(env, seed=5, n_envs=n_envs, history=history, **options) as runner:
        agent = RandomAgent(runner.action_space, seed=1)
        return [list(runner.rollout(agent, steps=steps)) for steps in rollouts]


def whole_episodes(rollouts: list[list[Any]]) -> list[dict[str, Any]]:
    """Return the episodes of `arrays` histories, put together by the book, in the order in which they ended."""
    going: dict[tuple[int, int], dict[str, Any]] = {}
    ended = []
    for histories in rollouts:
        for history in histories:
            for part in history.split():
                key = part.record.env_index, part.record.episode_index
                before = going.pop(key, None)
                whole = {
                    "observations": part.observations,
                    "actions": part.actions,
                    "rewards": part.rewards,
                    "terminations": part.terminated,
                    "truncations": part.truncated,
                }
                if before is not None:
                    before["observations"] = before["observations"][:-1]
                    whole = {name: np.concatenate([before[name], whole[name]]) for name in whole}
                whole["record"] = part.record
                if part.record.end_reason is EndReason.CUT:
                    going[key] = whole
                else:
                    ended.append(whole)
    for whole in going.values():
        whole["truncations"] = whole["truncations"].copy()
        whole["truncations"][-1] = True
    return ended + list(going.values())


def assert_same(left: Any, right: Any) -> None:
    """Compare values and dtypes exactly, nested as they may be."""
    if isinstance(left, dict):
        assert left.keys() == right.keys()
        for key in left:
            assert_same(left[key], right[key])
    elif isinstance(left, (tuple, list)):
        assert len(left) == len(right)
        for a, b in zip(left, right, strict=True):
            assert_same(a, b)
    elif isinstance(left, np.ndarray):
        assert left.dtype == right.dtype
        np.testing.assert_array_equal(left, right)
    else:
        assert left == right


def test_each_name_that_is_offered_is_declared() -> None:
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]
    declared = project["entry-points"]["runnerkit.history_formats"]
    assert declared.keys() == {"minari"}
    for name, target in declared.items():
        assert EntryPoint(name, target, "runnerkit.history_formats").load() is MinariFormat


@pytest.mark.parametrize("data_format", FORMATS)
def test_cut_episodes_are_whole_in_the_dataset_and_equal_to_those_of_arrays(data_format: Any) -> None:
    rollouts = [7, 1, 30, 11, 3]
    expected = whole_episodes(roll(CARTPOLE, "arrays", rollouts))
    roll(CARTPOLE, MinariFormat("test/cut-v0", data_format), rollouts)
    dataset = minari.load_dataset("test/cut-v0")
    metadata = list(dataset.storage.get_episode_metadata(range(len(dataset))))
    assert len(dataset) == len(expected) > 4
    assert dataset.total_steps == sum(rollouts) * 2
    for episode, about, whole in zip(dataset.iterate_episodes(), metadata, expected, strict=True):
        for name in ("observations", "actions", "rewards", "terminations", "truncations"):
            assert_same(getattr(episode, name), whole[name])
        assert len(episode.observations) == len(episode.rewards) + 1
        assert about["seed"] == whole["record"].seed
        assert about["end_reason"] == whole["record"].end_reason.value
        assert (about["env_index"], about["episode_index"]) == (
            whole["record"].env_index,
            whole["record"].episode_index,
        )


def test_an_episode_of_the_dataset_can_be_replayed_in_the_recovered_env() -> None:
    roll(CARTPOLE, MinariFormat("test/replay-v0"), [60])
    dataset = minari.load_dataset("test/replay-v0")
    env = dataset.recover_environment()
    for about, episode in zip(dataset.storage.get_episode_metadata(range(len(dataset))), dataset, strict=True):
        observation, _ = env.reset(seed=about["seed"])
        assert_same(observation, episode.observations[0])
        for t, action in enumerate(episode.actions):
            observation, reward, *_ = env.step(action)
            assert_same(observation, episode.observations[t + 1])
            assert reward == episode.rewards[t]
    env.close()


@pytest.mark.parametrize("data_format", FORMATS)
def test_images_are_stored_without_loss(data_format: Any) -> None:
    image = spaces.Box(0, 255, (40, 36, 3), np.uint8)
    rollouts = [6, 9]
    expected = whole_episodes(roll(lambda _: AnySpaceEnv(image), "arrays", rollouts))
    roll(lambda _: AnySpaceEnv(image), MinariFormat("test/images-v0", data_format), rollouts)
    for episode, whole in zip(minari.load_dataset("test/images-v0"), expected, strict=True):
        assert_same(episode.observations, whole["observations"])


NESTED = spaces.Dict(
    {
        "pair": spaces.Tuple([spaces.Discrete(4, start=-1), spaces.Box(-1, 1, (2, 3), np.float32)]),
        "flag": spaces.MultiBinary(3),
        "grid": spaces.MultiDiscrete(np.array([[2, 3], [4, 5]])),
        "name": spaces.Text(5, min_length=0),
        "scalar": spaces.Box(-1, 1, (), np.float64),
        "bits": spaces.MultiBinary((2, 2)),
    }
)


@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize("space", [NESTED, spaces.Tuple([spaces.Text(3), NESTED])], ids=["Dict", "Tuple"])
def test_nested_observations_and_actions_come_back_as_they_were(space: Space[Any], data_format: Any) -> None:
    def make(_: int | None) -> AnySpaceEnv:
        return AnySpaceEnv(space, spaces.Dict({"move": spaces.Discrete(3), "push": spaces.Box(-1, 1, (2,))}))

    (expected,) = roll(make, "arrays", [20])
    roll(make, MinariFormat("test/nested-v0", data_format), [8, 12])
    dataset = minari.load_dataset("test/nested-v0")
    assert dataset.observation_space == space
    want = sorted((p for h in expected for p in h.split()), key=lambda p: p.record.seed)
    seeds = [about["seed"] for about in dataset.storage.get_episode_metadata(range(len(dataset)))]
    got = [episode for _, episode in sorted(zip(seeds, dataset, strict=True), key=lambda pair: pair[0])]
    assert len(got) == len(want) > 3
    for episode, part in zip(got, want, strict=True):
        assert_same(episode.observations, part.observations)
        assert_same(episode.actions, part.actions)


def test_text_with_umlauts_and_empty_text_come_back() -> None:
    space = spaces.Text(4, min_length=0, charset="aä☃")
    ((history,),) = roll(lambda _: AnySpaceEnv(space), "arrays", [30], n_envs=1)
    roll(lambda _: AnySpaceEnv(space), MinariFormat("test/text-v0"), [30], n_envs=1)
    for episode, part in zip(minari.load_dataset("test/text-v0"), history.split(), strict=True):
        assert_same(episode.observations, part.observations)


def test_by_name_the_id_follows_from_the_env_and_the_seed() -> None:
    ((history, other),) = roll(CARTPOLE, MINARI, [50])
    assert history.dataset_id == other.dataset_id == "runnerkit/cartpole-v1-seed5-v0"
    assert minari.load_dataset("runnerkit/cartpole-v1-seed5-v0").total_steps == 100


def test_a_history_says_what_was_done_and_loads_the_dataset() -> None:
    with GymRunner(CARTPOLE, seed=0, n_envs=2, history=MinariFormat("test/history-v0")) as runner:
        first, second = runner.rollout(RandomAgent(runner.action_space, seed=0), steps=60)
        assert isinstance(first, MinariHistory)
        assert (first.env_index, second.env_index, len(first)) == (0, 1, 60)
        complete = [e for e in (*first.episodes, *second.episodes) if e.complete]
        assert first.episodes[-1].end_reason is EndReason.CUT
        assert first.episodes_written == len(complete) == len(first.load())
        assert repr(first.load()[0]).startswith("EpisodeData")
    assert len(second.load()) == len(complete) + 2  # what had not ended is written when the runner closes


def test_incomplete_episodes_can_be_dropped() -> None:
    ((history,),) = roll(CARTPOLE, MinariFormat("test/drop-v0", incomplete="drop"), [60], n_envs=1)
    dataset = history.load()
    assert len(dataset) == sum(e.complete for e in history.episodes) == len(history.episodes) - 1
    assert dataset[len(dataset) - 1].terminations[-1]


def test_an_episode_that_is_given_up_is_written_as_truncated() -> None:
    with GymRunner(CARTPOLE, seed=0, history=MinariFormat("test/given-up-v0")) as runner:
        agent = RandomAgent(runner.action_space, seed=0)
        runner.rollout(agent, steps=3)
        (history,) = runner.rollout(agent, episodes=1)
        dataset = history.load()
        assert history.episodes_written == len(dataset) == 2
    assert len(dataset[0].rewards) == 3
    assert dataset[0].truncations.tolist() == [False, False, True]
    assert not dataset[0].terminations.any()
    assert dataset[1].terminations[-1]


def test_what_a_crash_left_is_written_as_truncated_and_says_so() -> None:
    with GymRunner(lambda _: FailingEnv(), seed=0, history=MinariFormat("test/crash-v0")) as runner:
        agent = RandomAgent(runner.action_space, seed=0)
        runner.rollout(agent, steps=2)
        with pytest.raises(EnvError, match="broken") as caught:
            runner.rollout(agent, steps=10)
        (history,) = caught.value.histories
        assert isinstance(history, MinariHistory)
        assert [e.end_reason for e in history.episodes] == [EndReason.CRASHED]
    dataset = minari.load_dataset("test/crash-v0")
    assert [len(episode.rewards) for episode in dataset] == [4]
    assert dataset[0].truncations.tolist() == [False, False, False, True]
    assert [about["end_reason"] for about in dataset.storage.get_episode_metadata([0])] == ["crashed"]


class ImpatientAgent:
    """Presses Ctrl-C at its 6th action."""

    def __init__(self) -> None:
        self._acts = 0

    def act(self, observations: Any, /) -> Any:
        self._acts += 1
        if self._acts == 6:
            raise KeyboardInterrupt
        return np.zeros(len(observations), np.int64)


def test_after_ctrl_c_what_was_collected_is_in_the_dataset() -> None:
    with GymRunner(CARTPOLE, seed=0, n_envs=2, history=MinariFormat("test/ctrl-c-v0")) as runner:
        first, second = runner.rollout(ImpatientAgent(), steps=100, on_interrupt="return")
        assert runner.interrupted
        assert len(first.load()) == second.episodes_written == 2  # written at once: they do not go on
    for episode in first.load().iterate_episodes():
        assert episode.truncations.tolist() == [False] * 4 + [True]


def test_reset_options_are_recorded_with_their_episode() -> None:
    def schedule(env_index: int, episode_index: int, /) -> EpisodeStart:
        return EpisodeStart(seed=10 + episode_index, options={"low": -0.01 * (episode_index + 1), "high": 0.01})

    ((history,),) = roll(CARTPOLE, MinariFormat("test/options-v0"), [60], n_envs=1, schedule=schedule)
    metadata = list(history.load().storage.get_episode_metadata(range(len(history.episodes))))
    assert [about["seed"] for about in metadata] == [10 + i for i in range(len(metadata))]
    assert [about["options"] for about in metadata] == [e.options for e in history.episodes]
    assert len(metadata) >= 2


def test_options_that_do_not_fit_into_a_dataset_are_left_out_with_a_warning() -> None:
    options = {"goal": None, "deep": {"level": 2, "map": object()}, "mixed": [1, "a"], "fine": np.arange(3)}

    def schedule(env_index: int, episode_index: int, /) -> EpisodeStart:
        return EpisodeStart(seed=1, options=options)

    with pytest.warns(UserWarning, match=r"env 0, episode 0: goal, deep\.map, mixed"):
        roll(lambda _: AnySpaceEnv(spaces.Discrete(3)), MinariFormat("test/odd-v0"), [2], n_envs=1, schedule=schedule)
    (about,) = minari.load_dataset("test/odd-v0").storage.get_episode_metadata([0])
    assert about["options"]["deep"] == {"level": 2}
    assert about["options"]["fine"].tolist() == [0, 1, 2]


def test_a_seed_of_more_than_64_bits_is_left_out_with_a_warning() -> None:
    with pytest.warns(UserWarning, match="64 bits"):
        roll(CARTPOLE, MinariFormat("test/seed-v0"), [2], n_envs=1, schedule=lambda *_: EpisodeStart(seed=2**64))
    assert len(minari.load_dataset("test/seed-v0")) == 1


@pytest.mark.parametrize(
    ("space", "path"),
    [
        (spaces.Sequence(spaces.Discrete(2)), "observation,"),
        (spaces.Graph(spaces.Box(0, 1, (2,)), None), "observation,"),
        (spaces.Dict({"a": spaces.Tuple([spaces.Discrete(2), spaces.OneOf([spaces.Discrete(2)])])}), r"\['a'\]\[1\],"),
        (spaces.Dict({"a/b": spaces.Discrete(2)}), "key 'a/b'"),
        (spaces.Text(3, charset="a\0"), "NUL"),
        (spaces.Text(3, charset="a\ud800"), "UTF-8"),
    ],
)
def test_a_space_that_minari_cannot_hold_is_refused_when_the_runner_is_built(
    space: Space[Any], path: str, datasets: Path
) -> None:
    with pytest.raises(SpaceError, match=path):
        GymRunner(lambda _: AnySpaceEnv(space), history=MinariFormat("test/refused-v0"))
    assert not (datasets / "test").exists()


def test_an_action_space_that_minari_cannot_hold_is_refused_too() -> None:
    action = spaces.Tuple([spaces.Discrete(2), spaces.Sequence(spaces.Discrete(2))])
    with pytest.raises(SpaceError, match=r"action\[1\],"):
        GymRunner(lambda _: AnySpaceEnv(spaces.Discrete(2), action), history="minari")


def test_a_space_without_values_needs_hdf5() -> None:
    space = spaces.Dict({"empty": spaces.Box(0, 1, (0,)), "full": spaces.Discrete(2)})
    with pytest.raises(SpaceError, match=r"\['empty'\].*hdf5"):
        GymRunner(lambda _: AnySpaceEnv(space), history=MinariFormat("test/empty-v0", "arrow"))
    roll(lambda _: AnySpaceEnv(space), MinariFormat("test/empty-v0"), [3], n_envs=1)
    assert minari.load_dataset("test/empty-v0")[0].observations["empty"].shape == (4, 0)


def test_an_id_that_exists_is_refused_and_the_next_free_version_named() -> None:
    roll(CARTPOLE, MinariFormat("test/twice-v0"), [5], n_envs=1)
    roll(CARTPOLE, MinariFormat("test/twice-v1"), [5], n_envs=1)
    with pytest.raises(ArgumentError, match=r"already.*test/twice-v2.*delete_dataset"):
        GymRunner(CARTPOLE, history=MinariFormat("test/twice-v0"))
    assert len(minari.load_dataset("test/twice-v0")) == 1


def test_two_runners_at_once_cannot_share_an_id() -> None:
    with GymRunner(CARTPOLE, history=MinariFormat("test/shared-v0")), pytest.raises(ArgumentError, match="already"):
        GymRunner(CARTPOLE, history=MinariFormat("test/shared-v0"))


def test_a_runner_that_wrote_nothing_leaves_no_dataset(datasets: Path) -> None:
    GymRunner(CARTPOLE, history=MinariFormat("test/nothing-v0")).close()
    assert not (datasets / "test" / "nothing-v0").exists()


@pytest.mark.parametrize("name", ["cartpole", "no/version", "sp ace-v0", "../up-v0", "/abs-v0", "-v0x"])
def test_a_malformed_id_is_refused_at_once(name: str) -> None:
    with pytest.raises(ArgumentError, match="cartpole/random-v0"):
        MinariFormat(name)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("a/b-v0", "one character, but Minari needs two"),
        ("data/set-v0", "has a part 'data'"),
        ("some/data/set-v0", "has a part 'data'"),
        (f"some/{'x' * 300}-v0", "a part of 303 characters, but at most 200"),
        ("some/set-v0/inner-v0", "lies in the folder of the Minari dataset 'some/set-v0'"),
        (3, "must be like 'cartpole/random-v0'"),
    ],
)
def test_an_id_that_minari_could_not_find_again_is_refused_before_the_rollout(name: Any, says: str) -> None:
    with GymRunner(CARTPOLE, history=MinariFormat("some/set-v0")), pytest.raises(ArgumentError, match=says):
        GymRunner(CARTPOLE, history=MinariFormat(name))
    assert minari.list_local_datasets() == {}


@pytest.mark.parametrize("name", ["plain-v0", "Deep/er/set-v12", "__/_-v0", "some/data-v0", "some/x-v0-v1", "a1/b-v00"])
def test_an_id_that_is_taken_is_found_again_by_minari(name: str) -> None:
    roll(CARTPOLE, MinariFormat(name), [3], n_envs=1)
    assert list(minari.list_local_datasets()) == [name]
    assert len(minari.load_dataset(name)) == 1


@pytest.mark.parametrize("options", [{"data_format": "zip"}, {"view": "both"}, {"incomplete": "keep"}])
def test_an_option_that_is_not_known_is_refused_with_the_list(options: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match=f"{next(iter(options))} must be one of"):
        MinariFormat("some/set-v0", **options)


def test_preprocessed_observations_are_not_taken_for_the_envs_own() -> None:
    with pytest.raises(ArgumentError, match=r"keep_raw=True.*view='agent'"):
        GymRunner(CARTPOLE, history=MinariFormat("test/raw-v0"), preprocessors=["normalize"])


class Negate:
    """A preprocessor whose space does not tell that it is there."""

    def bind(self, space: Space[Any], /) -> Space[Any]:
        return space

    def __call__(self, observations: Any, /) -> object:
        return -observations


def test_a_preprocessor_that_keeps_the_space_is_noticed_before_anything_is_written() -> None:
    with pytest.raises(ArgumentError, match="keep_raw=True"):
        roll(CARTPOLE, MinariFormat("test/negate-v0"), [5], preprocessors=[Negate()])


def test_with_keep_raw_the_envs_own_observations_and_actions_are_recorded() -> None:
    options = {"preprocessors": ["normalize"], "postprocessors": ["rescale"], "keep_raw": True}
    ((arrays,),) = roll(
        "Pendulum-v1",
        "arrays",
        [
            30,
        ],
        n_envs=1,
        **options,
    )
    roll("Pendulum-v1", MinariFormat("test/env-view-v0"), [12, 18], n_envs=1, **options)
    (episode,) = minari.load_dataset("test/env-view-v0")
    assert_same(episode.observations[:-1], arrays.raw_observations)
    assert_same(episode.actions, arrays.env_actions)
    assert (episode.actions != arrays.actions).any()


def test_the_agents_view_has_the_agents_spaces() -> None:
    options = {"preprocessors": ["normalize"], "postprocessors": ["rescale"]}
    ((arrays,),) = roll("Pendulum-v1", "arrays", [30], n_envs=1, **options)
    roll("Pendulum-v1", MinariFormat("test/agent-view-v0", view="agent"), [12, 18], n_envs=1, **options)
    dataset = minari.load_dataset("test/agent-view-v0")
    assert_same(dataset[0].observations[:-1], arrays.observations)
    assert_same(dataset[0].actions, arrays.actions)
    assert dataset.action_space.high.tolist() == [1.0]


def test_what_is_told_about_the_dataset_is_in_its_metadata() -> None:
    format = MinariFormat(
        "test/about-v0",
        author=["Ada", "Grace"],
        author_email="ada@example.org",
        description="random play",
        algorithm_name="uniform",
        code_permalink="https://example.org/code",
    )
    ((history,),) = roll(CARTPOLE, format, [20], n_envs=1)
    metadata = history.load().storage.metadata
    assert metadata["author"] == {"Ada", "Grace"}
    assert metadata["author_email"] == {"ada@example.org"}
    assert metadata["description"] == "random play"
    assert metadata["algorithm_name"] == "uniform"
    assert metadata["code_permalink"] == "https://example.org/code"
    made_by = MadeBy.of(metadata["runnerkit"].pop("made_by"))
    assert [(part.kind, part.name) for part in made_by.parts[::2]] == [
        ("env", CARTPOLE),
        ("history format", "runnerkit_minari.format:MinariFormat"),
    ]
    assert made_by.parts[-1].distribution == "runnerkit-minari"
    assert metadata["runnerkit"] == {"env_id": CARTPOLE, "seed": 5, "n_envs": 1, "view": "env"}
    assert metadata["jpeg_encoding"] is False


def test_an_episode_that_arrow_would_misread_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runnerkit_minari.dataset._LONGEST_ARROW_EPISODE", 100)
    with pytest.raises(RolloutError, match="episode of 200 steps") as caught:
        roll("Pendulum-v1", MinariFormat("test/long-v0", "arrow"), [200], n_envs=1)
    (arrays,) = caught.value.histories
    assert isinstance(arrays, ArrayHistory)
    assert len(arrays) == 200
    roll("Pendulum-v1", MinariFormat("test/long-v1", "hdf5"), [200], n_envs=1)


def test_the_plugin_is_discovered_with_its_distribution_and_version() -> None:
    plugins = Plugins()
    plugins.discover()
    offer = plugins.offers("history_formats")["minari"]
    assert (offer.distribution, offer.version, offer.plugin) == ("runnerkit-minari", "0.1.0", "minari")
    assert not [problem for problem in plugins.problems if problem.plugin == "minari"]


def test_listing_plugins_does_not_import_minari() -> None:
    code = (
        "import sys; from runnerkit._plugins.manager import Plugins; p = Plugins(); p.discover(); "
        "p.get('history_formats', 'minari').make(); assert not {'minari', 'h5py', 'PIL'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=60)


class ForgetfulEnv(SyncVectorEnv[Any, Any]):
    """Does not tell how episodes ended."""

    def step(self, actions: Any) -> Any:
        *rest, infos = super().step(actions)
        return *rest, {key: value for key, value in infos.items() if "final" not in key}


def test_a_final_observation_that_a_vector_env_does_not_tell_is_not_made_up() -> None:
    make = lambda seed: ForgetfulEnv([lambda: gymnasium.make(CARTPOLE)] * 2, autoreset_mode="SameStep")  # noqa: E731
    with GymRunner(make, n_envs=2, seed=0, history=MinariFormat("vector/forgetful-v0")) as runner:
        agent = RandomAgent(runner.action_space, seed=0)
        for _ in range(2):
            with pytest.raises(
                RolloutError, match="did not tell in which observations all its episodes ended"
            ) as caught:
                runner.rollout(agent, steps=60)
            assert not all(history.next_known.all() for history in caught.value.histories)  # type: ignore[attr-defined]
        with pytest.raises(RolloutError, match="did not tell"):  # though nothing ends in it
            runner.rollout(agent, steps=1)
    assert minari.list_local_datasets() == {}


def test_a_vector_env_is_recorded_as_exactly_as_single_ones() -> None:
    make = lambda seed: SyncVectorEnv([lambda: gymnasium.make(CARTPOLE)] * 2)  # noqa: E731
    arrays = []
    for history in (MinariFormat("vector/cartpole-v0"), "arrays"):
        with GymRunner(make, n_envs=2, seed=0, history=history) as runner:  # type: ignore[arg-type]
            agent = RandomAgent(runner.action_space, seed=0)
            arrays = [runner.rollout(agent, steps=steps) for steps in (50, 1, 1, 30)]
    rewards = [history.rewards.sum() for histories in arrays for history in histories]
    dataset = minari.load_dataset("vector/cartpole-v0")
    assert sum(episode.rewards.sum() for episode in dataset) == sum(rewards)
    assert all(len(episode.observations) == len(episode.rewards) + 1 for episode in dataset)


class _Shaped(gymnasium.Wrapper[Any, Any, Any, Any]):
    """An env whose spec has an argument of its own."""

    def __init__(self, value: object) -> None:
        super().__init__(gymnasium.make("CartPole-v1"))
        self._value = value

    @property
    def spec(self) -> Any:
        spec = copy.deepcopy(self.env.spec)
        assert spec is not None
        spec.kwargs = {**spec.kwargs, "shape": self._value}
        return spec


@pytest.mark.parametrize(
    ("value", "said", "kept"),
    [
        (object(), "The spec of CartPole-v1 cannot be written as JSON", False),
        ((2, 5), r"shape: \(2, 5\) becomes \[2, 5\]", True),
    ],
)
def test_a_spec_that_cannot_be_written_or_changes_is_told_of(value: object, said: str, kept: bool) -> None:
    dataset_id = f"spec/{kept}-v0".lower()

    def rollout() -> None:
        with GymRunner(lambda seed: _Shaped(value), seed=0, history=MinariFormat(dataset_id)) as runner:
            runner.rollout(RandomAgent(runner.action_space, seed=0), steps=20)

    with pytest.warns(UserWarning, match=said):
        rollout()
    assert (minari.load_dataset(dataset_id).spec.env_spec is not None) is kept


@pytest.mark.parametrize("data_format", FORMATS)
def test_extra_columns_are_infos(data_format: Any) -> None:
    def act(observations: Any) -> Any:
        return np.zeros(len(observations), np.int64), {"value": observations[:, 0], "seen": observations[:, :2]}

    with GymRunner(CARTPOLE, seed=5, n_envs=2, history=MinariFormat("columns-v0", data_format=data_format)) as runner:
        runner.rollout(act, steps=13)
        runner.rollout(act, steps=13)
    for episode in minari.load_dataset("columns-v0"):
        seen, value = episode.infos["seen"], episode.infos["value"]
        np.testing.assert_array_equal(seen[:-1], episode.observations[:-1, :2])
        np.testing.assert_array_equal(value[:-1], episode.observations[:-1, 0])
        assert np.isnan(value[-1])
        assert value.dtype == seen.dtype == np.float32


@pytest.mark.parametrize("data_format", FORMATS)
def test_processed_rewards_are_an_info(data_format: Any) -> None:
    history = MinariFormat("processed-v0", data_format=data_format)
    with GymRunner(CARTPOLE, seed=5, history=history, reward_processors=[use("scale", factor=0.5)]) as runner:
        runner.rollout(RandomAgent(runner.action_space, seed=0), steps=13)
        runner.rollout(RandomAgent(runner.action_space, seed=0), steps=30)
    for episode in minari.load_dataset("processed-v0"):
        np.testing.assert_array_equal(episode.infos["processed_rewards"][:-1], episode.rewards / 2)


def test_an_episode_keeps_its_extra_columns() -> None:
    with GymRunner(CARTPOLE, seed=5, history=MinariFormat("columns-v0")) as runner:
        runner.rollout(lambda observations: ([0], {"value": [1.0]}), steps=3)
        with pytest.raises(RolloutError, match=r"extra columns \['value'\], but the agent that goes on returns none"):
            runner.rollout(lambda observations: [0], steps=30)
