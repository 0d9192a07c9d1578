"""Memory that processes share: blocks and logs which both sides write and read in place.

The memory has no name, so that nothing is left of it when the last process that has it ends, however that is. It is
sparse: a page takes room once it is touched, so that a block can have rows for the longest rollout there may be.
"""

from __future__ import annotations

import ctypes
import math
import mmap
import os
import tempfile
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from runnerkit.history.block import Block, BlockLayout
from runnerkit.history.log import EpisodeLog
from runnerkit.spaces import Column, Layout

__all__ = ["Arena", "Journal", "SharedBlock", "arena_bytes", "has_objects"]

_ALIGNED = 64  # a cache line


class Arena:
    """A piece of shared memory, from which arrays are cut one after the other.

    Two processes that cut the same shapes in the same order get the same memory. It is unmapped when the last
    array is gone; until then no file stays open for it, as there may be thousands of histories.
    """

    def __init__(self, nbytes: int, fd: int | None = None) -> None:
        self.nbytes: int = nbytes
        self.fd: int = _nameless_file(nbytes) if fd is None else fd
        self._memory: Column = np.asarray(_Mapping(self.fd, nbytes))
        self._used: int = 0

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Column:
        """Return the next array; in new memory all of its bytes are zero."""
        begin, size = self._used, math.prod(shape) * dtype.itemsize
        self._used += -(-size // _ALIGNED) * _ALIGNED
        if self._used > self.nbytes:
            raise MemoryError(f"an arena of {self.nbytes} bytes has no room for {shape} of {dtype}")
        return self._memory[begin : begin + size].view(dtype).reshape(shape)

    def close_file(self) -> None:
        """Close the file, when nobody needs to be handed it any more; the memory stays."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class _Mapping:
    """Mapped memory, as NumPy can take it; the arrays keep it alive.

    Python's own `mmap` keeps a file open for each mapping (up to 3.12), and `SharedMemory` a name.
    """

    def __init__(self, fd: int, nbytes: int) -> None:
        address = _LIBC.mmap(None, nbytes, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED, fd, 0)
        if address == _FAILED:
            number = ctypes.get_errno()
            raise MemoryError(f"cannot map {nbytes} bytes of shared memory: {os.strerror(number)}")
        self.__array_interface__: dict[str, Any] = {
            "data": (address, False),
            "shape": (nbytes,),
            "typestr": "|u1",
            "version": 3,
        }
        weakref.finalize(self, _LIBC.munmap, address, nbytes).atexit = False


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


def _nameless_file(nbytes: int) -> int:
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("runnerkit")
    else:
        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    os.ftruncate(fd, nbytes)
    return fd


class SharedBlock(Block):
    """A block in shared memory, with room for `most` steps; columns of objects are each process's own.

    With it comes a journal for each share of so many envs, if the space of its observations allows journals.
    """

    def __init__(
        self, layout: BlockLayout, steps: int, most: int, window: bool, arena: Arena, shares: Sequence[int]
    ) -> None:
        self._arena: Arena | None = arena
        super().__init__(layout, most, window=window)
        self.most: int = most
        self.window: bool = window
        self.shares: list[int] = list(shares)
        self.journals: list[Journal] = []
        if not has_objects(layout.raw):
            self.journals = [Journal(arena, layout.raw, (most + 1) * n_envs) for n_envs in shares]
        self._whole: list[tuple[str, list[Column]]] = []
        self._flat: tuple[Column, Column, Column] = self.rewards, self.terminated, self.truncated
        if not window:
            kept = ["observations", "actions"]
            kept += ["raw"] * (self.raw is not self.observations and layout.keep_raw)
            kept += ["env_actions"] * (self.env_actions is not self.actions)
            self._whole = [(name, getattr(self, name)) for name in kept]
            self.resize(steps)

    @property
    def arena(self) -> Arena:
        """The memory, as long as a rollout lasts."""
        assert self._arena is not None
        return self._arena

    def release(self) -> None:
        """Let go of all but the columns, when the rollout is over."""
        self._arena, self.journals = None, []

    @override
    def trim(self, steps: int) -> None:
        super().trim(steps)
        self._whole, self._flat = [], (self.rewards, self.terminated, self.truncated)

    @override
    def resize(self, steps: int) -> None:
        """Show more or fewer of the rows that are there."""
        raw, actions = self.raw is self.observations, self.env_actions is self.actions
        for name, columns in self._whole:
            rows = steps + (name in ("observations", "raw"))
            setattr(self, name, [column[:rows] for column in columns])
        self.rewards, self.terminated, self.truncated = (column[:steps] for column in self._flat)
        if raw:
            self.raw = self.observations
        if actions:
            self.env_actions = self.actions
        self.steps = steps

    @override
    def _allocate(self, layout: Layout, rows: int) -> list[Column]:
        return [
            leaf.allocate(rows, self.n_envs)
            if leaf.is_object
            else self.arena.empty((rows, self.n_envs, *leaf.shape), leaf.dtype)
            for leaf in layout.leaves
        ]

    @override
    def _zeros(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Column:
        return self.arena.empty(shape, dtype)


class Journal(EpisodeLog):
    """The log of a share in another process: what it notes is there at once, and survives that process.

    For layouts without objects only.
    """

    __slots__ = ("_columns", "_count", "_table")

    def __init__(self, arena: Arena, layout: Layout, capacity: int) -> None:
        super().__init__(layout)
        self._count: memoryview[int] = arena.empty((1,), np.dtype(np.int64)).data
        self._table: NDArray[np.int32] = arena.empty((capacity, 3), np.dtype(np.int32))
        self._columns: list[Column] = [arena.empty((capacity, *leaf.shape), leaf.dtype) for leaf in layout.leaves]

    @override
    def begin(self, env_index: int, row: int, episode_index: int, columns: Sequence[Column], where: Any) -> None:
        k = self._count[0]
        for kept, column in zip(self._columns, columns, strict=True):
            kept[k] = column[where]
        self._table[k] = env_index, row, episode_index
        self._count[0] = k + 1  # last, so that no half-written entry counts

    def take(self, log: EpisodeLog) -> None:
        """Move all entries to a log. Only while nobody writes."""
        n = self._count[0]
        if n:
            log.extend_by_arrays(self._table[:n], [column[:n] for column in self._columns])
            self._count[0] = 0


def arena_bytes(layout: BlockLayout, most: int) -> int:
    """Return the bytes of an arena for a block of up to `most` steps and the journals that go with it."""
    entries = layout.n_envs * (most + 1)
    leaves = sum(len(part.leaves) for part in (layout.raw, layout.observation, layout.action, layout.env_action))
    needed = layout.bytes_per_step * (most + 1)
    needed += 2 * layout.raw.nbytes * layout.n_envs  # a ring, where raw observations are not kept
    needed += (layout.raw.nbytes + 12) * entries
    return needed + 2 * _ALIGNED * (layout.n_envs + 1) * (leaves + 8)


def has_objects(layout: Layout) -> bool:
    """Whether some of a space is kept as objects, which no other process can see."""
    return any(leaf.is_object for leaf in layout.leaves)
