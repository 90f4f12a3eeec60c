"""Page tokens: a place in the listing, and nothing of the filters that led there."""

import base64
import json
from typing import Any, NamedTuple


class BadToken(ValueError):  # noqa: N818 -- caught at once, and never shown
    """A page token that this server has not issued."""


class Position(NamedTuple):
    """A place in the listing: after the order with this key and sequence number.

    `turn` tells two tokens of one place apart.
    """

    key: int | str
    seq: int
    turn: int = 0


def encode(position: Position) -> str:
    """Return `position` as an opaque page token."""
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode()


def decode(token: str) -> Position:
    """Return the position that `token` stands for.

    Raises
    ------
    BadToken
        If it was not made by `encode`.
    """
    try:
        key, seq, turn = json.loads(base64.b64decode(token, altchars=b"-_", validate=True))
    except (ValueError, TypeError):
        raise BadToken(token) from None
    if not (_whole(seq) and _whole(turn) and (_whole(key) or isinstance(key, str))):
        raise BadToken(token)
    return Position(key, seq, turn)


def _whole(value: Any) -> bool:
    # No wider than the database's own integers.
    return type(value) is int and -(2**63) <= value < 2**63
