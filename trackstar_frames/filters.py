"""The filters of ``GET /wms/orders``: the grammar as data, and `encode`, a pure function over it.

A filter is written ``field=value``, ``field__op=value`` or, as in the API, ``{"field[op]": ...}``.
CONTRIBUTING.md describes the path of one filter through the package.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from math import ceil, isfinite
from types import MappingProxyType
from typing import Any
from urllib.parse import urlencode

from trackstar_frames.dates import day_bounds, encode_time, is_day
from trackstar_frames.errors import FilterError, one_of
from trackstar_frames.schema import LIFECYCLE
from trackstar_frames.settings import FETCH_OPTIONS

#: How many values the API takes in one comma-separated list.
MAX_LIST = 100

# Servers refuse a longer URL (414). Some of it is for the base URL, the path, the page size and
# the cursor.
_MAX_URL = 8_000  # bytes
_NOT_FILTERS = 1_000  # bytes

_LISTS = ("in", "nin")
_TAGS = "trackstar_tags"
_BY_DAY = ("eq", "gt", "gte", "lt", "lte")
_UNSENDABLE = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Field:
    """One field that orders can be filtered by."""

    kind: str  # "date", "string" or "enum"
    operators: tuple[str, ...]
    allowed: tuple[str, ...] = ()  # the values of an enum
    plain: str | None = "eq"  # the operator that field=value means, if any


_DATES = ("eq", "neq", "gt", "gte", "lt", "lte", "in", "nin")
_WORDS = ("eq", "neq", "in", "nin", "contains", "not_contains")
_NUMBERS = (
    *("eq", "in", "nin", "eq-insensitive", "in-insensitive"),
    *("contains", "contains-insensitive", "not_contains"),
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
    """Return the query parameters of each listing; together they have all matching orders."""
    # Lists are sorted, without duplicates, so that equal filters have equal parameters.
    parameters: dict[str, _Parameter] = {}
    for name, value in filters.items():
        for each in _Filter.parse(name, value).encode():
            parameters[each.name] = _combined(name, parameters.get(each.name), each)
    extra = _checked_extra(extra_params or {})
    if "ids" in parameters and len(parameters) + len(extra) > 1:
        others = sorted((parameters.keys() | extra.keys()) - {"ids"})
        raise FilterError(
            f"the API ignores every other filter beside ids, so {', '.join(others)} would have "
            f"no effect; ask for the ids alone and filter the frame"
        )
    lists = {each.name: each.values for each in parameters.values()}
    # Two shorter lists of these find the same orders as the whole list.
    splittable = [
        each.name for each in parameters.values() if each.operator in ("in", "in-insensitive")
    ]
    return list(_queries(lists, extra, splittable))


def parse_name(name: str) -> tuple[str, str | None]:
    """Split a filter's name into field and operator (None if it has none); both must exist."""
    match = re.fullmatch(r"(\w+?)(?:__([\w-]+)|\[([\w-]+)\])?", name)
    field, after_underscores, in_brackets = match.groups() if match else (name, None, None)
    if field in FETCH_OPTIONS:
        raise FilterError(
            f"{name} is not a filter: {field!r} is an option of other fetch functions, and has "
            f"no effect here; leave it out"
        )
    if field not in FIELDS:
        raise FilterError(_unknown(name))
    written = after_underscores or in_brackets
    if written is None:
        return field, None
    for operator in FIELDS[field].operators:
        if written in (operator, operator.replace("-", "_")):
            return field, operator
    allowed = one_of("operator", written, FIELDS[field].operators)
    raise FilterError(f"{field} has no such operator: {allowed}")


def is_list(value: Any) -> bool:
    """Return whether a value is several values."""
    return isinstance(value, Iterable) and not isinstance(value, (str, bytes, Mapping))


@dataclass(frozen=True, slots=True)
class _Parameter:
    """One query parameter, with its values as texts; one value unless the operator takes a list."""

    name: str
    operator: str  # the user's: of a bare day, the name may hold another one
    values: list[str]


@dataclass(frozen=True, slots=True)
class _Filter:
    """One filter as the user wrote it, and its field and operator, which are known to exist."""

    name: str
    value: Any
    field: str
    spec: Field
    operator: str

    @classmethod
    def parse(cls, name: str, value: Any) -> _Filter:
        field, operator = parse_name(name)
        spec = FIELDS[field]
        operator = operator or ("in" if is_list(value) else spec.plain)
        if operator is None:
            operators = " or ".join(f"{field}__{each}" for each in spec.operators)
            raise FilterError(f"{field} needs an operator: write {operators}")
        if operator not in spec.operators:
            raise FilterError(
                f"{name} was given a list, and {field} has no 'in'; use {', '.join(spec.operators)}"
            )
        parsed = cls(name, value, field, spec, operator)
        if is_list(value) and not parsed.takes_list:
            raise FilterError(f"{name} takes one value, not {value!r}; {parsed._for_several()}")
        return parsed

    @property
    def takes_list(self) -> bool:
        is_tags = (self.field, self.operator) == (_TAGS, "contains")
        return is_tags or self.operator.partition("-")[0] in _LISTS

    def encode(self) -> list[_Parameter]:
        """Check the values and write them as the API does; a bare day may need two parameters."""
        is_date = self.spec.kind == "date"
        if is_date and self.operator in _BY_DAY and is_day(self.value):
            bounds = day_bounds(self.operator, self.value)
            return [
                _Parameter(f"{self.field}[{end}]", self.operator, [moment])
                for end, moment in bounds.items()
            ]
        is_plain = self.operator == self.spec.plain
        name = self.field if is_plain else f"{self.field}[{self.operator}]"
        is_list_sent = self.takes_list or self.field == _TAGS
        texts = self._list() if is_list_sent else [self._text(self.value)]
        return [_Parameter(name, self.operator, texts)]

    def _list(self) -> list[str]:
        """Write the values of a list, sorted, without duplicates."""
        values = list(self.value) if is_list(self.value) else [self.value]
        if not values:
            raise FilterError(
                f"{self.name} is an empty list; leave the filter out to ask for all orders"
            )
        texts = sorted({self._text(each) for each in values})
        if self.operator.endswith("insensitive"):  # else an order could be in two of the listings
            texts = list({text.casefold(): text for text in texts}.values())
        for text in texts:
            if "," in text:
                hint = "" if self.operator == "not_contains" else "; for several values pass a list"
                raise FilterError(
                    f"{self.name} holds {text!r}; the API separates values by commas, so none may "
                    f"hold one{hint}"
                )
        if len(texts) > MAX_LIST and self.operator.partition("-")[0] != "in":
            raise FilterError(
                f"{self.name} holds {len(texts)} values; the API takes {MAX_LIST} at most, and "
                f"{self.operator!r} cannot be split over several requests; filter the frame instead"
            )
        return texts

    def _text(self, value: Any) -> str:
        """Check one value and write it."""
        if self.spec.kind == "date":
            return encode_time(self.name, self.operator, value)
        if not isinstance(value, str):
            raise FilterError(
                f"{self.name} takes text, not {value!r} ({type(value).__name__}); "
                f"{'leave it out to ask for all' if value is None else 'write it as a string'}"
            )
        text = str(value)
        if not text or _UNSENDABLE.search(text):
            raise FilterError(
                f"{self.name}={value!r} must be text without control characters, not empty"
            )
        if self.spec.kind == "enum" and text not in self.spec.allowed:
            is_written_list = "," in text and self.operator in ("eq", "in", "nin")
            hint = "; for several values pass a list" if is_written_list else ""
            raise FilterError(one_of(self.name, text, self.spec.allowed) + hint)
        return text

    def _for_several(self) -> str:
        """Return how to request several values, if the operator takes one."""
        if self.operator == "eq-insensitive":
            return f"for several use {self.field}__in_insensitive"
        lists = [f"{self.field}__{each}" for each in _LISTS if each in self.spec.operators]
        # Lists hold whole values: they cannot look for parts of texts.
        is_of_parts = self.operator.startswith("contains") and self.spec.kind != "enum"
        if lists and not is_of_parts:
            return f"for several use {' or '.join(lists)}"
        return "ask for each in a call of its own, or filter the frame"


def _unknown(name: str) -> str:
    """Return the message for an unknown filter, with the nearest known one."""
    worded = (f"{field}__{each}" for field, spec in FIELDS.items() for each in spec.operators)
    known = [*FIELDS, *FETCH_OPTIONS, *(each.replace("-", "_") for each in worded)]
    near = difflib.get_close_matches(name, known, n=1)
    return (
        f"there is no filter {name!r}{f'; did you mean {near[0]!r}?' if near else '.'} Write "
        f"field=value or field__op=value, with one of the fields {', '.join(FIELDS)}; the options "
        f"are {', '.join(FETCH_OPTIONS)}"
    )


def _combined(name: str, one: _Parameter | None, other: _Parameter) -> _Parameter:
    """Combine two filters that are sent as one parameter: of two bounds the stricter one."""
    if one is None:
        return other
    if {one.operator, other.operator} not in ({"gt", "gte"}, {"lt", "lte"}):
        raise FilterError(f"{name} gives {other.name} a second time; give it once")
    stricter = max if other.operator.startswith("g") else min
    return stricter(one, other, key=lambda each: each.values[0])


def _checked_extra(params: Mapping[str, Any]) -> dict[str, str]:
    """Check parameters that are sent unchanged, and write them as texts."""
    if not isinstance(params, Mapping):
        raise FilterError(f"extra_params={params!r} must be a mapping of names to values")
    for name, value in params.items():
        if not isinstance(name, str) or not name or _UNSENDABLE.search(name):
            raise FilterError(f"extra_params holds {name!r}, which is not a parameter's name")
        if name in ("limit", "page_token") or _is_filter(name):
            raise FilterError(
                f"extra_params holds {name!r}, which is not an extra parameter: pass it as a "
                f"filter, or as page_size or page_token"
            )
        is_valid = isinstance(value, (str, int)) or (isinstance(value, float) and isfinite(value))
        if not is_valid or value == "" or _UNSENDABLE.search(str(value)):
            raise FilterError(f"extra_params[{name!r}]={value!r} must be text or a finite number")
    return {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in params.items()
    }


def _is_filter(name: str) -> bool:
    with suppress(FilterError):
        return bool(parse_name(name))
    return False


def _queries(
    lists: dict[str, list[str]], extra: dict[str, str], splittable: list[str]
) -> Iterator[dict[str, str]]:
    """Join the values of each list; cut lists that are longer than the API or a URL takes."""
    name = next((name for name, texts in lists.items() if len(texts) > MAX_LIST), None)
    if name is not None:
        middle = ceil(len(lists[name]) / MAX_LIST / 2) * MAX_LIST
    else:
        query = {name: ",".join(texts) for name, texts in lists.items()} | extra
        if len(urlencode(query)) <= _MAX_URL - _NOT_FILTERS:
            yield query
            return
        cuttable = [name for name in splittable if len(lists[name]) > 1]
        name = max(cuttable or query, key=lambda each: len(urlencode({each: query[each]})))
        if not cuttable:
            raise FilterError(
                f"{name} is too long: servers refuse a URL of more than {_MAX_URL:,} bytes, and "
                f"these filters cannot be split over several requests; give fewer values, and "
                f"filter the frame"
            )
        middle = len(lists[name]) // 2
    for texts in (lists[name][:middle], lists[name][middle:]):
        yield from _queries(lists | {name: texts}, extra, splittable)
