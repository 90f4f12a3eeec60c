"""Text for people: safe to print in a terminal, counted in words, or as HTML."""

from __future__ import annotations

import copy
import html
import inspect
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

__all__ = [
    "card",
    "counted",
    "in_brief",
    "lines",
    "megabytes",
    "plain",
    "summary",
    "table",
    "told",
    "warn",
    "warn_of_failed",
]


# Control characters, line and paragraph separators, marks of direction, lone surrogates.
_UNSAFE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def plain(text: str) -> str:
    r"""Replace line ends by spaces, and what would control a terminal by ``?``.

    Examples
    --------
    >>> plain("no such filter\x1b[2J\nINFO all is well")
    'no such filter?[2J INFO all is well'
    """
    return _UNSAFE.sub(lambda match: " " if match[0].isspace() else "?", text)


def counted(number: int, thing: str) -> str:
    """Count a thing in words.

    Examples
    --------
    >>> counted(1, "page"), counted(2500, "page")
    ('1 page', '2,500 pages')
    """
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


_MEGABYTE = 1e6  # bytes


def card(title: str, *parts: str) -> str:
    """Return HTML of a title above parts, which are HTML already.

    Examples
    --------
    >>> card("Words", lines(["a < b"]))
    "<div><p style='margin:0'><strong>Words</strong></p><p style='margin:.5em 0 0'>a &lt; b</p></div>"
    """  # noqa: E501  (one line is what it is)
    return (
        f"<div><p style='margin:0'><strong>{html.escape(title)}</strong></p>{''.join(parts)}</div>"
    )


def lines(words: Iterable[str]) -> str:
    """Return HTML of lines of text."""
    return f"<p style='margin:.5em 0 0'>{'<br>'.join(map(html.escape, words))}</p>"


def table(heads: Sequence[str], rows: Iterable[Sequence[str | int | float]]) -> str:
    """Return HTML of a table; the first column names the row, numbers are aligned right.

    Examples
    --------
    >>> "<td style='text-align:right'>1,200</td>" in table(("table", "rows"), [("orders", 1200)])
    True
    """
    body = [list(row) for row in rows]
    head = "".join(
        _cell("th", name, _align(rest)) for name, *rest in zip(heads, *body, strict=True)
    )
    return (
        f"<table style='color:inherit;margin:.5em 0 0'><thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(map(_row, body))}</tbody></table>"
    )


def megabytes(size: int) -> float:
    """Convert bytes to megabytes."""
    return size / _MEGABYTE


def _row(cells: list[str | int | float]) -> str:
    first, *rest = cells
    others = "".join(_cell("td", each, _align([each])) for each in rest)
    return f"<tr>{_cell('th', first, 'left')}{others}</tr>"


def _cell(tag: str, value: str | float, align: str) -> str:
    return f"<{tag} style='text-align:{align}'>{html.escape(_shown(value))}</{tag}>"


def _align(values: Iterable[str | float]) -> str:
    return "right" if any(isinstance(value, (int, float)) for value in values) else "left"


def _shown(value: str | float) -> str:
    if isinstance(value, float):
        return f"{value:,.2f}"
    return value if isinstance(value, str) else f"{value:,}"


_PACKAGE = __name__.partition(".")[0]

#: More labels than these are counted.
_NAMED = 5


def in_brief(info: Mapping[str, Any]) -> dict[str, Any]:
    """Tell the same for the attrs of one frame: its own, and small however many connections.

    pandas copies attrs with every column that is taken, and Parquet stores them as JSON. So of
    ``connections`` and ``failed``, which name each, the frame has the numbers, as plain integers.

    Examples
    --------
    >>> in_brief({"limit": None, "connections": {"acme": {}, "beta": {}}})
    {'limit': None, 'connections': 2}
    """
    counts = {name: len(info[name]) for name in ("connections", "failed") if name in info}
    return copy.deepcopy({**info, **counts})


def told(info: Mapping[str, Any]) -> list[str]:
    """Answer line by line: what was asked, how fresh it is, and what was left out."""
    asked = ", ".join(f"{name}={value!r}" for name, value in info["filters"].items())
    lines = [f"asked for: {asked or 'all orders'}"]
    if info["limit"] is not None:
        lines.append(f"limit: the server's first {info['limit']:,}")
    if info["connection"]:
        lines.append(f"connection: {info['connection']}")
    if "connections" in info:
        lines.append(f"{_how_many(info)}: {_some(info['connections'])}")
    if info["fetched_at"]:
        lines.append(_freshness(info))
    if info["duplicates"]:
        lines.append(f"{counted(info['duplicates'], 'duplicate')} dropped")
    if info.get("pii", "keep") != "keep":
        lines.append(f"personal data: pii={info['pii']!r}")
    if info.get("failed"):
        lines.append(f"FAILED, and missing or older: {_failures(info['failed'])}")
    if not info["complete"]:
        lines.append("INCOMPLETE: the fetch broke before its end")
    return list(map(plain, lines))


def summary(info: Mapping[str, Any]) -> str:
    """Say the most of it in a few words."""
    words = [f"fetched_at={info.get('fetched_at')}"]
    if "connections" in info:
        words.append(_how_many(info))
    if info.get("failed"):
        words.append(f"failed: {_some(map(repr, info['failed']))}")
    return plain("; ".join(words))


def warn_of_failed(info: Mapping[str, Any]) -> None:
    """Warn whoever called this package if some connections are missing from what was read."""
    failed = info.get("failed")
    if not failed:
        return
    of = len({*info.get("connections", ()), *failed})
    warnings.warn(
        f"{len(failed):,} of {of:,} connections failed when this was written, and "
        f"{'is' if len(failed) == 1 else 'are'} missing or older: {_failures(failed)}; "
        f"the same export or sync asks for them again",
        stacklevel=_level_outside(),
    )


def warn(message: str) -> None:
    """Warn whoever called this package."""
    warnings.warn(plain(message), stacklevel=_level_outside())


def _freshness(info: Mapping[str, Any]) -> str:
    oldest = ", the oldest" if "connections" in info else ""
    return (
        f"fetched at {info['fetched_at']}{oldest}: {counted(info['pages'], 'page')}, "
        f"{info['from_cache']:,} of them from disk, {counted(info['requests'], 'request')}"
    )


def _how_many(info: Mapping[str, Any]) -> str:
    return counted(len(info["connections"]), "connection")


def _some(labels: Iterable[str]) -> str:
    """Name labels, or the first of many."""
    labels = list(labels)
    more = len(labels) - _NAMED
    return ", ".join(labels[:_NAMED]) + (f" and {more:,} more" if more > 0 else "")


def _failures(failed: Mapping[str, str]) -> str:
    return plain(", ".join(f"{label!r} ({words})" for label, words in failed.items()))


def _level_outside() -> int:
    """Return the `stacklevel` of the first caller outside this package."""
    level, frame = 0, inspect.currentframe()
    while frame is not None and _is_ours(frame.f_globals.get("__name__", "")):
        level, frame = level + 1, frame.f_back
    return level


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] == _PACKAGE
