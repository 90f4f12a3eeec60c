"""Read the tables of a snapshot: all, some columns, or one order; with the types of the schema.

Columns that had another meaning in an older schema are computed anew.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from trackstar_frames import storage
from trackstar_frames.errors import SnapshotError
from trackstar_frames.info import FetchInfo
from trackstar_frames.schema import CONNECTION, SCHEMA_VERSION, TABLES, table_for
from trackstar_frames.snapshots import manifest
from trackstar_frames.tables.assemble import COMPLETENESS_INPUTS, completeness


def read_folder(path: str | os.PathLike[str]) -> tuple[dict[str, pa.Table], FetchInfo]:
    """Read all tables and the info of a snapshot, or another folder of tables."""
    folder = storage.locate(path, "path")
    known = manifest.read_manifest(folder)
    try:
        parts = [
            manifest.for_each_table(TABLES, partial(read_table, folder, position, part))
            for position, part in enumerate(known.parts)
        ]
    except SnapshotError as error:
        if not storage.is_folder(folder) or manifest.read_manifest(folder) == known:
            raise
        raise SnapshotError(f"{folder} was replaced while it was read; read it again") from error
    tables = {
        name: pa.concat_tables(part[name] for part in parts).combine_chunks() for name in TABLES
    }
    return tables, known.info


def read_table(
    folder: Path,
    position: int,
    part: manifest.Part,
    name: str,
    columns: Sequence[str] | None = None,
) -> pa.Table:
    """Read a table of one part, or some of its columns, and check that its file is whole."""
    if name not in part.files:  # the schema did not have it when the part was written
        labelled = part.connection is not None
        return table_for(name, columns, labelled=labelled).schema.empty_table()
    file = part.files[name]
    path = folder / name / manifest.file_name(position)
    with manifest.reading(folder, f"{path} is damaged"):
        body = storage.read(path)
        if file.sha256 and hashlib.sha256(body).hexdigest() != file.sha256:
            raise SnapshotError(f"{path} is damaged: it is not what was written")
        parquet = pq.ParquetFile(pa.BufferReader(body), page_checksum_verification=True)
        table = _with_schema_of_today(parquet, name, columns)
        if _has_redefined(name, table.column_names) and _is_older(parquet.metadata):
            below = {
                each: read_table(folder, position, part, each, names)
                for each, names in COMPLETENESS_INPUTS.items()
            }
            table = _redefine(table, parquet.read(["id"])["id"], below)
    if len(table) != file.rows:
        raise SnapshotError(f"{path} is damaged: it holds {len(table):,} rows, not {file.rows:,}")
    return table


def read_column(folder: Path, position: int, column: str) -> pa.ChunkedArray:
    """Read a column of the orders of one part; it is null if an older schema did not have it."""
    path = folder / "orders" / manifest.file_name(position)
    if column in _REDEFINED:
        return scan([path], "orders", columns=[column])[column]
    with _open(folder, path) as parquet:
        return _with_schema_of_today(parquet, "orders", [column])[column]


def has_older_orders(folder: Path, position: int) -> bool:
    """Return whether the orders of one part are of an older schema, by the footer of their file."""
    with _open(folder, folder / "orders" / manifest.file_name(position)) as parquet:
        return _is_older(parquet.metadata)


def scan(
    files: Sequence[Path],
    name: str,
    *,
    columns: Sequence[str] | None = None,
    order_id: str | None = None,
) -> pa.Table:
    """Read a table of some files, without labels: some of its columns, or the rows of one order."""
    # Row groups whose statistics exclude the order are not read, so the checksums of whole files
    # are not compared. Columns that the files do not have are null.
    labelled = CONNECTION.name in (columns or ())
    if not files:
        return table_for(name, columns, labelled=labelled).schema.empty_table()
    import pyarrow.dataset as ds  # noqa: PLC0415  (slow, and only few calls read so)

    of_order = None if order_id is None else ds.field(TABLES[name].key[0]) == order_id
    options = ds.ParquetFragmentScanOptions(page_checksum_verification=True)
    parquet = ds.ParquetFileFormat(default_fragment_scan_options=options)
    schema, folder = table_for(name, labelled=labelled).schema, files[0].parent
    with manifest.reading(folder.parent, f"{folder} is damaged"):
        paths, filesystem = [str(file) for file in files], storage.filesystem(folder)
        dataset = ds.dataset(paths, schema=schema, format=parquet, filesystem=filesystem)
        names = schema.names if columns is None else list(columns)
        fragments = list(dataset.get_fragments()) if _has_redefined(name, names) else []
        older = [_is_older(each.metadata) for each in fragments]
        if not any(older):
            return dataset.to_table(columns=names, filter=of_order)
        parts = []
        for file, fragment, is_older in zip(files, fragments, older, strict=True):
            part = fragment.to_table(schema, columns=[*names, "id"], filter=of_order)
            table = part.select(range(len(names)))
            if is_older and len(table):
                below = {each: _scan_beside(file, each, order_id) for each in COMPLETENESS_INPUTS}
                table = _redefine(table, part.column(len(names)), below)
            parts.append(table)
        return pa.concat_tables(parts)


def _scan_beside(file: Path, name: str, order_id: str | None) -> pa.Table:
    """Read what completeness needs of another table of a part, whose file of orders is given."""
    beside = file.parent.parent / name / file.name
    files = [beside] if storage.exists(beside) else []
    return scan(files, name, columns=COMPLETENESS_INPUTS[name], order_id=order_id)


@contextmanager
def _open(folder: Path, path: Path) -> Iterator[pq.ParquetFile]:
    with (
        manifest.reading(folder, f"{path} is damaged"),
        storage.open_file(path) as source,
        pq.ParquetFile(source, page_checksum_verification=True) as parquet,
    ):
        yield parquet


#: Columns of the orders with another meaning in older schemas. Until schema 3, units were counted
#: whatever they were of; they are computed anew from the tables of the same part.
_REDEFINED = ("units_ordered", "units_shipped", "units_overshipped", "complete_shipped_date")


def _has_redefined(name: str, columns: Iterable[str]) -> bool:
    return name == "orders" and not set(_REDEFINED).isdisjoint(columns)


def _is_older(footer: pq.FileMetaData) -> bool:
    """Return whether the footer of a file says that it is of an older schema."""
    text = (footer.metadata or {}).get(manifest.FOOTER_KEY, b"{}")
    return bool(json.loads(text).get("schema_version", SCHEMA_VERSION) < SCHEMA_VERSION)


def _redefine(orders: pa.Table, ids: pa.ChunkedArray, below: dict[str, pa.Table]) -> pa.Table:
    """Replace the redefined columns of orders."""
    for name, column in completeness(ids, below).items():
        if name in _REDEFINED and name in orders.column_names:
            orders = orders.set_column(orders.column_names.index(name), name, column)
    return orders


def _with_schema_of_today(
    parquet: pq.ParquetFile, name: str, columns: Sequence[str] | None
) -> pa.Table:
    """Read the columns of today's schema; those that the file does not have are null."""
    existing = parquet.schema_arrow.names
    schema = table_for(name, columns, labelled=CONNECTION.name in existing).schema
    table = parquet.read([column for column in schema.names if column in existing])
    for field in schema:
        if field.name not in existing:
            table = table.append_column(field, pa.nulls(parquet.metadata.num_rows, field.type))
    return table.select(schema.names).cast(schema)
