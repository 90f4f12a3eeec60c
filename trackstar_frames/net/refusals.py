"""The error that an HTTP answer stands for: its class, the server's words, and what to do."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from trackstar_frames.errors import (
    ApiError,
    AuthError,
    NotSupportedError,
    RateLimitError,
    ServerError,
)
from trackstar_frames.plain import plain

__all__ = ["error_for"]

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
    astray: str = "",
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
    astray
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
    if astray:
        parts.append(f", a redirect that {astray}, so it was not followed; check the base URL")
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
