"""What each kind of fault does to an answer.

A fault acts at one of five places: instead of the page, on what was asked for, on the page's
orders (these two: `broken_pages`), on the envelope around them, or on the way out.
"""

import gzip
import json
from collections.abc import Callable, Mapping
from dataclasses import replace

from trackstar_frames.sandbox.answers import Answer, default_error, error_answer, json_answer
from trackstar_frames.sandbox.faults import Fault
from trackstar_frames.sandbox.query import Query
from trackstar_frames.sandbox.tokens import encode

Headers = Mapping[str, str]
Envelope = dict[str, bytes]


def status(fault: Fault, _headers: Headers) -> Answer:
    """Answer with an error as the API would spell it."""
    headers = {} if fault.retry_after is None else {"retry-after": str(fault.retry_after)}
    return error_answer(fault.status or 500, fault.error, origin=_origin(fault), headers=headers)


def html(fault: Fault, _headers: Headers) -> Answer:
    """Answer with the page of a proxy in between."""
    body = b"<html><head><title>Bad Gateway</title></head><body><h1>Bad Gateway</h1></body></html>"
    return Answer(fault.status or 502, body, {"Content-Type": "text/html; charset=utf-8"})


def error_in_200(fault: Fault, _headers: Headers) -> Answer:
    """Answer with an error under the status of a success."""
    return error_answer(200, fault.error or default_error(500), origin=_origin(fault))


def not_json(_fault: Fault, _headers: Headers) -> Answer:
    """Answer with JSON that stops in the middle."""
    return json_answer(200, b'{"data": [{"id": "6')


def not_object(_fault: Fault, _headers: Headers) -> Answer:
    """Answer with a list where the envelope should be."""
    return json_answer(200, b"[]")


def echo_secret(fault: Fault, headers: Headers) -> Answer:
    """Answer with an error that repeats the credentials it was sent."""
    secrets = [headers["x-trackstar-api-key"], headers["x-trackstar-access-token"]]
    return error_answer(fault.status or 500, f"Cannot serve {' / '.join(secrets)}")


def redirect(fault: Fault, _headers: Headers) -> Answer:
    """Send the client elsewhere."""
    return Answer(fault.status or 302, b"", {"Location": fault.to or ""})


def reset(_fault: Fault, _headers: Headers) -> Answer:
    """Answer nothing at all."""
    return Answer(0, b"", delivery="reset")


def no_data(envelope: Envelope, _query: Query) -> None:
    """Leave the orders out."""
    del envelope["data"]


def null_data(envelope: Envelope, _query: Query) -> None:
    """Give a null for the orders."""
    envelope["data"] = b"null"


def data_not_list(envelope: Envelope, _query: Query) -> None:
    """Wrap the orders in an object."""
    envelope["data"] = b'{"orders":%b}' % envelope["data"]


def item_not_object(envelope: Envelope, _query: Query) -> None:
    """Put a string before the orders."""
    envelope["data"] = json.dumps(["order", *json.loads(envelope["data"])[1:]]).encode()


def wrong_count(envelope: Envelope, _query: Query) -> None:
    """Count nothing."""
    envelope["total_count"] = b"0"


def no_token(envelope: Envelope, _query: Query) -> None:
    """Leave the token out."""
    del envelope["next_token"]


def absent_token_mid(envelope: Envelope, _query: Query) -> None:
    """Leave the token out where a page follows."""
    if envelope["next_token"] != NO_TOKEN:
        del envelope["next_token"]


def absent_token_end(envelope: Envelope, query: Query) -> None:
    """Leave the token out where none follows, unless the page is full: that would be a fault."""
    if envelope["next_token"] == NO_TOKEN and len(json.loads(envelope["data"])) < query.limit:
        del envelope["next_token"]


def empty_token(envelope: Envelope, _query: Query) -> None:
    """Give a token without a character."""
    envelope["next_token"] = b'""'


def bad_token_type(envelope: Envelope, _query: Query) -> None:
    """Give a number for a token."""
    envelope["next_token"] = b"12345"


def repeat_token(envelope: Envelope, query: Query) -> None:
    """Give the token that was sent."""
    if query.position is not None:
        envelope["next_token"] = json.dumps(encode(query.position)).encode()


def hang(fault: Fault, answer: Answer) -> Answer:
    """Answer late."""
    seconds = 5.0 if fault.seconds is None else fault.seconds
    return replace(answer, delivery="late", seconds=seconds)


def slow(fault: Fault, answer: Answer) -> Answer:
    """Answer drop by drop."""
    seconds = 1.0 if fault.seconds is None else fault.seconds
    return replace(answer, delivery="slow", seconds=seconds, pieces=fault.pieces or 10)


def cut(_fault: Fault, answer: Answer) -> Answer:
    """Stop in the middle of the answer."""
    return replace(answer, delivery="cut")


def reset_mid(_fault: Fault, answer: Answer) -> Answer:
    """Reset the connection in the middle of the answer."""
    return replace(answer, delivery="reset_mid")


def bad_gzip(_fault: Fault, answer: Answer) -> Answer:
    """Call plain text compressed."""
    return _as_gzip(answer, answer.body)


def cut_gzip(_fault: Fault, answer: Answer) -> Answer:
    """Compress, and lose the second half; the length is that of the first."""
    body = gzip.compress(answer.body, compresslevel=1)
    return _as_gzip(answer, body[: len(body) // 2])


NO_TOKEN = b"null"
INSTEAD: dict[str, Callable[[Fault, Headers], Answer]] = {
    function.__name__: function
    for function in (
        status,
        html,
        error_in_200,
        not_json,
        not_object,
        echo_secret,
        redirect,
        reset,
    )
}
ON_ENVELOPE: dict[str, Callable[[Envelope, Query], None]] = {
    function.__name__: function
    for function in (
        no_data,
        null_data,
        data_not_list,
        item_not_object,
        wrong_count,
        no_token,
        absent_token_mid,
        absent_token_end,
        empty_token,
        bad_token_type,
        repeat_token,
    )
}
ON_THE_WAY: dict[str, Callable[[Fault, Answer], Answer]] = {
    function.__name__: function for function in (hang, slow, cut, reset_mid, bad_gzip, cut_gzip)
}


def _origin(fault: Fault) -> str | None:
    return "trackstar" if fault.origin is None else fault.origin or None


def _as_gzip(answer: Answer, body: bytes) -> Answer:
    return replace(answer, body=body, headers={**answer.headers, "Content-Encoding": "gzip"})
