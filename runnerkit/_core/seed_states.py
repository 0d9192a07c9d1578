"""Any part of what a `SeedSequence` generates, so that nobody has to keep, or draw, all that comes before it."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["states"]

# Of NumPy's SeedSequence, whose streams NumPy promises never to change. Word i depends on the pool and on i only.
_START: Final = 0x8B51F9DD
_FACTOR: Final = 0x58F38DED
_SHIFT: Final = np.uint32(16)


def states(sequence: np.random.SeedSequence, first: int, count: int) -> NDArray[np.uint64]:
    """Return `sequence.generate_state(first + count, np.uint64)[first:]` at the price of `count` numbers."""
    begin, n = 2 * first, 2 * count
    factors = np.full(n + 1, _FACTOR, np.uint32)
    factors[0] = _START * pow(_FACTOR, begin, 2**32) % 2**32
    hashes = np.multiply.accumulate(factors, dtype=np.uint32)
    pool = np.asarray(sequence.pool, np.uint32)
    words = (pool[(np.arange(begin, begin + n)) % len(pool)] ^ hashes[:-1]) * hashes[1:]
    words ^= words >> _SHIFT
    low, high = words.reshape(count, 2).astype(np.uint64).T
    return low | high << np.uint64(32)
