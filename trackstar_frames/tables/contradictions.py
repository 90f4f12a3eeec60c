"""Orders that a server gave though they do not match the filters; pure, no I/O.

A server that passes over a filter gives other orders than those that were asked for. They are
kept, as they were received, and reported. What only may contradict a filter is not: letters of
another case, a fraction of a second, a null (the field may be deprecated, or not have been read).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from functools import reduce
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from trackstar_frames.filters import FIELDS, parse_name
from trackstar_frames.flatten import BATCH, batch_schema

__all__ = ["combine_queries", "contradictions", "count_contradictions"]

_TOLERANCE = timedelta(seconds=1)

#: Operators that want one of some values, or none of them.
_ONE_OF = ("eq", "in", "eq-insensitive", "in-insensitive")
_NONE_OF = ("neq", "nin")

#: Those of them that take one value, which may hold a comma.
_WHOLE = ("eq", "eq-insensitive", "neq")


def combine_queries(queries: Iterable[Mapping[str, str]]) -> dict[str, list[str]]:
    """Join the parameters of several listings that differ in the part of a list they ask for.

    Examples
    --------
    >>> combine_queries([{"status": "open", "ids": "a,b"}, {"status": "open", "ids": "c"}])
    {'status': ['open'], 'ids': ['a,b', 'c']}
    """
    joined: dict[str, dict[str, None]] = {}
    for query in queries:
        for name, value in query.items():
            joined.setdefault(name, {})[value] = None
    return {name: list(values) for name, values in joined.items()}


def contradictions(asked: Mapping[str, list[str]], orders: pa.Table) -> pa.Table:
    """Report the orders of a batch that do not match what was asked for.

    Parameters
    ----------
    asked
        The filters as parameters, from `combine_queries`; those without a column are passed over.
    orders
        The orders of a batch.

    Returns
    -------
    pyarrow.Table
        Rows of `problems`, as in a batch: one per order and filter.
    """
    found = [
        _rows(name, values, field, orders.filter(mask))
        for name, values, field, mask in _masks(asked, orders)
        if pc.any(mask).as_py()
    ]
    return pa.concat_tables([batch_schema("problems").empty_table(), *found])


def count_contradictions(asked: Mapping[str, list[str]], orders: pa.Table) -> int:
    """Count the orders that do not match what was asked for, one way or another."""
    masks = [mask for *_, mask in _masks(asked, orders)]
    return pc.sum(reduce(pc.or_, masks)).as_py() or 0 if masks else 0


def _masks(
    asked: Mapping[str, list[str]], orders: pa.Table
) -> Iterator[tuple[str, list[str], str, pa.ChunkedArray]]:
    """Tell for each filter which orders do not match it."""
    for name, values in asked.items():
        field, operator = _split(name)
        if field in orders.column_names:
            column = orders[field]
            if pa.types.is_timestamp(column.type):
                mask = _other_moments(column, operator, values)
            else:
                mask = _other_texts(column, operator, values)
            yield name, values, field, pc.fill_null(mask, False)


def _split(name: str) -> tuple[str, str]:
    """Cut a parameter into its column and its operator; some are no filters."""
    bare = name.partition("[")[0]
    if bare == "ids":
        return "id", "in"
    if bare not in FIELDS or bare == "trackstar_tags":  # tags are compared by more than their text
        return "", ""
    return bare, parse_name(name)[1] or "eq"


def _other_texts(column: pa.ChunkedArray, operator: str, values: list[str]) -> pa.ChunkedArray:
    texts = pc.utf8_lower(column)
    if operator in (*_ONE_OF, *_NONE_OF):
        each = [one.lower() for one in (values if operator in _WHOLE else _split_lists(values))]
        among = pc.is_in(texts, value_set=pa.array(each, texts.type))
        return pc.and_(pc.is_valid(texts), pc.invert(among)) if operator in _ONE_OF else among
    holds = pc.match_substring(texts, values[0].lower())
    return pc.invert(holds) if operator.startswith("contains") else holds


def _split_lists(values: list[str]) -> list[str]:
    return [one for value in values for one in value.split(",")]


def _other_moments(column: pa.ChunkedArray, operator: str, values: list[str]) -> pa.ChunkedArray:
    moments = [datetime.fromisoformat(one) for one in _split_lists(values)]
    if operator in _NONE_OF:
        return pa.chunked_array([pa.nulls(len(column), pa.bool_())])
    first, last = min(moments), max(moments)
    early = pc.less(column, pa.scalar(_before(first), column.type))
    late = pc.greater(column, pa.scalar(_after(last), column.type))
    return {"gt": early, "gte": early, "lt": late, "lte": late}.get(operator, pc.or_(early, late))


def _before(moment: datetime) -> datetime:
    floor = datetime.min.replace(tzinfo=moment.tzinfo)
    return moment - _TOLERANCE if moment - floor > _TOLERANCE else floor


def _after(moment: datetime) -> datetime:
    ceiling = datetime.max.replace(tzinfo=moment.tzinfo)
    return moment + _TOLERANCE if ceiling - moment > _TOLERANCE else ceiling


def _rows(name: str, values: list[str], field: str, orders: pa.Table) -> pa.Table:
    asked = ",".join(values)
    message = f"the order does not match the filter {name}={asked[:100]}"
    count = len(orders)
    return pa.table(
        {
            BATCH: orders[BATCH],
            "table": pa.repeat("orders", count),
            "order_id": orders["id"],
            "path": pa.repeat(field, count),
            "value": pa.array([_text(value) for value in orders[field].to_pylist()], pa.string()),
            "message": pa.repeat(message, count),
        }
    ).select(batch_schema("problems").names)


def _text(value: Any) -> str:
    return json.dumps(value if isinstance(value, (str, type(None))) else value.isoformat())
