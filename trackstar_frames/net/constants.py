"""NaN and Infinity: what lenient writers put into JSON, and JSON does not have.

An answer that holds them is rewritten before it is read: in the place of each stands a mark, an
object that no order has. So they are told from texts that spell the same, and reading goes on.
"""

from __future__ import annotations

import re

__all__ = ["as_received", "has_constant", "is_constant", "mark", "with_nulls"]

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
