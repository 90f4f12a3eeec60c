"""Orders that do not match the filters of their request; no I/O.

A server that ignores a filter sends other orders than requested. They are kept as they were
received, and reported. What may match is not reported: letters of another case, a fraction of a
second, a null (the field may be deprecated, or have failed to be read).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from functools import reduce

import pyarrow as pa
import pyarrow.compute as pc

from trackstar_frames.filters import FIELDS, parse_name
from trackstar_frames.flatten.layout import ORDER_INDEX, batch_schema

_TOLERANCE = 1_000_000  # microseconds

#: Operators of which the value must be one of the given ones, or none of them.
_ONE_OF = ("eq", "in", "eq-insensitive", "in-insensitive")
_NONE_OF = ("neq", "nin")

#: Those of them that take one value, which may have a comma.
_SINGLE = ("eq", "eq-insensitive", "neq")

_Filters = Mapping[str, list[str]]  # by parameter, from `combine_queries`


def combine_queries(queries: Iterable[Mapping[str, str]]) -> dict[str, list[str]]:
    """Combine the parameters of several listings, each with its part of a long list."""
    combined: dict[str, dict[str, None]] = {}
    for query in queries:
        for name, value in query.items():
            combined.setdefault(name, {})[value] = None
    return {name: list(values) for name, values in combined.items()}


def mismatches(filters: _Filters, orders: pa.Table) -> pa.Table:
    """Return problems: one for each order of a batch and filter of it that do not match."""
    problems = [batch_schema("problems").empty_table()]
    for name, column, mask in _compare(filters, orders):
        if pc.any(mask).as_py():
            shown = ",".join(filters[name])[:100]
            message = f"the order does not match the filter {name}={shown}"
            problems.append(_as_problems(orders.filter(mask), column, message))
    return pa.concat_tables(problems)


def count_mismatches(filters: _Filters, orders: pa.Table) -> int:
    """Count the orders that do not match some filter."""
    masks = [mask for _, _, mask in _compare(filters, orders)]
    return pc.sum(reduce(pc.or_, masks)).as_py() or 0 if masks else 0


def _compare(filters: _Filters, orders: pa.Table) -> Iterator[tuple[str, str, pa.ChunkedArray]]:
    """Yield each filter that has a column, its column, and which orders do not match it."""
    for name, values in filters.items():
        column, operator = _split(name)
        if column in orders.column_names:
            found = orders[column]
            is_date = pa.types.is_timestamp(found.type)
            mask = (_other_dates if is_date else _other_texts)(found, operator, values)
            yield name, column, pc.fill_null(mask, False)


def _split(name: str) -> tuple[str, str]:
    """Split a parameter into its column and its operator; both empty if it is not compared."""
    bare = name.partition("[")[0]
    if bare == "ids":
        return "id", "in"
    if bare not in FIELDS or bare == "trackstar_tags":  # tags are lists, and pairs
        return "", ""
    return bare, parse_name(name)[1] or "eq"


def _other_texts(column: pa.ChunkedArray, operator: str, values: list[str]) -> pa.ChunkedArray:
    texts = pc.utf8_lower(column)
    if operator in (*_ONE_OF, *_NONE_OF):
        each = values if operator in _SINGLE else ",".join(values).split(",")
        among = pc.is_in(texts, value_set=pa.array(map(str.lower, each), texts.type))
        return pc.and_(pc.is_valid(texts), pc.invert(among)) if operator in _ONE_OF else among
    contains = pc.match_substring(texts, values[0].lower())
    return pc.invert(contains) if operator.startswith("contains") else contains


def _other_dates(column: pa.ChunkedArray, operator: str, values: list[str]) -> pa.ChunkedArray:
    dates = [datetime.fromisoformat(one) for one in ",".join(values).split(",")]
    if operator in _NONE_OF:
        return pa.chunked_array([pa.nulls(len(column), pa.bool_())])
    first, last = (pa.scalar(each(dates), column.type).value for each in (min, max))
    early = pc.less(column, pa.scalar(first - _TOLERANCE, column.type))
    late = pc.greater(column, pa.scalar(last + _TOLERANCE, column.type))
    return {"gt": early, "gte": early, "lt": late, "lte": late}.get(operator, pc.or_(early, late))


def _as_problems(orders: pa.Table, column: str, message: str) -> pa.Table:
    found = [
        json.dumps(value.isoformat() if isinstance(value, datetime) else value)
        for value in orders[column].to_pylist()
    ]
    return pa.table(
        {
            ORDER_INDEX: orders[ORDER_INDEX],
            "table": pa.repeat("orders", len(orders)),
            "order_id": orders["id"],
            "path": pa.repeat(column, len(orders)),
            "value": pa.array(found, pa.string()),
            "message": pa.repeat(message, len(orders)),
        }
    ).select(batch_schema("problems").names)
