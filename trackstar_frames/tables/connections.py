"""Tables of several connections: the same tables, with the label of each row's connection."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa

from trackstar_frames.dates import parse_time
from trackstar_frames.schema import CONNECTION, TABLES

__all__ = [
    "are_labelled",
    "as_of_each",
    "concat",
    "info_of",
    "join_infos",
    "label",
    "label_rows",
    "split_by_connection",
    "unlabel",
]


_Tables = Mapping[str, pa.Table]

#: What is told of each connection apart; all else is the same for all, or a sum.
_EACH = (
    *("began", "fetched_at", "server_time", "question", "pages", "requests", "from_cache"),
    *("stale", "duplicates", "complete", "verified", "sync"),
)
_SUMS = ("pages", "requests", "from_cache", "stale", "duplicates")


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


def join_infos(
    infos: Mapping[str, Mapping[str, Any]],
    *,
    asked: Collection[str] | None = None,
    failed: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, Any]:
    """Tell where the orders of several connections come from, as of the oldest page of all.

    Parameters
    ----------
    infos
        What is told of each.
    asked
        Those whose counts are summed up; by default all.
    failed
        Those of which nothing newer could be had, and why. They do not make the others older.
    """
    first = next(iter(infos.values()))  # has the whole limit; later ones what was left of it
    counted = [info for label, info in infos.items() if asked is None or label in asked]
    fresh = [info for label, info in infos.items() if label not in failed]
    return {
        **{name: value for name, value in first.items() if name not in _EACH},
        "question": None,
        "connection": None,
        **{
            name: min((info[name] for info in fresh if info.get(name)), default=None)
            for name in ("began", "fetched_at", "server_time")
        },
        **{name: sum(info[name] for info in counted) for name in _SUMS},
        "complete": not failed and all(info["complete"] for info in infos.values()),
        "verified": not failed and all(info.get("verified") for info in infos.values()),
        **({"failed": dict(failed)} if failed else {}),
        "connections": {
            connection: {name: info[name] for name in _EACH if name in info}
            for connection, info in infos.items()
        },
    }


def info_of(info: Mapping[str, Any], connection: str) -> dict[str, Any]:
    """Tell of one of several connections what a fetch of it alone would tell."""
    shared = {name: value for name, value in info.items() if name not in ("connections", "failed")}
    return {**shared, **info["connections"][connection], "connection": connection}


def as_of_each(info: Mapping[str, Any], otherwise: str) -> dict[str | None, datetime]:
    """Tell as of when the orders of each connection are: one may be older than the others.

    Parameters
    ----------
    info
        Of one connection, known by its label, if it has one; or of several.
    otherwise
        ISO 8601: as of when they are where the info does not tell.

    Examples
    --------
    >>> as_of_each({"connection": None, "fetched_at": "2026-03-01T06:00:00Z"}, "2026-03-02")
    {None: datetime.datetime(2026, 3, 1, 6, 0, tzinfo=datetime.timezone.utc)}
    """
    each = info.get("connections") or {info["connection"]: info}
    return {
        connection: parse_time(told["fetched_at"] or otherwise).astimezone(UTC)
        for connection, told in each.items()
    }
