"""Orders' JSON to Arrow tables, page by page; pure, no I/O.

Driven by the schema: every value of an order is found in exactly one place, as its
column's type where that loses nothing, else as a row of `problems`; a key that the schema
does not know is kept in `extra`. Free-form values keep the very text that was received.

There are two ways with one result. The fast one (`_fast`) has Arrow read a whole page and
refuses what is not as expected; the careful one (`_careful`) takes anything, value by value.
A refused page is halved until the odd orders stand alone, and what is odd often is learned:
the fast way then takes those values out as text (`_layout`, `_taken`), and goes on.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

import msgspec
import pyarrow as pa

from trackstar_frames.flatten._careful import flatten_carefully
from trackstar_frames.flatten._fast import REFUSALS, flatten_fast
from trackstar_frames.flatten._layout import Layout
from trackstar_frames.flatten._shape import BATCH, Batch, Path, batch_schema, stored_columns

__all__ = ["BATCH", "Batch", "Flattener", "batch_schema", "stored_columns"]

#: So few orders are not halved any more.
_FEW = 8

#: A value that was odd so often is taken out as text from then on.
_OFTEN = 10

#: So many kinds of odd values are learned at most: more are not a schema, but free text.
_MOST = 50


class Flattener:
    """Flattens pages on threads, while later ones arrive.

    Parameters
    ----------
    then
        What is done to each batch before it is kept.

    Notes
    -----
    A batch is a dict of tables by name: each table's rows in the order in which they were
    met, without what follows from the orders' rows (`order_id`, the computed columns), led
    by `BATCH`: the number of the order that the row belongs to (null in `problems` for an
    order without an id, which is kept there whole).
    """

    def __init__(self, then: Callable[[Batch], Batch] | None = None) -> None:
        self._then = then
        self._layout = Layout.of_schema()
        self._odd: Counter[Path] = Counter()
        self._learning = threading.Lock()
        self._threads = ThreadPoolExecutor(pa.cpu_count(), "flatten")
        # A page holds megabytes: where pages come faster than they are flattened, they wait.
        self._room = threading.Semaphore(2 * pa.cpu_count())
        self._pages: list[Future[list[Batch]]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._threads.shutdown(cancel_futures=True)

    def add(self, orders: Sequence[msgspec.Raw]) -> None:
        """Begin to flatten a page: the JSON texts of its orders, each an object."""
        self._room.acquire()
        page = self._threads.submit(self._flatten, orders)
        page.add_done_callback(lambda _: self._room.release())
        self._pages.append(page)

    def batches(self) -> list[Batch]:
        """Wait for all pages, and give their batches in the order of the pages."""
        return [batch for page in self._pages for batch in page.result()]

    def _flatten(self, orders: Sequence[msgspec.Raw]) -> list[Batch]:
        return [self._then(each) if self._then else each for each in self._halves(orders)]

    def _halves(self, orders: Sequence[msgspec.Raw]) -> Iterator[Batch]:
        try:
            yield flatten_fast(orders, self._layout)
        except REFUSALS:
            if len(orders) <= _FEW:
                yield self._flatten_carefully(orders)
            else:
                middle = len(orders) // 2
                yield from self._halves(orders[:middle])
                yield from self._halves(orders[middle:])

    def _flatten_carefully(self, orders: Sequence[msgspec.Raw]) -> Batch:
        batch, odd = flatten_carefully(orders)
        with self._learning:
            self._odd += Counter({path: n for path, n in odd.items() if Layout.can_take(path)})
            often = {path for path, times in self._odd.most_common(_MOST) if times >= _OFTEN}
            if not often <= self._layout.taken:
                self._layout = self._layout.with_taken(often)
        return batch
