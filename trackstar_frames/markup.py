"""Cards for notebooks, in HTML: a title, tables, lines of words.

No colour is set: all is as light or dark as the notebook. Everything is escaped, as labels and
words come from outside.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

__all__ = ["card", "lines", "megabytes", "table"]

_MEGABYTE = 1e6  # bytes


def card(title: str, *parts: str) -> str:
    """Put parts that are HTML already under a title.

    Examples
    --------
    >>> card("Words", lines(["a < b"]))
    "<div><p style='margin:0'><strong>Words</strong></p><p style='margin:.5em 0 0'>a &lt; b</p></div>"
    """  # noqa: E501  (one line is what it is)
    return (
        f"<div><p style='margin:0'><strong>{html.escape(title)}</strong></p>{''.join(parts)}</div>"
    )


def lines(words: Iterable[str]) -> str:
    """Set one line under the other."""
    return f"<p style='margin:.5em 0 0'>{'<br>'.join(map(html.escape, words))}</p>"


def table(heads: Sequence[str], rows: Iterable[Sequence[str | int | float]]) -> str:
    """Set rows in columns: the first names its row, numbers stand at the right.

    Examples
    --------
    >>> "<td style='text-align:right'>1,200</td>" in table(("table", "rows"), [("orders", 1200)])
    True
    """
    body = [list(row) for row in rows]
    head = "".join(_cell("th", name, _side(rest)) for name, *rest in zip(heads, *body, strict=True))
    return (
        f"<table style='color:inherit;margin:.5em 0 0'><thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(map(_row, body))}</tbody></table>"
    )


def megabytes(size: int) -> float:
    """Turn bytes into what people read."""
    return size / _MEGABYTE


def _row(cells: list[str | int | float]) -> str:
    first, *rest = cells
    told = "".join(_cell("td", each, _side([each])) for each in rest)
    return f"<tr>{_cell('th', first, 'left')}{told}</tr>"


def _cell(tag: str, value: str | float, side: str) -> str:
    return f"<{tag} style='text-align:{side}'>{html.escape(_worded(value))}</{tag}>"


def _side(values: Iterable[str | float]) -> str:
    return "right" if any(isinstance(value, (int, float)) for value in values) else "left"


def _worded(value: str | float) -> str:
    if isinstance(value, float):
        return f"{value:,.2f}"
    return value if isinstance(value, str) else f"{value:,}"
