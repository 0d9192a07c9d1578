"""The conformance kit: what is built in passes it, and its reports say what they should."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gymnasium
import pytest
from gymnasium import spaces

import runnerkit
from runnerkit import testing
from runnerkit._core.comparing import exact
from runnerkit._envs.elsewhere import HASH_SEEDS, call_elsewhere
from runnerkit._plugins import builtin
from runnerkit.errors import ArgumentError, ConformanceError
from runnerkit.processors import Flatten
from runnerkit.testing import Outcome, PartOptions
from runnerkit.testing.samples import SPACES

pytestmark = pytest.mark.usefixtures("own_folder")  # formats may write files
CARTPOLE_OBSERVATIONS = gymnasium.make("CartPole-v1").observation_space
CARTPOLE_ACTIONS = gymnasium.make("CartPole-v1").action_space


@pytest.fixture
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def cart_pole(seed: int | None) -> gymnasium.Env[Any, Any]:
    return gymnasium.make("CartPole-v1")


@testing.parametrize_with_checks(
    builtin,
    PartOptions(envs={"vector": ["CartPole-v1"]}),
    expected_failures={
        "preprocessor/normalize/row-independence": "the statistics of normalize are over all rows that it has seen",
        "reward-processor/normalize-reward/keeps-envs-apart": "the statistics are over the returns of all envs",
    },
)
def test_what_is_built_in_conforms(check: testing.Check) -> None:
    check()


def samples_of_all_spaces() -> list[Any]:
    drawn = []
    for space in SPACES.values():
        space.seed(0)
        drawn.append(exact(space.sample()))
    return drawn


def test_the_samples_of_the_kit_are_the_same_in_every_process() -> None:
    here = samples_of_all_spaces()
    assert [call_elsewhere(samples_of_all_spaces, hash_seed=seed) == here for seed in HASH_SEEDS] == [True, True]


def test_an_env_of_gymnasium_conforms() -> None:
    testing.check_env(cart_pole).raise_for_failures()


def test_a_random_agent_conforms() -> None:
    report = testing.check_agent(
        lambda: runnerkit.RandomAgent(CARTPOLE_ACTIONS, seed=0), CARTPOLE_OBSERVATIONS, CARTPOLE_ACTIONS
    )
    report.raise_for_failures()
    assert "row-independence" in {result.id for result in report.of(Outcome.SKIPPED)}


def test_runners_conform() -> None:
    testing.check_runner(lambda: runnerkit.make("CartPole-v1", seed=0, n_envs=2)).raise_for_failures()


@pytest.mark.parametrize("mode", list(gymnasium.vector.AutoresetMode))
def test_the_vector_envs_of_gymnasium_conform(mode: gymnasium.vector.AutoresetMode) -> None:
    def make() -> gymnasium.vector.VectorEnv[Any, Any, Any]:
        return gymnasium.vector.SyncVectorEnv([lambda: gymnasium.make("CartPole-v1")] * 2, autoreset_mode=mode)

    testing.check_vector_env(make).raise_for_failures()


# ---- reports


def test_a_report_counts_and_is_json() -> None:
    report = testing.check_observation_processor(Flatten)
    document = json.loads(report.to_json())
    assert document["ok"]
    assert document["ran"] == report.ran == len(report.results) - document["skipped"]
    assert {entry["outcome"] for entry in document["checks"]} == {"passed", "skipped"}


def test_a_report_of_which_no_check_was_run_fails() -> None:
    skipped = testing.CheckResult("state", "Something.", Outcome.SKIPPED, "There is nothing to check.")
    report = testing.Report("nothing", (skipped,))
    assert not report.ok
    with pytest.raises(ConformanceError, match="No check was run"):
        report.raise_for_failures()


def test_a_processor_that_refuses_all_spaces_is_not_passed_over() -> None:
    report = testing.check_observation_processor(Flatten, spaces={"list": spaces.Sequence(spaces.Discrete(3))})
    assert [result.id for result in report.failures] == ["bind"]
    assert "it refused all of 1 spaces" in report.failures[0].message


def test_an_expected_failure_that_passes_fails_the_report() -> None:
    report = testing.check_observation_processor(Flatten, expected_failures={"bind": "it never did"})
    (result,) = report.failures
    assert result.outcome is Outcome.UNEXPECTED
    assert "remove it from expected_failures (it never did)" in result.message


@pytest.mark.parametrize(
    ("expected", "said"),
    [
        ({"bnd": "because"}, "No check is called 'bnd'. Did you mean 'bind'?"),
        ({"bind": " "}, r"expected_failures\['bind'\] must be a reason in words"),
    ],
)
def test_expected_failures_must_name_a_check_and_a_reason(expected: dict[str, str], said: str) -> None:
    with pytest.raises(ArgumentError, match=said):
        testing.check_observation_processor(Flatten, expected_failures=expected)


def test_the_decorator_refuses_expected_failures_of_checks_that_are_not_there() -> None:
    with pytest.raises(ArgumentError, match=r"No check is called .plugin/name.\. Did you mean"):
        testing.parametrize_with_checks(builtin, expected_failures={"plugin/name": "because"})


def test_options_must_name_a_part() -> None:
    with pytest.raises(ArgumentError, match="spaces has 'flaten', but the plugin offers"):
        testing.check_plugin(builtin, PartOptions(spaces={"flaten": {}}))


def test_what_cannot_be_found_is_refused() -> None:
    with pytest.raises(ArgumentError, match="no installed distribution, no module that can be imported, and no folder"):
        testing.check_plugin("no-such-thing")


def test_the_kit_imports_pytest_only_for_its_decorator() -> None:
    import subprocess
    import sys

    code = "import sys, runnerkit.testing; print('pytest' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
