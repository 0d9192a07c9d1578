"""The command line, as its users meet it: what is printed where, and with which exit code."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from programs import started

import runnerkit._plugins.manager
from runnerkit import Contribution, GymRunner, RandomAgent, RunSpec, hookimpl
from runnerkit._cli.main import main
from runnerkit._plugins.manager import Plugins
from runnerkit.history.block import Block

BRITTLE = """
    import gymnasium

    class Brittle(gymnasium.Wrapper):
        def __init__(self, env):
            super().__init__(env)
            self.steps = 0

        def step(self, action):
            self.steps += 1
            if self.steps == 12:
                raise OSError
            return self.env.step(action)
"""
AGENTS = """
    import os, sys, time
    import numpy as np

    class Left:
        def __init__(self, observation_space, action_space):
            self.spaces = observation_space, action_space

        def act(self, observations):
            return np.zeros(len(observations), np.int64)

    class Nested:
        Agent = Left

    def make_left(observation_space, action_space):
        return Left(observation_space, action_space)

    left = Left(None, None)
    number = 5

    class NoArguments(Left):
        def __init__(self):
            pass

    class Chatty(Left):
        def act(self, observations):
            print("chatter")
            return super().act(observations)

    class Failing(Left):
        def act(self, observations):
            raise ZeroDivisionError("no policy")

    class OutOfBounds(Left):
        def act(self, observations):
            return super().act(observations) + 7

    class Slow(Left):
        calls = 0

        def act(self, observations):
            self.calls += 1
            if self.calls == 30:
                print("thirty steps", file=sys.stderr, flush=True)
            time.sleep(0.05 if self.calls >= 30 else 0)
            return super().act(observations)

    def nothing(observation_space, action_space):
        return None

    def policy(observations):
        return left.act(observations)

    class ByName(NoArguments):
        def __init__(self, *, epsilon=0.1, runner, action_space):
            assert runner.action_space == action_space and epsilon == 0.1

    class ByPosition(NoArguments):
        def __init__(self, seen, done):
            assert seen.shape == (4,) and done.n == 2

    class WithDefaults(NoArguments):
        def __init__(self, epsilon=0.1, seed=0):
            assert (epsilon, seed) == (0.1, 0)

    class Sized(NoArguments):
        def __init__(self, hidden, action_space):
            pass

    def make_alone():
        return left

    def make_any(*spaces):
        return Left(*spaces)

    class Raising(Left):
        def __init__(self):
            raise TypeError("no weights")

    class Model:
        def predict(self, observation, state=None):
            return None, None

    class Called:
        def __call__(self, *arguments):
            return left.act(*arguments)

    called, model = Called(), Model()
"""


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty current directory with agents in it, and a Python that forgets afterwards what it imported there."""
    (tmp_path / "my_agents.py").write_text(textwrap.dedent(AGENTS))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("FORCE_COLOR", "COLUMNS", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def run(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(main, arguments, prog_name="runnerkit")
    assert result.exit_code == code, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def rollout(*arguments: str) -> dict[str, Any]:
    document = json.loads(run("rollout", *arguments, "--json").stdout)
    assert isinstance(document, dict)
    return document


def process(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "runnerkit", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **options)


def table(text: str) -> dict[str, str]:
    return dict(re.split(r"  +", line, maxsplit=1) for line in text.splitlines() if "  " in line)


# ---- rollout: what it finds


def test_the_summary_says_what_was_run_and_what_came_of_it() -> None:
    result = run("rollout", "CartPole-v1", "--n-envs", "4", "--steps", "200", "--seed", "3")
    facts = table(result.stdout)
    assert facts["env"] == "CartPole-v1"
    assert facts["seed"] == "3"
    assert facts["n_envs"] == "4"
    assert re.match(r"auto( chose (serial|threads))?, \d+ workers? \(.+\)$", facts["executor"])
    assert facts["steps"] == "800"
    assert re.fullmatch(r"\d+ complete", facts["episodes"])
    assert re.fullmatch(r"mean [\d.]+, std [\d.]+, min \d+, max \d+", facts["return"])
    assert re.fullmatch(r"\d+ terminated, 4 cut", facts["end reasons"])
    assert result.stderr == ""


def test_neither_spare_envs_nor_min_batch_change_an_episode() -> None:
    asked = ["CartPole-v1", "--steps", "100", "--seed", "3"]
    assert rollout(*asked, "--spare-envs", "2", "--repeatable")["episodes"] == rollout(*asked)["episodes"]
    assert (
        rollout(*asked, "--n-envs", "3", "--min-batch", "2")["episodes"] == rollout(*asked, "--n-envs", "3")["episodes"]
    )
    normalized = [*asked, "--wrapper", "gymnasium.wrappers:NormalizeObservation", "--spare-envs", "1"]
    assert "depends on earlier episodes" in run("rollout", *normalized, code=2).stderr.replace("\n", " ")


def test_envs_that_fail_are_made_anew_if_asked_for_and_the_summary_tells_of_it(workplace: Path) -> None:
    (workplace / "brittle.py").write_text(textwrap.dedent(BRITTLE))
    asked = ["rollout", "CartPole-v1", "--steps", "30", "--seed", "0", "--wrapper", "brittle:Brittle"]
    asked += ["--on-env-error", "restart"]
    facts = table(run(*asked, "--max-restarts", "2,3").stdout)
    assert facts["restarts"] == "2"
    assert re.match(r"env 0, episode \d, seed \d+, step \d+, action [01]: EnvError: raised in step", facts["fault"])
    (first, second) = json.loads(run(*asked, "--json").stdout)["faults"]
    assert (first["env_index"], first["end_reason"], second["error"]) == (
        0,
        "crashed",
        "EnvError: raised in step: OSError",
    )
    spent = run(*asked, "--max-restarts", "1", code=1)
    assert "max_restarts, 1 per env, are spent" in spent.stderr
    assert "expects a whole number such as 10, or two" in run(*asked, "--max-restarts", "a", code=2).stderr


@pytest.mark.parametrize(("asked", "shown"), [("CartPole", "CartPole-v1"), ("CartPole-v0", "CartPole-v0")])
@pytest.mark.filterwarnings("ignore:.*CartPole")  # Gymnasium's, about versions
def test_an_env_is_shown_in_the_version_that_it_resolved_to(asked: str, shown: str) -> None:
    assert rollout(asked, "--steps", "2")["env"] == shown


def test_json_holds_the_records_of_the_very_rollout_that_the_library_does() -> None:
    document = rollout("CartPole-v1", "--n-envs", "3", "--steps", "100", "--seed", "7")
    with GymRunner("CartPole-v1", 7, 3) as runner:
        histories = runner.rollout(RandomAgent(runner.action_space, seed=7), 100)
    expected: list[dict[str, Any]] = [
        {
            "env_index": episode.env_index,
            "episode_index": episode.episode_index,
            "seed": episode.seed,
            "start": episode.start,
            "length": episode.length,
            "return": episode.return_,
            "end_reason": episode.end_reason.value,
            "steps_before": 0,
            "return_before": 0.0,
            "total_length": episode.total_length,
            "total_return": episode.total_return,
        }
        for history in histories
        for episode in history.episodes
    ]
    assert document["episodes"] == expected
    complete = [record["return"] for record in expected if record["end_reason"] != "cut"]
    assert document["complete_episodes"] == len(complete) > 0
    assert document["return_mean"] == pytest.approx(sum(complete) / len(complete))
    assert (document["return_min"], document["return_max"]) == (min(complete), max(complete))
    assert document["steps"] == 300


def test_the_seed_that_is_shown_repeats_a_run_for_which_none_was_given() -> None:
    first = rollout("CartPole-v1", "--steps", "60")
    again = rollout("CartPole-v1", "--steps", "60", "--seed", str(first["seed"]))
    assert first["episodes"] == again["episodes"]


@pytest.mark.parametrize("history", ["arrays", "torch", "transitions"])
def test_every_history_format_gives_the_same_summary(history: str) -> None:
    if history == "torch":
        pytest.importorskip("torch")
    document = rollout("CartPole-v1", "--n-envs", "2", "--steps", "50", "--seed", "0", "--history", history)
    assert document["history"] == history
    assert document["episodes"] == rollout("CartPole-v1", "--n-envs", "2", "--steps", "50", "--seed", "0")["episodes"]


def test_the_summary_says_who_stepped_the_envs_and_why() -> None:
    common = ("CartPole-v1", "--n-envs", "4", "--steps", "50")
    serial = table(run("rollout", *common, "--executor", "serial").stdout)
    assert serial["executor"] == "serial, 1 worker"
    document = rollout(*common, "--workers", "1")
    assert (document["executor"], document["workers"]) == ("auto", 1)
    chosen = {"chosen": "serial", "reason": "workers=1", "advice": "", "seconds_per_step": {}}
    assert document["executor_choice"] == chosen
    auto = table(run("rollout", *common, "--workers", "1").stdout)
    assert auto["executor"] == "auto chose serial, 1 worker (workers=1)"
    plain = rollout(*common, "--executor", "threads", "--workers", "2")["executor_choice"]
    assert plain == {"chosen": "threads", "reason": "", "advice": "", "seconds_per_step": {}}


def test_threads_give_the_episodes_that_serial_gives() -> None:
    common = ("CartPole-v1", "--n-envs", "4", "--steps", "50", "--seed", "0")
    threads = rollout(*common, "--executor", "threads", "--workers", "2")
    assert (threads["executor"], threads["workers"]) == ("threads", 2)
    assert threads["episodes"] == rollout(*common)["episodes"]


def test_a_thousand_steps_are_run_unless_steps_or_episodes_are_given() -> None:
    assert rollout("FrozenLake-v1")["steps"] == 1000


@pytest.mark.parametrize("n_envs", ["2", "8"])
def test_so_many_whole_episodes_are_run_as_are_asked_for_however_many_envs_there_are(n_envs: str) -> None:
    document = rollout("CartPole-v1", "--episodes", "5", "--n-envs", n_envs)
    assert document["complete_episodes"] == len(document["episodes"]) == 5
    assert document["end_reasons"] == {"terminated": 5}


def test_statistics_without_a_complete_episode_are_null_in_json_and_a_dash_for_people() -> None:
    document = rollout("Pendulum-v1", "--steps", "5")
    names = ("return_mean", "return_std", "return_min", "return_max", "length_mean")
    assert [document[name] for name in names] == [None] * 5
    assert table(run("rollout", "Pendulum-v1", "--steps", "5").stdout)["return"] == "- (no episode was complete)"


def test_rewards_that_are_no_numbers_are_null_in_json(workplace: Path) -> None:
    (workplace / "nan_env.py").write_text(
        textwrap.dedent("""
            import gymnasium

            class NanEnv(gymnasium.Env):
                observation_space = gymnasium.spaces.Discrete(2)
                action_space = gymnasium.spaces.Discrete(2)

                def reset(self, *, seed=None, options=None):
                    super().reset(seed=seed)
                    return 0, {}

                def step(self, action):
                    return 1, float("nan"), True, False, {}

            gymnasium.register("CliNan-v0", NanEnv, disable_env_checker=True)
        """)
    )
    document = rollout("nan_env:CliNan-v0", "--steps", "2")
    assert document["return_mean"] is None
    assert [record["return"] for record in document["episodes"]] == [None, None]
    assert document["length_mean"] == 1


def test_processors_are_used_in_the_order_given_and_named_in_the_summary() -> None:
    document = rollout("Pendulum-v1", "--steps", "3", "--pre", "flatten", "--pre", "normalize", "--post", "rescale")
    assert document["preprocessors"] == ["flatten", "normalize"]
    assert document["postprocessors"] == ["rescale"]
    facts = table(run("rollout", "Pendulum-v1", "--steps", "3", "--pre", "flatten", "--pre", "normalize").stdout)
    assert facts["preprocessors"] == "flatten, normalize"
    assert "postprocessors" not in facts


@pytest.mark.parametrize("env", ["Blackjack-v1", "FrozenLake-v1", "Pendulum-v1", "CartPole-v1"])
def test_envs_of_all_kinds_of_spaces_can_be_run(env: str) -> None:
    assert rollout(env, "--n-envs", "2", "--steps", "20")["steps"] == 40


# ---- rollout: agents


@pytest.mark.parametrize(
    "attribute",
    [
        *("Left", "Nested.Agent", "make_left", "left", "NoArguments", "ByName", "ByPosition", "WithDefaults"),
        *("make_alone", "make_any", "policy", "called", "Called"),
    ],
)
def test_an_agent_of_the_current_directory_may_be_a_class_a_function_or_an_object(attribute: str) -> None:
    document = rollout("CartPole-v1", "--steps", "40", "--seed", "0", "--agent", f"my_agents:{attribute}")
    assert document["agent"] == f"my_agents:{attribute}"
    assert document["return_max"] <= 11  # a pole that is always pushed to the left falls at once


def test_an_agent_class_is_called_with_the_spaces_that_the_agent_sees() -> None:
    Path("spying.py").write_text(
        "seen = []\n"
        "def make(observation_space, action_space):\n"
        "    import my_agents\n"
        "    seen.append((observation_space.shape, int(action_space.n)))\n"
        "    return my_agents.left\n"
    )
    rollout("FrozenLake-v1", "--steps", "4", "--pre", "flatten", "--agent", "spying:make")
    assert sys.modules["spying"].seen == [((16,), 4)]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("greedy", "write 'random' or MODULE:ATTRIBUTE"),
        ("./my_agents:Left", "write 'random' or MODULE:ATTRIBUTE"),
        ("my_agents:", "write 'random' or MODULE:ATTRIBUTE"),
        ("no_such_module:Left", "there is no module no_such_module, neither in"),
        ("my_agents.py:Left", "Leave out the '.py'."),
        ("my_agents:Right", "module my_agents has no Right. It has: ByName,"),
        ("my_agents:Lefts", "module my_agents has no Lefts. Did you mean 'Left'? It has: ByName,"),
        ("my_agents:number", "5 has no act(observations), nor can it be called"),
        ("my_agents:Sized", "it needs hidden, but only parameters called observation_space, action_space, runner are"),
        ("my_agents:Model", "Agent Model has no method act(observations), but predict."),
        ("my_agents:model", "Agent Model has no method act(observations), but predict."),
        ("my_agents:nothing", "it returned None, which has no act(observations)"),
    ],
)
def test_an_agent_that_cannot_be_is_a_usage_error_that_says_why(name: str, said: str) -> None:
    result = run("rollout", "CartPole-v1", "--agent", name, code=2)
    assert f"Error: --agent {name}: " in result.stderr or "Error: Agent Model has" in result.stderr
    assert said in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("my_agents:Raising", "called with (), it raised TypeError: no weights"),
        ("my_agents:Failing", "ZeroDivisionError: no policy"),
        ("my_agents:OutOfBounds", "action must lie in Discrete(2), not be 7"),
        ("broken:Agent", "its module could not be imported: ZeroDivisionError"),
        ("unmet:Agent", "ModuleNotFoundError: No module named 'no_such_dependency'"),
        ("garbled:Agent", "SyntaxError"),
    ],
)
def test_an_agent_that_fails_is_told_of_without_a_traceback(workplace: Path, name: str, said: str) -> None:
    (workplace / "broken.py").write_text("1 / 0\n")
    (workplace / "unmet.py").write_text("import no_such_dependency\n")
    (workplace / "garbled.py").write_text("class = 1\n")
    result = run("rollout", "CartPole-v1", "--agent", name, code=1)
    assert result.stderr.startswith("Error: ")
    assert said in result.stderr
    assert "Traceback" not in result.output
    assert result.stdout == ""


@pytest.fixture
def offer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Install a distribution that offers agents of the family `mine`."""

    def install(distribution: str, target: str) -> None:
        info = tmp_path / "site" / f"{distribution}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[runnerkit.agents]\nmine = {target}\n")
        monkeypatch.syspath_prepend(tmp_path / "site")

    return install


def test_a_package_makes_agents_by_a_prefix_and_a_reference(offer: Callable[[str, str], None]) -> None:
    Path("families.py").write_text(
        "import numpy as np\n"
        "def load(path, *, action_space):\n"
        "    assert path == 'a/b:c.zip'\n"
        "    return lambda observations: np.full(len(observations), action_space.n - 1)\n"
    )
    offer("mine", "families:load")
    assert rollout("CartPole-v1", "--steps", "9", "--agent", "mine:a/b:c.zip")["agent"] == "mine:a/b:c.zip"


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        ("raise ArgumentError('No file a.zip.')", 2, "--agent mine:a.zip: No file a.zip."),
        ("raise OSError('disk')", 1, "mine = families:load raised OSError: disk"),
        ("return 5", 2, "mine = families:load returned 5, which has no act(observations)"),
    ],
)
def test_a_family_that_cannot_make_an_agent_says_why(
    body: str, code: int, said: str, offer: Callable[[str, str], None]
) -> None:
    Path("families.py").write_text(f"from runnerkit.errors import ArgumentError\ndef load(path):\n    {body}\n")
    offer("mine", "families:load")
    assert said in run("rollout", "CartPole-v1", "--agent", "mine:a.zip", code=code).stderr


def test_two_packages_with_the_same_family_are_named(
    offer: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNNERKIT_PLUGINS", "one two")  # and not what else may be installed
    offer("one", "families:load")
    assert "Did you mean 'mine'?\n" in run("rollout", "x", "--agent", "mime:a.zip", code=2).stderr
    offer("two", "families:load")
    stderr = run("rollout", "CartPole-v1", "--agent", "mine:a.zip", code=2).stderr
    assert "The agents 'mine' are offered by one and two." in stderr
    assert "Installed packages make agents called mine:...\n" in run("rollout", "x", "--agent", "nobody", code=2).stderr


def test_an_agent_that_fails_is_told_of_with_the_line_that_raised(workplace: Path) -> None:
    result = run("rollout", "CartPole-v1", "--agent", "my_agents:Failing", code=1)
    lines = (workplace / "my_agents.py").read_text().splitlines()
    line = next(i for i, text in enumerate(lines, 1) if "no policy" in text)
    assert f"at {workplace / 'my_agents.py'}:{line}, in act" in result.stderr


# ---- rollout: usage


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("", "Missing argument 'ENV'"),
        ("Cartpole-v1", "Did you mean 'CartPole-v1'?"),
        ("CartPole-v1 --history feather", "No history format is called 'feather'"),
        ("CartPole-v1 --executor thread", "Did you mean 'threads'?"),
        ("CartPole-v1 --pre flat", "No preprocessor is called 'flat'"),
        ("CartPole-v1 --post flat", "No postprocessor is called 'flat'"),
        ("CartPole-v1 --steps 0", "Invalid value for '--steps'"),
        ("CartPole-v1 --steps 1000001", "steps must be at most MAX_STEPS"),
        ("CartPole-v1 --episodes -1", "Invalid value for '--episodes'"),
        ("CartPole-v1 --n-envs none", "Invalid value for '--n-envs'"),
        ("CartPole-v1 --executor serial --workers 2", "executor='serial' has 1 worker"),
        ("CartPole-v1 --steps 9 --episodes 9", "Give --steps or --episodes, not both."),
        ("CartPole-v1 --frobnicate", "No such option"),
    ],
)
def test_what_makes_no_sense_is_a_usage_error_that_names_the_way_out(arguments: str, said: str) -> None:
    result = run("rollout", *arguments.split(), code=2)
    assert result.stderr.startswith("Usage: runnerkit rollout [OPTIONS] ENV\n")
    assert said in result.stderr
    assert result.stdout == ""


def test_a_processor_that_does_not_fit_is_a_failure_that_is_explained() -> None:
    result = run("rollout", "CartPole-v1", "--pre", "scale-image", code=1)
    assert result.stderr.startswith("Error: preprocessor scale-image does not fit")


def test_json_stays_the_only_thing_on_stdout_when_agents_print() -> None:
    result = run("rollout", "CartPole-v1", "--steps", "2", "--agent", "my_agents:Chatty", "--json")
    assert json.loads(result.stdout)["steps"] == 2
    assert result.stderr == "chatter\nchatter\n"


def test_without_json_what_agents_print_is_where_they_printed_it() -> None:
    result = run("rollout", "CartPole-v1", "--steps", "2", "--agent", "my_agents:Chatty")
    assert result.stdout.startswith("chatter\nchatter\nenv ")


# ---- evaluate


def test_evaluate_compares_agents_on_the_episodes_that_the_library_plays() -> None:
    agents = ("my_agents:Left", "random")
    options = ["--episodes", "4", "--seed", "3", *(part for name in agents for part in ("--agent", name))]
    document = json.loads(run("evaluate", "CartPole-v1", *options, "--n-envs", "3", "--json").stdout)
    left = runnerkit.evaluate(lambda observations: [0] * len(observations), "CartPole-v1", episodes=4, seed=3, n_envs=1)
    assert document["agents"]["my_agents:Left"] == left.to_json()
    assert document["agents"]["random"]["seeds"] == left.seeds
    (difference,) = document["differences"]
    assert (difference["agent"], difference["baseline"]) == ("random", "my_agents:Left")
    head, first, second = run("evaluate", "CartPole-v1", *options, "--n-envs", "3").stdout.splitlines()
    assert re.split(r"  +", head) == ["agent", "mean return", "std", "mean length", "against the first"]
    assert re.match(rf"my_agents:Left +{left.mean:.4g} \[", first)
    assert re.search(r"random .* [+-][\d.]+ \[", second)
    assert "Each --agent may be given once." in run("evaluate", "x", *["--agent", "random"] * 2, code=2).stderr


# ---- plugins


class CountFormat:
    """A third-party history: the number of steps, nothing that anyone could read episodes from."""

    closed = 0

    def open(self, spec: RunSpec, /) -> CountFormat:
        return self

    def finish(self, block: Block, /) -> Sequence[int]:
        return block.lengths

    def close(self) -> None:
        CountFormat.closed += 1


class CountPlugin:
    @hookimpl
    def history_formats(self) -> Iterator[Contribution[CountFormat]]:
        yield Contribution("count", CountFormat, "[bold]steps[/bold] :smile: only")


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[[Plugins], None]:
    def replace(plugins: Plugins) -> None:
        monkeypatch.setattr(runnerkit._plugins.manager, "installed_plugins", lambda: plugins)

    return replace


def test_the_history_of_a_plugin_may_be_anything_and_is_closed(install: Callable[[Plugins], None]) -> None:
    plugins = Plugins()
    plugins.register(CountPlugin(), "counting")
    install(plugins)
    before = CountFormat.closed
    document = rollout("CartPole-v1", "--steps", "50", "--seed", "0", "--history", "count")
    assert document["episodes"] == rollout("CartPole-v1", "--steps", "50", "--seed", "0")["episodes"]
    assert CountFormat.closed == before + 1


def test_plugins_lists_every_contribution_with_its_texts_taken_literally(install: Callable[[Plugins], None]) -> None:
    plugins = Plugins()
    plugins.register(CountPlugin(), "counting")
    install(plugins)
    lines = [re.split(r"  +", line) for line in run("plugins").stdout.splitlines()]
    assert lines[0] == ["kind", "name", "distribution", "version", "summary"]
    version = runnerkit._plugins.manager.Plugins().get("history_formats", "arrays").version
    assert ["history format", "arrays", "runnerkit", version, "NumPy arrays (the default)"] in lines
    assert ["history format", "count", "[bold]steps[/bold] :smile: only"] in lines
    groups = [kind for kind, _ in itertools.groupby(line[0] for line in lines[1:])]
    assert len(groups) == len(set(groups)) >= 4
    for name in ("flatten", "clip", "transitions", "threads"):
        assert name in [line[1] for line in lines]


def test_plugins_as_json_says_of_each_contribution_who_offers_it(install: Callable[[Plugins], None]) -> None:
    plugins = Plugins()
    plugins.register(CountPlugin(), "counting")
    install(plugins)
    document = json.loads(run("plugins", "--json").stdout)
    assert {
        "kind": "history format",
        "name": "count",
        "plugin": "counting",
        "distribution": "",
        "version": "",
        "summary": "[bold]steps[/bold] :smile: only",
    } in document["contributions"]
    assert len(document["contributions"]) >= 11


@pytest.fixture
def broken_distribution(workplace: Path, monkeypatch: pytest.MonkeyPatch, install: Callable[[Plugins], None]) -> None:
    """An installed distribution whose plugin module raises when it is imported."""
    info = workplace / "site" / "shaky_plugin-1.2.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shaky-plugin\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text("[runnerkit]\nshaky = shaky_plugin\n")
    (workplace / "site" / "shaky_plugin.py").write_text("raise RuntimeError('shaken')\n")
    monkeypatch.syspath_prepend(str(workplace / "site"))
    install(Plugins())


@pytest.mark.usefixtures("broken_distribution")
def test_plugins_that_cannot_be_loaded_are_shown_on_stderr_and_the_others_all_the_same() -> None:
    result = run("plugins")
    assert "plugin shaky (shaky-plugin 1.2), import of shaky_plugin: RuntimeError: shaken" in result.stderr
    assert "shaky" not in result.stdout
    assert "NumPy arrays (the default)" in result.stdout


@pytest.mark.usefixtures("broken_distribution")
def test_plugins_as_json_holds_the_problems() -> None:
    result = run("plugins", "--json")
    assert {
        "plugin": "shaky",
        "distribution": "shaky-plugin",
        "version": "1.2",
        "stage": "import of shaky_plugin",
        "error": "RuntimeError: shaken",
    } in json.loads(result.stdout)["problems"]
    assert result.stderr == ""


# ---- the program as a process


def test_python_m_runnerkit_is_the_same_program_under_the_same_name() -> None:
    done = process("rollout", "--help")
    assert done.returncode == 0
    assert done.stdout.startswith("Usage: runnerkit rollout [OPTIONS] ENV\n")
    words = ["".join(text.split()) for text in (done.stdout, run("rollout", "--help").stdout)]
    assert words[0] == words[1]  # whatever the width
    assert process("--version").stdout == run("--version").stdout


def test_help_shows_examples_that_work() -> None:
    shown = run("rollout", "--help").stdout.split("Examples:\n")[1].strip().splitlines()
    assert len(shown) == 2
    Path("my_agents.py").write_text(
        "import numpy as np\n\ndef Greedy(o, a):\n    return Act()\n\nclass Act:\n"
        "    def act(self, o):\n        return np.zeros((len(o), 1), np.float32)\n"
    )
    for example in shown:
        run(*example.split()[1:])


def test_help_is_quick_as_it_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom runnerkit._cli.main import main\nmain(['--help'], standalone_mode=False)\n"
        "heavy = {'numpy', 'gymnasium', 'rich', 'torch', 'pluggy'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_in_a_pipe_there_is_no_escape_sequence_no_progress_and_no_trailing_space() -> None:
    done = process("rollout", "CartPole-v1", "--n-envs", "8", "--steps", "1000")
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    assert all(line == line.rstrip() for line in done.stdout.splitlines())
    assert table(done.stdout)["steps"] == "8,000"


def test_a_process_ends_with_2_for_wrong_usage_and_1_for_a_failure() -> None:
    assert process("rollout", "NoSuchEnv-v0").returncode == 2
    assert process("rollout", "CartPole-v1", "--agent", "my_agents:Failing").returncode == 1


@pytest.mark.skipif(os.name != "posix", reason="Ctrl-C is sent as a POSIX signal")
@pytest.mark.parametrize(
    ("executor", "number", "as_json"),
    [
        ("serial", signal.SIGINT, False),
        ("serial", signal.SIGTERM, True),
        ("processes", signal.SIGINT, True),
        ("processes", signal.SIGTERM, False),
    ],
)
def test_a_run_that_is_stopped_summarises_what_was_collected_and_says_by_whom(
    executor: str, number: signal.Signals, as_json: bool
) -> None:
    code, cause = {signal.SIGINT: (130, "Ctrl-C"), signal.SIGTERM: (143, "SIGTERM")}[number]
    command = [sys.executable, "-m", "runnerkit", "rollout", "MountainCar-v0", "--steps", "100000"]
    command += ["--agent", "my_agents:Slow", "--executor", executor, "--n-envs", "2", *(["--json"] if as_json else [])]
    pipe = subprocess.PIPE
    with started(command, stdout=pipe, stderr=pipe) as running:
        assert running.stderr is not None
        assert running.stderr.readline() == "thirty steps\n"
        running.send_signal(number)
        stdout, stderr = running.communicate(timeout=30)
    assert running.returncode == code
    assert stderr == ""
    if as_json:
        document = json.loads(stdout)
        assert document["interrupted"] is True
        assert document["end_reasons"] == {"interrupted": 2}  # no episode is shorter than 200 steps here
        assert 29 <= document["steps"] < 100_000
    else:
        assert int(table(stdout)["steps"]) >= 29
        assert stdout.endswith(f"Interrupted by {cause}: this is what was collected until then.\n")


def test_ctrl_c_before_the_first_step_ends_with_130_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("runnerkit._rollout.gym_runner.GymRunner.__init__", interrupted)
    result = run("rollout", "CartPole-v1", code=130)
    assert (result.stdout, result.stderr) == ("", "Interrupted by Ctrl-C.\n")


def seen_on_a_terminal(*arguments: str) -> tuple[str, str]:
    """Run with stderr on a pseudo-terminal; return what went to stdout and what the terminal got."""
    import pty

    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "runnerkit", "rollout", *arguments]
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100"}
    with started(command, stdout=subprocess.PIPE, stderr=theirs, env=environment) as running:
        os.close(theirs)
        seen = b""
        while True:
            try:
                chunk = os.read(ours, 4096)
            except OSError:  # how Linux says that nobody holds the other end any more
                break
            if not chunk:
                break
            seen += chunk
        stdout, _ = running.communicate(timeout=30)
    os.close(ours)
    assert running.returncode == 0
    return stdout, seen.decode()


@pytest.mark.skipif(os.name != "posix", reason="needs pseudo-terminals")
def test_on_a_terminal_a_bar_shows_steps_rate_episodes_and_mean_return_and_goes_away() -> None:
    stdout, terminal = seen_on_a_terminal("CartPole-v1", "--n-envs", "4", "--steps", "2000")
    assert re.search(r"8,000 steps  [\d,]+ steps/s  \d+ episodes  mean return [\d.]+", terminal)
    assert terminal.rstrip().endswith("\x1b[2K")  # the line is erased
    assert "\x1b" not in stdout
    assert table(stdout)["steps"] == "8,000"


@pytest.mark.skipif(os.name != "posix", reason="needs pseudo-terminals")
@pytest.mark.parametrize("option", ["--no-progress", "--json"])
def test_even_on_a_terminal_there_is_no_bar_with(option: str) -> None:
    _, terminal = seen_on_a_terminal("CartPole-v1", "--steps", "2000", option)
    assert terminal == ""


@pytest.mark.skipif(os.name != "posix", reason="needs pseudo-terminals")
def test_the_bar_counts_episodes_where_these_are_asked_for() -> None:
    _, terminal = seen_on_a_terminal("CartPole-v1", "--episodes", "30")
    assert "30/30 episodes" in terminal
