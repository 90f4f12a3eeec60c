"""Where orders come from, in words: of one connection, or of several of which some have failed."""

from __future__ import annotations

import copy
import inspect
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

from trackstar_frames.plain import counted, plain

__all__ = ["in_brief", "summary", "told", "warn", "warn_of_failed"]

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
    """Count the calls from the one before this up to the first from outside this package."""
    level, frame = 0, inspect.currentframe()
    while frame is not None and _is_ours(frame.f_globals.get("__name__", "")):
        level, frame = level + 1, frame.f_back
    return level


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] == _PACKAGE
