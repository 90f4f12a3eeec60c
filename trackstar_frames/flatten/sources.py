"""JSON in all the shapes that users have, cut into pages of orders.

A shape that is not recognised is an error; what a body holds besides orders is a problem, if it
matters.
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
from typing import Any

import msgspec
import pyarrow as pa

from trackstar_frames.errors import ResponseError
from trackstar_frames.flatten.careful import Members, member_text, read_object, read_repeated
from trackstar_frames.flatten.layout import Batch, batch_schema, empty_batch
from trackstar_frames.flatten.values import read_list
from trackstar_frames.http import responses
from trackstar_frames.schema import LISTS, TABLES
from trackstar_frames.settings import local_file

_PAGE_SIZE = 1000  # many orders at once are flattened much faster than one by one

_ALLOWED = (
    "allowed are a response's body, an order, a list of orders, "
    'the {"data": {...}} of one order, a webhook event, and JSON Lines of these'
)
_PATH_HINT = "; a str is JSON itself: of a file, pass a pathlib.Path"
_MAX_KEYS_NAMED = 5

#: The keys of an order, and those of them that nothing else has.
_ORDER_KEYS = frozenset(
    {*LISTS["orders"], *(c.path[0] for c in TABLES["orders"].columns if c.path)}
)
_TELLTALE_KEYS = _ORDER_KEYS - {"status", "type"}

#: With one of these, an id is not enough to be an order.
_ERROR_KEYS = frozenset({"error", "errors"})

_BODY_KEYS = frozenset({"data", "next_token", "total_count"})
_EVENT_TYPES = ("order.created", "order.updated", "order.shipment.created")
_EVENT_KEYS = frozenset(
    ("event_type", "connection_id", "integration_name", "integration_type", "previous_attributes")
) | {"data", "data_truncated"}
_EMPTY = (b"null", b'""', b"[]", b"{}")

# Messages in `problems`.
_BESIDE = "beside the orders, and in no table"
_MORE = "the listing continues, and the rest is missing"
_TRUNCATED = "an event that was too large: the order is at its data_url"

_BRACE, _BRACKET = b"{["
_GZIP = b"\x1f\x8b"
_NOT_BLANK = re.compile(rb"[^ \t\r\n]")

_ABSENT = msgspec.Raw()


class _Peek(msgspec.Struct, gc=False):
    """The keys by which most orders are recognised, without reading the others."""

    id: msgspec.Raw = _ABSENT
    data: msgspec.Raw = _ABSENT
    event_type: msgspec.Raw = _ABSENT
    error: msgspec.Raw = _ABSENT
    errors: msgspec.Raw = _ABSENT


_peek = msgspec.json.Decoder(_Peek).decode


class JsonSource:
    """Cuts JSON, in the shapes that `OrderFrames.from_json` takes, into pages of orders."""

    def __init__(self, source: Any, *, names_keys: bool = True) -> None:
        #: Whether the orders came in webhook events, each of which names its connection.
        self.has_events: bool | None = None
        self._source = source
        self._names_keys = names_keys  # in error messages; unknown keys may be personal data
        self._orders: dict[str | None, list[msgspec.Raw]] = {}
        self._problems: dict[str | None, list[dict[str, str | None]]] = {}
        self._next_token = b""
        self._is_partial = False
        self._count, self._total = 0, 0

    @property
    def complete(self) -> bool:
        """Whether no cursor, larger count or error shows that there are more orders."""
        return not (self._is_partial or self._next_token or self._total > self._count)

    def pages(self) -> Iterator[tuple[str | None, list[msgspec.Raw]]]:
        """Yield the connection, of events, and a page of its orders."""
        for where, text in _texts(self._source):
            try:
                self._read(text)
            except ResponseError as error:
                raise ResponseError(f"{where}{error}", retryable=error.retryable) from None
            except RecursionError:
                message = f"{where}the text ({len(text):,} bytes) is nested too deeply to be read"
                raise ResponseError(message) from None
            for connection, orders in self._orders.items():
                if len(orders) >= _PAGE_SIZE:
                    yield connection, orders
                    self._orders[connection] = []
        if self._next_token:
            self._add_problem(None, None, "next_token", self._next_token, _MORE)
        if self._total > self._count:
            self._add_problem(None, None, "total_count", b"%d" % self._total, _MORE)
        yield from self._orders.items()

    def problems(self) -> Iterator[tuple[str | None, Batch]]:
        """Yield the problems of each connection that belong to no order, as a batch."""
        for connection, problems in self._problems.items():
            table = pa.Table.from_pylist(problems, batch_schema("problems"))
            yield connection, empty_batch() | {"problems": table}

    def _read(self, text: bytes) -> None:
        """Read one JSON text: nearly always a whole body."""
        start = text.lstrip(b" \t\r\n")[:1]
        if start == b"{":
            try:
                envelope, frame = responses.read_body(text)
            except ResponseError:
                self._read_object(_check_json(text))
                return
            members = read_repeated(frame)
            if "event_type" in members or not _TELLTALE_KEYS.isdisjoint(members):
                self._read_object(_check_json(text))
            else:
                self._add_body(members, envelope.data)
            return
        text = _check_json(text)
        if start != b"[":
            raise ResponseError(f"a JSON text that is neither an object nor a list; {_ALLOWED}")
        for number, item in enumerate(read_list(text)):
            if memoryview(item)[0] != _BRACE:
                raise ResponseError(f"[{number}] of a list is no object; {_ALLOWED}")
            self._read_object(item)

    def _read_object(self, text: bytes) -> None:
        """Read an object of any shape."""
        peek = _peek(text)
        if peek.data is peek.event_type is _ABSENT:
            is_plain = peek.id is not _ABSENT and peek.error is peek.errors is _ABSENT
            if not is_plain and not _is_order(text):
                raise self._unknown_shape(read_object(text))
            self._add_orders(None, [msgspec.Raw(text)])
            return
        members = read_repeated(bytes(text))
        for key, times in Counter(map(str, members)).items():
            if times > 1 and key in _BODY_KEYS | _EVENT_KEYS:
                raise ResponseError(f"`{key}` is given {times} times")
        if "event_type" in members:
            self._read_event(text, members)
        else:
            self._read_with_data(text, members)

    def _read_with_data(self, text: bytes, members: Members) -> None:
        """Read an object with ``data``: of one order, of many, or an order with that key."""
        inner = _objects_in(members["data"])
        if not _TELLTALE_KEYS.isdisjoint(members):
            if any(map(_is_order, inner)):
                raise ResponseError(
                    f"an object that has both the keys of an order and orders in `data`; {_ALLOWED}"
                )
            self._add_orders(None, [msgspec.Raw(text)])
        elif memoryview(members["data"])[0] == _BRACKET and all(
            memoryview(each)[0] == _BRACE for each in inner
        ):
            self._add_body(members, inner)
        elif _is_order(members["data"]):
            self._report_members(None, members, frozenset({"data"}))
            self._add_orders(None, inner)
        else:
            raise ResponseError(f"`data` holds neither an order nor a list of them; {_ALLOWED}")

    def _read_event(self, text: bytes, members: Members) -> None:
        kind, connection = (member_text(members, key) for key in ("event_type", "connection_id"))
        if kind not in _EVENT_TYPES:
            raise ResponseError(
                f"an event of a kind that holds no order; allowed are {', '.join(_EVENT_TYPES)}"
            )
        if not connection:
            raise ResponseError(
                "an event without a connection_id: the connection of its order is unknown"
            )
        data = members.get("data")
        if data is None or not _is_order(data):
            raise ResponseError("an event whose `data` is no order")
        if bytes(members.get("data_truncated", b"false")) not in (b"false", b"null"):
            self._add_orders(connection, [])
            order_id = member_text(read_object(data), "id")
            self._add_problem(connection, order_id, "", text, _TRUNCATED)
            return
        self._add_orders(connection, [data])
        self._report_members(connection, members, _EVENT_KEYS)

    def _add_body(self, members: Members, orders: list[msgspec.Raw]) -> None:
        if orders and _is_envelope(orders[0]):
            raise ResponseError(
                f"`data` holds no orders, but objects around them; pass a list of those; {_ALLOWED}"
            )
        self._add_orders(None, orders)
        self._count += len(orders)
        token = bytes(members.get("next_token", b"null"))
        self._next_token = b"" if token in _EMPTY else token
        total = responses.read_count(bytes(members.get("total_count", b"")).decode())
        self._total = max(self._total, total or 0)
        known = _BODY_KEYS - {"total_count"} if total is None else _BODY_KEYS
        self._report_members(None, members, known)

    def _add_orders(self, connection: str | None, orders: list[msgspec.Raw]) -> None:
        is_event = connection is not None
        if self.has_events not in (None, is_event):
            raise ResponseError(
                "webhook events, each of which names a connection, are mixed with orders that name "
                "none; pass them in separate calls"
            )
        self.has_events = is_event
        self._orders.setdefault(connection, []).extend(orders)

    def _report_members(
        self, connection: str | None, members: Members, known: frozenset[str]
    ) -> None:
        """Report the other members of a body, unless they are known or empty."""
        for key, value in members.items():
            text = bytes(value)
            if key in known or text in _EMPTY:
                continue
            partial = responses.is_partial(key, text)
            if key == "has_more" and not partial:
                continue
            self._is_partial |= partial
            self._add_problem(connection, None, str(key), text, _BESIDE)

    def _add_problem(
        self, connection: str | None, order_id: str | None, path: str, text: bytes, message: str
    ) -> None:
        row = {"table": "orders", "order_id": order_id, "path": path, "message": message}
        row["value"] = responses.as_received(bytes(text)).decode()
        self._problems.setdefault(connection, []).append(row)

    def _unknown_shape(self, members: Iterable[str]) -> ResponseError:
        names = sorted(members)[:_MAX_KEYS_NAMED] if self._names_keys else []
        found = f"only {', '.join(map(repr, names))}" if names else "none that this package knows"
        return ResponseError(f"an object without any key of an order ({found}); {_ALLOWED}")


def _check_json(text: bytes) -> bytes:
    """Check that a text is one JSON value, and rewrite what only lenient parsers accept."""
    try:
        text.decode()
        try:
            msgspec.json.decode(text, type=msgspec.Raw)
        except msgspec.DecodeError:
            strict = responses.strict_json(text)
            msgspec.json.decode(strict, type=msgspec.Raw)
            return strict
    except ValueError as error:
        hint = "" if text.lstrip()[:1] in (b"{", b"[", b"") else _PATH_HINT
        raise ResponseError(
            f"the text ({len(text):,} bytes) is not JSON: {error}{hint}", retryable=True
        ) from None
    return text


def _objects_in(data: msgspec.Raw) -> list[msgspec.Raw]:
    start = memoryview(data)[0]
    if start == _BRACKET:
        return read_list(data)
    return [data] if start == _BRACE else []


def _is_order(text: bytes) -> bool:
    if memoryview(text)[0] != _BRACE:
        return False
    members = read_object(text)
    has_error = not _ERROR_KEYS.isdisjoint(members)
    return not (_TELLTALE_KEYS - {"id"} if has_error else _TELLTALE_KEYS).isdisjoint(members)


def _is_envelope(text: bytes) -> bool:
    """Return whether an object is an event, or has ``data``, and is no order itself."""
    members = read_object(text)
    return "id" not in members and ("data" in members or "event_type" in members)


def _texts(source: Any) -> Iterator[tuple[str, bytes]]:
    """Yield each JSON text, and its location, which is a prefix for error messages."""
    for item in _items(source):
        text = _unzip(_as_bytes(item)).removeprefix(codecs.BOM_UTF8)
        if not _has_lines(text):
            yield "", text
            continue
        for number, line in enumerate(text.split(b"\n"), 1):
            if _NOT_BLANK.search(line):
                yield f"line {number:,}: ", line.removeprefix(codecs.BOM_UTF8)


def _items(source: Any) -> Iterable[Any]:
    is_one = isinstance(source, (bytes, bytearray, memoryview, str, Mapping, os.PathLike))
    if is_one or hasattr(source, "read") or not isinstance(source, Iterable):
        return [source]
    return (item for item in source if not _is_blank_line(item))


def _is_blank_line(item: Any) -> bool:
    # An empty text is no line, but a response that was cut short.
    return isinstance(item, (bytes, str)) and not item.strip() and len(item.splitlines()) > 0


def _as_bytes(item: Any) -> bytes:
    if isinstance(item, os.PathLike):
        item = local_file(item, "source").read_bytes()
    elif hasattr(item, "read"):
        item = _read_file(item)
    if isinstance(item, Mapping):
        return _dump(item)
    if isinstance(item, str):
        return item.encode(errors="surrogatepass")
    if isinstance(item, (bytes, bytearray, memoryview)):
        return bytes(item)
    raise ResponseError(
        f"expected a response's body or an order, not {type(item).__name__}; pass JSON as text "
        f"or bytes, a dict, a pathlib.Path, an open file, or an iterable of these"
    )


def _read_file(file: Any) -> Any:
    try:
        return file.read()
    except UnicodeDecodeError as error:  # which has all that was read, names and addresses too
        raise ResponseError(
            f"a file that is not text in {error.encoding}: {error.reason} at byte {error.start:,}; "
            f"open it with its encoding"
        ) from None


def _dump(order: Mapping[str, Any]) -> bytes:
    try:
        try:
            return json.dumps(dict(order), ensure_ascii=False).encode()
        except UnicodeEncodeError:  # a lone surrogate, whose escape can be kept
            return json.dumps(dict(order)).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise ResponseError(f"an order cannot be written as JSON: {error}") from None


def _unzip(data: bytes) -> bytes:
    if not data.startswith(_GZIP):
        return data
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise ResponseError(f"gzip that cannot be unpacked: {error}") from None


def _has_lines(text: bytes) -> bool:
    """Return whether this is JSON Lines: the first of several lines is JSON by itself."""
    first = _NOT_BLANK.search(text)
    end = text.find(b"\n", first.start()) if first else -1
    if end < 0 or not _NOT_BLANK.search(text, end):
        return False
    try:
        msgspec.json.decode(responses.strict_json(text[:end]), type=msgspec.Raw)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True
