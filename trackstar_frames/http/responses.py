"""Bodies of responses: pages of orders, and the errors for all other responses.

A page is ``{"data": [...], "next_token": ..., "total_count": ...}``. One pass checks its shape and
cuts it into orders, without decoding them.
"""

from __future__ import annotations

import codecs
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa

from trackstar_frames import errors
from trackstar_frames._text import plain
from trackstar_frames.errors import ApiError, ResponseError


class Envelope(msgspec.Struct, frozen=True):
    """One page as the server sent it."""

    data: list[msgspec.Raw]  # the JSON text of each order
    #: The cursor of the next page; None ends the listing, UNSET is an absent cursor.
    next_token: str | msgspec.UnsetType | None = msgspec.UNSET
    total_count: int | None = None  # on this page or in the listing, if given
    has_more: bool | None = None  # whether more orders follow, if given
    #: Every other member of the body that is not empty: JSON text by name.
    other_members: dict[str, str] = {}


class _Body(msgspec.Struct):
    data: list[msgspec.Raw]
    next_token: str | msgspec.UnsetType | None = msgspec.UNSET


_BRACE = ord("{")
_DECODER = msgspec.json.Decoder(_Body)

# Names of members that other APIs use, as `_Member.word` spells them. Those of `_HAS_MORE` say
# that more orders follow, those of `_IS_LAST` if they are false; a cursor says the same.
_HAS_MORE = ("hasmore", "hasnext", "hasnextpage", "more", "moreresults")
_IS_LAST = ("islast", "islastpage", "done", "finished")
_CURSORS = (
    *("next", "nexttoken", "nextcursor", "nextpage", "nextpagetoken", "nextpageurl"),
    *("nexturl", "nextlink"),
)
# Those of `_FAILED` say that a response is incomplete, unless they are empty or false; those of
# `_WHOLE` if they are false.
_FAILED = (
    *("error", "errors", "failures", "partial", "ispartial", "partialdata", "partialresults"),
    *("incomplete", "truncated", "datatruncated", "timedout"),
)
_WHOLE = ("success", "ok", "complete", "iscomplete")
_KNOWN = {*_HAS_MORE, *_IS_LAST, *_FAILED, *_WHOLE}
# Names of what the server has ignored.
_IGNORED = re.compile(
    "(unused|ignored|unknown|invalid|unsupported|unrecognized)"
    "(filters?|param(eter)?s?|quer(y|ies)|fields?|arguments?)?"
)
_QUOTED = 200  # characters


def read_envelope(body: bytes, scrub: Callable[[str], str] | None = None) -> Envelope:
    """Check the body of a 200 and cut it into orders; errors quote it scrubbed, or not at all."""
    return read_body(body, scrub)[0]


def read_body(body: bytes, scrub: Callable[[str], str] | None = None) -> tuple[Envelope, bytes]:
    """Return the envelope of a body, and the body without its orders."""
    try:
        # As Arrow text: Arrow checks UTF-8 without decoding it.
        ends = pa.py_buffer(np.array([0, len(body)], np.int64))
        pa.LargeStringArray.from_buffers(1, ends, pa.py_buffer(body)).validate(full=True)
        envelope, frame = _decode(body, scrub)
    except msgspec.ValidationError as error:
        raise ResponseError(f"the response is not as documented: {error}") from None
    except RecursionError:
        raise ResponseError(
            f"the response ({len(body):,} bytes) is nested too deeply to be read"
        ) from None
    except ValueError as error:
        raise ResponseError(  # retryable, as it may have been cut short
            f"the response ({len(body):,} bytes) is not JSON: {error}", retryable=True
        ) from None
    for index, order in enumerate(envelope.data):
        if memoryview(order)[0] != _BRACE:
            raise ResponseError(
                f"the response is not as documented: data[{index}] is not an object"
            )
    if envelope.next_token == "":
        raise ResponseError("the response is not as documented: next_token is an empty string")
    return envelope, frame


def _decode(body: bytes, scrub: Callable[[str], str] | None) -> tuple[Envelope, bytes]:
    try:
        decoded = _DECODER.decode(body)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        body = strict_json(body)
        decoded = _DECODER.decode(body)
    frame = _without_orders(body, decoded.data)
    return _envelope(decoded, frame, scrub), frame


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
    fields = _Body.__struct_fields__
    other = {name: text for name, text in _parse_object(frame).items() if name not in fields}
    members = _members(other)
    has_more = _has_more(members)
    is_last = isinstance(decoded.next_token, msgspec.UnsetType) or decoded.next_token is None
    has_cursor = any(each.word in _CURSORS and not each.is_false for each in members)
    if is_last and (has_more or has_cursor):
        raise ResponseError(
            "the response says that more orders follow, and has no next_token", retryable=True
        )
    _refuse_partial(members, scrub)
    texts = {name: as_received(value).decode() for name, value in other.items()}
    total_count = read_count(texts.get("total_count", ""))
    if total_count is not None:
        del texts["total_count"]
    unknown = {
        name: text
        for name, text in texts.items()
        if not (_word(name) in _KNOWN or _IGNORED.fullmatch(_word(name)))
    }
    return Envelope(decoded.data, decoded.next_token, total_count, has_more, unknown)


def _refuse_repeated(frame: bytes) -> None:
    """Refuse a body with two members of orders or cursors: all but the last would be lost."""
    members = json.loads(frame, object_pairs_hook=list, parse_int=str)
    times = Counter(key for key, _ in members)
    for key in _Body.__struct_fields__:
        if times[key] > 1:
            raise msgspec.ValidationError(f"`{key}` is given {times[key]} times")


def _parse_object(text: bytes) -> dict[str, bytes]:
    """Return the members of an object that are not empty, as JSON texts."""
    members = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    empty = (b"null", b'""', b"[]", b"{}")
    return {name: bytes(value) for name, value in members.items() if bytes(value) not in empty}


class _Member(NamedTuple):
    """One member of a body, or of an object in it, with its JSON text."""

    name: str
    text: str

    @property
    def word(self) -> str:
        """The name in a form that all its spellings share."""
        return _word(self.name)

    @property
    def is_false(self) -> bool:
        """Whether the value means false; some systems write all values as texts."""
        return self.text.strip('"').lower() in ("false", "0", "no")


def _word(name: str) -> str:
    return re.sub("[^a-z]", "", name.rpartition(".")[2].lower())


def _members(outer: Mapping[str, bytes]) -> list[_Member]:
    """List members, and those of objects: some APIs describe a listing in one, such as ``meta``."""
    inner = {
        f"{name}.{each}": value
        for name, text in outer.items()
        if text.startswith(b"{")
        for each, value in _parse_object(text).items()
    }
    return [_Member(name, text.decode()) for name, text in {**outer, **inner}.items()]


def _has_more(members: list[_Member]) -> bool | None:
    words = {*_HAS_MORE, *_IS_LAST}
    found = [each.is_false == (each.word in _IS_LAST) for each in members if each.word in words]
    return any(found) if found else None


def _refuse_partial(members: list[_Member], scrub: Callable[[str], str] | None) -> None:
    """Refuse a response that says that it is incomplete, or not what was requested."""
    for member in members:
        has_failed = member.word in (_WHOLE if member.is_false else _FAILED)
        has_ignored = _IGNORED.fullmatch(member.word) and not member.is_false
        if not (has_failed or has_ignored):
            continue
        shown = f"`{member.name}`" + (f" is {scrub(member.text)[:_QUOTED]}" if scrub else "")
        if has_failed:
            raise ResponseError(f"the response says that it is incomplete: {shown}", retryable=True)
        raise ResponseError(  # not retryable: the server would ignore the same parameters again
            f"the server has ignored a part of the request: {shown}; so it may have sent "
            f"other orders than requested"
        )


def is_partial(name: str, value: bytes) -> bool:
    """Return whether a member of a body, or of an object in it, says that orders are missing."""
    if_false, otherwise = (*_WHOLE, *_IS_LAST), (*_HAS_MORE, *_CURSORS, *_FAILED)
    members = _members({name: value})
    return any(each.word in (if_false if each.is_false else otherwise) for each in members)


def read_count(text: str) -> int | None:
    """Read a count, even as a text, or with a fraction that is zero."""
    count = re.fullmatch(r"([0-9]{1,15})(\.0+)?", text.strip('"'))
    return int(count[1]) if count else None


def strict_json(body: bytes) -> bytes:
    """Rewrite JSON that only lenient parsers accept, without a loss."""
    text = mark(body.removeprefix(codecs.BOM_UTF8))
    # The escape of a lone surrogate becomes its six characters.
    return _ESCAPE.sub(lambda each: rb"\\%b" % each["lone"] if each["lone"] else each[0], text)


_ESCAPE = re.compile(
    rb"\\u[dD][89abAB][\da-fA-F]{2}\\u[dD][c-fC-F][\da-fA-F]{2}"  # a pair: a character
    rb"|\\(?P<lone>u[dD][89a-fA-F][\da-fA-F]{2})"
    rb"|\\.",
    re.DOTALL,
)


#: The class of a status's error, and what to do.
_STATUSES: dict[int, tuple[type[ApiError], str]] = {
    401: (errors.AuthError, "check the API key and the access token"),
    403: (errors.AuthError, "the connection's policy forbids this; ask its owner"),
    404: (ApiError, "check the base URL"),
    422: (
        ApiError,
        "the server does not accept a filter; it may be newer or older than this package",
    ),
    429: (errors.RateLimitError, "wait, and use fewer clients on one access token"),
    501: (
        errors.NotSupportedError,
        "the warehouse system behind this connection cannot list orders",
    ),
}
#: Statuses below 500 after which a retry may succeed: timeout, too early, too many requests.
_RETRYABLE = (408, 425, 429)
_ORIGINS = ("trackstar", "integration")
_IDENTIFIER = re.compile(r"[A-Za-z0-9_.:-]{1,100}")
_MAX_QUOTED = 500  # characters of the server's text in a message


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
    """Build the error for a status other than 200; it quotes the server only if `quote`."""
    members = _parse(body)
    error, origin = (_quoted(members.get(name), scrub) for name in ("error", "origin"))
    request_id = _quoted(request_id, scrub) or None
    if not quote:
        error, origin = None, origin if origin in _ORIGINS else None
        members = {}
        request_id = request_id if _IDENTIFIER.fullmatch(request_id or "") else None
    other = errors.ServerError if status >= 500 else ApiError  # noqa: PLR2004
    cls, advice = _STATUSES.get(status, (other, ""))
    message = f"the API returned {status}"
    if not_followed:
        message += f", a redirect that {not_followed}, so it was not followed; check the base URL"
    if error:
        message += f": {error[:_MAX_QUOTED]}"
    if isinstance(members.get("detail"), dict):
        message += f" {scrub(json.dumps(members['detail'], ensure_ascii=False))[:_MAX_QUOTED]}"
    if body and not quote:
        message += "; its message is not shown, as it may contain personal data"
    if advice:
        message += f"; {advice}"
    if request_id:
        message += f" (request id {request_id})"
    return cls(
        message,
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
    """Replace NaN and Infinity by marks, but not in strings."""
    if b"NaN" not in text and b"Infinity" not in text:
        return text
    return _STRING_OR_CONSTANT.sub(
        lambda found: found[0] if found[0].startswith(b'"') else _BEGIN + found[0] + b'"}', text
    )


def has_constant(text: bytes) -> bool:
    """Return whether a text has a mark in it."""
    return _BEGIN in text and _MARKED.search(text) is not None


def is_constant(text: bytes) -> bool:
    """Return whether a text is a mark and nothing else."""
    return text.startswith(_BEGIN) and _MARKED.fullmatch(text) is not None


def with_nulls(text: bytes) -> bytes:
    """Replace marks by null."""
    return _MARKED.sub(b"null", text) if has_constant(text) else text


def as_received(text: bytes) -> bytes:
    """Replace marks by the NaN or Infinity that they stand for."""
    return _MARKED.sub(rb"\1", text) if has_constant(text) else text
