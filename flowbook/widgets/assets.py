"""What a widget's browser side is made of: the drawing code, the code that feeds it, and the style sheet."""

from __future__ import annotations

from importlib.resources import files

from flowbook.widgets.squeezing import squeezed

_FOLDER = files(__package__)


def module() -> str:
    """One ES module: ``draw.js``, then ``glue.js``, which uses what the first defines.

    It travels with every widget, so comments and spaces that mean nothing stay at home.
    No text in either file spans lines.
    """
    lines = (line.strip() for line in (_read("draw.js") + _read("glue.js")).splitlines())
    return squeezed("\n".join(line for line in lines if line and not line.startswith(("//", "/**", "*"))))


def style() -> str:
    """The style sheet."""
    return _read("draw.css")


def _read(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")
