"""HTML and SVG that cannot be broken by what stands in it: texts are escaped, and only `Markup` is not.

For example::

    tag("td", "<script>", class_="env")     # <td class="env">&lt;script&gt;</td>
    tag("p", "mean ", tag("b", 4.5))
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from typing import Final, TypeAlias

__all__ = ["Markup", "Node", "joined", "scrolled", "tag", "text"]


class Markup(str):
    """HTML, as opposed to a text that happens to look like it."""

    __slots__ = ()


Node: TypeAlias = "str | float | None"
"""What may stand in a tag: `Markup`, a text or a number; None is nothing."""

_VOID: Final = {"br", "img", "input", "link", "meta"}
_SHAPES: Final = {"circle", "line", "path", "rect"}
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def text(value: str | float) -> Markup:
    """Return a text with what HTML means otherwise escaped, and without what no document may have."""
    return Markup(html.escape(_CONTROLS.sub("\N{REPLACEMENT CHARACTER}", f"{value}")))


def joined(nodes: Iterable[Node], between: str = "") -> Markup:
    """Return several nodes as one."""
    return Markup(text(between).join(_node(node) for node in nodes))


def tag(name: str, /, *children: Node, **attributes: str | float | None) -> Markup:
    """Return an element.

    In the names of attributes `_` stands for `-`, and one at the end is left out; those whose value is None are, too.
    Numbers are written short.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_value(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID:
        return Markup(f"<{name}{written}>")
    content = joined(children)
    return Markup(f"<{name}{written}/>" if name in _SHAPES and not content else f"<{name}{written}>{content}</{name}>")


def scrolled(table: Markup, label: str, *, is_tall: bool = False) -> Markup:
    """Return a table in a box that scrolls, also with the arrow keys."""
    return tag(
        "div", table, class_="scroll tall" if is_tall else "scroll", tabindex="0", role="region", aria_label=label
    )


def _node(node: Node) -> str:
    if node is None:
        return ""
    return node if isinstance(node, Markup) else text(node)


def _value(value: str | float) -> str:
    return text(f"{value:.5g}" if isinstance(value, float) else value)
