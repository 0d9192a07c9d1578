"""Making Atari envs. Importing this module imports ale_py, which registers its games with Gymnasium."""

from __future__ import annotations

from typing import Any, Final

import ale_py
import gymnasium
from gymnasium.envs.registration import EnvSpec
from gymnasium.wrappers import AtariPreprocessing, FrameStackObservation

from runnerkit.errors import UnknownNameError
from runnerkit.typing import AnyEnv
from runnerkit_atari.options import AtariOptions

__all__ = ["games", "make_atari", "spec_of"]

_NAMESPACE: Final = "ALE"
_VERSION: Final = 5

gymnasium.register_envs(ale_py)


def games() -> list[str]:
    """Return the names of all games, such as `Pong`."""
    known = gymnasium.registry.values()
    return sorted(s.name for s in known if s.namespace == _NAMESPACE and s.version == _VERSION)


def spec_of(env_id: str) -> EnvSpec:
    """Return the spec of a game, `Pong` or `Pong-v5`; raises UnknownNameError."""
    game = env_id.removesuffix(f"-v{_VERSION}")
    if game not in games():
        raise UnknownNameError("Atari game", env_id, games(), f"All games are of version v{_VERSION}.")
    return gymnasium.spec(f"{_NAMESPACE}/{game}-v{_VERSION}")


def make_atari(env_id: str, /, *, seed: int | None, **options: Any) -> AnyEnv:
    """Atari games: 84x84 grey, frame skip 4, up to 30 no-ops, 4 frames stacked.

    The env ids are those of games, `Pong` or `Pong-v5`; the options are those of `AtariOptions`. Observations are
    uint8 `[4, 84, 84]` unless options say otherwise. An episode follows from the seed of its reset and the actions
    alone: no-ops and sticky actions are drawn from that seed. `seed` is for sampling the spaces.

    Raises:
        UnknownNameError: there is no such game.
        ArgumentError: an option is not known, or cannot be.

    """
    env = _wrapped(_plain(spec_of(env_id), read := AtariOptions.read(options)), read)
    if seed is not None:
        env.action_space.seed(seed)
        env.observation_space.seed(seed)
    return env


def _plain(spec: EnvSpec, options: AtariOptions) -> AnyEnv:
    env: AnyEnv = gymnasium.make(
        spec.id,
        frameskip=1,  # frames are skipped by the preprocessing, which pools the last two
        repeat_action_probability=options.repeat_action_probability,
        full_action_space=options.full_action_space,
        mode=options.mode,
        difficulty=options.difficulty,
        max_num_frames_per_episode=options.max_num_frames_per_episode,
        render_mode=options.render_mode,
    )
    return env


def _wrapped(env: AnyEnv, options: AtariOptions) -> AnyEnv:
    env = AtariPreprocessing(
        env,
        noop_max=options.noop_max,
        frame_skip=options.frame_skip,
        screen_size=options.screen_size,
        terminal_on_life_loss=options.terminal_on_life_loss,
        grayscale_obs=options.grayscale_obs,
        grayscale_newaxis=options.grayscale_newaxis,
        scale_obs=options.scale_obs,
    )
    return FrameStackObservation(env, options.frame_stack) if options.frame_stack > 1 else env
