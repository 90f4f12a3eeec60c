"""The body of a 200: ``{"data": [...], "next_token": ..., "total_count": ...}``.

One pass that checks the shape and cuts the orders apart, without building them.
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

__all__ = [
    "Envelope",
    "as_received",
    "error_for",
    "has_constant",
    "is_constant",
    "is_partial",
    "mark",
    "read_count",
    "read_envelope",
    "strict_json",
    "with_nulls",
]


class Envelope(msgspec.Struct, frozen=True):
    """One page as the server sent it.

    Attributes
    ----------
    data : list of msgspec.Raw
        The JSON text of each order.
    next_token : str or None or UNSET
        The cursor of the next page; None ends the listing, UNSET is an absent token.
    total_count : int or None
        How many orders there are, on this page or in the listing; None if it does not say.
    has_more : bool or None
        Whether the server says that more orders follow; None if it does not say.
    beside : dict of str to str
        Every other member of the body that is not null, ``""``, ``[]`` or ``{}``: JSON text
        by name.
    """

    data: list[msgspec.Raw]
    next_token: str | msgspec.UnsetType | None = msgspec.UNSET
    total_count: int | None = None
    has_more: bool | None = None
    beside: dict[str, str] = {}


class _Body(msgspec.Struct):
    data: list[msgspec.Raw]
    next_token: str | msgspec.UnsetType | None = msgspec.UNSET


_BRACE = ord("{")
_DECODER = msgspec.json.Decoder(_Body)

#: Members by which APIs tell that more orders follow, as `_plain_name` spells them.
_HAS_MORE = ("hasmore", "hasnext", "hasnextpage", "more", "moreresults")

#: Members that, if they are false, tell the same.
_IS_LAST = ("islast", "islastpage", "done", "finished")

#: Members that are cursors, as other APIs name them: where there is one, more orders follow.
_CURSORS = (
    *("next", "nexttoken", "nextcursor", "nextpage", "nextpagetoken", "nextpageurl"),
    *("nexturl", "nextlink"),
)

#: Members that, unless they are empty or false, tell that an answer is not whole.
_FAILED = (
    *("error", "errors", "failures", "partial", "ispartial", "partialdata", "partialresults"),
    *("incomplete", "truncated", "datatruncated", "timedout"),
)

#: Members that, if they are false, tell the same.
_WHOLE = ("success", "ok", "complete", "iscomplete")

_NOT_ALL = (*_HAS_MORE, *_CURSORS, *_FAILED)

#: Members that name what the server passed over, as `_plain_name` ends them.
_PASSED_OVER = re.compile(
    "(unused|ignored|unknown|invalid|unsupported|unrecognized)"
    "(filters?|param(eter)?s?|quer(y|ies)|fields?|arguments?)?"
)
_QUOTED = 200  # characters


def read_envelope(body: bytes, scrub: Callable[[str], str] | None = None) -> Envelope:
    """Check a body and cut it into orders.

    Parameters
    ----------
    body
        The bytes of a 200.
    scrub
        Takes what must not be shown out of the words that an error quotes; without it, an error
        quotes none.

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
        envelope = _decode(body, scrub)
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


def _decode(body: bytes, scrub: Callable[[str], str] | None) -> Envelope:
    try:
        read = _DECODER.decode(body)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        body = strict_json(body)
        read = _DECODER.decode(body)
    return _with_members(read, _frame(body, read.data), scrub)


def _frame(body: bytes, orders: list[msgspec.Raw]) -> bytes:
    """Cut the orders out of their body."""
    if not orders:
        return body
    base = pa.py_buffer(body).address
    first, last = pa.py_buffer(orders[0]), pa.py_buffer(orders[-1])
    return body[: first.address - base] + body[last.address - base + last.size :]


def _with_members(read: _Body, frame: bytes, scrub: Callable[[str], str] | None) -> Envelope:
    """Take what else the body says, from what is left of it without its orders."""
    members = msgspec.json.decode(frame, type=dict[str, msgspec.Raw])
    _refuse_repeated(frame)
    kept = {
        name: bytes(value)
        for name, value in members.items()
        if name not in _Body.__struct_fields__ and bytes(value) not in _EMPTY
    }
    said = _with_inner(kept)
    beside = {name: as_received(value).decode() for name, value in kept.items()}
    has_more = _has_more(said)
    is_last = isinstance(read.next_token, msgspec.UnsetType) or read.next_token is None
    if is_last and (has_more or _has_cursor(said)):
        raise ResponseError(
            "the answer says that more orders follow, and gives no next_token", retryable=True
        )
    _refuse_partial(said, scrub)
    total_count = read_count(beside.get("total_count", ""))
    if total_count is not None:
        del beside["total_count"]
    unknown = {name: value for name, value in beside.items() if not _is_known(name)}
    return Envelope(read.data, read.next_token, total_count, has_more, unknown)


_EMPTY = (b"null", b'""', b"[]", b"{}")
_FALSE = ("false", "0", "no")


def _is_false(value: str) -> bool:
    """Tell whether a JSON text says no; some systems write all values as texts."""
    return value.strip('"').lower() in _FALSE


def _with_inner(members: Mapping[str, bytes]) -> dict[str, str]:
    """Give members, and those of objects: some APIs tell of a listing in one, such as ``meta``."""
    inner = {
        f"{outer}.{name}": bytes(value)
        for outer, text in members.items()
        if text.startswith(b"{")
        for name, value in msgspec.json.decode(text, type=dict[str, msgspec.Raw]).items()
        if bytes(value) not in _EMPTY
    }
    return {name: text.decode() for name, text in (*members.items(), *inner.items())}


def _plain_name(name: str) -> str:
    return re.sub("[^a-z]", "", name.rpartition(".")[2].lower())


def _is_known(name: str) -> bool:
    """Tell whether a member that is no failure says that all is well."""
    return bool(
        _plain_name(name) in {*_HAS_MORE, *_IS_LAST, *_FAILED, *_WHOLE}
        or _PASSED_OVER.fullmatch(_plain_name(name))
    )


def is_partial(name: str, value: bytes) -> bool:
    """Tell whether a member of a body says that its orders are not all.

    Parameters
    ----------
    name, value
        Its name, and its JSON text; of an object, its own members too.

    Examples
    --------
    >>> is_partial("hasMore", b"true"), is_partial("success", b"false"), is_partial("more", b"0")
    (True, True, False)
    >>> is_partial("meta", b'{"next_cursor": "abc"}')
    True
    """
    return any(
        _plain_name(name) in ((*_WHOLE, *_IS_LAST) if _is_false(text) else _NOT_ALL)
        for name, text in _with_inner({name: value}).items()
    )


def read_count(text: str) -> int | None:
    """Read a count, also one that is a text or has a fraction of nothing.

    Examples
    --------
    >>> read_count('"12"'), read_count("12.0"), read_count("-1")
    (12, 12, None)
    """
    whole = re.fullmatch(r"([0-9]{1,15})(\.0+)?", text.strip('"'))
    return int(whole[1]) if whole else None


def _has_more(said: dict[str, str]) -> bool | None:
    told = [
        _is_false(value) == (_plain_name(name) in _IS_LAST)
        for name, value in said.items()
        if _plain_name(name) in {*_HAS_MORE, *_IS_LAST}
    ]
    return any(told) if told else None


def _has_cursor(said: dict[str, str]) -> bool:
    return any(
        _plain_name(name) in _CURSORS and not _is_false(value) for name, value in said.items()
    )


def _refuse_partial(said: dict[str, str], scrub: Callable[[str], str] | None) -> None:
    """Refuse an answer that says of itself that it is not whole, or not what was asked for.

    Raises
    ------
    ResponseError
        Retryable, unless the server would pass over the same parameters again.
    """
    for name, value in said.items():
        plain_name, is_false = _plain_name(name), _is_false(value)
        has_failed = plain_name in (_WHOLE if is_false else _FAILED)
        is_passed_over = _PASSED_OVER.fullmatch(plain_name) and not is_false
        if not (has_failed or is_passed_over):
            continue
        given = f"`{name}`" + (f" is {scrub(value)[:_QUOTED]}" if scrub else "")
        if has_failed:
            raise ResponseError(f"the answer says that it is not whole: {given}", retryable=True)
        raise ResponseError(
            f"the server has passed over a part of what was asked for: {given}; so its orders "
            f"may be others than those"
        )


def _refuse_repeated(frame: bytes) -> None:
    """Refuse a body that gives its orders or its cursor twice: all but the last are lost."""
    members = json.loads(frame, object_pairs_hook=list, parse_int=str)
    times = Counter(key for key, _ in members)
    for key in _Body.__struct_fields__:
        if times[key] > 1:
            raise msgspec.ValidationError(f"`{key}` is given {times[key]} times")


def strict_json(body: bytes) -> bytes:
    r"""Rewrite what only lenient parsers take, so that nothing of it is lost.

    ``NaN`` and ``Infinity`` become marks (see `net.constants`); a lone surrogate becomes its own
    escape, spelt out (``\ud800`` as six characters); a mark of the byte order goes. All else
    keeps its spelling.
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

#: Refusals that may pass: too late, too early, too often.
_PASSING = (408, 425, 429)
_ORIGINS = ("trackstar", "integration")
_IDENTIFIER = re.compile(r"[A-Za-z0-9_.:-]{1,100}")
_LONG = 500  # characters of the server's words in a message

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
    """Build the error that an HTTP answer stands for.

    Parameters
    ----------
    status, body, request_id, retry_after
        What the answer was.
    scrub
        Goes over the server's words.
    quote
        Whether they are shown: they may hold what orders hold.
    not_followed
        Why the redirect that it is was not followed.
    """
    said = _parse(body)
    error, origin = (_quoted(said.get(name), scrub) for name in ("error", "origin"))
    request_id = _quoted(request_id, scrub) or None
    if not quote:
        error, origin = None, origin if origin in _ORIGINS else None
        said = {}
        request_id = request_id if _IDENTIFIER.fullmatch(request_id or "") else None
    cls = _CLASSES.get(status, ServerError if status >= 500 else ApiError)  # noqa: PLR2004
    parts = [f"the API answered {status}"]
    if not_followed:
        parts.append(
            f", a redirect that {not_followed}, so it was not followed; check the base URL"
        )
    if error:
        parts.append(f": {error[:_LONG]}")
    if isinstance(said.get("detail"), dict):
        parts.append(f" {scrub(json.dumps(said['detail'], ensure_ascii=False))[:_LONG]}")
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
        retryable=status in _PASSING or (status >= 500 and status != 501),  # noqa: PLR2004
        retry_after=retry_after,
    )


def _quoted(words: object, scrub: Callable[[str], str]) -> str | None:
    return plain(scrub(words)) if isinstance(words, str) else None


def _parse(body: bytes) -> dict[str, Any]:
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


_MARKED = re.compile(rb'\{"\\u0000":"(NaN|-?Infinity)"\}')
_BEGIN = b'{"\\u0000":"'
_STRING_OR_CONSTANT = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|NaN|-?Infinity', re.DOTALL)


def mark(text: bytes) -> bytes:
    """Put marks in the place of constants, and leave texts as they are.

    Examples
    --------
    >>> has_constant(mark(b'["NaN"]')), has_constant(mark(b"[NaN]"))
    (False, True)
    """
    if b"NaN" in text or b"Infinity" in text:
        return _STRING_OR_CONSTANT.sub(_marked, text)
    return text


def has_constant(text: bytes) -> bool:
    """Tell whether a mark is in a text."""
    return _BEGIN in text and _MARKED.search(text) is not None


def is_constant(text: bytes) -> bool:
    """Tell whether a text is a mark, and nothing else."""
    return text.startswith(_BEGIN) and _MARKED.fullmatch(text) is not None


def with_nulls(text: bytes) -> bytes:
    """Put null in the place of marks: what JSON has for a number that is none.

    Examples
    --------
    >>> with_nulls(mark(b'{"x": NaN}'))
    b'{"x": null}'
    """
    return _MARKED.sub(b"null", text) if has_constant(text) else text


def as_received(text: bytes) -> bytes:
    """Put the constants back in the place of their marks.

    Examples
    --------
    >>> as_received(mark(b"[-Infinity]"))
    b'[-Infinity]'
    """
    return _MARKED.sub(rb"\1", text) if has_constant(text) else text


def _marked(found: re.Match[bytes]) -> bytes:
    return found[0] if found[0].startswith(b'"') else _BEGIN + found[0] + b'"}'
