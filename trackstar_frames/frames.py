"""`OrderFrames`: the tables of one fetch, and their provenance."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property, partial
from typing import Any

import pandas as pd
import pyarrow as pa

from trackstar_frames._text import card, lines, table
from trackstar_frames.flatten import Flattener
from trackstar_frames.flatten.layout import Batch
from trackstar_frames.flatten.sources import JsonSource
from trackstar_frames.info import FetchInfo, brief, describe, join_infos, summary, warn_of_failed
from trackstar_frames.schema import CONNECTION, TABLES, table_for
from trackstar_frames.settings import pii_key
from trackstar_frames.snapshots.reader import read_folder
from trackstar_frames.snapshots.writer import write_folder
from trackstar_frames.tables.assemble import assemble, concat
from trackstar_frames.tables.dtypes import DtypeBackend, check_backend, to_frame
from trackstar_frames.tables.pii import redact


class OrderFrames:
    """The tables of some orders, their problems, and their provenance.

    Each table is a DataFrame with a RangeIndex and the columns of `data_dictionary`. Its types do
    not depend on the data, even if there are no rows: text is ``str`` (``object`` on pandas 2.2),
    integers are ``Int64``, truth values ``boolean``, floats ``float64``, dates
    ``datetime64[us, UTC]``, and lists of text are tuples, so that rows can be hashed. With
    ``dtype_backend="pyarrow"``, they are `pandas.ArrowDtype` of the Arrow types that `to_arrow`
    has, and share its memory. The exception is `orders.status`: with both backends it is an ordered
    categorical in lifecycle order, with the statuses that this package does not know at the end.

    A date before 1990, such as 0001-01-01, is a placeholder: it is null, and ``extra`` keeps its
    text. A date and time without a time zone is read as UTC, and ``extra`` keeps its text, too;
    `data_quality` counts both. Fractions below a microsecond are cut off.

    With several connections, ``connection`` is the first column of every table and of its key; rows
    are sorted by it first, and an id is unique within its connection only.

    Attributes
    ----------
    orders : pandas.DataFrame
        One row per order, keyed by ``id``; sorted by ``created_date``, then ``id``, nulls last.
    line_items : pandas.DataFrame
        One row per ordered line, keyed by (``order_id``, ``line_index``).
    shipments : pandas.DataFrame
        One row per shipment, keyed by (``order_id``, ``shipment_index``).
    shipment_line_items : pandas.DataFrame
        One row per shipped line, keyed by the shipment's key and ``line_index``.
    packages : pandas.DataFrame
        One row per package, keyed by the shipment's key and ``package_index``.
    package_line_items : pandas.DataFrame
        One row per packed line, keyed by the package's key and ``line_index``.
    problems : pandas.DataFrame
        One row per value that could not be kept as its column's type, and per unknown key:
        ``table``, ``order_id`` (null for an order without an id), ``path`` in the order's JSON,
        ``value`` (the raw JSON) and ``message``.
    info : FetchInfo
        Filters, connection, fetched_at, pages, requests, from_cache, stale, duplicates, pii and
        more: JSON values.
    dtype_backend : None or "pyarrow"
        The types of the frames.

    See Also
    --------
    data_dictionary : Every column of every table.
    fetch_orders : Fetch them from the API.
    read_snapshot : Read them from disk.

    Notes
    -----
    A frame is made from its Arrow table when it is first accessed, and kept. To change one, take a
    copy: `to_arrow` and `to_parquet` return what was fetched, even if a frame was changed.
    The ``attrs["trackstar"]`` of each frame is a copy of `info` in which ``connections`` and
    ``failed`` are numbers instead of names, so that it stays small.

    pandas does not recognise Arrow's lists by their name: read a file that ``df.to_parquet`` wrote
    of orders with Arrow types by ``pandas.read_parquet(..., dtype_backend="pyarrow")``.

    Examples
    --------
    >>> frames = OrderFrames.from_json({"id": "a1", "line_items": [{"sku": "X", "quantity": 2}]})
    >>> frames.line_items[["order_id", "line_index", "sku", "quantity"]]
      order_id  line_index sku  quantity
    0       a1           0   X         2
    """

    # For editors and type checkers; `_add_table_attributes` adds those of all tables.
    orders: pd.DataFrame
    line_items: pd.DataFrame
    shipments: pd.DataFrame
    shipment_line_items: pd.DataFrame
    packages: pd.DataFrame
    package_line_items: pd.DataFrame
    problems: pd.DataFrame

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
        """Build the tables from JSON without a network: from exports, webhooks or tests.

        Parameters
        ----------
        source
            Any of these, or an iterable of them: JSON as text or bytes; an order or a response's
            body as a dict; a path (`pathlib.Path`; a str is JSON itself); an open file. Files may
            be gzip. The JSON is one of these, a list of them, or JSON Lines, one a line:

            - a response's body, ``{"data": [order, ...], "next_token": ...}``;
            - an order, or the ``{"data": order}`` of ``GET /wms/orders/{id}``;
            - a webhook event, ``{"event_type": ..., "connection_id": ..., "data": order}``. The
              tables of events always have a ``connection`` column, so events cannot be mixed with
              orders that name no connection.
        pii
            Whether to ``"keep"``, ``"drop"`` or ``"hash"`` personal data, as in `fetch_orders_df`.
        dtype_backend
            None for pandas' own types, ``"pyarrow"`` for Arrow's.

        Returns
        -------
        OrderFrames
            As `fetch_orders` returns them, but without the time of the fetch.

        Raises
        ------
        SettingsError
            If `pii` or `dtype_backend` is invalid, or ``"hash"`` lacks its key, before anything is
            read; or if a path is a URL.
        ResponseError
            If something is not JSON, or none of these shapes. An empty ``data`` or list is valid,
            and has no orders.
        OSError
            If a file cannot be read.

        Notes
        -----
        Of duplicates of an order, the one with the newest ``updated_date`` is kept. An event that
        was too large to hold its order (``data_truncated``) is a row of `problems`, whose value
        has the ``data_url``.

        Each other member of a body or event is a row of `problems`, too, except for an event's
        ``integration_name``, ``integration_type`` and ``previous_attributes``, which are history,
        and for ``next_token`` and ``total_count``. If the last body has a cursor, or a count is
        larger than the number of orders in all bodies, the listing goes on: that is a problem, and
        ``info["complete"]`` is False, as it is with an ``error`` or a true ``has_more``. So pass
        the bodies of a listing in their order.

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
        redacted = partial(redact, how=pii, key=pii_key(pii))
        orders = JsonSource(source, names_keys=pii == "keep")
        batches: dict[str | None, list[Batch]] = {}
        with Flattener(redacted) as flattener:
            pages = [(connection, flattener.add(page)) for connection, page in orders.pages()]
            for connection, page in pages:
                batches.setdefault(connection, []).extend(page.result())
        for connection, problems in orders.problems():
            batches.setdefault(connection, []).append(redacted(problems))
        known = {"pii": pii, "complete": orders.complete}
        if not orders.has_events:
            tables, duplicates = assemble(batches.get(None, []))
            return cls(tables, FetchInfo(known, duplicates=duplicates), dtype_backend=dtype_backend)
        parts = {each: assemble(batches[each]) for each in sorted(filter(None, batches))}
        infos = {each: FetchInfo(known, duplicates=n) for each, (_, n) in parts.items()}
        tables = concat({each: tables for each, (tables, _) in parts.items()})
        return cls(tables, join_infos(infos), dtype_backend=dtype_backend)

    @classmethod
    def from_parquet(
        cls, path: str | os.PathLike[str], *, dtype_backend: DtypeBackend = None
    ) -> OrderFrames:
        """Read the folder that `to_parquet` wrote, or one snapshot.

        Parameters
        ----------
        path
            The folder that has a folder for each table.
        dtype_backend
            None for pandas' own types, ``"pyarrow"`` for Arrow's.

        Returns
        -------
        OrderFrames
            All tables as they were written, and their `info`.

        Raises
        ------
        SnapshotError
            If it is missing, damaged, not of this package, or of a newer schema.
        SettingsError
            If `dtype_backend` is invalid.

        Warns
        -----
        UserWarning
            If connections that failed when it was written are missing or older; it names them.

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
        warn_of_failed(info)
        return cls(tables, info, dtype_backend=dtype_backend)

    def to_parquet(self, path: str | os.PathLike[str]) -> None:
        """Write all tables as plain Parquet files, one folder each, whole or not at all.

        The footer of every file has `info` and the version of the schema. An earlier folder of this
        package at `path` is replaced.

        Parameters
        ----------
        path
            The folder to create; readable by you only, as orders hold names and addresses.

        Raises
        ------
        SnapshotError
            If it cannot be written, or something else is at `path`.
        SettingsError
            If `path` is a URL, is named as a file of another kind (``orders.csv``), or is an
            invalid name for a folder.

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
        """Return the Arrow tables by name, without a copy.

        Returns
        -------
        dict of str to pyarrow.Table
            The columns and rows of each table.

        Examples
        --------
        >>> OrderFrames.from_json({"id": "a1"}).to_arrow()["orders"].num_rows
        1
        """
        return dict(self._tables)

    def __repr__(self) -> str:
        counts = ", ".join(f"{len(table):,} {name}" for name, table in self._tables.items())
        return f"OrderFrames({counts}; {summary(self.info)})"

    def _repr_html_(self) -> str:
        heads = ("table", "one row is", "rows", "columns", "MB")
        rows = (
            (name, TABLES[name].grain, len(each), each.num_columns, each.nbytes / 1e6)
            for name, each in self._tables.items()
        )
        return card("OrderFrames", table(heads, rows), lines(describe(self.info)))

    def _frame(self, name: str) -> pd.DataFrame:
        table = self._tables[name]
        declared = table_for(name, labelled=CONNECTION.name in table.column_names)
        frame = to_frame(table, declared, self.dtype_backend)
        frame.attrs["trackstar"] = brief(self.info)
        return frame


def _add_table_attributes() -> None:
    """Add an attribute for each table of the schema: its frame, made on first access."""
    for name, declared in TABLES.items():
        attribute = cached_property(partial(OrderFrames._frame, name=name))  # noqa: SLF001
        attribute.__doc__ = f"One row is {declared.grain}."
        attribute.__set_name__(OrderFrames, name)
        setattr(OrderFrames, name, attribute)


_add_table_attributes()
