"""runnerkit-envpool conforms: one test for each check of RunnerKit's kit."""

from __future__ import annotations

import pytest
import runnerkit_envpool

from runnerkit.testing import Check, PartOptions, parametrize_with_checks

pytest.importorskip("envpool", reason="EnvPool has no wheel for this machine")

pytestmark = [
    # EnvPool says so at each reset with a seed; RunnerKit knows, and its records have no seeds.
    pytest.mark.filterwarnings("ignore:EnvPool seeds are fixed"),
    # EnvPool makes its spaces of Python's numbers, each time that they are asked for.
    pytest.mark.filterwarnings("ignore:.*precision lowered"),
]


API = "env-factory/envpool/CartPole-v1/api"


@parametrize_with_checks(
    runnerkit_envpool,
    PartOptions(envs={"envpool": ["CartPole-v1"]}),
    expected_failures={API: "EnvPool wants int32 where its own space has int64; runners convert actions, the kit not"},
)
def test_it_conforms(check: Check) -> None:
    check()
