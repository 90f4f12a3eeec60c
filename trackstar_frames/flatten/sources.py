"""JSON at hand, wherever it is: texts, dicts, paths, open files, and any number of these."""

from __future__ import annotations

import codecs
import gzip
import json
import os
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from trackstar_frames.errors import ResponseError
from trackstar_frames.net.envelope import strict_json
from trackstar_frames.settings import local_file

__all__ = ["texts"]

_GZIP = b"\x1f\x8b"
_NOT_BLANK = re.compile(rb"[^ \t\r\n]")


def texts(source: Any) -> Iterator[tuple[str, bytes]]:
    """Read JSON texts, one after the other.

    Parameters
    ----------
    source
        JSON or JSON Lines as text or bytes, gzip or not; an object as a dict; a path or an open
        file of these; or an iterable of any of these.

    Yields
    ------
    str, bytes
        Where it stands, as the beginning of a message, and the text; blank lines are left out.

    Raises
    ------
    ResponseError
        If something is none of these.
    OSError
        If a file cannot be read.
    """
    for given in _each(source):
        text = _unpacked(_as_bytes(given)).removeprefix(codecs.BOM_UTF8)
        yield from _lines(text)


def _each(source: Any) -> Iterable[Any]:
    one = isinstance(source, (bytes, bytearray, memoryview, str, Mapping, os.PathLike))
    if one or hasattr(source, "read") or not isinstance(source, Iterable):
        return [source]
    return (item for item in source if not _is_blank_line(item))


def _is_blank_line(item: Any) -> bool:
    # Nothing at all is no line, but an answer that was cut short.
    return isinstance(item, (bytes, str)) and not item.strip() and len(item.splitlines()) > 0


def _as_bytes(given: Any) -> bytes:
    if isinstance(given, os.PathLike):
        given = local_file(given, "source").read_bytes()
    elif hasattr(given, "read"):
        given = _read(given)
    if isinstance(given, Mapping):
        return _dumps(given)
    if isinstance(given, str):
        return given.encode(errors="surrogatepass")
    if isinstance(given, (bytes, bytearray, memoryview)):
        return bytes(given)
    raise ResponseError(
        f"expected a response's body or an order, not {type(given).__name__}; pass JSON as text "
        f"or bytes, a dict, a pathlib.Path, an open file, or an iterable of these"
    )


def _read(file: Any) -> Any:
    try:
        return file.read()
    except UnicodeDecodeError as error:  # which holds all that was read, names and addresses too
        raise ResponseError(
            f"a file that is not text in {error.encoding}: {error.reason} at byte {error.start:,}; "
            f"open it with its encoding"
        ) from None


def _dumps(order: Mapping[str, Any]) -> bytes:
    try:
        return _encoded(dict(order))
    except (TypeError, ValueError, RecursionError) as error:
        raise ResponseError(f"an order cannot be written as JSON: {error}") from None


def _encoded(order: dict[str, Any]) -> bytes:
    try:
        return json.dumps(order, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # a lone surrogate; its escape can be kept
        return json.dumps(order).encode()


def _unpacked(data: bytes) -> bytes:
    if not data.startswith(_GZIP):
        return data
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise ResponseError(f"gzip that cannot be unpacked: {error}") from None


def _lines(text: bytes) -> Iterator[tuple[str, bytes]]:
    """Cut JSON Lines apart; any other text is one."""
    if not _has_lines(text):
        yield "", text
        return
    for number, line in enumerate(text.split(b"\n"), 1):
        if _NOT_BLANK.search(line):
            yield f"line {number:,}: ", line.removeprefix(codecs.BOM_UTF8)


def _has_lines(text: bytes) -> bool:
    """Tell whether the first line that is not blank is JSON by itself, and not the last."""
    first = _NOT_BLANK.search(text)
    end = text.find(b"\n", first.start()) if first else -1
    return end >= 0 and bool(_NOT_BLANK.search(text, end)) and _is_json(text[:end])


def _is_json(line: bytes) -> bool:
    try:
        msgspec.json.decode(strict_json(line), type=msgspec.Raw)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True
