"""The API's budget: so many requests a second for each access token, in the whole process."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

__all__ = ["Limiter", "Place", "limiter_of"]


# The second that the server counts, and a little, as requests do not travel equally fast.
_SPAN = 1.01
_WIDER = 0.03  # after each refusal, so that the next one is less likely
_WIDEST = 1.2
# Seconds after a refusal in which requests are spread evenly: so the counts in the answers
# tell of others who share the token before both have sent all they may.
_CAREFUL = 60.0
_LONG = 10  # digits; no limit has as many, and Python reads no number of thousands
_SPELLINGS = ("x-ratelimit", "x-rate-limit")


class Place(NamedTuple):
    """One request's place in the budget.

    Attributes
    ----------
    number : int
        How many this process had taken by then.
    used : int
        How many of them were within one second.
    left : int or None
        How many more may follow at once; None where there is no limit.
    """

    number: int
    used: int
    left: int | None


class Limiter:
    """Keep the requests of one access token, over all threads and clients, within its budget.

    A request takes a place, which is free again one second after it was sent. The server's
    own count comes back in the headers of its answers: what it has counted beyond the
    requests of this process was sent by others, who share the token; so many places less
    are given for a second.

    Parameters
    ----------
    clock
        Tells the time, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._sent: list[float] = []
        self._number = 0
        self._span = _SPAN
        self._held = 0.0
        self._careful = 0.0
        self._limit = math.inf
        self._others = 0.0
        self._counted = -math.inf

    def turn(self, rate: int | None, wait: Callable[[str, float], None]) -> Place:
        """Wait until a request may be sent, and take its place.

        Parameters
        ----------
        rate
            Requests a second that the caller wants at most; None is no limit.
        wait
            Waits for a reason, so many seconds; may raise, and then no place was taken.
        """
        while True:
            with self._lock:
                now = self._clock()
                reason, seconds = self._until_free(now, rate)
                if seconds <= 0:
                    return self._take(now, rate)
            wait(reason, seconds)

    def observe(self, headers: Mapping[str, str], place: Place) -> None:
        """Read what an answer says of the budget."""
        limit, remaining = (_whole(headers, name) for name in ("limit", "remaining"))
        if not limit or remaining is None:
            return
        with self._lock:
            # What left after this request may have arrived before it.
            ours = place.used + self._number - place.number
            self._limit = limit
            self._others = max(0, limit - remaining - ours)
            self._counted = self._clock()

    def pause(self, seconds: float) -> None:
        """Let nobody send for so long, as the server has refused one."""
        with self._lock:
            self._held = max(self._held, self._clock() + seconds)
            self._span = min(self._span + _WIDER, _WIDEST)
            self._careful = self._held + _CAREFUL

    def cooldown(self) -> float:
        """Tell in how many seconds the budget is whole again, if no more requests are sent."""
        with self._lock:
            spent = self._sent[-1] + self._span if self._sent else -math.inf
            return max(0.0, max(spent, self._held) - self._clock())

    def unlock(self) -> None:
        """Be free, whoever held the lock in the process that this one was forked from."""
        self._lock = threading.Lock()

    def _until_free(self, now: float, rate: int | None) -> tuple[str, float]:
        self._sent = [sent for sent in self._sent if sent > now - self._span]
        if self._held > now:
            return "asked to wait", self._held - now
        if rate is None or not self._sent:
            return "", 0.0
        places = self._places(now, rate)
        free = self._sent[-places] + self._span if len(self._sent) >= places else now
        if now < self._careful:
            free = max(free, self._sent[-1] + self._span / places)
        return "rate limit", free - now

    def _places(self, now: float, rate: int) -> int:
        others = self._others if now < self._counted + self._span else 0
        return int(max(1, min(rate, self._limit - others)))

    def _take(self, now: float, rate: int | None) -> Place:
        self._sent.append(now)
        self._number += 1
        used = len(self._sent)
        left = None if rate is None else max(0, self._places(now, rate) - used)
        return Place(self._number, used, left)


def limiter_of(budget: str) -> Limiter:
    """Give the one limiter of this process for a budget, whatever the name that it goes by."""
    with _LOCK:
        return _LIMITERS.setdefault(budget, Limiter())


# The server counts the requests of a token, whoever sends them: so must the process, for as long
# as it lives. A client that is gone has sent requests that are still within their second.
_LIMITERS: dict[str, Limiter] = {}
_LOCK = threading.Lock()


def _unlock_all() -> None:
    global _LOCK  # noqa: PLW0603  (a thread of the parent may have held it)
    _LOCK = threading.Lock()
    for limiter in list(_LIMITERS.values()):
        limiter.unlock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlock_all)


def _whole(headers: Mapping[str, str], name: str) -> int | None:
    """Read a count in either spelling; of two, the smaller one."""
    texts = [headers.get(f"{spelling}-{name}", "").strip() for spelling in _SPELLINGS]
    counts = [
        int(text) for text in texts if text.isascii() and text.isdecimal() and len(text) < _LONG
    ]
    return min(counts, default=None)
