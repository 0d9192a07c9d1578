"""Pictures of the best, the worst and the last episode of stored runs, for a report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from runnerkit._cli.stored_episodes import video_package
from runnerkit._cli.videos import choose
from runnerkit._core.wording import count
from runnerkit.errors import RunnerKitError
from runnerkit.history.npz import StoredRuns, load
from runnerkit.replaying import StoredEpisode, whole_episodes
from runnerkit.reporting import EpisodeKey

__all__ = ["thumbnails_of"]

_PICTURES: Final = 4
_HEIGHT: Final = 120  # pixels


def thumbnails_of(named: Mapping[str, Sequence[str]]) -> tuple[dict[EpisodeKey, bytes], list[str]]:
    """Return strips of pictures by (name, env index, episode index), and for the runs that have none, why not.

    `named` are folders by name, as for `runnerkit.report`: of several with one name, each is called NAME 0, NAME 1, ...
    """
    strip = video_package("--thumbnails").film_strip
    pictures: dict[EpisodeKey, bytes] = {}
    missing: list[str] = []
    for name, folders in named.items():
        for k, folder in enumerate(folders):
            of = name if len(folders) == 1 else f"{name} {k}"
            try:
                runs = load(folder)
                chosen, ambiguous = _chosen(runs)
                for episode in chosen:
                    env_index, episode_index = _numbers(episode)
                    pictures[of, env_index, episode_index] = strip(
                        [runs[place] for place in episode.indices], pictures=_PICTURES, height=_HEIGHT
                    )
            except RunnerKitError as error:
                missing.append(f"No pictures of {folder}. {error}")
                continue
            if ambiguous:
                missing.append(
                    f"No pictures of {count(ambiguous, 'episode')} of {folder}: another run in the same folder has "
                    "episodes of the same numbers. Give each run a folder of its own."
                )
    return pictures, missing


def _chosen(runs: StoredRuns) -> tuple[list[StoredEpisode], int]:
    """Return the episodes to show, and how many were left out as a report could not tell whose picture it is."""
    numbers = Counter(map(_numbers, whole_episodes(runs)))
    found = dict.fromkeys(episode for _, episode in choose(runs, best=1, worst=1, last=1))
    unique = [episode for episode in found if numbers[_numbers(episode)] == 1]
    return unique, len(found) - len(unique)


def _numbers(episode: StoredEpisode) -> tuple[int, int]:
    return episode.record.env_index, episode.record.episode_index
