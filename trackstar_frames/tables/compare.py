"""Differences between two sets of finished tables: exact, but for the spelling of JSON."""

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

from trackstar_frames.schema import CHILD_TABLES, CONNECTION, TABLES, Column, Table
from trackstar_frames.tables.assemble import Numbers, label_rows, split_by_connection

_Mask = npt.NDArray[np.bool_]
_Column: TypeAlias = pa.Array | pa.ChunkedArray
_Tables: TypeAlias = Mapping[str, pa.Table]

KINDS = ("new", "vanished", "changed")

#: Of differences: one row per order that only one side has, per field of `orders` that differs, and
#: per child table in which an order's rows differ; sorted by `order_id`, then by `rank`: the
#: position of the column of `orders`, or of the table after them.
_TEXTS = [(name, pa.string()) for name in ("column", "old", "new", "kind")]
_SCHEMA = pa.schema([("order_id", pa.string()), ("rank", pa.int64()), *_TEXTS])


def differences(old: _Tables, new: _Tables) -> pa.Table:
    """List what differs between two sets of the finished tables, of one connection."""
    ids = common_ids(old["orders"], new["orders"])
    parts = [
        _SCHEMA.empty_table(),
        _one_sided(new["orders"], old["orders"], "new"),
        _one_sided(old["orders"], new["orders"], "vanished"),
        *_changed_fields(old["orders"], new["orders"], ids),
        *_changed_children(old, new, ids),
    ]
    by = [("order_id", "ascending"), ("rank", "ascending")]
    return pa.concat_tables(parts).sort_by(by).drop_columns("rank")


def differences_by_connection(old: _Tables, new: _Tables) -> pa.Table:
    """List what differs within each connection, sorted by its label, which is the first column."""
    found = (pc.unique(side["orders"][CONNECTION.name]).to_pylist() for side in (old, new))
    labels = sorted(set().union(*found))
    was, now = split_by_connection(old, labels), split_by_connection(new, labels)
    nothing = _SCHEMA.empty_table().drop_columns("rank")
    parts = (label_rows(differences(was[each], now[each]), each) for each in labels)
    return pa.concat_tables([label_rows(nothing, ""), *parts])


def common_ids(old: pa.Table, new: pa.Table) -> pa.ChunkedArray:
    """Return the ids that are in both tables of orders, in the sequence of the new."""
    return new["id"].filter(pc.is_in(new["id"], value_set=old["id"]))


def changed_in(name: str, old: pa.Table, new: pa.Table, ids: pa.ChunkedArray) -> set[str]:
    """Return the ids of orders on both sides that differ in the rows of one table."""
    # Where few orders are on both sides, most rows need not be compared.
    was, now = (rows_of_orders(ids, side, TABLES[name].key[0]) for side in (old, new))
    return set(ids.filter(pa.array(_differ(TABLES[name], was, now, ids))).to_pylist())


def positions(rows: _Column, ids: _Column) -> Numbers:
    """Return the position in `ids` of the order that each row names, or the one after the last."""
    found = pc.index_in(rows, value_set=ids).cast(pa.int64())
    numbers: Numbers = found.fill_null(len(ids)).to_numpy()
    return numbers


def rows_of_orders(ids: _Column, rows: pa.Table, key: str) -> pa.Table:
    """Return the rows of some orders; without a copy, if that is all of them."""
    chosen = pc.is_in(rows[key], value_set=ids)
    return rows if pc.all(chosen).as_py() else rows.filter(chosen)


def unequal_in(column: Column, left: _Column, right: _Column) -> _Mask:
    """Compare the values of a column of the schema: JSON as JSON, all else exactly."""
    differ = unequal(left, right)
    if column.kind == "json":
        for row in np.flatnonzero(differ):
            differ[row] = not _is_same_json(left[row].as_py(), right[row].as_py())
    return differ


def unequal(left: _Column, right: _Column) -> _Mask:
    """Compare two columns; null equals null and nothing else, in lists too, and NaN equals NaN."""
    if left.type != right.type or len(left) != len(right):
        raise ValueError(
            f"{len(left):,} values of {left.type} cannot be compared with {len(right):,} of "
            f"{right.type}"
        )
    if pa.types.is_list(left.type):
        return _unequal_lists(left, right)
    differ = pc.not_equal(left, right).fill_null(False)
    if pa.types.is_floating(left.type):
        both_nan = pc.and_(pc.is_nan(left), pc.is_nan(right)).fill_null(False)
        differ = pc.and_not(differ, both_nan)
    one_is_null = np.asarray(left.is_null()) != np.asarray(right.is_null())
    mask: _Mask = np.asarray(differ) | one_is_null
    return mask


def _unequal_lists(left: _Column, right: _Column) -> _Mask:
    """Compare lengths, then the items of the lists of equal length."""
    lengths = pc.list_value_length(left)
    differ = unequal(lengths, pc.list_value_length(right))
    alike = pc.and_(pa.array(~differ), lengths.is_valid())
    rows = np.repeat(np.flatnonzero(alike), lengths.filter(alike).to_numpy())
    inner = unequal(pc.list_flatten(left.filter(alike)), pc.list_flatten(right.filter(alike)))
    differ[rows[inner]] = True
    return differ


def _is_same_json(left: str | None, right: str | None) -> bool:
    """Return whether two texts are the same JSON; what cannot be read is not."""
    try:
        return None not in (left, right) and bool(_parse(left) == _parse(right))
    except (ValueError, ArithmeticError, RecursionError):
        return False


def _parse(text: str | None) -> Any:
    return json.loads(
        text or "",
        # A number equals no truth value and no text, and is compared as it is spelt.
        parse_int=lambda number: frozenset([Decimal(number)]),
        parse_float=lambda number: frozenset([Decimal(number)]),
        # As a tuple it equals no list; of a repeated key, all values count.
        object_pairs_hook=lambda pairs: tuple(sorted(pairs, key=itemgetter(0))),
    )


# Which orders differ in a table.


def _differ(table: Table, old: pa.Table, new: pa.Table, ids: _Column) -> _Mask:
    """Return whether the rows of each order, in any sequence, differ in a value or in number."""
    was, now = (positions(rows[table.key[0]], ids) for rows in (old, new))
    before, after = (np.bincount(each, minlength=len(ids) + 1)[:-1] for each in (was, now))
    differ: _Mask = before != after
    # All others have equally many rows on both sides: sorted by key, these are pairs.
    paired = np.append(~differ, False)
    left, order = _sorted_rows(table, old, was, paired)
    right, _ = _sorted_rows(table, new, now, paired)
    for column in table.columns:
        differ[order[unequal_in(column, left[column.name], right[column.name])]] = True
    return differ


def _sorted_rows(
    table: Table, rows: pa.Table, order: Numbers, chosen: _Mask
) -> tuple[pa.Table, Numbers]:
    """Sort the rows of the chosen orders by key; with the position of each row's order."""
    keys = [rows[name].to_numpy() for name in reversed(table.key[1:])]
    sequence = np.lexsort([*keys, order])
    sequence = sequence[chosen[order[sequence]]]
    if len(sequence) == len(rows) and np.array_equal(sequence, np.arange(len(rows))):
        return rows, order
    return rows.take(pa.array(sequence)), order[sequence]


# The rows of `differences`.


def _one_sided(orders: pa.Table, others: pa.Table, kind: str) -> pa.Table:
    ids = orders["id"].filter(pc.invert(pc.is_in(orders["id"], value_set=others["id"])))
    null = pa.nulls(len(ids), pa.string())
    return _part(ids, -1, None, old=null, new=null, kind=kind)


def _changed_fields(old: pa.Table, new: pa.Table, ids: _Column) -> Iterator[pa.Table]:
    left, right = (orders.take(pc.index_in(ids, value_set=orders["id"])) for orders in (old, new))
    for rank, column in enumerate(TABLES["orders"].columns):
        name = column.name
        differ = pa.array(unequal_in(column, left[name], right[name]))
        was, now = (_as_texts(orders[name].filter(differ)) for orders in (left, right))
        yield _part(ids.filter(differ), rank, name, old=was, new=now)


def _changed_children(old: _Tables, new: _Tables, ids: _Column) -> Iterator[pa.Table]:
    for rank, name in enumerate(CHILD_TABLES, len(TABLES["orders"].columns)):
        table = TABLES[name]
        changed = ids.filter(pa.array(_differ(table, old[name], new[name], ids)))
        was, now = (_rows_as_json(table, side[name], changed) for side in (old, new))
        yield _part(changed, rank, name, old=was, new=now)


def _part(
    ids: _Column, rank: int, name: str | None, *, old: _Column, new: _Column, kind: str = "changed"
) -> pa.Table:
    size = len(ids)
    ranks = pa.repeat(pa.scalar(rank, pa.int64()), size)
    names = pa.repeat(pa.scalar(name, pa.string()), size)
    return pa.table([ids, ranks, names, old, new, pa.repeat(kind, size)], schema=_SCHEMA)


def _rows_as_json(table: Table, rows: pa.Table, ids: _Column) -> pa.Array:
    """Write each order's rows as one JSON list; without the order's id and nulls."""
    key = table.key[0]
    rows = rows.filter(pc.is_in(rows[key], value_set=ids))
    for position, column in enumerate(table.columns):
        if column.kind == "timestamp":
            rows = rows.set_column(position, column.name, _as_texts(rows[column.name]))
    by_order: dict[str, list[dict[str, object]]] = {each: [] for each in ids.to_pylist()}
    for row in rows.sort_by([(name, "ascending") for name in table.key]).to_pylist():
        by_order[row.pop(key)].append({k: value for k, value in row.items() if value is not None})
    return pa.array([_to_json(each) for each in by_order.values()], pa.string())


def _as_texts(column: _Column) -> _Column:
    """Write values so that each can be distinguished from every other of its column."""
    if pa.types.is_string(column.type):
        return column
    if pa.types.is_timestamp(column.type):
        # Without the time zone, Arrow needs no time zone database, whatever the year.
        local = column.cast(pa.timestamp("us")).cast(pa.string())
        stamped = pc.replace_substring(local, " ", "T")
        return pc.binary_join_element_wise(pc.replace_substring(stamped, ".000000", ""), "Z", "")
    texts = [None if value is None else _to_json(value) for value in column.to_pylist()]
    return pa.array(texts, pa.string())


def _to_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
