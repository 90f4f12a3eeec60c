"""The filters of a command line: ``FIELD=VALUE`` or ``FIELD__OP=VALUE``, each of them heard."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trackstar_frames.errors import FilterError
from trackstar_frames.filters import FIELDS, split

__all__ = ["read_filters"]


def read_filters(texts: Sequence[str]) -> dict[str, Any]:
    """Read all filters; one that is given more than once is a list, or an error.

    Raises
    ------
    FilterError
        If one cannot be read, or two of them contradict each other.
    """
    filters: dict[str, Any] = {}
    names: dict[tuple[str, str], str] = {}  # as they were spelt first
    for text in texts:
        name, value = _filter(text)
        field, operator = _meant(name)
        first = names.setdefault((field, operator), name)
        if first in filters:
            if not (_is_listable(first) and _is_listable(name)):
                raise FilterError(_twice(name, field, operator))
            value = [*_values(filters[first]), *_values(value)]
        filters[first] = value
    for field, operator in names:
        if operator == "eq" and (field, "in") in names:
            raise FilterError(
                f"{names[field, 'eq']} and {names[field, 'in']} are both given, and an order must "
                f"meet both; write {field}__in with all values, separated by commas"
            )
    return filters


def _filter(text: str) -> tuple[str, Any]:
    """Read ``name=value``; a list's values are separated by commas, as the API has them."""
    name, equals, value = text.partition("=")
    if not equals:
        raise FilterError(f"{text!r} is no filter; write FIELD=VALUE or FIELD__OP=VALUE")
    field, operator = _meant(name)
    if _is_list(operator):
        return name, value.split(",")
    several, kind = _list_of(field, operator), FIELDS[field].kind
    is_plain = split(name)[1] is None
    if "," in value and several and (is_plain or kind == "enum"):
        alone = f"; for one text with commas, {field}__eq={value}" if kind == "string" else ""
        raise FilterError(
            f"{text!r} takes one value, and has commas; for several write {several}={value}{alone}"
        )
    return name, value


def _is_listable(name: str) -> bool:
    """Tell whether a filter that is given again is a list: a plain one means ``in`` then."""
    field, operator = _meant(name)
    is_plain = split(name)[1] is None
    return _is_list(operator) or (is_plain and _list_of(field, operator) is not None)


def _twice(name: str, field: str, operator: str) -> str:
    several = _list_of(field, operator)
    instead = f", or write {several} with all values, separated by commas" if several else ""
    return f"{name} is given twice, and takes one value; give it once{instead}"


def _meant(name: str) -> tuple[str, str]:
    """Tell the field and the operator of a filter, also where it does not name one."""
    field, operator = split(name)
    return field, operator or FIELDS[field].plain or ""


def _list_of(field: str, operator: str) -> str | None:
    """Name the filter that takes several of the values of which this one takes one."""
    several = {"eq": "in", "neq": "nin", "eq-insensitive": "in-insensitive"}.get(operator)
    there = several in FIELDS[field].operators
    return f"{field}__{several}".replace("-", "_") if there else None


def _is_list(operator: str) -> bool:
    return operator.partition("-")[0] in ("in", "nin")


def _values(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
