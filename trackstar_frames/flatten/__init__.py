"""Orders' JSON to Arrow tables, page by page; no I/O.

Driven by `schema`: every value of an order is in exactly one column, of the column's type where
that loses nothing, else in a row of `problems`; a key that the schema does not know is kept in
`extra`. Free-form values keep the text that was received.

There are two readers with one result. The fast one (`fast`) has Arrow read a whole page, and
refuses it if anything is not as expected. The careful one (`careful`) takes anything, value by
value. A refused page is halved until the odd orders are isolated, as long as that pays; what is odd
often is learned (`adaptive`) and from then on extracted as text before Arrow reads (`layout`).
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any, Self

import msgspec
import pyarrow as pa

from trackstar_frames.errors import ResponseError
from trackstar_frames.flatten.adaptive import SMALL_BATCH, Experience
from trackstar_frames.flatten.careful import flatten_carefully
from trackstar_frames.flatten.fast import REFUSALS, flatten_fast
from trackstar_frames.flatten.layout import ORDER_INDEX, Batch, batch_schema, empty_batch
from trackstar_frames.pagination.threads import ThreadPool

__all__ = ["ORDER_INDEX", "Batch", "Flattener", "batch_schema", "empty_batch"]

#: More threads than this would wait for Python's lock.
_THREADS = min(4, pa.cpu_count())


class Flattener:
    """Flattens pages on threads, while later ones arrive.

    Parameters
    ----------
    finish
        Called on the thread with each batch of a page, and with what else was given to `add`; its
        result replaces the batch.

    Notes
    -----
    A batch is a dict of tables by name: the columns that `Table.stored` names, after `ORDER_INDEX`,
    which numbers the row's order. An order without an id is no row of `orders`; it is kept whole in
    `problems`, without a number.
    """

    def __init__(self, finish: Callable[..., Any] | None = None) -> None:
        self._finish = finish
        self._experience = Experience()
        self._threads = ThreadPool(_THREADS, "flatten")
        self._pages: deque[Future[list[Any]]] = deque()
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(cancel_futures=True)

    def add(self, orders: Sequence[msgspec.Raw], *context: Any) -> Future[list[Any]]:
        """Start to flatten a page, given as the JSON objects of its orders.

        The future holds its batches, in the order of its rows; or a ResponseError, if an order is
        nested too deeply. Raises what an earlier page has failed with.
        """
        # A page takes megabytes: where pages come faster than they are flattened, wait here.
        with self._lock:
            oldest = self._pages.popleft() if len(self._pages) >= 2 * _THREADS else None
        if oldest is not None:
            oldest.result()
        page = self._threads.submit(self._flatten, orders, context)
        with self._lock:
            self._pages.append(page)
        return page

    def _flatten(self, orders: Sequence[msgspec.Raw], context: tuple[Any, ...]) -> list[Any]:
        finish = self._finish
        try:
            return [finish(each, *context) if finish else each for each in self._read(orders)]
        except RecursionError:
            raise ResponseError(
                f"an order is nested too deeply to be read: Python's limit, "
                f"sys.getrecursionlimit(), is {sys.getrecursionlimit()}"
            ) from None

    def _read(self, orders: Sequence[msgspec.Raw]) -> Iterator[Batch]:
        """Read orders fast; if they are refused, each half of them, down to a small batch."""
        batch = self._try_fast(orders)
        if batch:
            yield batch
        elif len(orders) > SMALL_BATCH and self._experience.has_credit:
            middle = len(orders) // 2
            yield from self._read(orders[:middle])
            yield from self._read(orders[middle:])
        else:
            yield from self._read_carefully(orders)

    def _read_carefully(self, orders: Sequence[msgspec.Raw]) -> Iterator[Batch]:
        """Read a small batch carefully, and the others too unless something was learned from it."""
        layout = self._experience.layout
        first, others = orders[:SMALL_BATCH], orders[SMALL_BATCH:]
        yield self._flatten_carefully(first)
        if others and self._experience.layout is layout:
            yield self._flatten_carefully(others)
        elif others:
            yield from self._read(others)

    def _flatten_carefully(self, orders: Sequence[msgspec.Raw]) -> Batch:
        batch, odd = flatten_carefully(orders)
        self._experience.add_careful(len(orders), odd)
        return batch

    def _try_fast(self, orders: Sequence[msgspec.Raw]) -> Batch | None:
        if not self._experience.has_credit:
            return None
        try:
            batch = flatten_fast(orders, self._experience.layout)
        except REFUSALS:
            self._experience.add_refused(len(orders))
            return None
        self._experience.add_fast(len(orders))
        return batch
