"""How many requests one access token may make."""

import math
import threading
from collections import deque
from typing import NamedTuple

# A client that sends exactly at the limit must not be refused because its eleventh request
# travelled a millisecond faster than its first.
WINDOW = 0.95
NEWER = "x-ratelimit"


class Budget(NamedTuple):
    """What is left after one request.

    Attributes
    ----------
    allowed
        Whether this request may pass.
    remaining
        How many more may follow at once.
    reset
        When the budget is whole again, in seconds since the epoch.
    wait
        Seconds until the next request may pass.
    """

    allowed: bool
    remaining: int
    reset: float
    wait: float


class RateLimit:
    """At most `limit` requests in any second."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._lock = threading.Lock()
        self._passed: deque[float] = deque()

    def take(self, now: float) -> Budget:
        """Count a request at `now`, in seconds since the epoch; a refused one is not counted."""
        with self._lock:
            while self._passed and self._passed[0] <= now - WINDOW:
                self._passed.popleft()
            allowed = len(self._passed) < self.limit
            if allowed:
                self._passed.append(now)
            wait = 0.0 if allowed else self._passed[0] + WINDOW - now
            return Budget(allowed, self.limit - len(self._passed), self._passed[-1] + 1, wait)


def rate_headers(limit: int, budget: Budget, spelling: str | None) -> dict[str, str]:
    """Return the headers that tell a client of its budget.

    Parameters
    ----------
    limit, budget
        The requests of one second, and what is left of them.
    spelling
        What the names begin with: ``"x-ratelimit"``, or the older ``"x-rate-limit"``, with which
        ``retry-after`` begins too; None: a server that tells nothing.
    """
    if spelling is None:
        return {}
    headers = {
        f"{spelling}-limit": str(limit),
        f"{spelling}-remaining": str(budget.remaining),
        f"{spelling}-reset": str(math.ceil(budget.reset)),
    }
    if not budget.allowed:
        name = "retry-after" if spelling == NEWER else f"{spelling}-retry-after"
        headers[name] = str(max(1, math.ceil(budget.wait)))
    return headers
