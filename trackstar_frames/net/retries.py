"""When a request is tried again: after what, how often, and how long after."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from trackstar_frames.errors import TrackstarError

if TYPE_CHECKING:
    import tenacity

__all__ = ["Retries", "read_date", "retry_after"]

_FIRST_PAUSE = 0.25  # seconds; doubled from try to try
_T = TypeVar("_T")


class Retries:
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
        return pause + random.uniform(0, min(grown, room))  # noqa: S311  (not a secret)


def retry_after(header: str) -> float | None:
    """Read ``Retry-After``: seconds, or a date."""
    if re.fullmatch(r"\d+(\.\d+)?", header.strip()):
        return float(header)
    moment = read_date(header)
    return None if moment is None else max(0.0, moment - time.time())


def read_date(header: str) -> float | None:
    """Read a date of HTTP, as Unix seconds; None if it is none."""
    try:
        moment = parsedate_to_datetime(header)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
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
