"""Retries of a request: how many, and how long to wait before each.

`RetryPolicy.run` is the loop, which `http.session` calls for every page. Which errors are
`retryable` is decided where they are made, in `http.responses` and `http.transport`; of errors
that are raised elsewhere, it only informs the caller.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TypeVar

from trackstar_frames.errors import TrackstarError

#: Processes with the same seed of `random`, and forks, must not all retry at the same time.
JITTER = random.SystemRandom()

_FIRST_PAUSE = 0.25  # seconds; doubled with each attempt
_WAIT_HEADERS = ("retry-after", "x-ratelimit-retry-after", "x-rate-limit-retry-after")
_RESET_HEADERS = ("x-ratelimit-reset", "x-rate-limit-reset")
# A header that asks for a longer wait is ignored: it is milliseconds, or the last date there is.
_MAX_REQUESTED_WAIT = 366 * 86_400.0  # seconds
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Retries after errors that are `retryable`, bounded in number and in time."""

    retries: int  # attempts after the first
    max_wait: float  # seconds in all; a wait that would exceed them is not begun

    def run(
        self, request: Callable[[], _T], wait: Callable[[TrackstarError, int, float], object]
    ) -> _T:
        """Return what `request` returns; `wait` takes the error, the attempt and seconds."""
        attempt, waited = 0, 0.0
        while True:
            attempt += 1
            try:
                return request()
            except TrackstarError as error:
                seconds = self._pause(error, attempt, waited)
                if seconds is None:
                    raise
                failure = error
            wait(failure, attempt, seconds)  # outside: what it raises has another cause
            waited += seconds

    def _pause(self, error: TrackstarError, attempt: int, waited: float) -> float | None:
        """Return the seconds to wait before the next attempt, or None if there is none."""
        if not error.retryable or attempt > self.retries:
            return None
        # As long as the server asks, but never less than a growing pause, with jitter.
        growing = _FIRST_PAUSE * 2.0 ** (attempt - 1)
        pause = max(error.retry_after or 0.0, growing)
        if waited + pause > self.max_wait:
            return None
        return pause + JITTER.uniform(0, min(growing, max(0.0, self.max_wait - waited - pause)))


def requested_wait(headers: Mapping[str, str]) -> float | None:
    """Return how many seconds a response asks to wait: the longest of all header spellings."""
    # Dates are compared with the response's own: this machine's clock may be wrong.
    now = read_date(headers.get("date", ""))
    longest = _longest(_read_wait(headers.get(name, ""), now) for name in _WAIT_HEADERS)
    if longest is not None:
        return longest
    return _longest(_until_reset(headers.get(name, ""), now) for name in _RESET_HEADERS)


def _longest(waits: Iterable[float | None]) -> float | None:
    return max((wait for wait in waits if wait is not None), default=None)


def _read_wait(header: str, now: float | None) -> float | None:
    """Read a header that may have been sent several times, joined with commas."""
    wait = retry_after(header, now)
    return _longest(retry_after(each, now) for each in header.split(",")) if wait is None else wait


def retry_after(header: str, now: float | None = None) -> float | None:
    """Read ``Retry-After``, seconds or a date; None if it is neither, or unreasonably long."""
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", header.strip()):
        seconds = float(header)
    else:
        moment = read_date(header)
        if moment is None:
            return None
        seconds = max(0.0, moment - (time.time() if now is None else now))
    return seconds if seconds <= _MAX_REQUESTED_WAIT else None


def _until_reset(header: str, now: float | None) -> float | None:
    """Read when the budget is free again, in Unix seconds by the server's clock."""
    if now is None or not re.fullmatch(r"[0-9]{1,12}", header.strip()):
        return None
    seconds = float(header) - now
    return seconds if 0 <= seconds <= _MAX_REQUESTED_WAIT else None


def read_date(header: str) -> float | None:
    """Read an HTTP date as Unix seconds; None if it is not one."""
    try:
        moment = parsedate_to_datetime(header)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return moment.astimezone(UTC).timestamp()  # raises where UTC has no such year
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
