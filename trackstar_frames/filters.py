"""The query grammar of ``GET /wms/orders``, as data, and one pure function over it.

A filter is spelt ``field=value``, ``field__op=value`` or as the API does,
``{"field[op]": value}``.
"""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from math import isfinite
from types import MappingProxyType
from typing import Any

from trackstar_frames.errors import FilterError, one_of
from trackstar_frames.moments import is_day, stamp
from trackstar_frames.schema import LIFECYCLE
from trackstar_frames.settings import FETCH_OPTIONS

__all__ = ["FIELDS", "MAX_LIST", "Field", "encode", "is_list", "split"]

#: How many values the API takes in one comma-separated list.
MAX_LIST = 100

_LISTS = ("in", "nin")
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

    Lists of ``in`` (and ``ids``) over 100 values need several listings, whose orders
    together are the answer. Lists are sorted and freed of doubles, so that the same
    question has the same parameters.

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
    asked: dict[str, list[str]] = {}
    for name, value in filters.items():
        for parameter, values in _one(name, value).items():
            if parameter in asked:
                raise FilterError(f"{name} asks for {parameter} a second time; give it once")
            asked[parameter] = values
    passed = _extra(extra_params or {})
    if "ids" in asked and len(asked) + len(passed) > 1:
        others = sorted((asked.keys() | passed.keys()) - {"ids"})
        raise FilterError(
            f"the API ignores every other filter beside ids, so {', '.join(others)} would have "
            f"no effect; ask for the ids alone and filter the frame"
        )
    choices = [[(name, part) for part in parts] for name, parts in asked.items()]
    return [dict(choice) | passed for choice in itertools.product(*choices)]


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


def _one(name: str, value: Any) -> dict[str, list[str]]:
    """Encode one filter: its parameters, each with the values to ask for in turn."""
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
    if is_list(value) and operator.partition("-")[0] not in _LISTS:
        raise FilterError(f"{name} takes one value, not {value!r}; for several use {field}__in")
    parameter = field if operator == spec.plain else f"{field}[{operator}]"
    if operator.partition("-")[0] in _LISTS:
        return {parameter: _lists(name, operator, spec, value)}
    if spec.kind != "date":
        return {parameter: [_word(name, operator, spec, value)]}
    if operator == "eq" and is_day(value):
        return {f"{field}[{end}]": [stamp(name, end, value)] for end in ("gte", "lte")}
    return {parameter: [stamp(name, operator, value)]}


def _lists(name: str, operator: str, spec: Field, value: Any) -> list[str]:
    values = list(value) if is_list(value) else [value]
    if not values:
        raise FilterError(f"{name} is an empty list; leave the filter out to ask for all orders")
    encode_one = stamp if spec.kind == "date" else partial(_word, spec=spec)
    words = sorted({encode_one(name, operator, value=each) for each in values})
    if operator.endswith("insensitive"):  # or an order could come in two of the listings
        words = list({word.casefold(): word for word in words}.values())
    for word in words:
        if "," in word:
            raise FilterError(
                f"{name} holds {word!r}; the API separates values by commas, so none may hold "
                f"one; for several values pass a list"
            )
    if operator == "nin" and len(words) > MAX_LIST:
        raise FilterError(
            f"{name} holds {len(words)} values; the API takes {MAX_LIST} at most, and an "
            f"exclusion cannot be asked in parts; filter the frame instead"
        )
    return [",".join(chunk) for chunk in _chunks(words)]


def _chunks(words: list[str]) -> Iterable[list[str]]:
    return (words[start : start + MAX_LIST] for start in range(0, len(words), MAX_LIST))


def _word(name: str, operator: str, spec: Field, value: Any) -> str:
    if not isinstance(value, str):
        raise FilterError(
            f"{name} takes text, not {value!r} ({type(value).__name__}); "
            f"{'leave it out to ask for all' if value is None else 'write it as a string'}"
        )
    text = str(value)
    if not text or _UNSENDABLE.search(text):
        raise FilterError(f"{name}={value!r} must be text without control characters, not empty")
    if spec.kind == "enum" and "contains" not in operator and text not in spec.allowed:
        hint = "; for several values pass a list" if "," in text else ""
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
