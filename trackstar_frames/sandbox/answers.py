"""What goes over the wire: an answer, and the bodies of errors."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any


@dataclass(frozen=True)
class Answer:
    """One HTTP answer.

    Attributes
    ----------
    status
        The HTTP status.
    body
        The bytes of the body.
    headers
        Headers beside those that every answer carries.
    delivery
        How it is sent: ``"whole"``, ``"late"``, ``"slow"``, ``"cut"``, ``"reset"`` or
        ``"reset_mid"``.
    seconds, pieces
        For ``"late"``: how long nothing comes. For ``"slow"``: how long the body takes, and in
        how many pieces.
    """

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    delivery: str = "whole"
    seconds: float = 0.0
    pieces: int = 1


def json_answer(status: int, body: Any, headers: Mapping[str, str] | None = None) -> Answer:
    """Return an answer whose body is JSON; bytes are JSON already."""
    if not isinstance(body, bytes):
        body = json.dumps(body).encode()
    return Answer(status, body, {"Content-Type": "application/json"} | dict(headers or {}))


def error_answer(
    status: int,
    error: str | None = None,
    *,
    origin: str | None = "trackstar",
    detail: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Return an error as the API spells it: what, and whose fault it is."""
    body: dict[str, Any] = {"error": error or default_error(status)}
    if origin is not None:
        body["origin"] = origin
    if detail is not None:
        body["detail"] = detail
    return json_answer(status, body, headers)


def default_error(status: int) -> str:
    """Return what the API would say of `status`."""
    if status == HTTPStatus.NOT_IMPLEMENTED:
        return "Endpoint get_orders is not implemented for sandbox"
    return ERRORS.get(status) or HTTPStatus(status).phrase


ERRORS = {
    401: "Invalid API key or access token",
    403: "This connection is disabled by policy",
    404: "Resource not found",
    405: "Method not allowed",
    422: "Validation error",
    429: "Rate limit exceeded",
    500: "Internal server error",
}
