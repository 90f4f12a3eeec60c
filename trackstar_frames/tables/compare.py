"""What differs between two sets of the finished tables: exactly, but for the spelling of JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from decimal import Decimal
from operator import itemgetter
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from trackstar_frames.schema import CONNECTION, TABLES, Column, Table
from trackstar_frames.tables.connections import label_rows, split_by_connection

__all__ = [
    "COMPARED",
    "KINDS",
    "changed_in",
    "changed_orders",
    "common_ids",
    "differences",
    "differences_by_connection",
    "differing",
    "rows_of_orders",
    "unequal",
    "unequal_in",
]


_Mask = npt.NDArray[np.bool_]
_Numbers = npt.NDArray[np.int64]
_Column: TypeAlias = pa.Array | pa.ChunkedArray

#: The tables that make an order; `problems` tells how it was read.
COMPARED = tuple(name for name in TABLES if name != "problems")


def changed_orders(old: Mapping[str, pa.Table], new: Mapping[str, pa.Table]) -> dict[str, set[str]]:
    """Tell of each table which of the orders that are in both sets of tables differ there.

    Parameters
    ----------
    old, new
        The tables by name, as `OrderFrames.to_arrow` gives them, in any sequence of rows.

    Returns
    -------
    dict of str to set of str
        For each table but `problems`, the ids of orders of which any value differs there, or
        the number of rows. Orders that only one side has are not told.

    Examples
    --------
    >>> from trackstar_frames.frames import OrderFrames
    >>> was = OrderFrames.from_json([{"id": "a1", "tags": []}, {"id": "b2"}]).to_arrow()
    >>> now = OrderFrames.from_json([{"id": "a1"}, {"id": "b2"}, {"id": "c3"}]).to_arrow()
    >>> changed_orders(was, now)["orders"], changed_orders(was, now)["packages"]
    ({'a1'}, set())
    """
    ids = common_ids(old["orders"], new["orders"])
    return {name: changed_in(name, old[name], new[name], ids) for name in COMPARED}


def changed_in(name: str, old: pa.Table, new: pa.Table, ids: pa.ChunkedArray) -> set[str]:
    """Tell which of some orders differ in one table.

    Parameters
    ----------
    name
        What the schema calls it.
    old, new
        Its rows on both sides.
    ids
        The orders that both sides have.
    """
    # Where few orders are on both sides, most rows need not be looked at further.
    was, now = (rows_of_orders(ids, side, TABLES[name].key[0]) for side in (old, new))
    return set(ids.filter(pa.array(differing(TABLES[name], was, now, ids))).to_pylist())


def common_ids(old: pa.Table, new: pa.Table) -> pa.ChunkedArray:
    """List the ids that are in both tables of orders, in the sequence of the new."""
    return new["id"].filter(pc.is_in(new["id"], value_set=old["id"]))


def differing(table: Table, old: pa.Table, new: pa.Table, ids: _Column) -> _Mask:
    """Tell for each order whether its rows differ in any value, or in number.

    Parameters
    ----------
    table
        What the schema says of `old` and `new`.
    old, new
        Rows of one table, in any sequence.
    ids
        The orders to look at; rows of others are passed over.
    """
    was, now = _numbers(table, old, ids), _numbers(table, new, ids)
    changed: _Mask = _count(was, len(ids)) != _count(now, len(ids))
    # What is left has equally many rows on both sides: sorted by key, they stand in pairs.
    paired = np.append(~changed, False)
    left, order = _in_sequence(table, old, was, paired)
    right, _ = _in_sequence(table, new, now, paired)
    for column in table.columns:
        changed[order[unequal_in(column, left[column.name], right[column.name])]] = True
    return changed


def unequal_in(column: Column, left: _Column, right: _Column) -> _Mask:
    """Compare the values of a column of the schema, one by one: JSON as JSON, all else exactly.

    White space, the sequence of an object's keys and the spelling of a text or a number make no
    difference to JSON; the sequence of a list does.

    Examples
    --------
    >>> extra = TABLES["orders"].columns[-1]
    >>> texts = pa.array(['{"x": 1, "y": 2}', "[1, 2]"]), pa.array(['{"y":2,"x":1.0}', "[2, 1]"])
    >>> unequal_in(extra, *texts).tolist()
    [False, True]
    """
    differ = unequal(left, right)
    if column.kind == "json":
        for row in np.flatnonzero(differ):
            differ[row] = not _are_one(left[row].as_py(), right[row].as_py())
    return differ


def unequal(left: _Column, right: _Column) -> _Mask:
    """Compare two columns of one type and length, value by value.

    Parameters
    ----------
    left, right
        Of any type of the schema, lists of strings included.

    Returns
    -------
    numpy.ndarray
        True where they differ. Null equals null and nothing else, inside lists too; NaN
        equals NaN.

    Raises
    ------
    ValueError
        If their types or lengths differ.

    Examples
    --------
    >>> tags = pa.list_(pa.string())
    >>> unequal(pa.array([None, ["x"], ["y"]], tags), pa.array([[], ["x"], [None]], tags)).tolist()
    [True, False, True]
    """
    if left.type != right.type or len(left) != len(right):
        raise ValueError(
            f"{len(left):,} values of {left.type} cannot be compared with {len(right):,} of "
            f"{right.type}"
        )
    if pa.types.is_list(left.type):
        return _unequal_lists(left, right)
    differ = pc.not_equal(left, right).fill_null(False)
    if pa.types.is_floating(left.type):
        neither = pc.and_(pc.is_nan(left), pc.is_nan(right)).fill_null(False)
        differ = pc.and_not(differ, neither)
    one_is_null: _Mask = _mask(left.is_null()) != _mask(right.is_null())
    return _mask(differ) | one_is_null


def _are_one(left: str | None, right: str | None) -> bool:
    """Tell whether two texts are the same JSON; what cannot be read is not."""
    try:
        return None not in (left, right) and bool(_as_json(left) == _as_json(right))
    except (ValueError, ArithmeticError, RecursionError):
        return False


def _as_json(text: str | None) -> Any:
    return json.loads(
        text or "", parse_int=_number, parse_float=_number, object_pairs_hook=_sorted_pairs
    )


def _number(text: str) -> frozenset[Decimal]:
    # Not equal to true or to a text; and as exact as it is spelt.
    return frozenset([Decimal(text)])


def _sorted_pairs(pairs: list[tuple[str, Any]]) -> tuple[tuple[str, Any], ...]:
    # As a tuple it equals no list; of a key that comes twice, both values count.
    return tuple(sorted(pairs, key=itemgetter(0)))


def _unequal_lists(left: _Column, right: _Column) -> _Mask:
    """Compare lengths, then what the lists of equal length hold."""
    lengths = pc.list_value_length(left)
    differ = unequal(lengths, pc.list_value_length(right))
    alike = pc.and_(pa.array(~differ), lengths.is_valid())
    rows = np.repeat(np.flatnonzero(_mask(alike)), lengths.filter(alike).to_numpy())
    inner = unequal(pc.list_flatten(left.filter(alike)), pc.list_flatten(right.filter(alike)))
    differ[rows[inner]] = True
    return differ


def rows_of_orders(ids: _Column, rows: pa.Table, key: str) -> pa.Table:
    """Choose the rows of some orders; without a copy, if that is all of them."""
    chosen = pc.is_in(rows[key], value_set=ids)
    return rows if pc.all(chosen).as_py() else rows.filter(chosen)


def _numbers(table: Table, rows: pa.Table, ids: _Column) -> _Numbers:
    """Tell for each row the place of its order in `ids`, or the one after the last."""
    places = pc.index_in(rows[table.key[0]], value_set=ids)
    numbers: _Numbers = places.cast(pa.int64()).fill_null(len(ids)).to_numpy()
    return numbers


def _count(numbers: _Numbers, orders: int) -> _Numbers:
    return np.bincount(numbers, minlength=orders + 1)[:orders]


def _in_sequence(
    table: Table, rows: pa.Table, numbers: _Numbers, chosen: _Mask
) -> tuple[pa.Table, _Numbers]:
    """Sort the rows of the chosen orders by key; with the number of each row's order."""
    keys = [rows[name].to_numpy() for name in reversed(table.key[1:])]
    sequence = np.lexsort([*keys, numbers])
    sequence = sequence[chosen[numbers[sequence]]]
    if len(sequence) == len(rows) and np.array_equal(sequence, np.arange(len(rows))):
        return rows, numbers
    return rows.take(pa.array(sequence)), numbers[sequence]


def _mask(column: _Column) -> _Mask:
    mask: _Mask = np.asarray(column)
    return mask


_Compared: TypeAlias = pa.Array | pa.ChunkedArray
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


def differences_by_connection(old: _Tables, new: _Tables) -> pa.Table:
    """List what differs between two sets of the tables of several connections.

    An id is compared within its connection only. Of a connection that one side does not have,
    all orders are new, or have vanished.

    Returns
    -------
    pyarrow.Table
        As of `differences`, with the label of the connection first, and sorted by it first.
    """
    labels = sorted(_labels(old["orders"]) | _labels(new["orders"]))
    was, now = split_by_connection(old, labels), split_by_connection(new, labels)
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


def _fields(old: pa.Table, new: pa.Table, ids: _Compared) -> Iterator[pa.Table]:
    left, right = (orders.take(pc.index_in(ids, value_set=orders["id"])) for orders in (old, new))
    for place, column in enumerate(_ORDERS.columns):
        name = column.name
        differ = pa.array(unequal_in(column, left[name], right[name]))
        was, now = (_text(orders[name].filter(differ)) for orders in (left, right))
        yield _part(ids.filter(differ), place, name, old=was, new=now, kind="changed")


def _children(old: _Tables, new: _Tables, ids: _Compared) -> Iterator[pa.Table]:
    for place, name in enumerate(COMPARED[1:], len(_ORDERS.columns)):
        table = TABLES[name]
        changed = ids.filter(pa.array(differing(table, old[name], new[name], ids)))
        was, now = (_rows(table, side[name], changed) for side in (old, new))
        yield _part(changed, place, name, old=was, new=now, kind="changed")


def _part(
    ids: _Compared, place: int, column: str | None, *, old: _Compared, new: _Compared, kind: str
) -> pa.Table:
    size = len(ids)
    repeated = [pa.repeat(pa.scalar(place, pa.int64()), size), pa.repeat(pa.scalar(kind), size)]
    named = pa.repeat(pa.scalar(column, pa.string()), size)
    return pa.table([ids, repeated[0], named, old, new, repeated[1]], schema=_SCHEMA)


def _rows(table: Table, rows: pa.Table, ids: _Compared) -> pa.Array:
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


def _text(column: _Compared) -> _Compared:
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
