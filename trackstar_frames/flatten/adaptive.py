"""What a fetch learns of its orders: which values to extract, and whether fast reading pays."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping

from trackstar_frames.flatten.layout import Layout, Path

__all__ = ["SMALL_BATCH", "Experience"]

#: Reading so few orders carefully takes as long as starting to read them fast.
SMALL_BATCH = 16

#: How many orders are read fast while one is read carefully.
_SPEEDUP = 6

#: How many orders are read carefully for each that may be lost to failed attempts.
_CAREFUL_PER_CREDIT = 4

#: The credit at the start, and its maximum; in orders read carefully.
_FIRST_CREDIT, _MAX_CREDIT = 250, 1000

#: A value that was odd so often is extracted from then on.
_OFTEN = 10

#: How many paths are learned at most: more are not a schema, but free text.
_MAX_LEARNED = 50

#: How many paths are counted at a time; beyond, the rare ones are forgotten.
_MAX_COUNTED = 1000


class Experience:
    """Shared by the threads of one `Flattener`.

    Attributes
    ----------
    layout : Layout
        What to extract from the next orders.

    Notes
    -----
    A failed attempt to read fast costs time. It is paid from a credit, counted in orders read
    carefully, that grows with the orders read fast and, more slowly, with those read carefully.
    So the worst orders take a quarter longer than without any attempt.
    """

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
                self._count(odd)
                self._learn()

    def _earn(self, orders: float) -> None:
        with self._lock:
            self._credit = min(self._credit + orders, _MAX_CREDIT)

    def _count(self, odd: Mapping[Path, int]) -> None:
        for path, times in odd.items():
            if path not in self.layout.extracted and Layout.can_extract(path):
                self._odd[path] += times
        if len(self._odd) > _MAX_COUNTED:
            self._odd = Counter(dict(self._odd.most_common(_MAX_COUNTED // 2)))

    def _learn(self) -> None:
        often = [path for path, times in self._odd.items() if times >= _OFTEN]
        often = often[: _MAX_LEARNED - self._learned]
        if often:
            self._learned += len(often)
            self._credit = max(self._credit, _FIRST_CREDIT)
            self.layout = self.layout.with_extracted(often)
            for path in often:
                del self._odd[path]
