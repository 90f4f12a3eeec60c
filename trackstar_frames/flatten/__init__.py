"""Orders' JSON to Arrow tables, page by page; pure, no I/O.

Driven by the schema: every value of an order is found in exactly one place, as its
column's type where that loses nothing, else as a row of `problems`; a key that the schema
does not know is kept in `extra`. Free-form values keep the very text that was received.

There are two ways with one result. The fast one (`_fast`) has Arrow read a whole page and
refuses what is not as expected; the careful one (`_careful`) takes anything, value by value.
A refused page is halved until the odd orders stand alone, as long as that pays; and what is
odd often is learned (`_experience`): the fast way then takes those values out as text
(`_layout`, `_taken`), and goes on.
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
from trackstar_frames.flatten.adaptive import FEW, Experience
from trackstar_frames.flatten.careful import flatten_carefully
from trackstar_frames.flatten.fast import REFUSALS, flatten_fast
from trackstar_frames.flatten.layout import BATCH, Batch, batch_schema, stored_columns
from trackstar_frames.pagination.threads import ThreadPool

__all__ = ["BATCH", "Batch", "Flattener", "batch_schema", "stored_columns"]

#: More threads than this would wait for Python itself.
_THREADS = min(4, pa.cpu_count())


class Flattener:
    """Flattens pages on threads, while later ones arrive.

    Parameters
    ----------
    then
        What is done to each batch, with what came beside its page; what it gives is kept.

    Notes
    -----
    A batch is a dict of tables by name: each table's rows in the order in which they were
    met, without what follows from the orders' rows (`order_id`, the computed columns), led
    by `BATCH`: the number of the order that the row belongs to (null in `problems` for an
    order without an id, which is kept there whole).
    """

    def __init__(self, then: Callable[..., Any] | None = None) -> None:
        self._then = then
        self._experience = Experience()
        self._threads = ThreadPool(_THREADS, "flatten")
        self._pages: deque[Future[list[Any]]] = deque()
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(cancel_futures=True)

    def add(self, orders: Sequence[msgspec.Raw], *beside: Any) -> Future[list[Any]]:
        """Begin to flatten a page: the JSON texts of its orders, each an object.

        Returns
        -------
        concurrent.futures.Future
            Its batches, in the order of its rows; or a ResponseError, if an order is nested
            deeper than Python lets it be read.

        Raises
        ------
        Exception
            What an earlier page has failed with: to go on would be for nothing.
        """
        # A page holds megabytes: where pages come faster than they are flattened, they wait.
        with self._lock:
            oldest = self._pages.popleft() if len(self._pages) >= 2 * _THREADS else None
        if oldest is not None:
            oldest.result()
        page = self._threads.submit(self._flatten, orders, beside)
        with self._lock:
            self._pages.append(page)
        return page

    def _flatten(self, orders: Sequence[msgspec.Raw], beside: tuple[Any, ...]) -> list[Any]:
        then = self._then
        try:
            return [then(each, *beside) if then else each for each in self._halves(orders)]
        except RecursionError:
            raise ResponseError(
                f"an order is nested too deeply to be read: Python's limit, "
                f"sys.getrecursionlimit(), is {sys.getrecursionlimit()}"
            ) from None

    def _halves(self, orders: Sequence[msgspec.Raw]) -> Iterator[Batch]:
        batch = self._try(orders)
        if batch:
            yield batch
        elif len(orders) > FEW and self._experience.may_try:
            middle = len(orders) // 2
            yield from self._halves(orders[:middle])
            yield from self._halves(orders[middle:])
        else:
            yield from self._carefully(orders)

    def _carefully(self, orders: Sequence[msgspec.Raw]) -> Iterator[Batch]:
        """Read the first orders carefully, and the others too unless those have taught enough."""
        tried = self._experience.layout
        yield self._read_carefully(orders[:FEW])
        rest = orders[FEW:]
        if rest and self._experience.layout is tried:
            yield self._read_carefully(rest)
        elif rest:
            yield from self._halves(rest)

    def _read_carefully(self, orders: Sequence[msgspec.Raw]) -> Batch:
        batch, odd = flatten_carefully(orders)
        self._experience.read_carefully(len(orders), odd)
        return batch

    def _try(self, orders: Sequence[msgspec.Raw]) -> Batch | None:
        if not self._experience.may_try:
            return None
        try:
            batch = flatten_fast(orders, self._experience.layout)
        except REFUSALS:
            self._experience.refused(len(orders))
            return None
        self._experience.read(len(orders))
        return batch
