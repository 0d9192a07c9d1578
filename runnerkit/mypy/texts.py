"""Types as text, as `runnerkit.sentences` wants them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from mypy.messages import format_type_bare
from mypy.options import Options
from mypy.types import Type

# NDArray[np.int64], as mypy spells it out.
_ARRAY: Final = re.compile(r"ndarray\[tuple\[Any, \.\.\.\], dtype\[(.*?)\]\](?=$|[\],\s|])")
_SIZED: Final = re.compile(r"(signedinteger|unsignedinteger|floating)\[_(\d+)Bit\]")
_KINDS: Final = {"signedinteger": "int", "unsignedinteger": "uint", "floating": "float"}


def text(typ: Type, options: Options) -> str:
    """Return a type as a person would write it: `NDArray[float32]` rather than what that stands for."""
    bare = _SIZED.sub(lambda match: _KINDS[match[1]] + match[2], format_type_bare(typ, options))
    return _ARRAY.sub(r"NDArray[\1]", bare)


def distinct_texts(types: Sequence[Type], options: Options) -> list[str]:
    """Return types as text, with their modules if they would look the same without."""
    bare = [text(typ, options) for typ in types]
    if len(set(bare)) == len(bare):
        return bare
    return [format_type_bare(typ, options, verbosity=2) for typ in types]
