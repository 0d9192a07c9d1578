"""Making ALE's own vector env, which steps all games in C++ threads. Importing this module imports ale_py."""

from __future__ import annotations

from typing import Any, Final, cast

from ale_py.vector_env import AtariVectorEnv
from gymnasium.vector import AutoresetMode

from runnerkit.errors import ArgumentError
from runnerkit.typing import AnyVectorEnv
from runnerkit_atari.envs import spec_of
from runnerkit_atari.options import AtariOptions

__all__ = ["make_atari_vector"]

_LACKS: Final = ("grayscale_newaxis", "scale_obs", "mode", "difficulty", "render_mode")
"""Options of single envs that ALE's vector env does not have."""


def make_atari_vector(
    env_id: str, /, *, seed: int | None, n_envs: int = 1, num_threads: int = 0, **options: Any
) -> AnyVectorEnv:
    """Atari games in ALE's own vector env: the fastest way, with frames of its own.

    The env ids and options are those of `atari`, as far as ALE's vector env has them. It scales frames and draws no-ops
    in its own way, so the data are similar to those of `atari`, but not the same. Rewards are not clipped. With
    `frame_stack=1`, observations keep the axis of frames. The first episode of each env follows from its recorded seed;
    later ones go on with the random numbers of their env, and have no seed.

    Args:
        env_id: the game, `Pong` or `Pong-v5`.
        seed: is not needed, as the envs are seeded when they are reset.
        n_envs: how many envs.
        num_threads: how many threads step them; 0 for as many as there are cores, or envs.
        **options: those of `AtariOptions`.

    Raises:
        UnknownNameError: there is no such game.
        ArgumentError: an option is not known, cannot be, or is not one of ALE's vector env.

    """
    del seed
    spec = spec_of(env_id)
    options = {name: value for name, value in options.items() if (name, value) != ("render_mode", None)}
    read = AtariOptions.read(options)
    for name in _LACKS:
        if getattr(read, name) != getattr(AtariOptions(), name):
            raise ArgumentError(
                f"ALE's vector env has no option {name!r}. Leave it out, or use the env factory 'atari'."
            )
    if num_threads < 0:  # of which type it is, RunnerKit has checked
        raise ArgumentError(f"num_threads must be a whole number of at least 0, not {num_threads!r}.")
    width, height = (read.screen_size, read.screen_size) if isinstance(read.screen_size, int) else read.screen_size
    env = AtariVectorEnv(
        spec.kwargs["game"],
        n_envs,
        num_threads=num_threads,
        autoreset_mode=AutoresetMode.SAME_STEP,  # so that every step is recorded
        max_num_frames_per_episode=read.max_num_frames_per_episode,
        repeat_action_probability=read.repeat_action_probability,
        full_action_space=read.full_action_space,
        img_height=height,
        img_width=width,
        grayscale=read.grayscale_obs,
        stack_num=read.frame_stack,
        frameskip=read.frame_skip,
        noop_max=read.noop_max,
        episodic_life=read.terminal_on_life_loss,
        reward_clipping=False,
        use_fire_reset=False,
    )
    return cast(AnyVectorEnv, env)
