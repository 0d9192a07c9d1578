"""Batches of nested spaces: dicts and tuples of arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["each_array"]


def each_array(tree: Any, change: Callable[[Any], Any]) -> Any:
    """Return a batch of the same form with a function's result for each array, or list of objects, in it."""
    if isinstance(tree, dict):
        return {key: each_array(sub, change) for key, sub in tree.items()}
    if isinstance(tree, tuple):
        return tuple(each_array(sub, change) for sub in tree)
    return change(tree)
