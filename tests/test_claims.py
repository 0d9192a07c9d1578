"""A processor object belongs to one place of one runner, until that runner lets go of it."""

from __future__ import annotations

import pytest

import runnerkit
from runnerkit.errors import ArgumentError, UnknownNameError
from runnerkit.processors import Clip


def test_a_processor_cannot_be_in_two_runners_until_the_first_is_closed() -> None:
    clip = Clip()
    with (
        runnerkit.make("Pendulum-v1", postprocessors=[clip]),
        pytest.raises(
            ArgumentError, match=r"Clip: this object is in another runner.* or close the other runner first\.$"
        ),
    ):
        runnerkit.make("MountainCarContinuous-v0", postprocessors=[clip])
    runnerkit.make("Pendulum-v1", postprocessors=[clip]).close()


def test_a_processor_cannot_be_twice_in_one_runner_and_is_free_if_that_fails() -> None:
    clip = Clip()
    with pytest.raises(ArgumentError, match=r"twice in this runner, .* in one place only\. Make one for each\.$"):
        runnerkit.make("Pendulum-v1", postprocessors=[clip, clip])
    with pytest.raises(UnknownNameError):
        runnerkit.make("Nope-v0", postprocessors=[clip])
    runnerkit.make("Pendulum-v1", postprocessors=[clip]).close()
