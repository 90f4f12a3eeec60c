"""The body of a 200: ``{"data": [...], "next_token": ..., "total_count": ...}``.

One pass that checks the shape and cuts the orders apart, without building them.
"""

from __future__ import annotations

import json
import re

import msgspec
import numpy as np
import pyarrow as pa

from trackstar_frames.errors import ResponseError

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
    except (ValueError, RecursionError) as error:
        raise ResponseError(
            f"the answer ({len(body):,} bytes) is not JSON: {error}", retryable=True
        ) from None
    for place, order in enumerate(envelope.data):
        if memoryview(order)[0] != _BRACE:
            raise ResponseError(f"the answer is not as documented: data[{place}] is not an object")
    if envelope.next_token == "":
        raise ResponseError("the answer is not as documented: next_token is an empty string")
    return envelope


def _as_text(body: bytes) -> pa.StringArray:
    """Let Arrow see a body as text: it checks UTF-8 without decoding it."""
    ends = pa.py_buffer(np.array([0, len(body)], np.int32))
    return pa.StringArray.from_buffers(1, ends, pa.py_buffer(body))


def _decode(body: bytes) -> Envelope:
    try:
        return _DECODER.decode(body)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        return _DECODER.decode(strict_json(body))


def strict_json(body: bytes) -> bytes:
    r"""Rewrite what only lenient parsers take, so that nothing of it is lost.

    ``NaN`` and ``Infinity`` become strings of that name; a lone surrogate becomes its own
    escape, spelt out (``\ud800`` as six characters).
    """
    text = json.dumps(json.loads(body, parse_constant=str), ensure_ascii=False)
    return re.sub("[\ud800-\udfff]", lambda lone: f"\\\\u{ord(lone[0]):04x}", text).encode()
