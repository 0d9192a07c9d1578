"""Reports: one page about one run, or about several side by side::

    runnerkit.report("runs", "report.html")                                  # a folder that history="npz" wrote
    runnerkit.report({"old": histories, "new": others}, "report.html")       # histories in memory
    runnerkit.report({"ppo": ["runs/0", "runs/1"], "dqn": ["runs/2", "runs/3"]}, "report.html")

The page needs no network and no other file. On the command line: `runnerkit report DIR -o report.html`.
"""

from __future__ import annotations

from runnerkit.reporting.runs import Source, SupportsEpisodes
from runnerkit.reporting.table import EpisodeKey, Thumbnails
from runnerkit.reporting.writing import Sources, report

__all__ = ["EpisodeKey", "Source", "Sources", "SupportsEpisodes", "Thumbnails", "report"]
