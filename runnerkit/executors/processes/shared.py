"""Memory that processes share: blocks and logs which both sides write and read in place.

The memory has no name, so that nothing is left of it when the last process that has it ends, however that is. It is
sparse: a page takes room once it is touched, so that a block can have rows for the longest rollout there may be.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import math
import mmap
import os
import tempfile
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from runnerkit._core.spaces import Column, Layout, Leaf
from runnerkit.errors import MemoryBudgetError
from runnerkit.history.block import Block
from runnerkit.history.layout import BlockLayout
from runnerkit.history.log import EpisodeLog, number_of
from runnerkit.records import EndReason

__all__ = [
    "Arena",
    "Journal",
    "Pool",
    "Region",
    "SharedBlock",
    "arena_bytes",
    "has_objects",
    "put_objects",
    "standard_streams_taken",
]

_ALIGNED = 64  # a cache line


class Region:
    """A piece of memory that other processes can map, too; it is unmapped when nobody has it any more.

    No file stays open for it but that of `fd`, until `close_file`, as there may be thousands of histories: Python's
    own `mmap` keeps one open for each mapping (up to 3.12), and `SharedMemory` has a name.
    """

    def __init__(self, nbytes: int, fd: int | None = None, *, most: int = 0, window: bool = False) -> None:
        self.nbytes: int = nbytes
        self.most: int = most
        self.window: bool = window
        self.fd: int = _nameless_file() if fd is None else fd
        self._closing = weakref.finalize(self, os.close, self.fd)
        if fd is None:
            _enlarge(self.fd, nbytes)
        self._address = _mapped(self.fd, nbytes)
        weakref.finalize(self, _LIBC.munmap, self._address, nbytes).atexit = False

    def close_file(self) -> None:
        """Close the file, when nobody needs to be handed it any more; the memory stays."""
        self._closing()

    def memory(self, returned: Callable[[Region], object] | None = None) -> Column:
        """Return its bytes, and be told when nobody has any of them any more."""
        lease = _Lease(self, self._address, self.nbytes)
        if returned is not None:
            weakref.finalize(lease, returned, self).atexit = False
        return np.asarray(lease)


class Pool:
    """Regions of which all arrays are gone, kept for the next rollout: memory that is warm costs half of new one.

    Arrays end where the garbage collector finds them, in any thread and at any time: `give` is one step that nothing
    can come between.
    """

    _MOST_FREE = 2
    _MOST_LENT = 64  # of histories that are kept by the thousand no more are awaited: each helper maps what is awaited

    def __init__(self) -> None:
        self._free: deque[Region] = deque(maxlen=self._MOST_FREE)
        self._lent: set[Region] = set()
        self._is_open = True
        _pools.add(self)

    def take(self, nbytes: int, most: int, window: bool) -> Region | None:
        """Return a region that was used for a block like that."""
        for _ in range(len(self._free)):
            with contextlib.suppress(IndexError):  # never mind which: another thread took it
                region = self._free.popleft()
                if (region.nbytes, region.most, region.window) == (nbytes, most, window):
                    return region
                self._free.append(region)
        return None

    def lend(self, region: Region) -> Column:
        """Return the bytes of a region that is to come back."""
        if len(self._lent) >= self._MOST_LENT:
            return region.memory()
        self._lent.add(region)
        return region.memory(self._give)

    def awaits(self, region: Region) -> bool:
        """Whether a region will come back."""
        return region in self._lent

    def _give(self, region: Region) -> None:
        """Take a region back; the oldest one goes if there are too many."""
        if self._is_open and self.awaits(region):
            self._free.append(region)
        self._lent.discard(region)

    def forget_lent(self) -> None:
        """Do not take back what is lent now: a fork of this process may go on to read it."""
        self._lent.clear()

    def close(self) -> None:
        """Let go of all."""
        self._is_open = False
        self._free.clear()
        self._lent.clear()


_pools: Final[weakref.WeakSet[Pool]] = weakref.WeakSet()


def _before_fork() -> None:
    for pool in list(_pools):
        pool.forget_lent()


os.register_at_fork(before=_before_fork)


class _Lease:
    """What NumPy makes an array of, and what all of that array's views keep alive."""

    def __init__(self, region: Region, address: int, nbytes: int) -> None:
        self._region = region
        self.__array_interface__: dict[str, Any] = {
            "data": (address, False),
            "shape": (nbytes,),
            "typestr": "|u1",
            "version": 3,
        }


class Arena:
    """Memory from which arrays are cut one after the other.

    Two processes that cut the same shapes in the same order have the same arrays.
    """

    def __init__(self, memory: Column) -> None:
        self._memory = memory
        self._used = 0

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Column:
        """Return the next array; in new memory all of its bytes are zero."""
        begin, size = self._used, math.prod(shape) * dtype.itemsize
        self._used += -(-size // _ALIGNED) * _ALIGNED
        if self._used > len(self._memory):
            raise MemoryError(f"an arena of {len(self._memory)} bytes has no room for {shape} of {dtype}")
        return self._memory[begin : begin + size].view(dtype).reshape(shape)


_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.mmap.restype = ctypes.c_void_p
_LIBC.mmap.argtypes = [
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int64,
]
_LIBC.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_FAILED = ctypes.c_void_p(-1).value


def _mapped(fd: int, nbytes: int) -> int:
    address: int = _LIBC.mmap(None, nbytes, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED, fd, 0)
    if address == _FAILED:
        why = os.strerror(ctypes.get_errno())
        raise MemoryError(f"cannot map {nbytes} bytes of shared memory: {why}")
    return address


def _nameless_file() -> int:
    with standard_streams_taken():
        if hasattr(os, "memfd_create"):
            return os.memfd_create("runnerkit")
        with tempfile.TemporaryFile() as file:
            return os.dup(file.fileno())


def _enlarge(fd: int, nbytes: int) -> None:
    try:
        os.ftruncate(fd, nbytes)
    except OSError as error:
        if error.errno not in (errno.EFBIG, errno.ENOSPC, errno.ENOMEM):
            raise
        raise MemoryError(
            f"cannot have a file of {nbytes} bytes in memory: {error.strerror} (the limit is that of `ulimit -f`)"
        ) from error


@contextlib.contextmanager
def standard_streams_taken() -> Iterator[None]:
    """Open files of ours under numbers above 2, even if stdin, stdout or stderr is closed.

    Whoever reads or writes a standard stream, in this process or in one that it starts, would get ours otherwise.
    """
    taken = [os.open(os.devnull, os.O_RDWR)]
    try:
        while taken[-1] <= 2:
            taken.append(os.open(os.devnull, os.O_RDWR))
        yield
    finally:
        for fd in taken:
            os.close(fd)


class SharedBlock(Block):
    """A block in shared memory, with room for `most` steps; columns of objects are each process's own.

    With it comes a journal for each share of so many envs, if the space of its observations allows journals.
    """

    def __init__(
        self, layout: BlockLayout, steps: int | None, most: int, window: bool, arena: Arena, shares: Sequence[int]
    ) -> None:
        self._arena = arena
        self.region: Region | None = None
        """What the helpers need to know to see the block, while a rollout lasts."""
        super().__init__(layout, most, window=window)
        self.journals: list[Journal] = []
        if not has_objects(layout.raw):
            self.journals = [Journal(arena, layout.raw, (most + 1) * n_envs) for n_envs in shares]
        self._all_rewards: Column | None = self.rewards
        self._whole: list[tuple[str, int, list[Column] | Column]] = []
        if not window:
            self._whole = [(name, extra, getattr(self, name)) for name, extra in self._kept()]
        if steps is not None and not window:
            self.resize(steps)

    def _kept(self) -> Iterator[tuple[str, int]]:
        """Name the columns whose rows are kept, and how many more rows than steps they have."""
        yield "observations", 1
        if self.raw is self.observations or self.layout.keep_raw:
            yield "raw", 1
        for name in ("actions", "env_actions", "rewards", "processed_rewards", "terminated", "truncated"):
            yield name, 0

    @property
    def all_rewards(self) -> Column:
        """The rewards of all rows there is room for, until the rollout is over."""
        assert self._all_rewards is not None
        return self._all_rewards

    def clear(self) -> None:
        """Make memory that was used before like new; rows that are shown later are cleared then."""
        self.terminated[...], self.truncated[...] = False, False
        for journal in self.journals:
            journal.clear()

    @override
    def trim(self, steps: int, *, release: bool = True) -> None:
        super().trim(steps, release=release)
        if release:
            self._whole, self._all_rewards = [], None

    @override
    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in vars(self).items() if name not in ("_arena", "journals", "region")}

    @override
    def resize(self, steps: int) -> None:
        """Show more or fewer of the rows that are there."""
        shown: dict[int, list[Column] | Column] = {}  # what is one list under two names stays one
        for name, extra, columns in self._whole:
            rows = steps + extra
            if id(columns) not in shown:
                before = getattr(self, name)
                shown[id(columns)] = (
                    [_shown(column, rows, old) for column, old in zip(columns, before, strict=True)]
                    if isinstance(columns, list)
                    else columns[:rows]
                )
            setattr(self, name, shown[id(columns)])
        if len(self.rewards) < steps:
            raise MemoryBudgetError(
                f"The rollout has come to {len(self.rewards)} steps, for which there is shared memory. Ask for fewer "
                "steps or episodes at a time, use fewer envs, or allow more memory to this process (ulimit -v)."
            )
        for column in self.extras.values():  # which are not shared
            column.resize((steps, *column.shape[1:]), refcheck=False)
        # only ends of episodes are written, and the memory may have been used before
        self.terminated[self.steps :], self.truncated[self.steps :] = False, False
        self.steps = steps

    @override
    def _allocate(self, layout: Layout, rows: int) -> list[Column]:
        return [
            _object_rows(leaf, rows, self.n_envs)
            if leaf.is_object
            else self._arena.empty((rows, self.n_envs, *leaf.shape), leaf.dtype)
            for leaf in layout.leaves
        ]

    @override
    def _zeros(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Column:
        return self._arena.empty(shape, dtype)


def _object_rows(leaf: Leaf, rows: int, n_envs: int) -> Column:
    """Return a column of objects; one of many rows has memory for a single one, that all of them are."""
    if rows <= 2:
        return leaf.allocate(rows, n_envs)
    row = leaf.allocate(n_envs)
    return np.lib.stride_tricks.as_strided(row, (rows, n_envs), (0, row.itemsize))


def _shown(column: Column, rows: int, before: Column) -> Column:
    """Return the first rows of a column; objects do not move within shared memory, so those of `before` are copied."""
    if column.dtype != object:
        return column[:rows]
    shown = np.empty((rows, *column.shape[1:]), object)
    kept = 0 if before is column else min(rows, len(before))
    shown[:kept] = before[:kept]
    return shown


class Journal(EpisodeLog):
    """The log of a share in another process: what it notes is there at once, and survives that process.

    For layouts without objects only.
    """

    __slots__ = ("_columns", "_count", "_entries", "_table")

    def __init__(self, arena: Arena, layout: Layout, capacity: int) -> None:
        super().__init__(layout)
        self._count: memoryview[int] = arena.empty((1,), np.dtype(np.int64)).data
        self._table: NDArray[np.int32] = arena.empty((capacity, 4), np.dtype(np.int32))
        self._entries: memoryview[int] = self._table.reshape(-1).data
        self._columns: list[Column] = [arena.empty((capacity, *leaf.shape), leaf.dtype) for leaf in layout.leaves]

    @override
    def begin(
        self,
        env_index: int,
        row: int,
        episode_index: int,
        columns: Sequence[Column],
        where: Any,
        end_reason: EndReason | None = None,
    ) -> None:
        k = self._count[0]
        for kept, column in zip(self._columns, columns, strict=True):
            kept[k] = column[where]
        entries = self._entries  # four of these are faster than one row of an array
        entries[4 * k], entries[4 * k + 1], entries[4 * k + 2] = env_index, row, episode_index
        entries[4 * k + 3] = 0 if end_reason is None else number_of(end_reason)
        self._count[0] = k + 1  # last, so that no half-written entry counts

    def clear(self) -> None:
        """Forget all entries."""
        self._count[0] = 0

    def take(self, log: EpisodeLog) -> None:
        """Move all entries to a log. Only while nobody writes."""
        n = self._count[0]
        if n:
            log.extend_by_arrays(self._table[:n], [column[:n] for column in self._columns])
            self.clear()


def arena_bytes(layout: BlockLayout, most: int) -> int:
    """Return the bytes of an arena for a block of up to `most` steps and the journals that go with it."""
    entries = layout.n_envs * (most + 1)
    leaves = sum(len(part.leaves) for part in (layout.raw, layout.observation, layout.action, layout.env_action))
    needed = layout.bytes_per_step * (most + 1)
    needed += 2 * layout.raw.nbytes * layout.n_envs  # a ring, where raw observations are not kept
    needed += (layout.raw.nbytes + 16) * entries
    return needed + 2 * _ALIGNED * (layout.n_envs + 1) * (leaves + 8)


def has_objects(layout: Layout) -> bool:
    """Whether some of a space is kept as objects, which no other process can see."""
    return any(leaf.is_object for leaf in layout.leaves)


def put_objects(block: Block, row: int, env_indices: Sequence[int], objects: Sequence[Sequence[object]]) -> None:
    """Write objects that came by mail to a row of raw observations: for each column of objects, one per env."""
    columns = [column for column in block.raw if column.dtype == object]
    for column, values in zip(columns, objects, strict=True):
        for i, value in zip(env_indices, values, strict=True):
            column[row, i] = value
