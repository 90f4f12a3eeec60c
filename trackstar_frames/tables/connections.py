"""Tables of several connections: the same tables, with a label for each row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import pyarrow as pa

from trackstar_frames.schema import CONNECTION, TABLES

__all__ = [
    "are_labelled",
    "concat",
    "label",
    "label_rows",
    "split_by_connection",
    "unlabel",
]


_Tables = Mapping[str, pa.Table]


def are_labelled(tables: _Tables) -> bool:
    """Return whether tables are of several connections."""
    return CONNECTION.name in tables["orders"].column_names


def label(tables: _Tables, connection: str) -> dict[str, pa.Table]:
    """Add a connection's label to every row."""
    return {name: label_rows(table, connection) for name, table in tables.items()}


def label_rows(table: pa.Table, connection: str) -> pa.Table:
    """Add a connection's label to every row of one table."""
    labels = pa.repeat(pa.scalar(connection, pa.string()), len(table))
    return table.add_column(0, CONNECTION.field, labels)


def unlabel(tables: _Tables) -> dict[str, pa.Table]:
    """Remove the labels, if there are any."""
    return {
        name: table.drop_columns(CONNECTION.name)
        if CONNECTION.name in table.column_names
        else table
        for name, table in tables.items()
    }


def concat(parts: Mapping[str, _Tables]) -> dict[str, pa.Table]:
    """Concatenate the tables of several connections, in this order, with labels."""
    labelled = [label(tables, connection) for connection, tables in parts.items()]
    return {
        name: pa.concat_tables(
            [table.labelled.schema.empty_table(), *(each[name] for each in labelled)]
        )
        for name, table in TABLES.items()
    }


def split_by_connection(
    tables: _Tables, labels: Iterable[str] = ()
) -> dict[str, dict[str, pa.Table]]:
    """Split tables by the label of their rows; the inverse of `concat`.

    A connection without a row in a table has an empty one there; one of `labels` that has no row
    at all has empty tables.
    """
    runs = {name: dict(_runs(table)) for name, table in tables.items()}
    labels = sorted({*labels, *(connection for each in runs.values() for connection in each)})
    nothing = unlabel({name: table.schema.empty_table() for name, table in tables.items()})
    return {
        connection: nothing
        | unlabel({name: each[connection] for name, each in runs.items() if connection in each})
        for connection in labels
    }


def _runs(table: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    """Split a table into the rows of each connection, in their order."""
    labels = table[CONNECTION.name].combine_chunks().dictionary_encode()
    codes = labels.indices.to_numpy(zero_copy_only=False)
    if np.any(np.diff(codes) < 0):
        sequence = np.argsort(codes, kind="stable")
        table, codes = table.take(pa.array(sequence)), codes[sequence]
    # Codes are given in the order of first appearance: those of contiguous rows only rise.
    bounds = np.searchsorted(codes, np.arange(len(labels.dictionary) + 1))
    for code, connection in enumerate(labels.dictionary.to_pylist()):
        yield connection, table[bounds[code] : bounds[code + 1]]
