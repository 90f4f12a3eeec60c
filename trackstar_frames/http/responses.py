"""Bodies of responses: pages of orders, and the errors that other responses stand for.

A page is ``{"data": [...], "next_token": ..., "total_count": ...}``. One pass checks its shape and
cuts the orders apart, without building them.
"""

from __future__ import annotations

import codecs
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from trackstar_frames._text import plain
from trackstar_frames.errors import (
    ApiError,
    AuthError,
    NotSupportedError,
    RateLimitError,
    ResponseError,
    ServerError,
)


class Envelope(msgspec.Struct, frozen=True):
    """One page as the server sent it.

    Attributes
    ----------
    data : list of msgspec.Raw
        The JSON text of each order.
    next_token : str or None or UNSET
        The cursor of the next page; None ends the listing, UNSET is an absent cursor.
    total_count : int or None
        How many orders there are, on this page or in the listing; None if not given.
    has_more : bool or None
        Whether more orders follow; None if not given.
    other_members : dict of str to str
        Every other member of the body that is not null, ``""``, ``[]`` or ``{}``: JSON text
        by name.
    """

    data: list[msgspec.Raw]
    next_token: str | msgspec.UnsetType | None = msgspec.UNSET
    total_count: int | None = None
    has_more: bool | None = None
    other_members: dict[str, str] = {}


class _Body(msgspec.Struct):
    data: list[msgspec.Raw]
    next_token: str | msgspec.UnsetType | None = msgspec.UNSET


_BRACE = ord("{")
_DECODER = msgspec.json.Decoder(_Body)

# Names of members, as `_normalized` spells them, that other APIs use. Those of `_HAS_MORE` say
# that more orders follow, those of `_IS_LAST` if they are false; a cursor says the same.
_HAS_MORE = ("hasmore", "hasnext", "hasnextpage", "more", "moreresults")
_IS_LAST = ("islast", "islastpage", "done", "finished")
_CURSORS = (
    *("next", "nexttoken", "nextcursor", "nextpage", "nextpagetoken", "nextpageurl"),
    *("nexturl", "nextlink"),
)
# Those of `_FAILED` say that a response is not whole, unless they are empty or false; those of
# `_WHOLE` if they are false.
_FAILED = (
    *("error", "errors", "failures", "partial", "ispartial", "partialdata", "partialresults"),
    *("incomplete", "truncated", "datatruncated", "timedout"),
)
_WHOLE = ("success", "ok", "complete", "iscomplete")
_NOT_ALL = (*_HAS_MORE, *_CURSORS, *_FAILED)
# Names of what the server has ignored.
_IGNORED = re.compile(
    "(unused|ignored|unknown|invalid|unsupported|unrecognized)"
    "(filters?|param(eter)?s?|quer(y|ies)|fields?|arguments?)?"
)
_QUOTED = 200  # characters


def read_envelope(body: bytes, scrub: Callable[[str], str] | None = None) -> Envelope:
    """Check the body of a 200 and cut it into orders.

    Raises ResponseError if it is not JSON (then retryable: it may have been cut short), or not the
    documented object. `scrub` takes what must not be shown out of the words that an error quotes;
    without it, an error quotes none.
    """
    try:
        _as_text(body).validate(full=True)
        envelope = _decode(body, scrub)
    except msgspec.ValidationError as error:
        raise ResponseError(f"the response is not as documented: {error}") from None
    except RecursionError:
        raise ResponseError(
            f"the response ({len(body):,} bytes) is nested too deeply to be read"
        ) from None
    except ValueError as error:
        raise ResponseError(
            f"the response ({len(body):,} bytes) is not JSON: {error}", retryable=True
        ) from None
    for index, order in enumerate(envelope.data):
        if memoryview(order)[0] != _BRACE:
            raise ResponseError(
                f"the response is not as documented: data[{index}] is not an object"
            )
    if envelope.next_token == "":
        raise ResponseError("the response is not as documented: next_token is an empty string")
    return envelope


def _as_text(body: bytes) -> pa.LargeStringArray:
    """Wrap a body as Arrow text: Arrow checks UTF-8 without decoding it."""
    ends = pa.py_buffer(np.array([0, len(body)], np.int64))
    return pa.LargeStringArray.from_buffers(1, ends, pa.py_buffer(body))


def _decode(body: bytes, scrub: Callable[[str], str] | None) -> Envelope:
    try:
        decoded = _DECODER.decode(body)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        body = strict_json(body)
        decoded = _DECODER.decode(body)
    return _envelope(decoded, _without_orders(body, decoded.data), scrub)


def _without_orders(body: bytes, orders: list[msgspec.Raw]) -> bytes:
    """Cut the orders out of their body."""
    if not orders:
        return body
    base = pa.py_buffer(body).address
    first, last = pa.py_buffer(orders[0]), pa.py_buffer(orders[-1])
    return body[: first.address - base] + body[last.address - base + last.size :]


def _envelope(decoded: _Body, frame: bytes, scrub: Callable[[str], str] | None) -> Envelope:
    """Read the other members of a body from what is left of it without its orders."""
    _refuse_repeated(frame)
    other = {
        name: bytes(value)
        for name, value in msgspec.json.decode(frame, type=dict[str, msgspec.Raw]).items()
        if name not in _Body.__struct_fields__ and bytes(value) not in _EMPTY
    }
    members = _with_inner(other)
    has_more = _has_more(members)
    is_last = isinstance(decoded.next_token, msgspec.UnsetType) or decoded.next_token is None
    if is_last and (has_more or _has_cursor(members)):
        raise ResponseError(
            "the response says that more orders follow, and has no next_token", retryable=True
        )
    _refuse_partial(members, scrub)
    texts = {name: as_received(value).decode() for name, value in other.items()}
    total_count = read_count(texts.get("total_count", ""))
    if total_count is not None:
        del texts["total_count"]
    unknown = {name: text for name, text in texts.items() if not _is_known(name)}
    return Envelope(decoded.data, decoded.next_token, total_count, has_more, unknown)


_EMPTY = (b"null", b'""', b"[]", b"{}")
_FALSE = ("false", "0", "no")


def _is_false(value: str) -> bool:
    """Return whether a JSON text means false; some systems write all values as texts."""
    return value.strip('"').lower() in _FALSE


def _with_inner(members: Mapping[str, bytes]) -> dict[str, str]:
    """Add the members of objects: some APIs describe a listing in one, such as ``meta``."""
    inner = {
        f"{outer}.{name}": bytes(value)
        for outer, text in members.items()
        if text.startswith(b"{")
        for name, value in msgspec.json.decode(text, type=dict[str, msgspec.Raw]).items()
        if bytes(value) not in _EMPTY
    }
    return {name: text.decode() for name, text in (*members.items(), *inner.items())}


def _normalized(name: str) -> str:
    return re.sub("[^a-z]", "", name.rpartition(".")[2].lower())


def _is_known(name: str) -> bool:
    """Return whether a member that is not a failure only says that all is well."""
    return bool(
        _normalized(name) in {*_HAS_MORE, *_IS_LAST, *_FAILED, *_WHOLE}
        or _IGNORED.fullmatch(_normalized(name))
    )


def is_partial(name: str, value: bytes) -> bool:
    """Return whether a member of a body, or of an object in it, says that orders are missing.

    Examples
    --------
    >>> is_partial("hasMore", b"true"), is_partial("success", b"false"), is_partial("more", b"0")
    (True, True, False)
    >>> is_partial("meta", b'{"next_cursor": "abc"}')
    True
    """
    return any(
        _normalized(name) in ((*_WHOLE, *_IS_LAST) if _is_false(text) else _NOT_ALL)
        for name, text in _with_inner({name: value}).items()
    )


def read_count(text: str) -> int | None:
    """Read a count, even as a text, or with a fraction that is zero.

    Examples
    --------
    >>> read_count('"12"'), read_count("12.0"), read_count("-1")
    (12, 12, None)
    """
    whole = re.fullmatch(r"([0-9]{1,15})(\.0+)?", text.strip('"'))
    return int(whole[1]) if whole else None


def _has_more(members: dict[str, str]) -> bool | None:
    found = [
        _is_false(value) == (_normalized(name) in _IS_LAST)
        for name, value in members.items()
        if _normalized(name) in {*_HAS_MORE, *_IS_LAST}
    ]
    return any(found) if found else None


def _has_cursor(members: dict[str, str]) -> bool:
    return any(
        _normalized(name) in _CURSORS and not _is_false(value) for name, value in members.items()
    )


def _refuse_partial(members: dict[str, str], scrub: Callable[[str], str] | None) -> None:
    """Refuse a response that says that it is not whole, or not what was requested.

    Retryable, unless the server would ignore the same parameters again.
    """
    for name, value in members.items():
        normalized, is_false = _normalized(name), _is_false(value)
        has_failed = normalized in (_WHOLE if is_false else _FAILED)
        has_ignored = _IGNORED.fullmatch(normalized) and not is_false
        if not (has_failed or has_ignored):
            continue
        shown = f"`{name}`" + (f" is {scrub(value)[:_QUOTED]}" if scrub else "")
        if has_failed:
            raise ResponseError(f"the response says that it is not whole: {shown}", retryable=True)
        raise ResponseError(
            f"the server has ignored a part of the request: {shown}; so its orders may be others "
            f"than those that were requested"
        )


def _refuse_repeated(frame: bytes) -> None:
    """Refuse a body with two members of orders or cursors: all but the last would be lost."""
    members = json.loads(frame, object_pairs_hook=list, parse_int=str)
    times = Counter(key for key, _ in members)
    for key in _Body.__struct_fields__:
        if times[key] > 1:
            raise msgspec.ValidationError(f"`{key}` is given {times[key]} times")


def strict_json(body: bytes) -> bytes:
    r"""Rewrite what only lenient parsers accept, so that nothing of it is lost.

    ``NaN`` and ``Infinity`` become marks (see `mark`); a lone surrogate becomes the text of its
    escape (``\ud800`` as six characters); a byte order mark is removed. All else keeps its
    spelling.
    """
    return _ESCAPE.sub(_spelt_out, mark(body.removeprefix(codecs.BOM_UTF8)))


_ESCAPE = re.compile(
    rb"\\u[dD][89abAB][\da-fA-F]{2}\\u[dD][c-fC-F][\da-fA-F]{2}"  # a pair: a character
    rb"|\\(?P<lone>u[dD][89a-fA-F][\da-fA-F]{2})"
    rb"|\\.",
    re.DOTALL,
)


def _spelt_out(escape: re.Match[bytes]) -> bytes:
    return rb"\\%b" % escape["lone"] if escape["lone"] else escape[0]


_CLASSES: dict[int, type[ApiError]] = {
    401: AuthError,
    403: AuthError,
    429: RateLimitError,
    501: NotSupportedError,
}

#: Statuses below 500 after which a retry may succeed: too late, too early, too often.
_RETRYABLE = (408, 425, 429)
_ORIGINS = ("trackstar", "integration")
_IDENTIFIER = re.compile(r"[A-Za-z0-9_.:-]{1,100}")
_MAX_QUOTED = 500  # characters of the server's words in a message

_ADVICE = {
    401: "check the API key and the access token",
    403: "the connection's policy forbids this; ask its owner",
    404: "check the base URL",
    422: "the server does not accept a filter; it may be newer or older than this package",
    429: "wait, and use fewer clients on one access token",
    501: "the warehouse system behind this connection cannot list orders",
}


def error_for(
    status: int,
    body: bytes,
    *,
    request_id: str | None = None,
    retry_after: float | None = None,
    scrub: Callable[[str], str] = str,
    quote: bool = True,
    not_followed: str = "",
) -> ApiError:
    """Build the error that a response with another status than 200 stands for.

    `scrub` goes over the server's words, which are shown only if `quote`: they may hold what
    orders hold. `not_followed` is why a redirect was not followed.
    """
    members = _parse(body)
    error, origin = (_quoted(members.get(name), scrub) for name in ("error", "origin"))
    request_id = _quoted(request_id, scrub) or None
    if not quote:
        error, origin = None, origin if origin in _ORIGINS else None
        members = {}
        request_id = request_id if _IDENTIFIER.fullmatch(request_id or "") else None
    cls = _CLASSES.get(status, ServerError if status >= 500 else ApiError)  # noqa: PLR2004
    parts = [f"the API answered {status}"]
    if not_followed:
        parts.append(
            f", a redirect that {not_followed}, so it was not followed; check the base URL"
        )
    if error:
        parts.append(f": {error[:_MAX_QUOTED]}")
    if isinstance(members.get("detail"), dict):
        parts.append(f" {scrub(json.dumps(members['detail'], ensure_ascii=False))[:_MAX_QUOTED]}")
    if body and not quote:
        parts.append("; its words are not shown, as they may hold personal data")
    if status in _ADVICE:
        parts.append(f"; {_ADVICE[status]}")
    if request_id:
        parts.append(f" (request id {request_id})")
    return cls(
        "".join(parts),
        error=error,
        origin=origin,
        status=status,
        request_id=request_id,
        retryable=status in _RETRYABLE or (status >= 500 and status != 501),  # noqa: PLR2004
        retry_after=retry_after,
    )


def _quoted(text: object, scrub: Callable[[str], str]) -> str | None:
    return plain(scrub(text)) if isinstance(text, str) else None


def _parse(body: bytes) -> dict[str, Any]:
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return parsed if isinstance(parsed, dict) else {}


# JSON has no NaN and no Infinity. While a text is read, a mark stands for each: an object with a
# key that no API has.
_MARKED = re.compile(rb'\{"\\u0000":"(NaN|-?Infinity)"\}')
_BEGIN = b'{"\\u0000":"'
_STRING_OR_CONSTANT = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|NaN|-?Infinity', re.DOTALL)


def mark(text: bytes) -> bytes:
    """Replace NaN and Infinity by marks, but not in strings.

    Examples
    --------
    >>> has_constant(mark(b'["NaN"]')), has_constant(mark(b"[NaN]"))
    (False, True)
    """
    if b"NaN" in text or b"Infinity" in text:
        return _STRING_OR_CONSTANT.sub(_marked, text)
    return text


def has_constant(text: bytes) -> bool:
    """Return whether a text has a mark in it."""
    return _BEGIN in text and _MARKED.search(text) is not None


def is_constant(text: bytes) -> bool:
    """Return whether a text is a mark and nothing else."""
    return text.startswith(_BEGIN) and _MARKED.fullmatch(text) is not None


def with_nulls(text: bytes) -> bytes:
    """Replace marks by null.

    Examples
    --------
    >>> with_nulls(mark(b'{"x": NaN}'))
    b'{"x": null}'
    """
    return _MARKED.sub(b"null", text) if has_constant(text) else text


def as_received(text: bytes) -> bytes:
    """Replace marks by the NaN or Infinity that they stand for.

    Examples
    --------
    >>> as_received(mark(b"[-Infinity]"))
    b'[-Infinity]'
    """
    return _MARKED.sub(rb"\1", text) if has_constant(text) else text


def _marked(found: re.Match[bytes]) -> bytes:
    return found[0] if found[0].startswith(b'"') else _BEGIN + found[0] + b'"}'
