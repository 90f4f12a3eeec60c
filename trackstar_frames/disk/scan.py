"""Some rows and columns of a snapshot's table, read without the rest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from trackstar_frames.disk.manifest import reading
from trackstar_frames.errors import SnapshotError
from trackstar_frames.schema import TABLES, described

__all__ = ["scan"]


def scan(
    files: Sequence[Path],
    name: str,
    *,
    columns: Sequence[str] | None = None,
    order_id: str | None = None,
) -> pa.Table:
    """Read a table, or a part of it.

    Parameters
    ----------
    files
        Its Parquet files, in the order of their rows.
    name
        What the schema calls it.
    columns
        Only these, the label of the connection among them if the files are of several; None
        for all but the label.
    order_id
        Only this order's rows; None for all. Parts of files whose statistics exclude it are
        not read.

    Returns
    -------
    pyarrow.Table
        With the types of the schema; a column that the files do not have is null.

    Raises
    ------
    SnapshotError
        If a file is missing or damaged, or the snapshot was removed meanwhile.
    """
    import pyarrow.dataset as ds  # noqa: PLC0415  (slow, and only few calls read so)

    mine = None if order_id is None else ds.field(TABLES[name].key[0]) == order_id
    if not files:
        raise SnapshotError(f"the snapshot is damaged: it has no files of {name}")
    options = ds.ParquetFragmentScanOptions(page_checksum_verification=True)
    parquet = ds.ParquetFileFormat(default_fragment_scan_options=options)
    where = files[0].parent
    with reading(where.parent, f"{where} is damaged"):
        schema = described(name, columns or ()).schema
        dataset = ds.dataset([str(file) for file in files], schema=schema, format=parquet)
        return dataset.to_table(columns=None if columns is None else list(columns), filter=mine)
