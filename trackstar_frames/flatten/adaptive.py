"""What a fetch has learned of its orders: which values are odd often, and what trying pays."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping

from trackstar_frames.flatten.layout import Layout, Path

__all__ = ["FEW", "Experience"]


#: So few orders are read carefully in the time that the fast way needs to begin.
FEW = 16

#: The fast way reads so many orders while the careful way reads one.
_FASTER = 6

#: For so many orders that are read carefully, one may be lost to trying in vain.
_SHARE = 4

#: How much credit there is at first, and how much at most; in orders read carefully.
_FIRST_CREDIT, _MOST_CREDIT = 250, 1000

#: A value that was odd so often is taken out as text from then on.
_OFTEN = 10

#: So many kinds of odd values are learned at most: more are not a schema, but free text.
_MOST = 50

#: So many kinds are counted at a time; beyond, those met seldom are forgotten.
_COUNTED = 1000


class Experience:
    """Shared by the threads of one `Flattener`.

    Attributes
    ----------
    layout : Layout
        How the fast way is to read the next orders.

    Notes
    -----
    To try the fast way in vain costs time. It is paid from a credit, counted in orders read
    carefully, that grows with what the fast way has read and, more slowly, with what the
    careful way had to read. So the worst orders cost a quarter more than without any try.
    """

    def __init__(self) -> None:
        self.layout = Layout.of_schema()
        self._odd: Counter[Path] = Counter()
        self._learned = 0
        self._credit: float = _FIRST_CREDIT
        self._lock = threading.Lock()

    @property
    def may_try(self) -> bool:
        """Whether there is credit to try the fast way."""
        return self._credit > 0

    def read(self, orders: int) -> None:
        """Note that the fast way has read orders."""
        self._earn(orders)

    def refused(self, orders: int) -> None:
        """Note that the fast way has refused orders."""
        self._earn(-orders / _FASTER - FEW)

    def read_carefully(self, orders: int, odd: Mapping[Path, int]) -> None:
        """Note that orders were read carefully, and how often which values were odd."""
        self._earn(orders / _SHARE)
        with self._lock:
            if self._learned < _MOST:
                self._count(odd)
                self._learn()

    def _earn(self, orders: float) -> None:
        with self._lock:
            self._credit = min(self._credit + orders, _MOST_CREDIT)

    def _count(self, odd: Mapping[Path, int]) -> None:
        for path, times in odd.items():
            if path not in self.layout.taken and Layout.can_take(path):
                self._odd[path] += times
        if len(self._odd) > _COUNTED:
            self._odd = Counter(dict(self._odd.most_common(_COUNTED // 2)))

    def _learn(self) -> None:
        often = [path for path, times in self._odd.items() if times >= _OFTEN]
        often = often[: _MOST - self._learned]
        if often:
            self._learned += len(often)
            self._credit = max(self._credit, _FIRST_CREDIT)
            self.layout = self.layout.with_taken(often)
            for path in often:
                del self._odd[path]
