"""The API's budget: so many requests a second for each access token."""

from __future__ import annotations

import threading
import time
from collections import deque

__all__ = ["Limiter"]

_SECOND = 1.0


class Limiter:
    """Let at most `rate` requests start in any one second, over all threads.

    Each caller books the next free moment and sleeps until then, so the callers go in the
    order in which they came.

    Parameters
    ----------
    rate
        Requests a second; None is no limit.
    """

    def __init__(self, rate: int | None) -> None:
        self.rate = rate
        self._booked: deque[float] = deque(maxlen=rate or 0)
        self._lock = threading.Lock()

    def wait(self) -> float:
        """Sleep until a request may start, and tell how many seconds that took."""
        delay = self._book()
        if delay > 0:
            time.sleep(delay)
        return delay

    def _book(self) -> float:
        if self.rate is None:
            return 0.0
        with self._lock:
            now = time.monotonic()
            full = len(self._booked) == self.rate
            start = max(now, self._booked[0] + _SECOND) if full else now
            self._booked.append(start)
        return start - now
