"""The options of an Atari env: those of the preprocessing, and those of the emulator."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from runnerkit.errors import ArgumentError

__all__ = ["AtariOptions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AtariOptions:
    """What `env_options` may hold::

        runnerkit.make("atari:Breakout", env_options={"terminal_on_life_loss": True, "frame_stack": 1})

    Args:
        frame_stack: how many frames make an observation, the newest last; the first axis of the observation.
            1 leaves that axis out.
        frame_skip: how many frames an action is repeated for; the last two are max-pooled.
        noop_max: an episode begins with 1 to so many no-ops, drawn from its seed; 0 for none.
        screen_size: of the resized frame in pixels, one number or (width, height).
        grayscale_obs: grey frames instead of RGB.
        grayscale_newaxis: keep a channel axis of length 1 on grey frames.
        scale_obs: float32 in [0, 1] instead of uint8.
        terminal_on_life_loss: end the episode with each life.
        repeat_action_probability: that the emulator repeats the last action ("sticky actions"), per frame.
        full_action_space: all 18 actions, not only those that do something in the game.
        mode: of the game; None is its default.
        difficulty: of the game; None is its default.
        max_num_frames_per_episode: emulator frames after which an episode is truncated, no-ops included.
        render_mode: "rgb_array" or "human".

    """

    frame_stack: int = 4
    frame_skip: int = 4
    noop_max: int = 30
    screen_size: int | tuple[int, int] = 84
    grayscale_obs: bool = True
    grayscale_newaxis: bool = False
    scale_obs: bool = False
    terminal_on_life_loss: bool = False
    repeat_action_probability: float = 0.25
    full_action_space: bool = False
    mode: int | None = None
    difficulty: int | None = None
    max_num_frames_per_episode: int = 108_000
    render_mode: str | None = None

    def __post_init__(self) -> None:
        for name, least in (("frame_stack", 1), ("frame_skip", 1), ("noop_max", 0), ("max_num_frames_per_episode", 1)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ArgumentError(f"{name} must be a whole number of at least {least}, not {value!r}.")
        if not 0 <= self.repeat_action_probability <= 1:
            raise ArgumentError(f"repeat_action_probability must be in [0, 1], not {self.repeat_action_probability!r}.")

    @classmethod
    def read(cls, options: Mapping[str, Any]) -> AtariOptions:
        """Return the options of a mapping; raises ArgumentError for one that is not known."""
        known = [field.name for field in fields(cls)]
        for name in options:
            if name not in known:
                close = difflib.get_close_matches(name, known, n=1)
                guess = f" Did you mean {close[0]!r}?" if close else ""
                raise ArgumentError(f"Atari envs have no option {name!r}.{guess} Known: {', '.join(known)}.")
        return cls(**options)
