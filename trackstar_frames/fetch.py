"""`fetch_orders` and `fetch_orders_df`: from filters to frames."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from datetime import datetime
from functools import partial
from typing import Any

import pandas as pd

from trackstar_frames.client import TrackstarClient
from trackstar_frames.dtypes import DtypeBackend, check_backend
from trackstar_frames.errors import IncompleteFetchError, SettingsError, TrackstarError
from trackstar_frames.filters import MAX_LIST, encode, is_list
from trackstar_frames.flatten import Batch, Flattener
from trackstar_frames.frames import OrderFrames, make_info
from trackstar_frames.pages import MAX_PAGE, Page, walk
from trackstar_frames.personal import hide
from trackstar_frames.progress import Progress
from trackstar_frames.settings import Masked, check_source, flag, pii_key, whole
from trackstar_frames.snapshots import write_snapshot
from trackstar_frames.tables import assemble

__all__ = ["fetch_orders", "fetch_orders_df"]


def fetch_orders_df(
    *,
    client: TrackstarClient | None = None,
    page_size: int = MAX_PAGE,
    limit: int | None = None,
    refresh: bool = False,
    offline: bool = False,
    progress: bool | None = None,
    pii: str = "keep",
    extra_params: Mapping[str, Any] | None = None,
    snapshot: str | os.PathLike[str] | None = None,
    dtype_backend: DtypeBackend = None,
    **filters: Any,
) -> pd.DataFrame:
    """Fetch orders as one dataframe: complete, or an error.

    Parameters
    ----------
    client
        Whom to ask; by default a client with the credentials of the environment.
    page_size
        Orders of one request, 1 to 1000.
    limit
        At most this many orders in all: the server's first ones, in its own order.
    refresh
        Ask the server again, whatever is on disk.
    offline
        Read from disk only.
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
        whole day; without a zone it is UTC.

    Returns
    -------
    pandas.DataFrame
        One row per order, keyed by ``id``, sorted by ``created_date`` and ``id``, nulls
        last; the columns and types of `data_dictionary` whatever the data, moments in
        UTC. ``df.attrs["trackstar"]`` tells filters, connection, and when the server
        answered. No orders give no rows, with all columns.

    Raises
    ------
    FilterError, SettingsError, CredentialsError
        Before any request, if the call cannot be meant.
    ApiError, NetworkError, ResponseError, OfflineMissError
        If the first page cannot be had.
    IncompleteFetchError
        If a later page cannot: with what was read, and `resume`.
    SnapshotError
        If the snapshot cannot be written.

    See Also
    --------
    fetch_orders : The same with line items, shipments and packages.

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
        page_size=page_size,
        limit=limit,
        refresh=refresh,
        offline=offline,
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
    page_size: int = MAX_PAGE,
    limit: int | None = None,
    refresh: bool = False,
    offline: bool = False,
    progress: bool | None = None,
    pii: str = "keep",
    extra_params: Mapping[str, Any] | None = None,
    snapshot: str | os.PathLike[str] | None = None,
    dtype_backend: DtypeBackend = None,
    **filters: Any,
) -> OrderFrames:
    """Fetch orders as six tables: complete, or an error.

    Takes what `fetch_orders_df` takes, and raises what it raises.

    Returns
    -------
    OrderFrames
        `orders`, `line_items`, `shipments`, `shipment_line_items`, `packages`,
        `package_line_items`, `problems`, and `info`.

    Examples
    --------
    >>> from trackstar_frames.sandbox import Sandbox
    >>> with Sandbox(orders=50) as sandbox:
    ...     frames = fetch_orders(client=sandbox.client(cache=False))
    >>> len(frames.orders), frames.info["duplicates"]
    (50, 0)
    """
    page_size = whole("page_size", page_size, low=1, high=MAX_PAGE)
    limit = None if limit is None else whole("limit", limit, low=1)
    if client is not None and not isinstance(client, TrackstarClient):
        raise SettingsError(f"client={client!r} must be a TrackstarClient, or None")
    if progress is not None:
        flag("progress", progress)
    if snapshot is not None and not isinstance(snapshot, (str, os.PathLike)):
        raise SettingsError(f"snapshot={snapshot!r} must be the path of a folder, or None")
    check_backend(dtype_backend)
    check_source(refresh=refresh, offline=offline, cache=client is None or client.settings.cache)
    key = pii_key(pii)
    filters = {name: list(each) if is_list(each) else each for name, each in filters.items()}
    queries = encode(filters, extra_params)
    asked = _asked(filters, extra_params or {}, pii) | {"limit": limit}
    fetch = _Fetch(
        queries,
        asked,
        page_size,
        key=key,
        refresh=refresh,
        offline=offline,
        progress=progress,
        dtype_backend=dtype_backend,
    )
    with TrackstarClient() if client is None else nullcontext(client) as chosen:
        frames = fetch.run(chosen)
    if snapshot is not None:
        write_snapshot(frames, snapshot)
    return frames


class _Fetch:
    """A fetch on its way: what was asked, what was read, and where to go on."""

    def __init__(
        self,
        queries: list[dict[str, str]],
        asked: dict[str, Any],
        page_size: int,
        *,
        key: Masked | None = None,
        **options: Any,
    ) -> None:
        self.queries = queries
        self.asked = asked
        self.hides: bool = asked["pii"] != "keep"
        self.key = key
        self.page_size = min(page_size, asked["limit"] or page_size)
        self.options = options
        self.client: TrackstarClient | None = None
        self.query = 0
        self.token: str | None = None
        self.chain: float | None = None
        self.batches: list[Batch] = []
        self.broke = False
        self.pages = 0
        self.orders = 0
        self.requests = 0
        self.from_cache = 0
        self.fetched_at: datetime | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        # What was read, and whom to ask, stay in this process: orders are personal data.
        # The pages that a refresh has brought are on disk, and need not be asked again;
        # where none was stored, what is on disk is what the refresh was to replace.
        options = self.options | {"refresh": self.options["refresh"] and self.hides}
        return partial(_Fetch, **options), (self.queries, self.asked, self.page_size)

    def run(self, client: TrackstarClient | None) -> OrderFrames:
        """Read to the end, or raise with what was read."""
        self.client = client = client or self.client
        if client is None:
            raise SettingsError("an error that was pickled has no client; call resume(client=...)")
        self.key = self.key or pii_key(self.asked["pii"])  # a pickle has lost it
        hides = partial(hide, how=self.asked["pii"], key=self.key)
        error = self._try_to_read(client, hides)
        if error is None:
            return self._frames(complete=True)
        if self.hides:
            error.__traceback__ = None  # its frames hold the page that was read last
        if not self.pages:
            raise error
        raise self._broken(error) from error

    def _try_to_read(
        self, client: TrackstarClient, hides: Callable[[Batch], Batch]
    ) -> Exception | None:
        before = client.session.sent
        error = None
        with Progress(shown=self.options["progress"]) as bar, Flattener(hides) as flattener:
            try:
                self._read(client, bar, flattener)
            except Exception as fault:  # noqa: BLE001  (told with what was read before it)
                error = fault
            self.requests += client.session.sent - before
            # Outside of the try: a fault of the flattening itself cannot be resumed from.
            self.batches += flattener.batches()
        return error

    def _read(self, client: TrackstarClient, bar: Progress, flattener: Flattener) -> None:
        while self.query < len(self.queries):
            pages = walk(
                client.session,
                self.queries[self.query],
                page_size=self.page_size,
                page_token=self.token,
                refresh=self.options["refresh"],
                offline=self.options["offline"],
                chain=self.chain,
                store=not self.hides,
            )
            for page in pages:
                bar.add(self._take(page, flattener))
                if self.orders == self.asked["limit"]:
                    return
            self.query, self.token, self.chain = self.query + 1, None, None

    def _take(self, page: Page, flattener: Flattener) -> int:
        left = None if self.asked["limit"] is None else self.asked["limit"] - self.orders
        orders = page.raw_orders[:left]
        flattener.add(orders)
        self.pages += 1
        self.orders += len(orders)
        self.from_cache += page.from_cache
        self.fetched_at = min(self.fetched_at or page.fetched_at, page.fetched_at)
        self.token, self.chain = page.next_token, page.expires
        return len(orders)

    def _frames(self, *, complete: bool) -> OrderFrames:
        # Once an error has been given out, it can be resumed more than once.
        kept = [dict(batch) for batch in self.batches] if self.broke else self.batches
        tables, duplicates = assemble(kept)
        info = make_info(
            **self.asked,
            connection=self.client.connection if self.client else None,
            fetched_at=self.fetched_at and self.fetched_at.isoformat(),
            pages=self.pages,
            requests=self.requests,
            from_cache=self.from_cache,
            duplicates=duplicates,
            complete=complete,
        )
        return OrderFrames(tables, info, dtype_backend=self.options["dtype_backend"])

    def _broken(self, error: Exception) -> IncompleteFetchError:
        self.broke = True
        known = error if isinstance(error, TrackstarError) else TrackstarError(str(error))
        return IncompleteFetchError(
            f"the fetch broke after {self.pages} pages ({self.orders:,} orders), which "
            f".frames holds; .resume() goes on from there: {error}",
            frames=self._frames(complete=False),
            pages=self.pages,
            resume=self.run,
            status=known.status,
            request_id=known.request_id,
            retryable=known.retryable,
            retry_after=known.retry_after,
        )


def _asked(filters: dict[str, Any], extra: Mapping[str, Any], pii: str) -> dict[str, Any]:
    """Tell what was asked; tags and unknown parameters are free-form, and hidden as those are."""
    told = {name: _as_json(value) for name, value in filters.items()}
    more = {name: _as_json(value) for name, value in extra.items()}
    if pii != "keep":
        told |= dict.fromkeys((name for name in told if name.startswith("trackstar_tags")), "*")
        more = dict.fromkeys(more, "*")
    return {"filters": told, "extra_params": more, "pii": pii}


def _as_json(value: Any) -> Any:
    """Write a filter's value as JSON, and small: it travels with every frame."""
    if isinstance(value, (str, int, float, bool)) or value is None:
        return value
    if not isinstance(value, list):
        return str(value)
    told = [_as_json(each) for each in value[:MAX_LIST]]
    left = len(value) - len(told)
    return [*told, f"... and {left:,} more"] if left else told
