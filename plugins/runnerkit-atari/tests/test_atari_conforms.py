"""runnerkit-atari conforms: one test for each check of RunnerKit's kit."""

from __future__ import annotations

import runnerkit_atari

from runnerkit.testing import Check, PartOptions, parametrize_with_checks


@parametrize_with_checks(runnerkit_atari, PartOptions(envs={"atari": ["Pong"], "atari-vector": ["Pong"]}))
def test_it_conforms(check: Check) -> None:
    check()
