"""What changed in which order, field by field, as text."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from trackstar_frames.schema import CONNECTION, TABLES, Table
from trackstar_frames.tables.compare import COMPARED, common_ids, differing, unequal_in
from trackstar_frames.tables.labels import apart, label_rows

__all__ = ["KINDS", "differences", "differences_of_each"]

_Column: TypeAlias = pa.Array | pa.ChunkedArray
_Tables: TypeAlias = Mapping[str, pa.Table]

KINDS = ("new", "vanished", "changed")

_ORDERS = TABLES["orders"]
_TEXTS = ("column", "old", "new", "kind")
_SCHEMA = pa.schema(
    [("order_id", pa.string()), ("place", pa.int64()), *((name, pa.string()) for name in _TEXTS)]
)


def differences(old: _Tables, new: _Tables) -> pa.Table:
    """List what differs between two sets of the finished tables, of one connection.

    Parameters
    ----------
    old, new
        The tables by name, as `OrderFrames.to_arrow` gives them.

    Returns
    -------
    pyarrow.Table
        order_id, column, old, new and kind, all text: one row per order that only one side
        has, per field of `orders` that differs, and per child table in which an order's rows
        differ. Sorted by order_id, then by the columns of `orders`, then by child tables.

    Examples
    --------
    >>> from trackstar_frames.frames import OrderFrames
    >>> was, now = (OrderFrames.from_json({"id": "a1", "tags": [tag]}) for tag in ("x", "y"))
    >>> differences(was.to_arrow(), now.to_arrow()).to_pylist()
    [{'order_id': 'a1', 'column': 'tags', 'old': '["x"]', 'new': '["y"]', 'kind': 'changed'}]
    """
    ids = common_ids(old["orders"], new["orders"])
    parts = [
        _SCHEMA.empty_table(),
        _alone(new["orders"], old["orders"], "new"),
        _alone(old["orders"], new["orders"], "vanished"),
        *_fields(old["orders"], new["orders"], ids),
        *_children(old, new, ids),
    ]
    by = [("order_id", "ascending"), ("place", "ascending")]
    return pa.concat_tables(parts).sort_by(by).drop_columns("place")


def differences_of_each(old: _Tables, new: _Tables) -> pa.Table:
    """List what differs between two sets of the tables of several connections.

    An id is compared within its connection only. Of a connection that one side does not have,
    all orders are new, or have vanished.

    Returns
    -------
    pyarrow.Table
        As of `differences`, with the label of the connection first, and sorted by it first.
    """
    labels = sorted(_labels(old["orders"]) | _labels(new["orders"]))
    was, now = apart(old, labels), apart(new, labels)
    nothing = _SCHEMA.empty_table().drop_columns("place")
    parts = (label_rows(differences(was[each], now[each]), each) for each in labels)
    return pa.concat_tables([label_rows(nothing, ""), *parts])


def _labels(orders: pa.Table) -> set[str]:
    return set(pc.unique(orders[CONNECTION.name]).to_pylist())


def _alone(orders: pa.Table, others: pa.Table, kind: str) -> pa.Table:
    """Name the orders that only one side has."""
    ids = orders["id"].filter(pc.invert(pc.is_in(orders["id"], value_set=others["id"])))
    null = pa.nulls(len(ids), pa.string())
    return _part(ids, -1, None, old=null, new=null, kind=kind)


def _fields(old: pa.Table, new: pa.Table, ids: _Column) -> Iterator[pa.Table]:
    left, right = (orders.take(pc.index_in(ids, value_set=orders["id"])) for orders in (old, new))
    for place, column in enumerate(_ORDERS.columns):
        name = column.name
        differ = pa.array(unequal_in(column, left[name], right[name]))
        was, now = (_text(orders[name].filter(differ)) for orders in (left, right))
        yield _part(ids.filter(differ), place, name, old=was, new=now, kind="changed")


def _children(old: _Tables, new: _Tables, ids: _Column) -> Iterator[pa.Table]:
    for place, name in enumerate(COMPARED[1:], len(_ORDERS.columns)):
        table = TABLES[name]
        changed = ids.filter(pa.array(differing(table, old[name], new[name], ids)))
        was, now = (_rows(table, side[name], changed) for side in (old, new))
        yield _part(changed, place, name, old=was, new=now, kind="changed")


def _part(
    ids: _Column, place: int, column: str | None, *, old: _Column, new: _Column, kind: str
) -> pa.Table:
    size = len(ids)
    repeated = [pa.repeat(pa.scalar(place, pa.int64()), size), pa.repeat(pa.scalar(kind), size)]
    named = pa.repeat(pa.scalar(column, pa.string()), size)
    return pa.table([ids, repeated[0], named, old, new, repeated[1]], schema=_SCHEMA)


def _rows(table: Table, rows: pa.Table, ids: _Column) -> pa.Array:
    """Write each order's rows as one JSON list; without the order's id, and what is null."""
    key = table.key[0]
    held = rows.filter(pc.is_in(rows[key], value_set=ids))
    for place, column in enumerate(table.columns):
        if column.kind == "timestamp":
            held = held.set_column(place, column.name, _text(held[column.name]))
    found: dict[str, list[dict[str, object]]] = {each: [] for each in ids.to_pylist()}
    for row in held.sort_by([(name, "ascending") for name in table.key]).to_pylist():
        found[row.pop(key)].append({k: value for k, value in row.items() if value is not None})
    return pa.array([_json(each) for each in found.values()], pa.string())


def _text(column: _Column) -> _Column:
    """Write values so that every one can be told from every other of its column."""
    if pa.types.is_string(column.type):
        return column
    if pa.types.is_timestamp(column.type):
        # Without its zone Arrow writes it with no need of a zone database, whatever the year.
        local = column.cast(pa.timestamp("us")).cast(pa.string())
        stamped = pc.replace_substring(local, " ", "T")
        return pc.binary_join_element_wise(pc.replace_substring(stamped, ".000000", ""), "Z", "")
    texts = [None if value is None else _json(value) for value in column.to_pylist()]
    return pa.array(texts, pa.string())


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
