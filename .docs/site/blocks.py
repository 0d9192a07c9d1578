"""Shows the code blocks of docstrings, which begin after `::` as in `help()`, as Markdown shows them."""

from __future__ import annotations

import re
from typing import Any

import griffe
from typing_extensions import override

BLOCK = re.compile(r"^(?P<text>.*[^:\n]):: *\n\n(?P<code>(?: {4}.*\n|\n)*)", re.MULTILINE)


class Blocks(griffe.Extension):
    """Makes fenced blocks of Python of them."""

    @override
    def on_instance(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Rewrite the docstring of a module, class, function or attribute."""
        if obj.docstring is not None:
            obj.docstring.value = BLOCK.sub(_fenced, obj.docstring.value + "\n")


def _fenced(block: re.Match[str]) -> str:
    code = re.sub(r"^ {4}", "", block["code"], flags=re.MULTILINE).strip("\n")
    return f"{block['text']}:\n\n```python\n{code}\n```\n\n"
