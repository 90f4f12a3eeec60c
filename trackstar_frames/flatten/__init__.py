"""Orders' JSON to Arrow tables, page by page; no I/O.

Driven by `schema`: every value of an order is in exactly one column, of the column's type where
that loses nothing, else in a row of `problems`; a key that the schema does not know is kept in
`extra`. Free-form values keep the text that was received.

There are two readers with one result. The fast one (`fast`) has Arrow read a whole page, and
refuses it if anything is not as expected. The careful one (`careful`) reads any order, value by
value. A refused page is halved until the odd orders are isolated, as long as that pays; what is odd
often is learned (`Experience`) and from then on extracted as text before Arrow reads (`layout`).
"""

from __future__ import annotations

import sys
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Self

import msgspec
import pyarrow as pa

from trackstar_frames.errors import ResponseError
from trackstar_frames.flatten.careful import flatten_carefully
from trackstar_frames.flatten.fast import REFUSALS, flatten_fast
from trackstar_frames.flatten.layout import Batch, Layout, Path
from trackstar_frames.pagination.threads import ThreadPool

_THREADS = min(4, pa.cpu_count())  # more would wait for Python's lock

SMALL_BATCH = 16  # orders; to read them carefully takes as long as to start reading them fast

_SPEEDUP = 6  # orders are read fast while one is read carefully
_CAREFUL_PER_CREDIT = 4  # orders read carefully, for each that may be lost to failed attempts
_FIRST_CREDIT, _MAX_CREDIT = 250, 1000  # in orders read carefully
_OFTEN = 10  # a value that was odd so many times is extracted from then on
_MAX_LEARNED = 50  # paths; more are not a schema, but free text
_MAX_COUNTED = 1000  # paths at a time; beyond, the rare ones are forgotten


class Flattener:
    """Flattens pages on threads, while later ones arrive."""

    def __init__(self, finish: Callable[..., Any] | None = None) -> None:
        # Called on the thread with each batch of a page, and with the context given to `add`; its
        # result replaces the batch.
        self._finish = finish or (lambda batch: batch)
        self._experience = Experience()
        self._threads = ThreadPool(_THREADS, "flatten")
        self._pages: deque[Future[list[Any]]] = deque()
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(cancel_futures=True)

    def add(self, orders: Sequence[msgspec.Raw], *context: Any) -> Future[list[Any]]:
        """Start to flatten a page into batches; raise the error of an earlier page, if any."""
        # A page takes megabytes: where pages come faster than they are flattened, wait here.
        with self._lock:
            oldest = self._pages.popleft() if len(self._pages) >= 2 * _THREADS else None
        if oldest is not None:
            oldest.result()
        self._pages.append(page := self._threads.submit(self._flatten, orders, context))
        return page

    def _flatten(self, orders: Sequence[msgspec.Raw], context: tuple[Any, ...]) -> list[Any]:
        try:
            return [self._finish(each, *context) for each in self._read(orders)]
        except RecursionError:
            raise ResponseError(
                f"an order is nested too deeply to be read: Python's limit, "
                f"sys.getrecursionlimit(), is {sys.getrecursionlimit()}"
            ) from None

    def _read(self, orders: Sequence[msgspec.Raw]) -> Iterator[Batch]:
        """Read orders fast; if they are refused, each half of them, down to a small batch."""
        if batch := self._try_fast(orders):
            yield batch
        elif len(orders) > SMALL_BATCH and self._experience.has_credit:
            middle = len(orders) // 2
            yield from self._read(orders[:middle])
            yield from self._read(orders[middle:])
        else:
            yield from self._read_carefully(orders)

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


class Experience:
    """What the threads of a flattener learn: which values to extract, and if fast reading pays."""

    # A failed attempt to read fast costs time. It is paid from a credit, counted in orders read
    # carefully, that grows with the orders read fast and, more slowly, with those read carefully.
    # So the worst orders take a quarter longer than without any attempt.

    def __init__(self) -> None:
        self.layout = Layout.of_schema()
        self._odd: Counter[Path] = Counter()
        self._learned = 0
        self._credit: float = _FIRST_CREDIT
        self._lock = threading.Lock()

    @property
    def has_credit(self) -> bool:
        """Whether an attempt to read fast can be paid."""
        return self._credit > 0

    def add_fast(self, orders: int) -> None:
        """Count orders that were read fast."""
        self._earn(orders)

    def add_refused(self, orders: int) -> None:
        """Count orders that could not be read fast."""
        self._earn(-orders / _SPEEDUP - SMALL_BATCH)

    def add_careful(self, orders: int, odd: Mapping[Path, int]) -> None:
        """Count orders that were read carefully, and learn from the paths that were odd there."""
        self._earn(orders / _CAREFUL_PER_CREDIT)
        with self._lock:
            if self._learned < _MAX_LEARNED:
                self._learn(odd)

    def _earn(self, orders: float) -> None:
        with self._lock:
            self._credit = min(self._credit + orders, _MAX_CREDIT)

    def _learn(self, odd: Mapping[Path, int]) -> None:
        for path, times in odd.items():
            if path not in self.layout.extracted and Layout.can_extract(path):
                self._odd[path] += times
        if len(self._odd) > _MAX_COUNTED:
            self._odd = Counter(dict(self._odd.most_common(_MAX_COUNTED // 2)))
        often = [path for path, times in self._odd.items() if times >= _OFTEN]
        often = often[: _MAX_LEARNED - self._learned]
        if often:
            self._learned += len(often)
            self._credit = max(self._credit, _FIRST_CREDIT)
            self.layout = Layout(self.layout.extracted.union(often))
            for path in often:
                del self._odd[path]
