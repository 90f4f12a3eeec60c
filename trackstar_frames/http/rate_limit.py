"""The API's rate limit, in requests a second for each access token, within this process."""

from __future__ import annotations

import math
import os
import re
import threading
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

# The second that the server counts, and a little more: requests do not travel equally fast.
_SPAN = 1.01
_SPAN_STEP = 0.03  # more after each refusal, so that the next one is less likely
_MAX_SPAN = 1.2
# For so many seconds after a refusal, requests are spread evenly, so that the counts in the
# responses show other users of the token before the budget is used up.
_CAREFUL_TIME = 60.0
_SPELLINGS = ("x-ratelimit", "x-rate-limit")


class Slot(NamedTuple):
    """One request's slot in the budget."""

    number: int  # how many slots this process had taken by then
    used: int  # how many of them were within one second
    left: int | None  # how many more may follow at once; None if there is no limit


class Limiter:
    """Keeps the requests of one access token, over all threads and clients, within its budget.

    A request takes a slot, which is free again one second after it was sent. If the server, by the
    headers of its responses, counts more requests than this process has sent, others share the
    token: for a second, there are so many slots fewer.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._sent: list[float] = []
        self._number = 0
        self._span = _SPAN
        self._paused_until = 0.0
        self._careful_until = 0.0
        self._limit = math.inf
        self._others = 0.0
        self._counted_at = -math.inf

    def acquire(self, rate: int | None, wait: Callable[[str, float], None]) -> Slot:
        """Take a slot, of at most `rate` a second; `wait` is called with a reason and seconds."""
        while True:
            with _LOCK:
                now = self._clock()
                reason, seconds = self._until_free(now, rate)
                if seconds <= 0:
                    return self._take(now, rate)
            wait(reason, seconds)  # where it raises, no slot is taken

    def observe(self, headers: Mapping[str, str], slot: Slot) -> None:
        """Update the budget from the headers of the response to a request."""
        limit, remaining = (_count(headers, name) for name in ("limit", "remaining"))
        if not limit or remaining is None:
            return
        with _LOCK:
            # What was sent after this request may have arrived before it.
            ours = slot.used + self._number - slot.number
            self._limit = limit
            self._others = max(0, limit - remaining - ours)
            self._counted_at = self._clock()

    def pause(self, seconds: float) -> None:
        """Send nothing for some seconds, as the server has refused a request."""
        with _LOCK:
            self._paused_until = max(self._paused_until, self._clock() + seconds)
            self._span = min(self._span + _SPAN_STEP, _MAX_SPAN)
            self._careful_until = self._paused_until + _CAREFUL_TIME

    def cooldown(self) -> float:
        """Return the seconds until no slot is taken, if no more requests are sent."""
        with _LOCK:
            free = self._sent[-1] + self._span if self._sent else -math.inf
            return max(0.0, max(free, self._paused_until) - self._clock())

    def _until_free(self, now: float, rate: int | None) -> tuple[str, float]:
        self._sent = [sent for sent in self._sent if sent > now - self._span]
        if self._paused_until > now:
            return "asked to wait", self._paused_until - now
        if rate is None or not self._sent:
            return "", 0.0
        slots = self._slots(now, rate)
        free = self._sent[-slots] + self._span if len(self._sent) >= slots else now
        if now < self._careful_until:
            free = max(free, self._sent[-1] + self._span / slots)
        return "rate limit", free - now

    def _slots(self, now: float, rate: int) -> int:
        others = self._others if now < self._counted_at + self._span else 0
        return int(max(1, min(rate, self._limit - others)))

    def _take(self, now: float, rate: int | None) -> Slot:
        self._sent.append(now)
        self._number += 1
        used = len(self._sent)
        left = None if rate is None else max(0, self._slots(now, rate) - used)
        return Slot(self._number, used, left)


def limiter_of(budget: str) -> Limiter:
    """Return this process's one limiter of a budget."""
    with _LOCK:
        return _LIMITERS.setdefault(budget, Limiter())


# The server counts the requests of a token over all clients. So does the process, as long as it
# runs: requests of a client that is gone may still be within their second.
_LIMITERS: dict[str, Limiter] = {}
_LOCK = threading.Lock()  # of all of them: none holds it for long


def _unlock_in_child() -> None:
    global _LOCK  # noqa: PLW0603  (a thread of the parent may have held it)
    _LOCK = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlock_in_child)


def _count(headers: Mapping[str, str], name: str) -> int | None:
    """Read a count in either spelling; of two, the smaller."""
    texts = [headers.get(f"{spelling}-{name}", "").strip() for spelling in _SPELLINGS]
    # No limit has more digits, and Python refuses to read thousands.
    counts = [int(text) for text in texts if re.fullmatch("[0-9]{1,9}", text)]
    return min(counts, default=None)
