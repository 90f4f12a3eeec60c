"""JSON at hand, of any shape that users have it in, as pages of orders."""

from __future__ import annotations

import codecs
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from trackstar_frames.errors import ResponseError
from trackstar_frames.net.envelope import read_envelope

__all__ = ["cut"]

#: So many orders make a page: many at once are flattened much faster than one by one.
_PAGE = 1000


def cut(bodies_or_orders: Any) -> Iterator[list[msgspec.Raw]]:
    """Cut bodies into the JSON texts of their orders.

    Parameters
    ----------
    bodies_or_orders
        A response body, a list of orders or an order as JSON text, an order as a dict, or an
        iterable of these.

    Yields
    ------
    list of msgspec.Raw
        A page of orders; the last may be empty.

    Raises
    ------
    ResponseError
        If something is none of these.
    """
    page: list[msgspec.Raw] = []
    for given in _each(bodies_or_orders):
        page += _orders(given)
        if len(page) >= _PAGE:
            yield page
            page = []
    yield page


def _each(bodies_or_orders: Any) -> Iterable[Any]:
    one = isinstance(bodies_or_orders, (bytes, bytearray, str, Mapping))
    many = isinstance(bodies_or_orders, Iterable) and not one
    return bodies_or_orders if many else [bodies_or_orders]


def _orders(given: Any) -> list[msgspec.Raw]:
    """Cut a body, a list of orders, or an order into the JSON texts of orders."""
    if isinstance(given, Mapping):
        text = _dumps(given)
    elif isinstance(given, str):
        text = given.encode(errors="surrogatepass")
    elif isinstance(given, (bytes, bytearray)):
        text = bytes(given)
    else:
        hint = "; of a file, pass its read_bytes()" if isinstance(given, os.PathLike) else ""
        raise ResponseError(
            f"expected a response's body or an order, not {type(given).__name__}{hint}"
        )
    text = text.removeprefix(codecs.BOM_UTF8)
    if text.lstrip().startswith(b"["):
        return read_envelope(b'{"data": %b}' % text).data
    try:
        return read_envelope(text).data
    except ResponseError:
        if not _is_order(text):
            raise
        return read_envelope(b'{"data": [%b]}' % text).data


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


def _is_order(text: bytes) -> bool:
    try:
        return not isinstance(json.loads(text, parse_int=str).get("data"), list)
    except (ValueError, AttributeError, RecursionError):
        return False
