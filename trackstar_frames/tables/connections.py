"""Tables of several connections: the same tables, with the label of each row's connection."""

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
    """Tell whether tables are of several connections."""
    return CONNECTION.name in tables["orders"].column_names


def label(tables: _Tables, connection: str) -> dict[str, pa.Table]:
    """Write a connection's label to every row."""
    return {name: label_rows(table, connection) for name, table in tables.items()}


def label_rows(table: pa.Table, connection: str) -> pa.Table:
    """Write a connection's label to every row of one table."""
    labels = pa.repeat(pa.scalar(connection, pa.string()), len(table))
    return table.add_column(0, CONNECTION.field, labels)


def unlabel(tables: _Tables) -> dict[str, pa.Table]:
    """Take the labels off, if there are any."""
    return {
        name: table.drop_columns(CONNECTION.name)
        if CONNECTION.name in table.column_names
        else table
        for name, table in tables.items()
    }


def concat(parts: Mapping[str, _Tables]) -> dict[str, pa.Table]:
    """Join the tables of several connections, in this sequence."""
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
    """Take the tables of several connections apart, by label; the inverse of `concat`.

    A connection without a row in a table has an empty one there; one that has no row at all is
    known by its label.
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
    """Cut a table into the rows of each connection, in their own sequence."""
    labels = table[CONNECTION.name].combine_chunks().dictionary_encode()
    codes = labels.indices.to_numpy(zero_copy_only=False)
    if np.any(np.diff(codes) < 0):
        sequence = np.argsort(codes, kind="stable")
        table, codes = table.take(pa.array(sequence)), codes[sequence]
    # In the order in which they are first met, the codes of what is together only rise.
    places = np.searchsorted(codes, np.arange(len(labels.dictionary) + 1))
    for code, connection in enumerate(labels.dictionary.to_pylist()):
        yield connection, table[places[code] : places[code + 1]]
