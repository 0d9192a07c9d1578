"""What a folder says of a run: all that is needed to build its runner again, as one line of JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from gymnasium import Space
from gymnasium.envs.registration import EnvSpec

from runnerkit._core.space_json import space_from_json, space_to_json
from runnerkit.history.layout import BlockLayout
from runnerkit.history.npz.codec import encode_or_describe
from runnerkit.records import MadeBy, RunOptions, RunSpec, Seeded, Seeding

__all__ = ["VERSION", "StoredRun", "run_document"]

VERSION: Final = 3
"""The version of the format; another one is refused."""

_SPACES: Final = ("observation", "action", "env_observation", "env_action")
_FLAGS: Final = ("preprocessed", "postprocessed", "reward_processed")


@dataclass(frozen=True)
class StoredRun:
    """A runner that wrote to a folder, as the folder has it::

        run = runnerkit.load("runs").runs[0]
        run.spec.env_id, run.spec.seed, run.spec.options, run.made_by.parts, run.env_spec

    Attributes:
        spec: what the history format was given when the runner was built.
        env_spec_fault: why Gymnasium's spec of the env is not in the folder; empty if it is, or if the env has none.

    """

    spec: RunSpec
    env_spec_fault: str = ""
    document: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """The line itself, for what comes with later versions."""

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> StoredRun:
        """Return the run that `run_document` wrote; raises KeyError, TypeError or ValueError where it wrote none."""
        spaces: dict[str, Space[Any]] = {name: space_from_json(document["spaces"][name]) for name in _SPACES}
        options = {**document["options"], "seed": document["seed"]}
        if isinstance(options["max_restarts"], list):
            options["max_restarts"] = tuple(options["max_restarts"])
        seeding = {**document["seeding"], "seeded": Seeded(document["seeding"]["seeded"])}
        env_spec = document["env_spec"]
        for name in _FLAGS:
            if not isinstance(document[name], bool):
                raise TypeError(f"{name} is {document[name]!r}")
        spec = RunSpec(
            env_id=document["env_id"],
            options=RunOptions(**options),
            n_envs=document["n_envs"],
            observation_space=spaces["observation"],
            action_space=spaces["action"],
            env_observation_space=spaces["env_observation"],
            env_action_space=spaces["env_action"],
            env_spec=None if env_spec is None else EnvSpec.from_json(json.dumps(env_spec)),
            seeding=Seeding(**seeding),
            made_by=MadeBy.of(document["made_by"]),
            env_function=document["env_function"],
            workers=document["workers"],
            auto_reset=document["auto_reset"],
            own_schedule=document["own_schedule"],
            **{name: document[name] for name in _FLAGS},
        )
        return cls(spec, document["env_spec_fault"], document)

    @property
    def made_by(self) -> MadeBy:
        """The parts of the runner, with distributions, versions and options."""
        return self.spec.made_by

    def layout(self) -> BlockLayout:
        """Return the columns of an episode."""
        return BlockLayout.of(self.spec, 1)


def run_document(spec: RunSpec) -> dict[str, Any]:
    """Return a run in what JSON has; raises SpaceError, which names the sub-space, if a space cannot be written."""
    found = (spec.observation_space, spec.action_space, spec.env_observation_space, spec.env_action_space)
    env_spec, fault = _env_spec(spec.env_spec)
    options = dataclasses.asdict(spec.options)
    raw = spec.options.keep_raw or not spec.preprocessed  # whether observations of the env itself are written
    return {
        "runnerkit": VERSION,
        "env_id": spec.env_id,
        "env_function": spec.env_function,
        "env_spec": env_spec,
        "env_spec_fault": fault,
        "seed": options.pop("seed"),
        "n_envs": spec.n_envs,
        "workers": spec.workers,
        "auto_reset": spec.auto_reset,
        "own_schedule": spec.own_schedule,
        "options": encode_or_describe({**options, "max_restarts": _as_list(options["max_restarts"])}),
        "spaces": {
            name: space_to_json(space, name, samples=name != "env_observation" or raw)
            for name, space in zip(_SPACES, found, strict=True)
        },
        "preprocessed": spec.preprocessed,
        "postprocessed": spec.postprocessed,
        "reward_processed": spec.reward_processed,
        "seeding": dataclasses.asdict(spec.seeding),
        "made_by": spec.made_by.document(),
    }


def _as_list(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _env_spec(spec: EnvSpec | None) -> tuple[Any, str]:
    """Return Gymnasium's spec in what JSON has, or why there is none."""
    if spec is None:
        return None, ""
    try:
        return json.loads(spec.to_json()), ""
    except (TypeError, ValueError) as error:  # as of functions and arrays among its arguments
        return None, f"it cannot be written as JSON: {error}"
