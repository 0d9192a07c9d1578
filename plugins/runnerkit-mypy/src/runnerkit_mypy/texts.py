"""Types as text, as `runnerkit._sentences` wants them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from mypy.messages import format_type_bare
from mypy.options import Options
from mypy.types import Type

# What mypy puts before names that two classes have in common; the text of a Literal is left alone.
_MODULE: Final = re.compile(r"(?<!['\"\w.])(?:[^\W\d]\w*\.)+(?=[^\W\d])")
_SIZED: Final = re.compile(r"\b(signedinteger|unsignedinteger|floating)\[_(\d+)Bit\]")
_POINTER: Final = re.compile(r"\b(signedinteger|unsignedinteger)\[_32Bit \| _64Bit\]")  # intp, uintp
_COMPLEX: Final = re.compile(r"\bcomplexfloating\[_(\d+)Bit(?:, _\1Bit)?\]")
_KINDS: Final = {"signedinteger": "int", "unsignedinteger": "uint", "floating": "float"}
# NDArray[...], as mypy spells it out; the number of dimensions is left away.
_ARRAY: Final = re.compile(r"\bndarray\[(?:tuple\[[^\[\]]*\]|Any), dtype\[(\w+(?:\[\w+\])?(?: \| \w+)*)\]\]")


def text(typ: Type, options: Options) -> str:
    """Return a type as a person would write it: `NDArray[float32]` rather than what that stands for."""
    bare = _MODULE.sub("", format_type_bare(typ, options))
    bare = _SIZED.sub(lambda match: _KINDS[match[1]] + match[2], bare)
    bare = _POINTER.sub(lambda match: _KINDS[match[1]] + "64", bare)
    bare = _COMPLEX.sub(lambda match: f"complex{2 * int(match[1])}", bare).replace("bool[bool]", "bool")
    return _ARRAY.sub(r"NDArray[\1]", bare)


def distinct_texts(types: Sequence[Type], options: Options) -> list[str]:
    """Return types as text, with their modules if they would look the same without."""
    bare = [text(typ, options) for typ in types]
    if len(set(bare)) == len(bare):
        return bare
    return [format_type_bare(typ, options, verbosity=2) for typ in types]
