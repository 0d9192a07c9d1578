"""Which ids a dataset can have, so that Minari finds it again; known before an env makes a step."""

from __future__ import annotations

import re
from typing import Final

from runnerkit.errors import ArgumentError

__all__ = ["check_id"]

_ID: Final = re.compile(r"(?:[-_\w]+/)*[-_\w]+?-v\d+", re.ASCII)
_LONGEST: Final = 200  # characters of a part, which becomes a folder
_RESERVED: Final = "data"  # what is in a folder of that name is a dataset to Minari, which then can list none


def check_id(dataset_id: str) -> None:
    """Raise ArgumentError if a dataset cannot have that id: Minari would refuse it, or not find it again."""
    given: object = dataset_id  # the value may differ from the annotation
    if not isinstance(given, str) or not _ID.fullmatch(given):
        raise ArgumentError(f"dataset_id must be like 'cartpole/random-v0', version included, not {dataset_id!r}.")
    *namespace, name = dataset_id.split("/")
    if namespace and len("/".join(namespace)) < 2:
        raise ArgumentError(f"The namespace in dataset_id={dataset_id!r} has one character, but Minari needs two.")
    if _RESERVED in namespace:
        raise ArgumentError(f"The namespace in dataset_id={dataset_id!r} has a part {_RESERVED!r}. Rename that part.")
    longest = max(map(len, [*namespace, name]))
    if longest > _LONGEST:
        raise ArgumentError(f"dataset_id has a part of {longest} characters, but at most {_LONGEST} are possible.")
