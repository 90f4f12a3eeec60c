"""`OrderFrames`: the tables of one fetch, and where they come from."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property, partial
from typing import Any

import pandas as pd
import pyarrow as pa

from trackstar_frames._text import card, lines, megabytes, table
from trackstar_frames.flatten import Batch, Flattener
from trackstar_frames.flatten.sources import Bodies
from trackstar_frames.info import FetchInfo, join_infos
from trackstar_frames.schema import TABLES, described
from trackstar_frames.settings import pii_key
from trackstar_frames.snapshots.reader import read_folder
from trackstar_frames.snapshots.writer import write_folder
from trackstar_frames.tables.assemble import assemble
from trackstar_frames.tables.connections import concat
from trackstar_frames.tables.dtypes import DtypeBackend, check_backend, to_frame
from trackstar_frames.tables.pii import redact

__all__ = ["OrderFrames"]


class OrderFrames:
    """The six tables of some orders, the problems met, and the provenance.

    Each attribute is a DataFrame with a RangeIndex and the columns and types of
    `data_dictionary`, whatever the data: text is ``str`` (``object`` on pandas 2.2), whole
    numbers ``Int64``, truth values ``boolean``, numbers ``float64``, moments
    ``datetime64[us, UTC]``, lists of text tuples, so that rows can be hashed. With
    ``dtype_backend="pyarrow"`` they are `pandas.ArrowDtype` of the same Arrow types that
    `to_arrow` has, and share its memory. The one exception is `orders.status`, with both an
    ordered categorical in lifecycle order, to which a status unknown to this package is added
    at the end.

    A date before 1990, such as 0001-01-01, stands for none: it is null, and ``extra`` keeps its
    text. A stamp without a zone is read as UTC, and ``extra`` keeps its text, too; `data_quality`
    counts both. What is finer than microseconds is cut off.

    Of several connections, ``connection`` is the first column of every table, and of its key;
    rows are sorted by it first, and an id is unique within its connection only.

    Attributes
    ----------
    orders : pandas.DataFrame
        One row per order, keyed by ``id``; sorted by ``created_date``, then ``id``.
    line_items : pandas.DataFrame
        One row per ordered line, keyed by (``order_id``, ``line_index``).
    shipments : pandas.DataFrame
        One row per shipment, keyed by (``order_id``, ``shipment_index``).
    shipment_line_items : pandas.DataFrame
        One row per shipped line; the shipment's key and ``line_index``.
    packages : pandas.DataFrame
        One row per package; the shipment's key and ``package_index``.
    package_line_items : pandas.DataFrame
        One row per packed line; the package's key and ``line_index``.
    problems : pandas.DataFrame
        One row per value that could not be kept as its column's type, and per unknown key.
    info : FetchInfo
        Filters, connection, fetched_at, pages, requests, from_cache, stale, duplicates, pii and
        more: JSON values.
    dtype_backend : None or "pyarrow"
        The types of the frames.

    Notes
    -----
    The frames are made from Arrow tables when first looked at, and kept. To change one,
    take a copy: `to_arrow` and `to_parquet` give what was fetched. Each has its own
    ``attrs["trackstar"]``: `info`, but with the numbers of ``connections`` and of those that
    ``failed`` instead of their names, so that it stays small.

    pandas does not know a list of Arrow by its name: a file that ``df.to_parquet`` wrote of
    orders with Arrow types is read with ``pandas.read_parquet(..., dtype_backend="pyarrow")``.

    Examples
    --------
    >>> frames = OrderFrames.from_json({"id": "a1", "line_items": [{"sku": "X", "quantity": 2}]})
    >>> frames.line_items[["order_id", "line_index", "sku", "quantity"]]
      order_id  line_index sku  quantity
    0       a1           0   X         2
    """

    def __init__(
        self,
        tables: Mapping[str, pa.Table],
        info: Mapping[str, Any],
        *,
        dtype_backend: DtypeBackend = None,
    ) -> None:
        self.dtype_backend = check_backend(dtype_backend)
        self._tables = dict(tables)
        self.info = FetchInfo(info)

    @classmethod
    def from_json(
        cls, source: Any, *, pii: str = "keep", dtype_backend: DtypeBackend = None
    ) -> OrderFrames:
        """Build the tables from JSON at hand: exports, webhooks, tests.

        Parameters
        ----------
        source
            Any of these, or an iterable of them: JSON as text or bytes, an order or a body as a
            dict, a path (`pathlib.Path`; a str is JSON itself), an open file; files may be gzip.
            The JSON is one of these, a list of them, or JSON Lines, one a line:

            - a response's body, ``{"data": [order, ...], "next_token": ...}``;
            - an order, or the ``{"data": order}`` of ``GET /wms/orders/{id}``;
            - a webhook event, ``{"event_type": ..., "connection_id": ..., "data": order}``. Of
              events, the tables have a ``connection`` column, always; so they cannot be mixed
              with orders that tell no connection.
        pii
            What becomes of personal data: ``"keep"``, ``"drop"`` or ``"hash"``, as for
            `fetch_orders_df`.
        dtype_backend
            None for pandas' own types, ``"pyarrow"`` for Arrow's.

        Returns
        -------
        OrderFrames
            As `fetch_orders` gives them, but for when they were fetched, which JSON does not say.

        Raises
        ------
        SettingsError
            If `pii` or `dtype_backend` is none of these, or ``"hash"`` lacks its key; before
            anything is read. If a path is a URL.
        ResponseError
            If something is not JSON, or none of these shapes. An empty ``data`` and an empty
            list are no orders, and no error.
        OSError
            If a file cannot be read.

        Notes
        -----
        Of an order that comes more than once, the newest ``updated_date`` is kept. An event that
        was too large to hold its order (``data_truncated``) is a row of `problems`, whose value
        tells the ``data_url``.

        What stands beside the orders is in `problems`, too, with the exception of an event's
        ``integration_name``, ``integration_type`` and ``previous_attributes``, which are history,
        and of ``next_token`` and ``total_count``. If the last body has a cursor, or a count is
        larger than the orders in all bodies, there is more than is at hand: that is a problem,
        and ``info["complete"]`` is False, as it is beside an ``error`` or a true ``has_more``.
        So pass the bodies of a listing in their order.

        Examples
        --------
        >>> frames = OrderFrames.from_json('{"id": "a1", "shipments": [{"shipment_id": "s1"}]}')
        >>> len(frames.orders), frames.shipments["shipment_id"].tolist()
        (1, ['s1'])
        >>> event = {"event_type": "order.updated", "connection_id": "c", "data": {"id": "a1"}}
        >>> OrderFrames.from_json([event]).orders[["connection", "id"]]
          connection  id
        0          c  a1
        """
        check_backend(dtype_backend)
        hidden = partial(redact, how=pii, key=pii_key(pii))
        bodies = Bodies(names_keys=pii == "keep")
        batches: dict[str | None, list[Batch]] = {}
        with Flattener(hidden) as flattener:
            pages = [(of, flattener.add(page)) for of, page in bodies.pages(source)]
            for connection, page in pages:
                batches.setdefault(connection, []).extend(page.result())
        for connection, strays in bodies.strays():
            batches.setdefault(connection, []).append(hidden(strays))
        told = {"pii": pii, "complete": bodies.complete}
        if not bodies.of_events:
            tables, duplicates = assemble(batches.get(None, []))
            return cls(tables, FetchInfo(told, duplicates=duplicates), dtype_backend=dtype_backend)
        parts = {each: assemble(batches[each]) for each in sorted(filter(None, batches))}
        infos = {each: FetchInfo(told, duplicates=n) for each, (_, n) in parts.items()}
        tables = concat({each: tables for each, (tables, _) in parts.items()})
        return cls(tables, join_infos(infos), dtype_backend=dtype_backend)

    @classmethod
    def from_parquet(
        cls, path: str | os.PathLike[str], *, dtype_backend: DtypeBackend = None
    ) -> OrderFrames:
        """Read what `to_parquet` or a snapshot wrote.

        Parameters
        ----------
        path
            The folder that holds a folder for each table.
        dtype_backend
            None for pandas' own types, ``"pyarrow"`` for Arrow's.

        Returns
        -------
        OrderFrames
            All tables, as they were written, and their `info`.

        Raises
        ------
        SnapshotError
            If it is missing, damaged, not of this package, or of a newer schema.
        SettingsError
            If `dtype_backend` is neither.

        Warns
        -----
        UserWarning
            If connections had failed when it was written, and are missing or older: which.

        Examples
        --------
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     OrderFrames.from_json({"id": "a1"}).to_parquet(folder)
        ...     OrderFrames.from_parquet(folder).orders["id"].tolist()
        ['a1']
        """
        check_backend(dtype_backend)
        tables, info = read_folder(path)
        info.warn_of_failed()
        return cls(tables, info, dtype_backend=dtype_backend)

    def to_parquet(self, path: str | os.PathLike[str]) -> None:
        """Write all tables as plain Parquet files, one folder each, whole or not at all.

        Every footer carries `info` and the version of the schema. An earlier folder of
        this package at `path` is replaced.

        Parameters
        ----------
        path
            The folder to make; readable by you only, as orders hold names and addresses.

        Raises
        ------
        SnapshotError
            If it cannot be written, or something else is at `path`.
        SettingsError
            If `path` is a URL, is named as a file of another kind (``orders.csv``), or no folder
            can be named so.

        Examples
        --------
        >>> import tempfile
        >>> import pandas as pd
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     OrderFrames.from_json({"id": "a1"}).to_parquet(folder)
        ...     pd.read_parquet(f"{folder}/orders")["id"].tolist()
        ['a1']
        """
        write_folder(path, self._tables, self.info)

    def to_arrow(self) -> dict[str, pa.Table]:
        """Give the Arrow tables by name, without a copy.

        Returns
        -------
        dict of str to pyarrow.Table
            Of each attribute that is a frame, its columns and rows.

        Examples
        --------
        >>> OrderFrames.from_json({"id": "a1"}).to_arrow()["orders"].num_rows
        1
        """
        return dict(self._tables)

    @cached_property
    def orders(self) -> pd.DataFrame:
        """One row per order."""
        return self._frame("orders")

    @cached_property
    def line_items(self) -> pd.DataFrame:
        """One row per ordered line."""
        return self._frame("line_items")

    @cached_property
    def shipments(self) -> pd.DataFrame:
        """One row per shipment."""
        return self._frame("shipments")

    @cached_property
    def shipment_line_items(self) -> pd.DataFrame:
        """One row per shipped line."""
        return self._frame("shipment_line_items")

    @cached_property
    def packages(self) -> pd.DataFrame:
        """One row per package."""
        return self._frame("packages")

    @cached_property
    def package_line_items(self) -> pd.DataFrame:
        """One row per packed line."""
        return self._frame("package_line_items")

    @cached_property
    def problems(self) -> pd.DataFrame:
        """One row per value that is not in its column, and per unknown key."""
        return self._frame("problems")

    def __repr__(self) -> str:
        counts = ", ".join(f"{len(table):,} {name}" for name, table in self._tables.items())
        return f"OrderFrames({counts}; {self.info.summary()})"

    def _repr_html_(self) -> str:
        heads = ("table", "one row is", "rows", "columns", "MB")
        rows = (
            (name, TABLES[name].grain, len(each), each.num_columns, megabytes(each.nbytes))
            for name, each in self._tables.items()
        )
        return card("OrderFrames", table(heads, rows), lines(self.info.lines()))

    def _frame(self, name: str) -> pd.DataFrame:
        table = self._tables[name]
        frame = to_frame(table, described(name, table.column_names), self.dtype_backend)
        frame.attrs["trackstar"] = self.info.brief()
        return frame
