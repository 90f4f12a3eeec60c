"""When a request is tried again: after what, how often, and how long after."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from trackstar_frames.errors import TrackstarError

if TYPE_CHECKING:
    import tenacity

__all__ = ["JITTER", "RetryPolicy", "read_date", "requested_wait", "retry_after"]


#: Draws apart from the generator that programs seed, and otherwise in every process of a fork.
JITTER = random.SystemRandom()

_FIRST_PAUSE = 0.25  # seconds; doubled from try to try
_ASKED_BY = ("retry-after", "x-ratelimit-retry-after", "x-rate-limit-retry-after")
_RESET_BY = ("x-ratelimit-reset", "x-rate-limit-reset")
# What is longer is no wait that somebody means: an end of the calendar, or milliseconds.
_LONGEST = 366 * 86_400.0  # seconds
_T = TypeVar("_T")


class RetryPolicy:
    """Try again after errors that say so, bounded in number and in time.

    Parameters
    ----------
    count
        How often, beside the first try.
    max_wait
        Seconds of waiting in all. A wait that is longer is not begun.
    """

    def __init__(self, count: int, max_wait: float) -> None:
        self._count = count
        self._max_wait = max_wait

    def run(self, ask: Callable[[], _T], wait: Callable[[TrackstarError, int, float], None]) -> _T:
        """Ask until it goes well; raise the last error.

        Parameters
        ----------
        ask
            What is tried.
        wait
            Waits; is told the error, the number of the try that met it, and the seconds.
        """
        import tenacity  # noqa: PLC0415  (it brings asyncio, and tornado where there is one)

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(_may_retry),
            stop=self._is_enough,
            wait=self._pause,
            before_sleep=partial(_before_sleep, wait),
            sleep=lambda _: None,  # `wait` has done so
            reraise=True,
        )
        return retrying(ask)

    def _is_enough(self, state: tenacity.RetryCallState) -> bool:
        waits = state.idle_for + state.upcoming_sleep
        return state.attempt_number > self._count or waits > self._max_wait

    def _pause(self, state: tenacity.RetryCallState) -> float:
        """Wait as long as the server asks, never less than a growing pause, with jitter."""
        asked: float = getattr(_error(state), "retry_after", None) or 0.0
        grown = _FIRST_PAUSE * 2.0 ** (state.attempt_number - 1)
        pause = max(asked, grown)
        room = max(0.0, self._max_wait - state.idle_for - pause)
        return pause + JITTER.uniform(0, min(grown, room))


def requested_wait(headers: Mapping[str, str]) -> float | None:
    """Read how many seconds an answer asks to wait: the most that any spelling says.

    Dates are compared with the answer's own: this machine's clock may be wrong.

    Examples
    --------
    >>> requested_wait({"retry-after": "2", "x-rate-limit-retry-after": "9"})
    9.0
    """
    now = read_date(headers.get("date", ""))
    waits = [_longest(headers.get(name, ""), now) for name in _ASKED_BY]
    if all(wait is None for wait in waits):
        waits = [_until_reset(headers.get(name, ""), now) for name in _RESET_BY]
    return max((wait for wait in waits if wait is not None), default=None)


def _longest(header: str, now: float | None) -> float | None:
    """Read a header that an answer may have several times: it is then one, with commas."""
    whole = retry_after(header, now)
    parts = header.split(",") if whole is None else []
    return max(
        (wait for part in parts if (wait := retry_after(part, now)) is not None), default=whole
    )


def retry_after(header: str, now: float | None = None) -> float | None:
    """Read ``Retry-After``: seconds, or a date; None if it is neither, or beyond reason."""
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", header.strip()):
        return _within_reason(float(header))
    moment = read_date(header)
    if moment is None:
        return None
    return _within_reason(max(0.0, moment - (time.time() if now is None else now)))


def _until_reset(header: str, now: float | None) -> float | None:
    """Read when the budget is whole again, in Unix seconds, by the server's clock."""
    if now is None or not re.fullmatch(r"[0-9]{1,12}", header.strip()):
        return None
    seconds = float(header) - now
    return _within_reason(seconds) if seconds >= 0 else None


def _within_reason(seconds: float) -> float | None:
    return seconds if seconds <= _LONGEST else None


def read_date(header: str) -> float | None:
    """Read a date of HTTP, as Unix seconds; None if it is none."""
    try:
        moment = parsedate_to_datetime(header)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return moment.astimezone(UTC).timestamp()  # raises where UTC has no such year
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _may_retry(error: BaseException) -> bool:
    return isinstance(error, TrackstarError) and error.retryable


def _before_sleep(
    wait: Callable[[TrackstarError, int, float], None], state: tenacity.RetryCallState
) -> None:
    error = _error(state)
    if isinstance(error, TrackstarError):
        wait(error, state.attempt_number, state.upcoming_sleep)


def _error(state: tenacity.RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None
