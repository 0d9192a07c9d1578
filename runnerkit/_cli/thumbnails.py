"""Pictures of the best, the worst and the last episode of stored runs, for a report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from runnerkit._cli.packages import required
from runnerkit._cli.videos import choose
from runnerkit._core.wording import count
from runnerkit.errors import RunnerKitError
from runnerkit.history.npz import StoredRuns, load
from runnerkit.replaying import StoredEpisode, whole_episodes
from runnerkit.reporting import EpisodeKey
from runnerkit.reporting.runs import titles

__all__ = ["thumbnails_of"]

_PICTURES: Final = 4
_HEIGHT: Final = 120  # pixels


def thumbnails_of(named: Mapping[str, Sequence[str]]) -> tuple[dict[EpisodeKey, bytes], list[str]]:
    """Return strips of pictures by (name, env index, episode index), and for the runs that have none, why not.

    `named` are folders by name, as for `runnerkit.report`: of several with one name, each is called NAME 0, NAME 1, ...
    """
    strip = required("runnerkit-video", "--thumbnails").film_strip
    pictures: dict[EpisodeKey, bytes] = {}
    missing: list[str] = []
    for name, folders in named.items():
        for k, folder in enumerate(folders):
            of = name if len(folders) == 1 else f"{name} {k}"
            try:
                runs = load(folder)
                chosen, ambiguous = _chosen(of, runs)
                for key, episode in chosen.items():
                    pictures[key] = strip([runs[k] for k in episode.indices], pictures=_PICTURES, height=_HEIGHT)
            except RunnerKitError as error:
                missing.append(f"No pictures of {folder}. {error}")
                continue
            if ambiguous:
                missing.append(
                    f"No pictures of {count(ambiguous, 'episode')} of {folder}: another run in the same folder has "
                    "episodes of the same numbers. Give each run a folder of its own."
                )
    return pictures, missing


def _chosen(name: str, runs: StoredRuns) -> tuple[dict[EpisodeKey, StoredEpisode], int]:
    """Return the episodes to show, and how many were left out as a report could not tell whose picture it is."""
    called = titles(name, runs)

    def key(episode: StoredEpisode) -> EpisodeKey:
        record = episode.record
        return called[runs.rows[episode.indices[0]].run], record.env_index, record.episode_index

    keys = Counter(map(key, whole_episodes(runs)))
    found = dict.fromkeys(episode for _, episode in choose(runs, best=1, worst=1, last=1))
    unique = {key(episode): episode for episode in found if keys[key(episode)] == 1}
    return unique, len(found) - len(unique)
