"""The conformance kit: whether a plugin or a part does what RunnerKit and its users rely on::

    import runnerkit.testing

    @runnerkit.testing.parametrize_with_checks("runnerkit_symlog")
    def test_it_conforms(check: runnerkit.testing.Check) -> None:
        check()

Each `check_...` function runs the checks of one kind and returns a `Report`; none of them needs pytest::

    report = runnerkit.testing.check_observation_processor(Symlog)
    report.raise_for_failures()

`expected_failures={id of the check: reason}` says which checks are meant to fail. It is strict: if such a check passes,
the report fails. A report of which no check was run fails, too. The ids of checks do not change between releases.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from gymnasium import Space

from runnerkit._core.origins import own_name
from runnerkit._core.types import AnyVectorEnv, MakeEnv
from runnerkit._envs.repeatable import Dependence, depends_on
from runnerkit.agents import Agent, RandomAgent
from runnerkit.errors import ArgumentError
from runnerkit.executors.base import MakeExecutor
from runnerkit.history.base import HistoryFormat
from runnerkit.hooks import EnvFactory
from runnerkit.processors import ActionPostprocessor, ActionPreprocessor, RewardProcessor
from runnerkit.testing.agents import AgentChecks
from runnerkit.testing.checks import Check, refuse_unknown, run_checks
from runnerkit.testing.envs import EnvChecks, factory_checks
from runnerkit.testing.executors import ExecutorChecks
from runnerkit.testing.formats import HistoryFormatChecks, ReadHistory
from runnerkit.testing.plugins import IMPORT_SECONDS, PartOptions, plugin_checks
from runnerkit.testing.processors import ActionProcessorChecks, ObservationProcessorChecks
from runnerkit.testing.report import CheckResult, Outcome, Report
from runnerkit.testing.rewards import RewardProcessorChecks
from runnerkit.testing.runners import MakeAgent, RunnerChecks
from runnerkit.testing.samples import SPACES, HashAgent, SampleEnv
from runnerkit.testing.vector_envs import VectorEnvChecks
from runnerkit.typing import Runner

__all__ = [
    "Check",
    "CheckResult",
    "Dependence",
    "HashAgent",
    "MakeAgent",
    "Outcome",
    "PartOptions",
    "ReadHistory",
    "Report",
    "SPACES",
    "SampleEnv",
    "check_action_processor",
    "check_agent",
    "check_env",
    "check_env_factory",
    "check_executor",
    "check_history_format",
    "check_observation_processor",
    "check_plugin",
    "check_reward_processor",
    "check_runner",
    "check_vector_env",
    "depends_on",
    "parametrize_with_checks",
]

F = TypeVar("F", bound=Callable[..., object])
Reasons = Mapping[str, str]


def check_env(make_env: MakeEnv, *, steps: int = 24, expected_failures: Reasons | None = None) -> Report:
    """Check the envs that a function (seed) -> env makes::

        check_env(lambda seed: MyEnv()).raise_for_failures()

    Args:
        make_env: makes a new env; it is called often, in threads and in other processes.
        steps: how many steps an env is followed for.
        expected_failures: a reason for each check that is meant to fail, by its id.

    """
    return run_checks(f"env {own_name(make_env)}", EnvChecks(make_env, steps).named(), expected_failures)


def check_env_factory(
    factory: EnvFactory,
    envs: Sequence[str] | None = None,
    *,
    env_options: Mapping[str, Any] | None = None,
    steps: int = 24,
    expected_failures: Reasons | None = None,
) -> Report:
    """Check an env factory, and the envs that it makes::

        check_env_factory(make_lake, ["Small"]).raise_for_failures()

    Args:
        factory: what a plugin contributes.
        envs: the ids of the envs to check; by default the first that the factory tells in its UnknownNameError.
        env_options: keyword arguments for the factory.
        steps: how many steps an env is followed for.
        expected_failures: a reason for each check that is meant to fail, by its id, such as "Small/threads".

    """
    checks = factory_checks(factory, envs, env_options, steps=steps)
    return run_checks(f"env factory {own_name(factory)}", checks, expected_failures)


def check_observation_processor(
    make: Callable[[], ActionPreprocessor],
    *,
    spaces: Mapping[str, Space[Any]] | None = None,
    expected_failures: Reasons | None = None,
) -> Report:
    """Check an observation processor (a preprocessor) on every space that it accepts::

        check_observation_processor(Symlog).raise_for_failures()

    Args:
        make: makes a new one; a class will do.
        spaces: the spaces to bind it to, by a name; by default `SPACES`, one of each kind.
        expected_failures: a reason for each check that is meant to fail, by its id.

    """
    return run_checks(
        f"observation processor {own_name(make)}", ObservationProcessorChecks(make, spaces).named(), expected_failures
    )


def check_action_processor(
    make: Callable[[], ActionPostprocessor],
    *,
    spaces: Mapping[str, Space[Any]] | None = None,
    expected_failures: Reasons | None = None,
) -> Report:
    """Check an action processor (a postprocessor) on every space that it accepts; the arguments are those above::

        check_action_processor(Levels, spaces={"force": Box(-2, 2, (1,), np.float32)}).raise_for_failures()

    Args:
        make: makes a new one; a class will do.
        spaces: the env's action spaces to bind it to, by a name; by default `SPACES`, one of each kind.
        expected_failures: a reason for each check that is meant to fail, by its id.

    """
    return run_checks(
        f"action processor {own_name(make)}", ActionProcessorChecks(make, spaces).named(), expected_failures
    )


def check_reward_processor(make: Callable[[], RewardProcessor], *, expected_failures: Reasons | None = None) -> Report:
    """Check a reward processor::

        check_reward_processor(lambda: np.sign).raise_for_failures()

    Args:
        make: makes a new one; a class will do.
        expected_failures: a reason for each check that is meant to fail, by its id.

    """
    return run_checks(f"reward processor {own_name(make)}", RewardProcessorChecks(make).named(), expected_failures)


def check_history_format(
    make: Callable[[], HistoryFormat[Any]],
    *,
    read: ReadHistory | None = None,
    expected_failures: Reasons | None = None,
) -> Report:
    """Check a history format: whether every space of Gymnasium comes back bit by bit, among other things::

        check_history_format(ReturnsFormat, read=None)

    Args:
        make: makes a new format object; a class will do.
        read: reads a history back into its columns; not needed where a history has the attributes of `arrays`, or is a
            list of transitions. Without it, other histories are not checked for what they hold.
        expected_failures: a reason for each check that is meant to fail, by its id.

    """
    return run_checks(f"history format {own_name(make)}", HistoryFormatChecks(make, read).named(), expected_failures)


def check_executor(make: MakeExecutor, *, expected_failures: Reasons | None = None) -> Report:
    """Check an executor: whether it leaves the same bytes as the serial one, among other things::

        check_executor(StopwatchExecutor).raise_for_failures()

    Args:
        make: makes an executor for (n_envs, workers); a class will do.
        expected_failures: a reason for each check that is meant to fail, by its id.

    """
    return run_checks(f"executor {own_name(make)}", ExecutorChecks(make).named(), expected_failures)


def check_agent(
    make: Callable[[], Agent[Any, Any]],
    observation_space: Space[Any],
    action_space: Space[Any],
    *,
    expected_failures: Reasons | None = None,
) -> Report:
    """Check an agent that acts from one space in another::

        check_agent(Greedy, runner.observation_space, runner.action_space).raise_for_failures()

    Args:
        make: makes a new agent; each must be seeded alike.
        observation_space: of one observation, as the agent sees it.
        action_space: of one action, as the agent chooses it.
        expected_failures: a reason for each check that is meant to fail, by its id.

    """
    checks = AgentChecks(make, observation_space, action_space).named()
    return run_checks(f"agent {own_name(make)}", checks, expected_failures)


def check_runner(
    make: Callable[[], Runner[Any, Any, Any]],
    make_agent: MakeAgent | None = None,
    *,
    expected_failures: Reasons | None = None,
) -> Report:
    """Check a runner, derived from `GymRunner` or written by hand::

        check_runner(lambda: MyRunner("CartPole-v1", seed=0, n_envs=2)).raise_for_failures()

    Args:
        make: makes a new runner, always with the same seed.
        make_agent: makes an agent for a runner; by default a RandomAgent of its `action_space`.
        expected_failures: a reason for each check that is meant to fail, by its id.

    """
    return run_checks(
        f"runner {own_name(make)}", RunnerChecks(make, make_agent or _random_agent).named(), expected_failures
    )


def _random_agent(runner: Any) -> RandomAgent:
    if not hasattr(runner, "action_space"):
        raise ArgumentError(f"{type(runner).__name__} has no action_space: give check_runner a make_agent.")
    return RandomAgent(runner.action_space, seed=0)


def check_vector_env(
    make: Callable[[], AnyVectorEnv], *, steps: int = 60, expected_failures: Reasons | None = None
) -> Report:
    """Check a native vector env: whether it resets its envs as it declares, among other things::

        check_vector_env(lambda: gymnasium.make_vec("CartPole-v1", 3)).raise_for_failures()

    Args:
        make: makes a new vector env.
        steps: how many steps it is followed for; some episodes should end in them.
        expected_failures: a reason for each check that is meant to fail, by its id.

    """
    return run_checks(f"vector env {own_name(make)}", VectorEnvChecks(make, steps).named(), expected_failures)


def check_plugin(
    plugin: object,
    options: PartOptions | None = None,
    *,
    import_seconds: float = IMPORT_SECONDS,
    mypy: bool = False,
    expected_failures: Reasons | None = None,
) -> Report:
    """Check a plugin and all that it offers::

        check_plugin("runnerkit-lake", PartOptions(envs={"lake": ["Small"]})).raise_for_failures()

    Args:
        plugin: a module or object with hooks, or the name of a module or distribution, or the path of a folder with a
            pyproject.toml, which need not be installed.
        options: what the checks of its parts must be told.
        import_seconds: how much CPU time its import may take.
        mypy: whether to run mypy --strict on its package, which takes some seconds.
        expected_failures: a reason for each check that is meant to fail, by its id.

    Raises:
        ArgumentError: there is no such plugin, or an option names a part or check that it does not have.

    """
    title, checks = plugin_checks(plugin, options or PartOptions(), import_seconds=import_seconds, mypy=mypy)
    return run_checks(title, checks, expected_failures)


def parametrize_with_checks(
    plugin: object,
    options: PartOptions | None = None,
    *,
    import_seconds: float = IMPORT_SECONDS,
    mypy: bool = False,
    expected_failures: Reasons | None = None,
) -> Callable[[F], F]:
    """Make one pytest test of each check of a plugin; the arguments are those of `check_plugin`::

        @parametrize_with_checks("runnerkit_symlog", expected_failures={"plugin/names": "the name of a paper"})
        def test_it_conforms(check: Check) -> None:
            check()

    The id of a test is the id of its check. Expected failures become strict xfails. This is the only part of the kit
    that needs pytest.
    """
    import pytest

    expected = dict(expected_failures or {})
    _, checks = plugin_checks(plugin, options or PartOptions(), import_seconds=import_seconds, mypy=mypy)
    refuse_unknown(expected, checks)
    marks = {id: [pytest.mark.xfail(reason=reason, strict=True)] for id, reason in expected.items()}
    parameters = [pytest.param(check, id=check.id, marks=marks.get(check.id, [])) for check in checks]
    mark: Callable[[F], F] = pytest.mark.parametrize("check", parameters)
    return mark
