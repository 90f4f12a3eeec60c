"""Text for display: safe to print in a terminal, with counts in words, or as HTML."""

from __future__ import annotations

import html
import inspect
import re
import warnings
from collections.abc import Iterable, Sequence

# Control characters, line and paragraph separators, marks of direction, lone surrogates.
_UNSAFE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def plain(text: str) -> str:
    """Replace line ends by spaces, and what would control a terminal by ``?``."""
    return _UNSAFE.sub(lambda match: " " if match[0].isspace() else "?", text)


def counted(number: int, thing: str) -> str:
    """Count a thing in words: ``1 page``, ``2,500 pages``."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def card(title: str, *parts: str) -> str:
    """Return HTML of a title above parts, which are HTML already."""
    return (
        f"<div><p style='margin:0'><strong>{html.escape(title)}</strong></p>{''.join(parts)}</div>"
    )


def lines(words: Iterable[str]) -> str:
    """Return HTML of lines of text."""
    return f"<p style='margin:.5em 0 0'>{'<br>'.join(map(html.escape, words))}</p>"


def table(heads: Sequence[str], rows: Iterable[Sequence[str | int | float]]) -> str:
    """Return HTML of a table; the first column names the row, numbers are aligned right."""
    body = [list(row) for row in rows]
    head = "".join(
        _cell("th", name, _align(rest)) for name, *rest in zip(heads, *body, strict=True)
    )
    return (
        f"<table style='color:inherit;margin:.5em 0 0'><thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(map(_row, body))}</tbody></table>"
    )


def _row(cells: list[str | int | float]) -> str:
    first, *rest = cells
    others = "".join(_cell("td", each, _align([each])) for each in rest)
    return f"<tr>{_cell('th', first, 'left')}{others}</tr>"


def _cell(tag: str, value: str | float, align: str) -> str:
    if not isinstance(value, str):
        value = f"{value:,.2f}" if isinstance(value, float) else f"{value:,}"
    return f"<{tag} style='text-align:{align}'>{html.escape(value)}</{tag}>"


def _align(values: Iterable[str | float]) -> str:
    return "right" if any(isinstance(value, (int, float)) for value in values) else "left"


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Issue a warning that points at the caller of this package."""
    level, frame = 1, inspect.currentframe()
    while frame and f"{frame.f_globals.get('__name__')}.".startswith("trackstar_frames."):
        level, frame = level + 1, frame.f_back
    warnings.warn(plain(message), category, stacklevel=level)
