"""Plain words: text of others that steers no terminal and forges no line, and counts of things."""

from __future__ import annotations

import re

__all__ = ["counted", "plain"]

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


def counted(number: int, thing: str) -> str:
    """Say how many there are of a thing.

    Examples
    --------
    >>> counted(1, "page"), counted(2500, "page")
    ('1 page', '2,500 pages')
    """
    return f"{number:,} {thing}{'' if number == 1 else 's'}"
