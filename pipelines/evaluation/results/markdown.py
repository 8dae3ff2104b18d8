"""Tables as Markdown that shows every text as it is, whatever is in it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pipelines.monitoring.terminal import table

_SPECIAL = str.maketrans(
    {"\\": r"\\", "`": r"\`", "*": r"\*", "~": r"\~", "<": "&lt;", ">": "&gt;", "&": "&amp;"}
)


def escaped(text: str) -> str:
    """A text without Markdown's or HTML's special meanings; ``|`` is left to `table`."""
    text = text.translate(_SPECIAL).replace("](", r"]\(").replace("![", r"\![")
    return re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", text)


def as_markdown(rows: Sequence[Sequence[str]]) -> str:
    """Rows as a Markdown table with aligned columns; the first row is the heading."""
    return "\n".join(table([[escaped(cell) for cell in row] for row in rows], markdown=True))
