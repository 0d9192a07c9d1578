"""Agents: the Protocols that they may satisfy, rows with random numbers of their own, and agents made of models."""

from __future__ import annotations

from runnerkit.agents.fixed_batch import FixedBatch
from runnerkit.agents.models import from_module, from_sb3
from runnerkit.agents.protocols import Agent, AnyAgent, SupportsBeginEpisodes, SupportsSetActiveEnvs, SupportsSetRows
from runnerkit.agents.random import RandomAgent
from runnerkit.agents.rows import ActiveRows

__all__ = [
    "ActiveRows",
    "Agent",
    "AnyAgent",
    "FixedBatch",
    "RandomAgent",
    "SupportsBeginEpisodes",
    "SupportsSetActiveEnvs",
    "SupportsSetRows",
    "from_module",
    "from_sb3",
]
