"""Objects that give a key twice: no value of theirs is lost."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import msgspec

__all__ = ["Earlier", "has_repeated", "read_repeated"]

#: Python refuses to read numbers of thousands of digits.
_NUMBERS_AS_TEXT: Mapping[str, Any] = MappingProxyType({"parse_int": str, "parse_float": str})


class Earlier(str):
    """A key that comes again in the same object; equal to nothing but itself."""

    __slots__ = ()
    __hash__ = object.__hash__

    # Those of `object` leave the answer to the other side, which is a str.
    def __eq__(self, other: object) -> bool:
        return self is other

    def __ne__(self, other: object) -> bool:
        return self is not other


def has_repeated(text: bytes) -> bool:
    """Tell whether any object in a JSON text gives a key twice."""
    found = []

    def look(pairs: list[tuple[str, Any]]) -> None:
        found.append(len(dict(pairs)) < len(pairs))

    json.loads(text, object_pairs_hook=look, **_NUMBERS_AS_TEXT)
    return any(found)


def read_repeated(text: bytes) -> dict[str, msgspec.Raw]:
    """Read an object whose keys may come twice; all but the last are `Earlier`."""
    msgspec.json.decode(text, type=dict[str, msgspec.Raw])  # or refuse what is none
    pairs = list(_cut(text.decode()))
    last = {key: place for place, (key, _) in enumerate(pairs)}
    return {
        key if last[key] == place else Earlier(key): msgspec.Raw(value.encode())
        for place, (key, value) in enumerate(pairs)
    }


def _cut(text: str) -> Iterator[tuple[str, str]]:
    """Cut an object into its keys and the JSON texts of their values."""
    scan = json.JSONDecoder(**_NUMBERS_AS_TEXT).raw_decode
    end = text.index("{")
    while text[start := _skip(text, end + 1)] != "}":
        key, end = scan(text, start)
        start = _skip(text, _skip(text, end) + len(":"))
        _, end = scan(text, start)
        yield key, text[start:end]
        end = _skip(text, end)
        if text[end] == "}":
            return


def _skip(text: str, start: int) -> int:
    while text[start] in " \t\r\n":
        start += 1
    return start
