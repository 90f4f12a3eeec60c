"""`fetch_orders_dask`: the same fetch, lazily, on all the workers of a cluster."""

from __future__ import annotations

import itertools
import math
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Unpack

import dask.dataframe as dd
import pandas as pd
from pandas.tseries.frequencies import to_offset
from pandas.tseries.offsets import BaseOffset

from trackstar_frames._text import counted
from trackstar_frames.connections import Connections, Source, open_client
from trackstar_frames.distributed.snapshots import lazy_frame, to_partition
from trackstar_frames.distributed.workers import importable_sources, turn
from trackstar_frames.errors import ResponseError, SettingsError, TrackstarError
from trackstar_frames.fetch import FetchJob
from trackstar_frames.filter_types import OrderFilters
from trackstar_frames.frames import OrderFrames
from trackstar_frames.pagination.pages import MAX_PAGE
from trackstar_frames.pagination.windows import Window
from trackstar_frames.request import FetchRequest
from trackstar_frames.schema import TABLES
from trackstar_frames.tables.connections import label
from trackstar_frames.tables.contradictions import count_contradictions
from trackstar_frames.tables.dtypes import DtypeBackend, check_backend

__all__ = ["Piece", "cut", "fetch_orders_dask"]


_ORDERS = TABLES["orders"].labelled

#: Options of `fetch_orders_df` that a lazy fetch cannot have, and what to do instead.
_ELSEWHERE: Mapping[str, str] = MappingProxyType(
    {
        "client": "each worker opens its own; name the tokens in connections",
        "limit": "take .head(n), which reads as few partitions as it needs",
        "progress": "Dask has bars of its own: distributed.progress, dask.diagnostics.ProgressBar",
        "snapshot": "write one with export_orders, and read it with read_snapshot_dask",
    }
)


def fetch_orders_dask(
    connections: Connections,
    *,
    freq: str = "MS",
    page_size: int = MAX_PAGE,
    max_workers: int = 8,
    refresh: bool = False,
    offline: bool = False,
    verify: bool = False,
    pii: str = "keep",
    extra_params: Mapping[str, Any] | None = None,
    dtype_backend: DtypeBackend = None,
    **filters: Unpack[OrderFilters],
) -> dd.DataFrame:
    """Fetch the orders of several connections as one lazy Dask dataframe.

    Nothing is asked until it is computed; then each partition is fetched by a task, with a client
    that its worker opens, and is complete or an error. Every computation reads again, from the
    worker's disk cache where it can; so ``persist()`` what is used more than once.

    Parameters
    ----------
    connections
        ``{"label": "NAME"}``: for each connection, the name of the environment variable of the
        max_workers that holds its token, or a function at the top of an importable module that
        returns it. Neither the tokens nor the API key (``TRACKSTAR_API_KEY`` of the workers)
        are in the graph.
    freq
        The calendar that cuts ``created_date`` into partitions, from the filters' lower bound to
        now or their upper bound: ``"D"``, ``"W"``, ``"MS"`` or another frequency of pandas; in
        UTC. Without a lower bound, each connection is one partition.
    page_size
        Orders of one request, 1 to 1000.
    max_workers
        Cursor chains that one task reads side by side, 1 to 32. How many tasks run at a time is
        up to the cluster.
    refresh
        Ask the server again, whatever is on disk; at every computation.
    offline
        Read from the disks of the workers only.
    verify
        Read until two readings agree, as for `fetch_orders_df`.
    pii
        What becomes of personal data, as for `fetch_orders_df`.
    extra_params
        Query parameters that the filters do not know.
    dtype_backend
        None for pandas' own types, ``"pyarrow"`` for Arrow's.
    **filters
        As for `fetch_orders_df`.

    Returns
    -------
    dask.dataframe.DataFrame
        One row per order, keyed by ``connection`` and ``id``. Partitions go by window, then by
        connection, and rows within them by ``created_date`` and ``id``. The columns and types of
        `fetch_orders_df`, after ``connection``; but ``status`` is an unordered categorical, as
        pandas cannot join ordered ones where a status is unknown to this package. Its categories
        are in lifecycle order, so ``orders["status"].cat.as_ordered() < "fulfilled"`` compares;
        ``.cat.known`` is False, as others may come: ``.cat.as_known()`` looks which there are.
        The index counts within each partition; ``attrs`` are those of each partition's fetch.

    Raises
    ------
    FilterError, SettingsError
        Before any work, if the call cannot be meant.
    ResponseError
        If a server passes over the windows: orders would be in several partitions.
    TrackstarError
        From ``compute()``, if a partition cannot be had; its notes name the connection. What was
        read is on the disks of the workers: the same call again goes on from there.

    Notes
    -----
    A token is used by one worker of a cluster (`distributed`) at a time, so that ten requests a
    second stay ten, and is handed over with a pause of a second. So as many workers are busy as
    there are connections. The token of a worker that died is free again after 30 seconds
    (``distributed.scheduler.locks.lease-timeout``); its tasks are done by another. The scheduler
    ``"threads"`` shares the one budget of its process; ``"processes"`` keeps to none, and is not
    for this.

    On Python 3.11, Dask's profiler can freeze a worker for ever (CPython's issue 106883, not seen
    from 3.12 on); ``distributed.worker.profile.enabled: False`` keeps it from that.

    Examples
    --------
    >>> orders = fetch_orders_dask(
    ...     {"acme": "ACME_TOKEN", "beta": "BETA_TOKEN"},
    ...     created_date__gte="2026-01-01",
    ...     created_date__lt="2026-04-01",
    ... )
    >>> orders.npartitions
    6
    >>> units = orders.groupby("connection")["units_ordered"].sum()  # .compute() asks
    """
    for name, value in filters.items():
        if name in _ELSEWHERE:
            raise SettingsError(f"{name}={value!r} is not for a lazy fetch: {_ELSEWHERE[name]}")
    check_backend(dtype_backend)
    sources = importable_sources(connections)
    question = FetchRequest.of(
        filters,
        client=None,
        page_size=page_size,
        limit=None,
        max_workers=max_workers,
        refresh=refresh,
        offline=offline,
        verify=verify,
        progress=False,
        pii=pii,
        extra_params=extra_params,
    )
    return lazy_frame(
        "fetch-orders",
        _fetch,
        cut(question, sources, freq),
        _ORDERS,
        dtype_backend,
        # The orders of today are not those of yesterday: no call is taken for another.
        nonce=uuid.uuid4().hex,
    )


def _fetch(piece: Piece, *, dtype_backend: DtypeBackend, nonce: str) -> pd.DataFrame:  # noqa: ARG001
    """Fetch one partition; on a worker."""
    try:
        frames = _read(piece)
    except TrackstarError as error:
        error.add_note(_place(piece))
        raise
    orders = label({"orders": frames.to_arrow()["orders"]}, piece.label)["orders"]
    partition = to_partition(orders, _ORDERS, dtype_backend)
    partition.attrs["trackstar"] = frames.info.brief()
    return partition


def _read(piece: Piece) -> OrderFrames:
    question = piece.question
    with (
        open_client(piece.label, piece.source) as client,
        # What comes from disk needs no turn.
        nullcontext() if question.offline else turn(client),
    ):
        frames = FetchJob(question).run(client)
    others = count_contradictions(_bounds(piece), frames.to_arrow()["orders"])
    if others:
        raise ResponseError(
            f"the server passes over created_date: it gave {counted(others, 'order')} of "
            f"other partitions, which would be there twice; fetch_orders reads them in one"
        )
    return frames


def _bounds(piece: Piece) -> dict[str, list[str]]:
    names = ("created_date[gt", "created_date[lt")
    return {
        name: values for name, values in piece.question.expected.items() if name.startswith(names)
    }


def _place(piece: Piece) -> str:
    """Tell where among the partitions something happened; filters may be personal data."""
    bounds = [f"{name}={value}" for name, values in _bounds(piece).items() for value in values]
    return f"in connection {piece.label!r}, {', '.join(sorted(bounds)) or 'all its orders'}"


#: More tasks than this are a slip of `freq`; schedulers take minutes for as many.
_MOST = 100_000

# The year 1700; pandas 2 cannot tell times long before it.
_EARLIEST = -8_520_336_000
_EPOCH = pd.Timestamp(0, tz="UTC")


@dataclass(frozen=True)
class Piece:
    """What one task fetches: holds no secret.

    Attributes
    ----------
    label
        Of the connection.
    source
        Where the worker finds its token.
    question
        What is asked, within a window.
    """

    label: str
    source: Source
    question: FetchRequest


def cut(question: FetchRequest, connections: Mapping[str, Source], freq: object) -> list[Piece]:
    """Cut a question into pieces, window by window: neighbours have different tokens.

    Raises
    ------
    SettingsError
        If `freq` is none, or so short that it makes too many.
    """
    most = max(1, _MOST // len(connections))
    windows = _windows(question, _offset(freq), most)
    if len(windows) > most:
        raise SettingsError(
            f"freq={freq!r} makes more than {_MOST:,} partitions of {len(connections):,} "
            f"connections; use a longer one, such as 'MS', or a later created_date__gte"
        )
    return [
        Piece(label, source, window) for window in windows for label, source in connections.items()
    ]


def _windows(question: FetchRequest, offset: BaseOffset, most: int) -> list[FetchRequest]:
    """Cut each listing at the same seconds, into a window more than is allowed at most.

    Without a lower bound there is one: an order need not have a `created_date`.
    """
    wholes = [Window.of(query) for query in question.queries]
    cuts = list(itertools.islice(_cuts(wholes[0], offset), most))
    return [
        question.within([window.params for window in same])
        for same in zip(*(whole.cut(cuts) for whole in wholes), strict=True)
    ]


def _cuts(window: Window, offset: BaseOffset) -> Iterator[int]:
    """Give the calendar's cuts within a window, up to now: what is to come needs none."""
    if window.start is None:
        return
    start = pd.Timestamp(max(window.start, _EARLIEST), unit="s", tz="UTC")
    end = min(time.time(), math.inf if window.end is None else window.end)
    moment = offset.rollforward(start.normalize())
    while (second := int(moment.timestamp())) < end:
        if second > window.start:
            yield second
        moment += offset


def _offset(freq: object) -> BaseOffset:
    allowed = "must be a frequency of pandas, of a second at least, such as 'D', 'W', 'MS' or 'QS'"
    if not isinstance(freq, str):
        raise SettingsError(f"freq={freq!r} {allowed}")
    try:
        offset = to_offset(freq)
    except ValueError:  # whose words are pandas' own, and long
        raise SettingsError(f"freq={freq!r} {allowed}") from None
    if _EPOCH + offset < _EPOCH + pd.Timedelta(1, "s"):  # the API knows whole seconds
        raise SettingsError(f"freq={freq!r} {allowed}")
    return offset
