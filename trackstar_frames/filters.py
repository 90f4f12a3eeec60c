"""The query grammar of ``GET /wms/orders``, as data, and one pure function over it.

A filter is spelt ``field=value``, ``field__op=value`` or as the API does,
``{"field[op]": value}``.
"""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import isfinite
from types import MappingProxyType
from typing import Any
from urllib.parse import urlencode

from trackstar_frames.dates import day_bounds, encode_time, is_day
from trackstar_frames.errors import FilterError, one_of
from trackstar_frames.schema import LIFECYCLE
from trackstar_frames.settings import FETCH_OPTIONS

__all__ = ["FIELDS", "MAX_LIST", "Field", "encode", "is_list", "split"]

#: How many values the API takes in one comma-separated list.
MAX_LIST = 100

# Servers refuse a longer URL (414). Beside the filters it holds the base URL, the path, the limit
# and the cursor of a page.
_MAX_URL = 8_000  # bytes
_REST_OF_URL = 1_000

_LISTS = ("in", "nin")
_TAGS = ("trackstar_tags", "contains")
_BY_DAY = ("eq", "gt", "gte", "lt", "lte")
_UNSENDABLE = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Field:
    """One field that orders can be filtered by.

    Attributes
    ----------
    kind : str
        ``date``, ``string`` or ``enum``.
    operators : tuple of str
        What may follow the field; a plain field means its `plain` operator.
    allowed : tuple of str
        The values of an enum.
    plain : str or None
        What ``field=value`` means: ``eq``, ``in``, or nothing.
    """

    kind: str
    operators: tuple[str, ...]
    allowed: tuple[str, ...] = ()
    plain: str | None = "eq"


_DATES = ("eq", "neq", "gt", "gte", "lt", "lte", "in", "nin")
_WORDS = ("eq", "neq", "in", "nin", "contains", "not_contains")
_NUMBERS = (
    "eq",
    "in",
    "nin",
    "eq-insensitive",
    "in-insensitive",
    "contains",
    "contains-insensitive",
    "not_contains",
)

#: Every field and its operators.
FIELDS: Mapping[str, Field] = MappingProxyType(
    {
        "created_date": Field("date", _DATES),
        "updated_date": Field("date", _DATES),
        "trackstar_created_date": Field("date", _DATES),
        "trackstar_updated_date": Field("date", _DATES),
        "required_ship_date": Field("date", _DATES[:-2]),
        "ids": Field("string", ("in",), plain="in"),
        "status": Field("enum", _WORDS, LIFECYCLE),
        "type": Field("enum", _WORDS, ("d2c", "b2b", "dropship", "transfer")),
        "warehouse_customer_id": Field("string", _WORDS),
        "channel": Field("string", _WORDS),
        "order_number": Field("string", _NUMBERS),
        "reference_id": Field("string", _NUMBERS),
        "trackstar_tags": Field("string", ("contains", "not_contains"), plain=None),
    }
)


def encode(
    filters: Mapping[str, Any], extra_params: Mapping[str, Any] | None = None
) -> list[dict[str, str]]:
    """Turn filters into the query parameters of one or more listings.

    Lists of ``in`` (and ``ids``) over 100 values, or too long for one URL, need several
    listings, whose orders together are the answer. Lists are sorted and freed of doubles, so
    that the same question has the same parameters.

    Parameters
    ----------
    filters
        By name, in any of the three spellings.
    extra_params
        Parameters that this package does not know, passed on as they are.

    Returns
    -------
    list of dict
        The parameters of each listing; one empty dict when there is no filter.

    Raises
    ------
    FilterError
        If a field, an operator or a value is not allowed, naming what is.

    Examples
    --------
    >>> encode({"status__in": ["packed", "open"], "created_date__gte": "2026-01-01"})
    [{'status[in]': 'open,packed', 'created_date[gte]': '2026-01-01T00:00:00Z'}]
    """
    asked: dict[str, _Asked] = {}
    for name, value in filters.items():
        for each in _one(name, value):
            asked[each.parameter] = _joined(name, asked.get(each.parameter), each)
    passed = _extra(extra_params or {})
    if "ids" in asked and len(asked) + len(passed) > 1:
        others = sorted((asked.keys() | passed.keys()) - {"ids"})
        raise FilterError(
            f"the API ignores every other filter beside ids, so {', '.join(others)} would have "
            f"no effect; ask for the ids alone and filter the frame"
        )
    choices = [[(name, chunk) for chunk in each.chunks()] for name, each in asked.items()]
    splittable = {name for name, each in asked.items() if each.may_split}
    return [
        query
        for choice in itertools.product(*choices)
        for query in _fitted(dict(choice), passed, splittable)
    ]


@dataclass(frozen=True, slots=True)
class _Asked:
    """One parameter: what it was asked by, and its values.

    Attributes
    ----------
    parameter : str
        Its name in the URL.
    operator : str
        The operator that the user wrote; a bare day's may be sent as another.
    words : list of str
        The values, written as the API does; one unless the operator takes a list.
    """

    parameter: str
    operator: str
    words: list[str]

    @property
    def may_split(self) -> bool:
        """Whether the orders of two shorter lists are those of the whole list."""
        return self.operator in ("in", "in-insensitive")

    def chunks(self) -> list[list[str]]:
        """Cut the values into as many as one request may hold."""
        return [
            self.words[start : start + MAX_LIST] for start in range(0, len(self.words), MAX_LIST)
        ]


def _joined(name: str, one: _Asked | None, other: _Asked) -> _Asked:
    """Join two filters that are sent as one parameter: of two bounds the stricter holds."""
    if one is None:
        return other
    if {one.operator, other.operator} not in ({"gt", "gte"}, {"lt", "lte"}):
        raise FilterError(f"{name} asks for {other.parameter} a second time; give it once")
    stricter = max if other.operator.startswith("g") else min
    return stricter(one, other, key=lambda each: each.words[0])


def _fitted(
    lists: dict[str, list[str]], passed: dict[str, str], splittable: set[str]
) -> Iterator[dict[str, str]]:
    """Join the values of each list; halve the longest one until the URL is short enough."""
    query = {name: ",".join(words) for name, words in lists.items()} | passed
    if len(urlencode(query)) <= _MAX_URL - _REST_OF_URL:
        yield query
        return

    def size(name: str) -> int:
        return len(urlencode({name: query[name]}))

    parts = [name for name, words in lists.items() if name in splittable and len(words) > 1]
    if not parts:
        raise FilterError(
            f"{max(query, key=size)} is too long: servers refuse a URL of more than {_MAX_URL:,} "
            f"bytes, and what is asked here cannot be cut into parts; ask for less, and filter "
            f"the frame"
        )
    name = max(parts, key=size)
    half = len(lists[name]) // 2
    for words in (lists[name][:half], lists[name][half:]):
        yield from _fitted(lists | {name: words}, passed, splittable)


def split(name: str) -> tuple[str, str | None]:
    """Cut a filter's name into field and operator (None where it is plain).

    Raises
    ------
    FilterError
        If the field, or its operator, is unknown.

    Examples
    --------
    >>> split("order_number__eq_insensitive"), split("created_date[gte]"), split("type")
    (('order_number', 'eq-insensitive'), ('created_date', 'gte'), ('type', None))
    """
    match = re.fullmatch(r"(\w+?)(?:__([\w-]+)|\[([\w-]+)\])?", name)
    field, worded, bracketed = match.groups() if match else (name, None, None)
    if field in FETCH_OPTIONS:
        raise FilterError(
            f"{name} is no filter: {field!r} is an option of the fetch functions, and not of all; "
            f"here it means nothing, so leave it out"
        )
    if field not in FIELDS:
        raise FilterError(_unknown(name))
    asked = worded or bracketed
    if asked is None:
        return field, None
    for operator in FIELDS[field].operators:
        if asked in (operator, operator.replace("-", "_")):
            return field, operator
    allowed = one_of("operator", asked, FIELDS[field].operators)
    raise FilterError(f"{field} has no such operator: {allowed}")


def _unknown(name: str) -> str:
    """Word the complaint about a filter that there is not, with the nearest that there is."""
    spelt = (f"{field}__{each}" for field, spec in FIELDS.items() for each in spec.operators)
    known = [*FIELDS, *FETCH_OPTIONS, *(each.replace("-", "_") for each in spelt)]
    near = difflib.get_close_matches(name, known, n=1)
    return (
        f"there is no filter {name!r}{f'; did you mean {near[0]!r}?' if near else '.'} Write "
        f"field=value or field__op=value, with one of the fields {', '.join(FIELDS)}; the options "
        f"are {', '.join(FETCH_OPTIONS)}"
    )


def is_list(value: Any) -> bool:
    """Tell several values from one."""
    return isinstance(value, Iterable) and not isinstance(value, (str, bytes, Mapping))


def _one(name: str, value: Any) -> list[_Asked]:
    """Encode one filter."""
    field, operator = split(name)
    spec = FIELDS[field]
    operator = operator or ("in" if is_list(value) else spec.plain)
    if operator is None:
        operators = " or ".join(f"{field}__{each}" for each in spec.operators)
        raise FilterError(f"{field} needs an operator: write {operators}")
    if operator not in spec.operators:
        raise FilterError(
            f"{name} was given a list, and {field} has no 'in'; use {', '.join(spec.operators)}"
        )
    takes_list = operator.partition("-")[0] in _LISTS or (field, operator) == _TAGS
    if is_list(value) and not takes_list:
        raise FilterError(f"{name} takes one value, not {value!r}; {_for_several(field, operator)}")
    if spec.kind == "date" and operator in _BY_DAY and is_day(value):
        bounds = day_bounds(operator, value)
        return [_Asked(f"{field}[{end}]", operator, [moment]) for end, moment in bounds.items()]
    parameter = field if operator == spec.plain else f"{field}[{operator}]"
    write = _words if takes_list or field == _TAGS[0] else _word_alone
    return [_Asked(parameter, operator, write(name, operator, spec, value))]


def _for_several(field: str, operator: str) -> str:
    """Say how to ask for several values, where an operator takes one."""
    if operator == "eq-insensitive":
        return f"for several use {field}__in_insensitive"
    lists = [f"{field}__{each}" for each in _LISTS if each in FIELDS[field].operators]
    # A list holds whole values, and to look for parts of texts is another question.
    of_parts = operator.startswith("contains") and FIELDS[field].kind != "enum"
    if lists and not of_parts:
        return f"for several use {' or '.join(lists)}"
    return "ask for each in a call of its own, or filter the frame"


def _word_alone(name: str, operator: str, spec: Field, value: Any) -> list[str]:
    return [_text(name, operator, spec, value)]


def _text(name: str, operator: str, spec: Field, value: Any) -> str:
    return (
        encode_time(name, operator, value)
        if spec.kind == "date"
        else _word(name, operator, spec, value)
    )


def _words(name: str, operator: str, spec: Field, value: Any) -> list[str]:
    """Write the values of a list, sorted and freed of doubles."""
    values = list(value) if is_list(value) else [value]
    if not values:
        raise FilterError(f"{name} is an empty list; leave the filter out to ask for all orders")
    words = sorted({_text(name, operator, spec, each) for each in values})
    if operator.endswith("insensitive"):  # or an order could come in two of the listings
        words = list({word.casefold(): word for word in words}.values())
    for word in words:
        if "," in word:
            hint = "" if operator == "not_contains" else "; for several values pass a list"
            raise FilterError(
                f"{name} holds {word!r}; the API separates values by commas, so none may hold "
                f"one{hint}"
            )
    if len(words) > MAX_LIST and operator.partition("-")[0] != "in":
        raise FilterError(
            f"{name} holds {len(words)} values; the API takes {MAX_LIST} at most, and "
            f"{operator!r} cannot be asked in parts; filter the frame instead"
        )
    return words


def _word(name: str, operator: str, spec: Field, value: Any) -> str:
    if not isinstance(value, str):
        raise FilterError(
            f"{name} takes text, not {value!r} ({type(value).__name__}); "
            f"{'leave it out to ask for all' if value is None else 'write it as a string'}"
        )
    text = str(value)
    if not text or _UNSENDABLE.search(text):
        raise FilterError(f"{name}={value!r} must be text without control characters, not empty")
    if spec.kind == "enum" and text not in spec.allowed:
        is_spelt_list = "," in text and operator in ("eq", "in", "nin")
        hint = "; for several values pass a list" if is_spelt_list else ""
        raise FilterError(one_of(name, text, spec.allowed) + hint)
    return text


def _extra(params: Mapping[str, Any]) -> dict[str, str]:
    """Check parameters that are passed on unread."""
    if not isinstance(params, Mapping):
        raise FilterError(f"extra_params={params!r} must be a mapping of names to values")
    for name, value in params.items():
        if not isinstance(name, str) or not name or _UNSENDABLE.search(name):
            raise FilterError(f"extra_params holds {name!r}, which is no name of a parameter")
        if name in ("limit", "page_token") or _is_known(name):
            raise FilterError(
                f"extra_params holds {name!r}, which has a place of its own: pass it as a filter, "
                f"or as page_size or page_token"
            )
        good = isinstance(value, (str, int)) or (isinstance(value, float) and isfinite(value))
        if not good or value == "" or _UNSENDABLE.search(str(value)):
            raise FilterError(f"extra_params[{name!r}]={value!r} must be text or a finite number")
    return {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in params.items()
    }


def _is_known(name: str) -> bool:
    try:
        split(name)
    except FilterError:
        return False
    return True
