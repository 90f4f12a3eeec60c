"""JSON at hand, of any shape that users have it in, as pages of orders.

Whatever is not recognised is an error; whatever stands beside the orders, and matters, is told.
"""

from __future__ import annotations

import codecs
import gzip
import json
import os
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa

from trackstar_frames.errors import ResponseError
from trackstar_frames.flatten.careful import read_repeated
from trackstar_frames.flatten.layout import LISTS, Batch, batch_schema
from trackstar_frames.flatten.values import as_text
from trackstar_frames.http.responses import (
    Envelope,
    as_received,
    is_partial,
    read_count,
    read_envelope,
    strict_json,
)
from trackstar_frames.schema import TABLES
from trackstar_frames.settings import local_file

__all__ = ["Bodies", "texts"]


#: So many orders make a page: many at once are flattened much faster than one by one.
_PAGE = 1000

_EVENTS = ("order.created", "order.updated", "order.shipment.created")

_ALLOWED = (
    "allowed are a response's body, an order, a list of orders, "
    'the {"data": {...}} of one order, a webhook event, and JSON Lines of these'
)

_A_NAME = "; a str is JSON itself: of a file, pass a pathlib.Path"

#: The keys of an order, and those of them that nothing else has.
_KEYS = frozenset(
    {*LISTS["orders"], *(each.path[0] for each in TABLES["orders"].columns if each.path)}
)
_TELLING = _KEYS - {"status", "type"}

#: Beside one of these, an id alone makes no order.
_ERRORS = frozenset({"error", "errors"})

_OF_A_BODY = frozenset({"data", "next_token", "total_count"})
_OF_AN_EVENT = frozenset(
    {
        *("event_type", "connection_id", "integration_name", "integration_type"),
        *("data", "data_truncated", "previous_attributes"),
    }
)
_EMPTY = (b"null", b'""', b"[]", b"{}")

_BESIDE = "beside the orders, and in no table"
_MORE = "the listing goes on, and the rest is not here"
_TRUNCATED = "an event that was too large: the order is at its data_url"

_BRACE, _BRACKET = b"{["
_NOTHING = msgspec.Raw()


class _Peek(msgspec.Struct, gc=False):
    """What tells an order from all else that may stand in its place."""

    id: msgspec.Raw = _NOTHING
    data: msgspec.Raw = _NOTHING
    event_type: msgspec.Raw = _NOTHING
    error: msgspec.Raw = _NOTHING
    errors: msgspec.Raw = _NOTHING


_peek = msgspec.json.Decoder(_Peek).decode
_read_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_read_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode

_Members = Mapping[str, msgspec.Raw]


class _Stray(NamedTuple):
    """What is of no order, as a row of `problems`."""

    order_id: str | None
    path: str
    value: str
    message: str


class Bodies:
    """Cuts what it is given into the JSON texts of orders.

    Parameters
    ----------
    names_keys
        Whether messages may name keys that are not known: they may be anything.

    Attributes
    ----------
    of_events : bool
        Whether the orders came in webhook events, and so are each of a connection.
    complete : bool
        Whether nothing in the bodies tells that their listing goes on: a last cursor, a count
        that is larger, an error.
    """

    def __init__(self, *, names_keys: bool = True) -> None:
        self._names_keys = names_keys
        self._kind: str | None = None
        self._orders: dict[str | None, list[msgspec.Raw]] = {}
        self._strays: dict[str | None, list[_Stray]] = {}
        self._next_token = b""
        self._partial = False
        self._in_bodies, self._total = 0, 0

    @property
    def of_events(self) -> bool:
        """Whether the orders came in events."""
        return self._kind == "events"

    @property
    def complete(self) -> bool:
        """Whether there is nothing to tell of more orders."""
        return not (self._partial or self._next_token or self._total > self._in_bodies)

    def pages(self, source: Any) -> Iterator[tuple[str | None, list[msgspec.Raw]]]:
        """Cut bodies, events and orders into pages.

        Parameters
        ----------
        source
            As for `texts`: each text a response's body, an order, a list of orders, an event, or
            an object whose ``data`` is one order.

        Yields
        ------
        str or None, list of msgspec.Raw
            The connection, of events, and a page of its orders.

        Raises
        ------
        ResponseError
            If something is none of these, or events and orders of no connection are mixed.
        """
        for where, text in texts(source):
            try:
                self._read(text)
            except ResponseError as error:
                if not where:
                    raise
                raise ResponseError(f"{where}{error}", retryable=error.retryable) from None
            for connection, orders in self._orders.items():
                if len(orders) >= _PAGE:
                    yield connection, orders
                    self._orders[connection] = []
        self._tell_of_more()
        yield from self._orders.items()

    def strays(self) -> Iterator[tuple[str | None, Batch]]:
        """Give what is of no order as a batch of each connection."""
        for connection, strays in self._strays.items():
            batch = {name: batch_schema(name).empty_table() for name in TABLES}
            rows = [{"table": "orders", **stray._asdict()} for stray in strays]
            batch["problems"] = pa.Table.from_pylist(rows, batch_schema("problems"))
            yield connection, batch

    def _read(self, text: bytes) -> None:
        """Read one JSON text: nearly always a whole body."""
        begins = text.lstrip(b" \t\r\n")[:1]
        if begins == b"{":
            try:
                envelope = read_envelope(text)
            except ResponseError:
                self._object(_checked(text))
            else:
                self._body(text, envelope)
            return
        text = _checked(text)
        if begins != b"[":
            raise ResponseError(f"a JSON text that is neither an object nor a list; {_ALLOWED}")
        for number, item in enumerate(_read_list(text)):
            if memoryview(item)[0] != _BRACE:
                raise ResponseError(f"[{number}] of a list is no object; {_ALLOWED}")
            self._object(item)

    def _body(self, text: bytes, envelope: Envelope) -> None:
        beside = _beside(text, envelope.data)
        if "event_type" in beside or not _TELLING.isdisjoint(beside):
            self._object(_checked(text))
        else:
            self._take_body(beside, envelope.data)

    def _object(self, text: bytes) -> None:
        """Read an object of any kind."""
        peek = _peek(text)
        if peek.event_type is _NOTHING and peek.data is _NOTHING:
            plain = peek.id is not _NOTHING and peek.error is peek.errors is _NOTHING
            if not plain and not _is_order(text):
                raise self._unknown(_read_object(text))
            self._take(None, [msgspec.Raw(text)])
            return
        members = read_repeated(bytes(text))
        for key, times in Counter(map(str, members)).items():
            if times > 1 and key in _OF_A_BODY | _OF_AN_EVENT:
                raise ResponseError(f"`{key}` is given {times} times")
        if "event_type" in members:
            self._event(text, members)
        else:
            self._around(text, members)

    def _around(self, text: bytes, members: _Members) -> None:
        """Read an object with ``data``: of one order, of many, or a key of an order itself."""
        inner = _inside(members["data"])
        if not _TELLING.isdisjoint(members):
            if any(map(_is_order, inner)):
                raise ResponseError(
                    f"an object that has both the keys of an order and orders in `data`; {_ALLOWED}"
                )
            self._take(None, [msgspec.Raw(text)])
        elif memoryview(members["data"])[0] == _BRACKET and all(
            memoryview(each)[0] == _BRACE for each in inner
        ):
            self._take_body(members, inner)
        elif _is_order(members["data"]):
            self._tell_beside(None, members, _OF_A_BODY - {"next_token", "total_count"})
            self._take(None, inner)
        else:
            raise ResponseError(f"`data` holds neither an order nor a list of them; {_ALLOWED}")

    def _take_body(self, members: _Members, orders: list[msgspec.Raw]) -> None:
        if orders and _is_around(orders[0]):
            raise ResponseError(
                f"`data` holds no orders, but objects around them; pass a list of those; {_ALLOWED}"
            )
        self._take(None, orders)
        self._in_bodies += len(orders)
        token = bytes(members.get("next_token", b"null"))
        self._next_token = b"" if token in _EMPTY else token
        total = read_count(bytes(members.get("total_count", b"")).decode())
        self._total = max(self._total, total or 0)
        self._tell_beside(
            None, members, _OF_A_BODY - {"total_count"} if total is None else _OF_A_BODY
        )

    def _event(self, text: bytes, members: _Members) -> None:
        kind, connection = (_text_of(members, key) for key in ("event_type", "connection_id"))
        if kind not in _EVENTS:
            raise ResponseError(
                f"an event of a kind that holds no order; allowed are {', '.join(_EVENTS)}"
            )
        if not connection:
            raise ResponseError("an event without a connection_id: whose its order is, is unknown")
        data = members.get("data", _NOTHING)
        if data == _NOTHING or not _is_order(data):
            raise ResponseError("an event whose `data` is no order")
        if bytes(members.get("data_truncated", b"false")) not in (b"false", b"null"):
            identity = _text_of(_read_object(data), "id")
            self._take(connection, [])
            self._tell(connection, identity, "", text, _TRUNCATED)
            return
        self._take(connection, [data])
        self._tell_beside(connection, members, _OF_AN_EVENT)

    def _take(self, connection: str | None, orders: list[msgspec.Raw]) -> None:
        kind = "orders" if connection is None else "events"
        if self._kind not in (None, kind):
            raise ResponseError(
                "webhook events, which are each of a connection, beside orders of no connection; "
                "pass them apart"
            )
        self._kind = kind
        self._orders.setdefault(connection, []).extend(orders)

    def _tell_of_more(self) -> None:
        """Tell of a listing that goes on after the last of its bodies at hand."""
        if self._next_token:
            self._tell(None, None, "next_token", self._next_token, _MORE)
        if self._total > self._in_bodies:
            self._tell(None, None, "total_count", b"%d" % self._total, _MORE)

    def _tell_beside(
        self, connection: str | None, members: _Members, known: frozenset[str]
    ) -> None:
        """Tell what stands beside the orders, unless it is known or says nothing."""
        for key, value in members.items():
            text = bytes(value)
            if key in known or text in _EMPTY:
                continue
            partial = is_partial(key, text)
            if key == "has_more" and not partial:
                continue
            self._partial |= partial
            self._tell(connection, None, str(key), text, _BESIDE)

    def _tell(
        self, connection: str | None, order_id: str | None, path: str, text: bytes, message: str
    ) -> None:
        value = as_received(bytes(text)).decode()
        self._strays.setdefault(connection, []).append(_Stray(order_id, path, value, message))

    def _unknown(self, members: Iterable[str]) -> ResponseError:
        named = ", ".join(map(repr, sorted(members)[:_NAMED])) if self._names_keys else ""
        met = f"only {named}" if named else "none that this package knows"
        return ResponseError(f"an object without any key of an order ({met}); {_ALLOWED}")


_NAMED = 5


def _checked(text: bytes) -> bytes:
    """Check that a text is one JSON value, and rewrite what only lenient parsers take."""
    try:
        text.decode()
        return _strict(text)
    except RecursionError:
        raise ResponseError(
            f"the text ({len(text):,} bytes) is nested too deeply to be read"
        ) from None
    except ValueError as error:
        hint = "" if text.lstrip()[:1] in (b"{", b"[", b"") else _A_NAME
        raise ResponseError(
            f"the text ({len(text):,} bytes) is not JSON: {error}{hint}", retryable=True
        ) from None


def _strict(text: bytes) -> bytes:
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except msgspec.DecodeError:
        text = strict_json(text)
        msgspec.json.decode(text, type=msgspec.Raw)
    return text


def _beside(text: bytes, orders: list[msgspec.Raw]) -> _Members:
    """Read what stands beside the orders of a body, without reading the orders again."""
    if orders:
        base = pa.py_buffer(text).address
        first, last = pa.py_buffer(orders[0]), pa.py_buffer(orders[-1])
        start, end = first.address - base, last.address - base + last.size
        if not 0 <= start <= end <= len(text):  # the body was rewritten before it was cut
            return read_repeated(strict_json(text))
        text = text[:start] + text[end:]
    return read_repeated(_strict(text))


def _inside(data: msgspec.Raw) -> list[msgspec.Raw]:
    begins = memoryview(data)[0]
    if begins == _BRACKET:
        return _read_list(data)
    return [data] if begins == _BRACE else []


def _is_around(text: bytes) -> bool:
    """Tell whether an object is an event, or has ``data``, and is no order itself."""
    peek = _peek(text)
    return peek.id is _NOTHING and not peek.data is peek.event_type is _NOTHING


def _is_order(text: bytes) -> bool:
    if memoryview(text)[0] != _BRACE:
        return False
    members = _read_object(text)
    failed = not _ERRORS.isdisjoint(members)
    return not (_TELLING - {"id"} if failed else _TELLING).isdisjoint(members)


def _text_of(members: _Members, key: str) -> str | None:
    try:
        return as_text(bytes(members[key]))
    except (KeyError, ValueError):
        return None


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
