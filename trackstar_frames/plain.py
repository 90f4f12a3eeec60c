"""Text of others, made plain: it neither steers a terminal nor forges a line of a log."""

from __future__ import annotations

import re

__all__ = ["plain"]

# Controls; what turns the direction of writing; what ends a line; halves of characters.
_STEERING = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def plain(text: str) -> str:
    r"""Put a space for what would end a line, and ``?`` for what would steer a terminal.

    Examples
    --------
    >>> plain("no such filter\x1b[2J\nINFO all is well")
    'no such filter?[2J INFO all is well'
    """
    return _STEERING.sub(lambda found: " " if found[0].isspace() else "?", text)
