"""One Hypothesis profile for everyone: the same examples in every run, and no deadline on a noisy machine."""

from __future__ import annotations

from hypothesis import HealthCheck, Phase, settings

settings.register_profile(
    "runnerkit",
    deadline=None,
    derandomize=True,
    phases=(Phase.explicit, Phase.generate, Phase.shrink),  # explaining a failure takes minutes
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("runnerkit")
