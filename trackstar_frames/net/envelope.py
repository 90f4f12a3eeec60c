"""The body of a 200: ``{"data": [...], "next_token": ..., "total_count": ...}``.

One pass that checks the shape and cuts the orders apart, without building them.
"""

from __future__ import annotations

import codecs
import json
import re
from collections import Counter

import msgspec
import numpy as np
import pyarrow as pa

from trackstar_frames.errors import ResponseError
from trackstar_frames.net import constants

__all__ = ["Envelope", "read_envelope", "strict_json"]


class Envelope(msgspec.Struct, frozen=True):
    """One page as the server sent it.

    Attributes
    ----------
    data : list of msgspec.Raw
        The JSON text of each order.
    next_token : str or None or UNSET
        The cursor of the next page; None ends the listing, UNSET is an absent token.
    """

    data: list[msgspec.Raw]
    next_token: str | msgspec.UnsetType | None = msgspec.UNSET


_BRACE = ord("{")
_DECODER = msgspec.json.Decoder(Envelope)


def read_envelope(body: bytes) -> Envelope:
    """Check a body and cut it into orders.

    Parameters
    ----------
    body
        The bytes of a 200.

    Returns
    -------
    Envelope
        The orders' own JSON texts, and the cursor.

    Raises
    ------
    ResponseError
        If the body is not JSON (it may have been cut short, so this is retryable), or not
        the documented object.
    """
    try:
        _as_text(body).validate(full=True)
        envelope = _decode(body)
    except msgspec.ValidationError as error:
        raise ResponseError(f"the answer is not as documented: {error}") from None
    except RecursionError:
        raise ResponseError(
            f"the answer ({len(body):,} bytes) is nested too deeply to be read"
        ) from None
    except ValueError as error:
        raise ResponseError(
            f"the answer ({len(body):,} bytes) is not JSON: {error}", retryable=True
        ) from None
    for place, order in enumerate(envelope.data):
        if memoryview(order)[0] != _BRACE:
            raise ResponseError(f"the answer is not as documented: data[{place}] is not an object")
    if envelope.next_token == "":
        raise ResponseError("the answer is not as documented: next_token is an empty string")
    return envelope


def _as_text(body: bytes) -> pa.LargeStringArray:
    """Let Arrow see a body as text: it checks UTF-8 without decoding it."""
    ends = pa.py_buffer(np.array([0, len(body)], np.int64))
    return pa.LargeStringArray.from_buffers(1, ends, pa.py_buffer(body))


def _decode(body: bytes) -> Envelope:
    try:
        envelope = _DECODER.decode(body)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        body = strict_json(body)
        envelope = _DECODER.decode(body)
    _refuse_repeated(_frame(body, envelope.data))
    return envelope


def _frame(body: bytes, orders: list[msgspec.Raw]) -> bytes:
    """Cut the orders out of their body."""
    if not orders:
        return body
    base = pa.py_buffer(body).address
    first, last = pa.py_buffer(orders[0]), pa.py_buffer(orders[-1])
    return body[: first.address - base] + body[last.address - base + last.size :]


def _refuse_repeated(frame: bytes) -> None:
    """Refuse a body that gives its orders or its cursor twice: all but the last are lost."""
    members = json.loads(frame, object_pairs_hook=list, parse_int=str)
    times = Counter(key for key, _ in members)
    for key in Envelope.__struct_fields__:
        if times[key] > 1:
            raise msgspec.ValidationError(f"`{key}` is given {times[key]} times")


def strict_json(body: bytes) -> bytes:
    r"""Rewrite what only lenient parsers take, so that nothing of it is lost.

    ``NaN`` and ``Infinity`` become marks (see `net.constants`); a lone surrogate becomes its own
    escape, spelt out (``\ud800`` as six characters); a mark of the byte order goes. All else
    keeps its spelling.
    """
    return _ESCAPE.sub(_spelt_out, constants.mark(body.removeprefix(codecs.BOM_UTF8)))


_ESCAPE = re.compile(
    rb"\\u[dD][89abAB][\da-fA-F]{2}\\u[dD][c-fC-F][\da-fA-F]{2}"  # a pair: a character
    rb"|\\(?P<lone>u[dD][89a-fA-F][\da-fA-F]{2})"
    rb"|\\.",
    re.DOTALL,
)


def _spelt_out(escape: re.Match[bytes]) -> bytes:
    return rb"\\%b" % escape["lone"] if escape["lone"] else escape[0]
