"""Writing the episodes of a runner as they end.

Most episodes are short: their files are written whole, under a temporary name, and get their name. The rows of long
ones are written in parts while they run. Several episodes then share a commit, at most `_SECONDS` later, and at the end
of the rollout: the contents and names of their files are synced, and only then the manifest lists them.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from numpy.typing import NDArray

from runnerkit.errors import RolloutError
from runnerkit.history import extras
from runnerkit.history.arrays import ArrayHistory
from runnerkit.history.block import Block
from runnerkit.history.layout import Span
from runnerkit.history.npz.episodes import Names, OpenEpisode
from runnerkit.history.npz.files import zipped
from runnerkit.history.npz.large import LargeFile
from runnerkit.history.npz.manifest import PARTIAL, Manifest, Row, fault_document, rows_between
from runnerkit.history.npz.runs import StoredRun
from runnerkit.history.npz.stored import StoredBlock
from runnerkit.history.npz.writer import Writer, sync_files
from runnerkit.records import EndReason, EnvFault, Episode

__all__ = ["NpzRecorder"]

_PART: Final = 16 * 2**20  # bytes of a running episode that are kept in memory
_SECONDS: Final = 0.5  # between two commits
_EPISODES: Final = 4096  # that share one at the most
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


@dataclass(slots=True)
class _Ended:
    """An episode that has a file, but is not listed yet."""

    record: Episode
    file: str
    sha256: str = ""


class NpzRecorder:
    """Writes the episodes of one runner, rollout by rollout."""

    def __init__(self, manifest: Manifest, run: int, stored: StoredRun) -> None:
        self._manifest, self._folder, self._run, self._stored = manifest, manifest.folder, run, stored
        self._names = Names(stored.layout())
        self._writer = Writer()
        self._rollout, self._is_begun = -1, False
        self._open: dict[int, OpenEpisode] = {}
        self._large: dict[int, LargeFile] = {}
        self._ended: list[_Ended] = []
        self._not_listed: list[_Ended] = []
        self._faults: list[EnvFault] = []
        self._all_faults: list[EnvFault] = []
        self._lengths: list[int] = []
        self._listed_from = 0
        self._committed = 0.0

    # ---- a rollout

    def begin(self) -> None:
        """Begin a rollout."""
        self._guard(self._leave)
        self._is_begun = True
        self._rollout += 1
        self._all_faults = []
        self._lengths = [0] * self._stored.spec.n_envs
        self._listed_from = self._manifest.size
        self._committed = time.monotonic()

    def record(self, block: Block, /) -> None:
        """Write the episodes that ended in a window, and keep the rows of those that run."""
        self._guard(functools.partial(self._take, block, is_last=False))

    def finish(self, block: Block, /) -> list[ArrayHistory[Any, Any]]:
        """Write what is left of a rollout, and return one history per env."""
        if not self._is_begun:  # a rollout that has no windows
            self.begin()
        self._is_begun = False
        self._guard(functools.partial(self._take, block, is_last=True))
        listed = _Listed(self._folder, (self._listed_from, self._manifest.size), self._run)
        histories: list[ArrayHistory[Any, Any]] = []
        for i, length in enumerate(self._lengths):
            rows = StoredBlock(self._folder, self._stored, functools.partial(listed.of, i), i, length)
            rows.faults = [fault for fault in self._all_faults if fault.env_index == i]
            if not length:  # what no file tells
                rows.extras = extras.allocated(block.extras, 0, 1)
            histories.append(ArrayHistory(rows, 0, length))
        return histories

    def earlier(self, env_index: int, /) -> Block | None:
        """Return the rows of the running episode of an env."""
        episode = self._open.get(env_index)
        if episode is None or not episode.length:
            return None
        written: dict[str, list[NDArray[Any]]] = {}
        if env_index in self._large:
            self._guard(self._writer.drain)
            for name in episode.large_names:
                names = [f"{name}@{part}" for part in range(episode.parts)]
                written[name] = [*self._large[env_index].read(names).values()]
        return episode.block(written)

    def close(self) -> None:
        """Let others write to the folder."""
        try:
            self._guard(self._leave)
            self._writer.close()
        finally:
            self._manifest.close()

    # ---- inside

    def _guard(self, work: Callable[[], None]) -> None:
        """Tell the user what an operating system's error means here."""
        try:
            work()
        except OSError as error:
            with contextlib.suppress(OSError):
                self._leave()
            raise RolloutError(
                f"history='npz' cannot write to {self._folder}: {error.strerror}. All episodes that are listed there "
                "stay readable; the error's histories have the latest steps. Free space, raise the limit (`ulimit -f`, "
                "a quota), or choose another path."
            ) from error

    def _take(self, block: Block, *, is_last: bool) -> None:
        for i in range(block.n_envs):
            self._take_env(block, i, is_last=is_last)
            self._lengths[i] += block.lengths[i]
        self._faults += block.faults
        self._all_faults += block.faults
        is_due = time.monotonic() - self._committed > _SECONDS or len(self._ended) > _EPISODES
        if (is_last or is_due) and (self._ended or self._faults):
            self._commit()
        if is_last:
            self._writer.drain()

    def _take_env(self, block: Block, i: int, *, is_last: bool) -> None:
        spans = block.all_spans(i)
        for k, span in enumerate(spans):
            episode = self._open.get(i) or self._begun(i, span)
            if span.mark.row < span.stop:
                episode.add(block, span.mark.row, span.stop)
            reason = block.reason(i, span)
            if k + 1 < len(spans) or is_last or reason is not EndReason.CUT:
                self._open.pop(i, None)
                if episode.length:
                    episode.end(block, span.stop, span.final)
                    self._write(episode, reason)
            elif episode.length:
                self._open[i] = episode
                if episode.nbytes > _PART:
                    self._write_part(episode)

    def _begun(self, i: int, span: Span) -> OpenEpisode:
        """Return an episode that begins, or goes on from an earlier rollout."""
        mark = span.mark
        return OpenEpisode(self._names, i, mark._replace(row=self._lengths[i] + mark.row))

    def _write(self, episode: OpenEpisode, reason: EndReason) -> None:
        name = self._name_of(episode)
        ended = _Ended(episode.record(reason), name)
        large = self._large.pop(episode.env_index, None)
        if large is None:
            ended.sha256 = self._written(name, zipped(self._members(episode)))
        else:
            tree, members = set(episode.large_names), self._members(episode)
            named = [(column, episode.parts if column in tree else None, array) for column, array in members]
            self._writer.submit(functools.partial(_complete, large, named, ended), sum(a.nbytes for _, _, a in named))
        self._ended.append(ended)

    def _write_part(self, episode: OpenEpisode) -> None:
        path = self._folder / self._name_of(episode)
        large = self._large.setdefault(episode.env_index, LargeFile(path, path.with_name(path.name + PARTIAL)))
        part, nbytes = episode.parts, episode.nbytes
        named = [(name, part, array) for name, array in episode.take_part()]
        self._writer.submit(functools.partial(_write_members, large, named), nbytes)

    def _name_of(self, episode: OpenEpisode) -> str:
        """Return the name of its file: a runner that goes back to an earlier state may make an episode twice."""
        return f"run{self._run}-rollout{self._rollout}-{episode.name}.npz"

    def _members(self, episode: OpenEpisode) -> list[tuple[str, NDArray[Any]]]:
        try:
            return episode.members()
        except TypeError as error:
            raise RolloutError(
                f"history='npz' cannot write an episode of env {episode.env_index}: {error}. Use a preprocessor that "
                "makes something else of it, or history='arrays'."
            ) from error

    def _written(self, name: str, data: bytes) -> str:
        """Write a whole file, and return its checksum."""
        path = os.fspath(self._folder / name)
        partial = f"{path}{PARTIAL}"
        handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        try:
            left = memoryview(data)
            while left:
                left = left[os.write(handle, left) :]
        except BaseException:  # as of a full disk: half a file is of no use to anybody
            os.close(handle)
            os.unlink(partial)
            raise
        os.close(handle)
        os.replace(partial, path)
        return hashlib.sha256(data).hexdigest()

    def _commit(self) -> None:
        """Have the episodes that ended listed, once their files are complete and synced."""
        ended, faults = self._ended, self._faults
        self._ended, self._faults = [], []
        self._committed = time.monotonic()
        self._writer.submit(functools.partial(self._list, ended, faults, self._rollout))

    def _list(self, ended: Sequence[_Ended], faults: Sequence[EnvFault], rollout: int) -> None:
        try:
            if ended:
                sync_files(self._folder, [one.file for one in ended])
            rows = [Row(self._run, rollout, one.record, one.file, one.sha256).document() for one in ended]
            self._manifest.append([*rows, *(fault_document(self._run, rollout, fault) for fault in faults)])
        except OSError:
            self._not_listed = [*ended]
            raise

    def _list_what_fits(self, ended: Sequence[_Ended], faults: Sequence[EnvFault]) -> None:
        """List episodes, or, if there is no room for the lines of all, those of the first.

        On a full disk the files of the latest make room for the lines of the others. If the manifest reaches the
        limit for the size of a file, they stay, unlisted.
        """
        try:
            if ended or faults:
                self._list(ended, faults, self._rollout)
            return
        except OSError as error:
            self._not_listed = []
            number = error.errno
            if number not in (*_FULL, errno.EFBIG) or not ended or (number == errno.EFBIG and len(ended) == 1):
                raise
        half = len(ended) // 2
        if number == errno.EFBIG:
            self._list_what_fits(ended[:half], ())
            self._list_what_fits(ended[half:], faults)
            return
        for one in ended[half:]:
            (self._folder / one.file).unlink(missing_ok=True)
        self._list_what_fits(ended[:half], faults)

    def _leave(self) -> None:
        """List what is complete of a rollout that broke off, and give up the rows of its running episodes."""
        large, self._large, self._open = [*self._large.values()], {}, {}
        self._writer.drain_quietly()
        for file in large:
            file.discard()
        ended = [one for one in (*self._not_listed, *self._ended) if one.sha256]
        faults = self._faults
        self._not_listed, self._ended, self._faults = [], [], []
        self._list_what_fits(ended, faults)


def _write_members(large: LargeFile, members: Sequence[tuple[str, int | None, NDArray[Any]]]) -> None:
    for name, part, array in members:
        large.write(name, part, array)


def _complete(large: LargeFile, members: Sequence[tuple[str, int | None, NDArray[Any]]], ended: _Ended) -> None:
    _write_members(large, members)
    ended.sha256 = large.close()


class _Listed:
    """What the manifest lists of one rollout, read when somebody asks, so that it needs no memory before."""

    def __init__(self, folder: Path, between: tuple[int, int], run: int) -> None:
        self._folder, self._between, self._run = folder, between, run

    def of(self, env_index: int) -> Sequence[Row]:
        """Return the rows of an env, in order."""
        return self._by_env.get(env_index, [])

    @functools.cached_property
    def _by_env(self) -> dict[int, list[Row]]:
        found: dict[int, list[Row]] = {}
        for row in rows_between(self._folder, *self._between, self._run + 1):
            found.setdefault(row.episode.env_index, []).append(row)
        return found
