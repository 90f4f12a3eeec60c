"""The API's budget: so many requests a second for each access token."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from queue import SimpleQueue

__all__ = ["Limiter"]

_SECOND = 1.0


class Limiter:
    """Let at most `rate` requests reach the server in any one second, over all threads.

    There are `rate` places. A request takes one, and one second after its answer began the
    place is free again: so the server never sees more, however long the way to it is.

    Parameters
    ----------
    rate
        Requests a second; None is no limit.
    """

    def __init__(self, rate: int | None) -> None:
        self.rate = rate
        self._free: SimpleQueue[float] = SimpleQueue()
        for _ in range(rate or 0):
            self._free.put(0.0)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait until a request may start; leave the block once its answer begins."""
        if self.rate is None:
            yield
            return
        moment = self._free.get()
        try:
            time.sleep(max(0.0, moment - time.monotonic()))
            yield
        finally:
            self._free.put(time.monotonic() + _SECOND)
