"""The manifest of a folder: one line of JSON per run, episode and fault, appended and never changed."""

from __future__ import annotations

import json
import os
import re
import time
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

from runnerkit._core.faults import describe
from runnerkit.errors import ArgumentError
from runnerkit.history.npz.codec import decode, encode_or_describe, text_of
from runnerkit.history.npz.runs import VERSION, StoredRun
from runnerkit.records import EndReason, EnvFault, Episode

if os.name == "posix":
    import fcntl

__all__ = ["Manifest", "Contents", "Row", "cannot_write", "folder_of", "no_run", "read", "said_of_torn", "sync_folder"]

NAME: Final = "manifest.jsonl"
FILE: Final = re.compile(r"run\d+-rollout\d+-env\d+-episode\d+-step\d+\.npz")
PARTIAL: Final = ".partial"
_PATIENCE_S: Final = 0.2


@dataclass(frozen=True, slots=True)
class Row:
    """An episode, or its part in one rollout, as the manifest lists it.

    Attributes:
        run: the place of its run among those of the folder.
        rollout: which rollout of the run it is of.
        episode: its record; `start` is its first row in the history of that rollout.
        file: the name of its file.
        sha256: the checksum of the file.

    """

    run: int
    rollout: int
    episode: Episode
    file: str
    sha256: str

    def document(self) -> dict[str, Any]:
        """Return the row in what JSON has."""
        record = self.episode
        return {
            "run": self.run,
            "rollout": self.rollout,
            "env_index": record.env_index,
            "episode_index": record.episode_index,
            "seed": record.seed,
            "options": None if record.options is None else encode_or_describe(dict(record.options)),
            "start": record.start,
            "length": record.length,
            "return_": encode_or_describe(record.return_),
            "end_reason": record.end_reason.value,
            "steps_before": record.steps_before,
            "return_before": encode_or_describe(record.return_before),
            "file": self.file,
            "sha256": self.sha256,
        }

    @classmethod
    def of(cls, document: Mapping[str, Any], n_runs: int) -> Row:
        """Return the row that `document` wrote; raises KeyError, TypeError or ValueError where it wrote none."""
        if not FILE.fullmatch(document["file"]):  # or it could lie anywhere
            raise ValueError(f"no episode has the file {document['file']!r}")
        numbers = {name: document[name] for name in _NUMBERS}
        for name, number in numbers.items():
            if type(number) is not int or number < 0:
                raise ValueError(f"{name} is {number!r}")
        if document["run"] >= n_runs:
            raise ValueError(f"there is no run {document['run']}")
        run, rollout = numbers.pop("run"), numbers.pop("rollout")
        episode = Episode(
            seed=document["seed"],
            options=decode(document["options"]),
            end_reason=EndReason(document["end_reason"]),
            return_=float(decode(document["return_"])),
            return_before=float(decode(document["return_before"])),
            **numbers,
        )
        return cls(run, rollout, episode, document["file"], document["sha256"])


_NUMBERS: Final = ("run", "rollout", "env_index", "episode_index", "start", "length", "steps_before")


@dataclass(frozen=True, slots=True)
class Contents:
    """What a manifest lists.

    Attributes:
        runs: the runners that wrote to the folder.
        rows: the episodes, in the order in which they were listed.
        faults: the envs that failed and were made anew: (run, rollout, fault).
        torn: how many bytes at the end are those of a torn line.

    """

    runs: list[StoredRun] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    faults: list[tuple[int, int, EnvFault]] = field(default_factory=list)
    torn: int = 0

    def take(self, entry: Mapping[str, Any]) -> None:
        """Add what a line says."""
        if "runnerkit" in entry:
            self.runs.append(StoredRun.of(entry))
        elif "fault" in entry:
            self.faults.append((entry["run"], entry["rollout"], _fault_of(entry["fault"])))
        else:
            self.rows.append(Row.of(entry, len(self.runs)))


class Manifest:
    """The manifest of a folder, open for writing; one runner at a time may have it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        _check_file(folder)
        try:
            self._file = (folder / NAME).open("ab", buffering=0)
        except OSError as error:
            raise cannot_write(folder, error) from error
        try:
            if os.name == "posix":  # freed by the operating system if the program is killed
                _lock(self._file)
        except BlockingIOError as error:
            self._file.close()
            raise ArgumentError(f"Another runner writes to {folder}. Close it, or choose another path.") from error

    def mend(self) -> list[StoredRun]:
        """Cut a torn line off, remove half files, and return the runs that are there."""
        contents = read(self.folder)
        if contents.torn:
            warnings.warn(said_of_torn(self.folder, contents.torn), RuntimeWarning, stacklevel=2)
            self._file.truncate(self.size - contents.torn)
        if os.name == "posix":  # elsewhere another runner may be writing one
            for half in self.folder.glob(f"*{PARTIAL}"):
                half.unlink(missing_ok=True)
        return contents.runs

    def append(self, entries: Iterable[Mapping[str, Any]]) -> None:
        """Append lines, all or none, and have them survive a power cut."""
        before = self.size
        left = memoryview("".join(f"{text_of(entry)}\n" for entry in entries).encode())
        try:
            while left:
                left = left[self._file.write(left) :]
            os.fsync(self._file.fileno())
        except BaseException:  # as of a full disk: a later line must not go on in half a line
            self._file.truncate(before)
            raise

    @property
    def size(self) -> int:
        """The bytes that are there."""
        return os.fstat(self._file.fileno()).st_size

    def close(self) -> None:
        """Let others write to the folder."""
        self._file.close()


def _lock(file: IO[bytes]) -> None:
    """Lock a file. Who only asks whether a runner writes to it, see `Following`, has it for a moment."""
    end = time.monotonic() + _PATIENCE_S
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                raise
            time.sleep(_PATIENCE_S / 20)
        else:
            return


def fault_document(run: int, rollout: int, fault: EnvFault) -> dict[str, Any]:
    """Return an env that failed in what JSON has."""
    fields = {name: getattr(fault, name) for name in EnvFault.__dataclass_fields__}
    fields |= {"action": encode_or_describe(fault.action), "end_reason": fault.end_reason.value}
    return {"run": run, "rollout": rollout, "fault": fields}


def _fault_of(document: Mapping[str, Any]) -> EnvFault:
    return EnvFault(
        **{**document, "action": decode(document["action"]), "end_reason": EndReason(document["end_reason"])}
    )


def read(folder: Path) -> Contents:
    """Read a manifest. Raises ArgumentError if it is damaged, or none of this format and version."""
    path = folder / NAME
    _check_file(folder)
    try:
        text = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise no_run(folder) from error
    except OSError as error:
        raise ArgumentError(f"{path} cannot be read: {error.strerror}.") from error
    whole, newline, torn = text.rpartition(b"\n")
    contents = Contents(torn=len(torn))
    for number, line in enumerate(whole.split(b"\n") if newline else [], 1):
        take_line(contents, line, f"{path}, line {number},")
    return contents


def _check_file(folder: Path) -> None:
    """Refuse a manifest that is no file, such as a pipe: to open it could take for ever."""
    path = folder / NAME
    if path.exists() and not path.is_file():
        raise ArgumentError(f"{folder} is no folder of history='npz': {path} is no file. Choose another path.")


def take_line(contents: Contents, line: bytes, where: str) -> None:
    """Add what a line says; raises ArgumentError, which says where it is, if that is not what this format writes."""
    try:
        entry = json.loads(line)
        if not isinstance(entry, dict):
            raise TypeError("a line is a JSON object")
        version = entry.get("runnerkit", VERSION)
        if version == VERSION:
            contents.take(entry)
    except Exception as error:  # of JSON, spaces and records: anything may stand there
        raise ArgumentError(
            f"{where} is not what history='npz' writes: {describe(error)}. Restore the file from a copy, or delete "
            "this line; or choose another folder."
        ) from error
    if version != VERSION:
        raise ArgumentError(
            f"{where} is of format version {version}, but this RunnerKit reads {VERSION}. Read the folder with the "
            "RunnerKit that wrote it, or choose another folder."
        )


def folder_of(path: object) -> Path:
    """Return a path as one that stays where it is when the program changes its current folder."""
    text = os.fspath(path) if isinstance(path, str | os.PathLike) else ""
    if not isinstance(text, str) or not text or "\0" in text:
        raise ArgumentError(f"The path of history='npz' must be a folder, not {path!r}.")
    return Path(text).absolute()


def no_run(folder: Path) -> ArgumentError:
    """Return what to raise if a folder has no manifest: which mistake it is, and what is wanted."""
    if not folder.exists():
        beginning = f"There is no folder {folder}."
    elif not folder.is_dir():
        beginning = f"{folder} is a file, not the folder of a run."
    else:
        beginning = f"{folder} has no episodes of history='npz': it has no {NAME}."
    return ArgumentError(
        f"{beginning} Give the folder that `runnerkit rollout -o DIR` or history=('npz', {{'path': DIR}}) writes to."
    )


def cannot_write(folder: Path, error: OSError) -> ArgumentError:
    """Return what to raise if nothing can be written to a folder."""
    return ArgumentError(f"{folder} cannot be written to: {error.strerror}. Choose another path.")


def said_of_torn(folder: Path, torn: int) -> str:
    """Return what to say of a torn line."""
    return f"{folder / NAME} ends in {torn} bytes of a torn line, as its program was killed. They are left out."


def sync_folder(folder: Path) -> None:
    """Have the names in a folder survive a power cut, where the operating system can do that for folders."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def rows_between(folder: Path, begin: int, end: int, n_runs: int) -> list[Row]:
    """Return the episodes that are listed between two bytes of a manifest."""
    path = folder / NAME
    try:
        with path.open("rb") as file:
            file.seek(begin)
            lines = file.read(end - begin).splitlines()
        entries = [json.loads(line) for line in lines]
        return [Row.of(entry, n_runs) for entry in entries if "file" in entry]
    except Exception as error:  # anything may stand there
        raise ArgumentError(
            f"{path} cannot be read: {describe(error)}. The histories of a rollout with history='npz' are read from "
            "there, so leave it as it is until they are read."
        ) from error
