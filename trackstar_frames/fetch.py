"""`fetch_orders` and `fetch_orders_df`: from filters to frames."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any, Unpack

import pandas as pd

from trackstar_frames.calls.connections import Connections, check_connections
from trackstar_frames.calls.gathering import Gathering
from trackstar_frames.calls.question import Question
from trackstar_frames.calls.reading import Reading
from trackstar_frames.client import TrackstarClient
from trackstar_frames.disk import parquet
from trackstar_frames.errors import SettingsError
from trackstar_frames.frames import OrderFrames
from trackstar_frames.listing.pages import MAX_PAGE
from trackstar_frames.snapshots import write_snapshot
from trackstar_frames.tables.dtypes import DtypeBackend, check_backend
from trackstar_frames.typed import OrderFilters

__all__ = ["fetch_orders", "fetch_orders_df"]


def fetch_orders_df(
    *,
    client: TrackstarClient | None = None,
    connections: Connections | None = None,
    page_size: int = MAX_PAGE,
    limit: int | None = None,
    workers: int = 8,
    refresh: bool = False,
    offline: bool = False,
    verify: bool = False,
    progress: bool | None = None,
    pii: str = "keep",
    extra_params: Mapping[str, Any] | None = None,
    snapshot: str | os.PathLike[str] | None = None,
    dtype_backend: DtypeBackend = None,
    **filters: Unpack[OrderFilters],
) -> pd.DataFrame:
    """Fetch orders as one dataframe: complete, or an error.

    Parameters
    ----------
    client
        Whom to ask; by default a client with the credentials of the environment.
    connections
        Several in one call, instead of `client`: for each a label, and the name of the
        environment variable that holds its token, or a function that returns it. Key, base
        URL and cache are those of the environment; each token has its own rate. Every table
        then begins with the column ``connection``.
    page_size
        Orders of one request, 1 to 1000.
    limit
        At most this many orders in all: the server's first ones, in its own order; of
        several connections, of one after the other by their labels.
    workers
        Cursor chains that are read side by side, 1 to 32; together they keep to the rate of
        the client. Where the filters bound ``created_date`` on one side at least, the time
        is cut into windows, each a chain of its own; long lists are chains too. Which
        requests are made does not depend on it. With `limit`, there is one chain.
    refresh
        Ask the server again, whatever is on disk.
    offline
        Read from disk only.
    verify
        Read every part of several pages until two readings in a row are the same, page by page,
        or raise. It makes sure of servers whose cursors are positions, where what comes or goes
        during the fetch shifts what follows; see Notes.
    progress
        Show a bar; None shows it in terminals and notebooks only.
    pii
        What becomes of personal data. ``"keep"``: nothing. ``"drop"``: null wherever
        `data_dictionary` marks a column as personal or free-form, and in the values of
        `problems`; an unknown key is not named. ``"hash"``: the same, but a personal text
        becomes its HMAC-SHA-256 under the key in ``TRACKSTAR_PII_KEY``, so that equal texts
        stay equal. Columns and types stay. But for ``"keep"``, no answer is kept on disk.
    extra_params
        Query parameters that the filters do not know; passed on as they are.
    snapshot
        A root folder to write a snapshot of all tables under as well.
    dtype_backend
        None for pandas' own types, ``"pyarrow"`` for Arrow's; as in `OrderFrames`.
    **filters
        ``field=value``, ``field__op=value``, or ``**{"field[op]": value}``. Fields:
        ids, status, type, channel, warehouse_customer_id, order_number, reference_id,
        trackstar_tags, and the dates created_date, updated_date, required_ship_date,
        trackstar_created_date and trackstar_updated_date. Operators: eq, neq, in, nin,
        gt, gte, lt, lte, contains, not_contains and the ``_insensitive`` ones, as far as
        the API has them for a field. A list means ``in``. A date without a time means the
        whole day; without a zone it is UTC. The ``_insensitive`` operators are in beta: the
        API finds only orders by them that were updated after 1 July 2025.

    Returns
    -------
    pandas.DataFrame
        One row per order, keyed by ``id``, sorted by ``created_date`` and ``id``, nulls
        last; the columns and types of `data_dictionary` whatever the data, moments in
        UTC. ``df.attrs["trackstar"]`` tells filters, connection, and when the server
        answered. No orders give no rows, with all columns. Of several connections the key is
        (``connection``, ``id``), and the rows are sorted by ``connection`` first.

    Raises
    ------
    FilterError, SettingsError, CredentialsError
        Before any request, if the call cannot be meant.
    ApiError, NetworkError, ResponseError, OfflineMissError
        If the first page cannot be had.
    IncompleteFetchError
        If a later page cannot: with what was read, and `resume`. Of several connections, if
        any page of one cannot: with all orders of the others, and the errors by label in
        `failures`.
    SnapshotError
        If the snapshot cannot be written; before any request, if its root is a file.

    Warns
    -----
    UserWarning
        If orders do not match the filters, or the server cannot be asked for what has changed
        while it was read.

    See Also
    --------
    fetch_orders : The same with line items, shipments and packages.

    Notes
    -----
    An order that exists, and matches the filters, from the first request to the last one is in
    the result, if the server's cursors are keys, such as the id of the last order: a last request
    asks for what has changed meanwhile, by ``trackstar_updated_date`` or ``updated_date``, and an
    order that moved in the listing is found there. A fetch of one page, or in windows of
    ``created_date`` of one page each, needs no such request. With `limit` or ``ids`` there is none.
    Where cursors are positions, an order may be missed if others come or go during the fetch,
    unless `verify`. If the server counts more orders than it gave, it is asked once more, and
    then the fetch raises.

    Examples
    --------
    >>> from trackstar_frames.sandbox import Sandbox
    >>> with Sandbox(orders=50) as sandbox:
    ...     orders = fetch_orders_df(client=sandbox.client(cache=False), limit=20)
    >>> len(orders), orders["status"].cat.ordered
    (20, True)
    """
    return fetch_orders(
        client=client,
        connections=connections,
        page_size=page_size,
        limit=limit,
        workers=workers,
        refresh=refresh,
        offline=offline,
        verify=verify,
        progress=progress,
        pii=pii,
        extra_params=extra_params,
        snapshot=snapshot,
        dtype_backend=dtype_backend,
        **filters,
    ).orders


def fetch_orders(
    *,
    client: TrackstarClient | None = None,
    connections: Connections | None = None,
    page_size: int = MAX_PAGE,
    limit: int | None = None,
    workers: int = 8,
    refresh: bool = False,
    offline: bool = False,
    verify: bool = False,
    progress: bool | None = None,
    pii: str = "keep",
    extra_params: Mapping[str, Any] | None = None,
    snapshot: str | os.PathLike[str] | None = None,
    dtype_backend: DtypeBackend = None,
    **filters: Unpack[OrderFilters],
) -> OrderFrames:
    """Fetch orders as six tables: complete, or an error.

    Parameters
    ----------
    client, connections
        Whom to ask: one, or several. This and all below is as for `fetch_orders_df`.
    page_size, limit, workers
        Orders of one request, orders in all, and cursor chains side by side.
    refresh, offline, verify
        Ask the server again, or the disk only; or read until two readings agree.
    progress
        Show a bar; None shows it in terminals and notebooks only.
    pii
        What becomes of personal data: ``"keep"``, ``"drop"`` or ``"hash"``.
    extra_params
        Query parameters that the filters do not know.
    snapshot
        A root folder to write a snapshot under as well.
    dtype_backend
        None for pandas' own types, ``"pyarrow"`` for Arrow's.
    **filters
        ``field=value``, ``field__op=value``, or ``**{"field[op]": value}``.

    Returns
    -------
    OrderFrames
        `orders`, `line_items`, `shipments`, `shipment_line_items`, `packages`,
        `package_line_items`, `problems`, and `info`.

    Raises
    ------
    TrackstarError
        What `fetch_orders_df` raises.

    See Also
    --------
    fetch_orders_df : The orders alone; tells of every parameter.

    Examples
    --------
    >>> from trackstar_frames.sandbox import Sandbox
    >>> with Sandbox(orders=50) as sandbox:
    ...     frames = fetch_orders(client=sandbox.client(cache=False))
    >>> len(frames.orders), frames.info["duplicates"]
    (50, 0)
    """
    if snapshot is not None and not isinstance(snapshot, (str, os.PathLike)):
        raise SettingsError(f"snapshot={snapshot!r} must be the path of a folder, or None")
    if snapshot is not None:
        parquet.locate(snapshot, "snapshot")
    check_backend(dtype_backend)
    question = Question.of(
        filters,
        client=client,
        connections=connections,
        page_size=page_size,
        limit=limit,
        workers=workers,
        refresh=refresh,
        offline=offline,
        verify=verify,
        progress=progress,
        pii=pii,
        extra_params=extra_params,
    )
    frames = (
        _fetch(question, client, dtype_backend)
        if connections is None
        else Gathering(question, check_connections(connections), dtype_backend=dtype_backend).run()
    )
    if snapshot is not None:
        write_snapshot(frames, snapshot)
    return frames


def _fetch(
    question: Question, client: TrackstarClient | None, dtype_backend: DtypeBackend
) -> OrderFrames:
    reading = Reading(question, dtype_backend=dtype_backend)
    with TrackstarClient() if client is None else nullcontext(client) as chosen:
        return reading.run(chosen)
