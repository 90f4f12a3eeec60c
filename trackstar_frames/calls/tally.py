"""The counts of a fetch while it goes on, in words."""

from __future__ import annotations

import math
import threading

from trackstar_frames.plain import counted

__all__ = ["Tally"]

_SECOND = 1.0  # how long a budget of requests holds
_WHOLE = 10.0  # seconds; a longer wait is told without tenths
_NO_BUDGET = (None, -math.inf)
_NO_WAIT = ("", -math.inf)


class Tally:
    """The counts of one fetch; written from any thread.

    They are written under a lock and read without it: what is shown may be a page behind, and
    no thread waits for it.

    Parameters
    ----------
    began
        When the fetch began, as a clock tells it; `now` is by the same clock everywhere.
    """

    __slots__ = (
        *("_budget", "_expected", "_lock", "_paged", "_wait"),
        *("began", "orders", "pages", "requests"),
    )

    def __init__(self, began: float) -> None:
        self.began = began
        self.pages = self.orders = self.requests = 0
        self._paged = began
        self._budget: tuple[int | None, float] = _NO_BUDGET
        self._wait = _NO_WAIT
        self._expected: dict[object, int] = {}
        self._lock = threading.Lock()

    def add(self, orders: int, now: float, pages: int = 1) -> None:
        """Count one more page, or several, and their orders."""
        with self._lock:
            self.pages += pages
            self.orders += orders
            self._paged = now

    def expect(self, pages: int, part: object) -> None:
        """Expect about so many pages in all, of the whole or of one of its parts."""
        with self._lock:
            self._expected[part] = pages

    def sent(self, left: int | None, now: float) -> None:
        """Count one more request, with so many left in this second."""
        with self._lock:
            self.requests += 1
            self._budget = (left, now + _SECOND)

    def waiting(self, why: str, until: float) -> None:
        """Keep the wait that ends last."""
        with self._lock:
            if until >= self._wait[1]:
                self._wait = (why, until)

    def stop(self) -> None:
        """Forget what holds while it goes on only."""
        self._budget, self._wait = _NO_BUDGET, _NO_WAIT
        self._expected = {}

    def bar(self, now: float, width: int | None) -> str:
        """Give the line of a bar, with what matters least left out where it is too wide."""
        clock, rate = _clock_time(now - self.began), f"{self._rate(now):,.0f}/s"
        short = f"fetching: {counted(self.orders, 'order')}"
        head = f"{short} [{clock}, {rate}]"
        pages, left = self._pages(), self._left(now)
        wait = self._waits(now, "{why}: {time}")
        lines = [f"{head} {_join(*form)}" for form in ((pages, left, wait), (pages, wait))]
        lines += [f"{head} {wait}".rstrip(), _join(short, wait)]
        fitting = (line for line in lines if width is None or len(line) <= width)
        return next(fitting, lines[-1])[:width]

    def line(self, now: float) -> str:
        """Give a line of a log."""
        wait = self._waits(now, "waiting {time} ({why})")
        return _join(f"fetching: {self._counts(now)}", self._left(now), wait)

    def last_line(self, now: float) -> str:
        """Give the line that closes a log; whether the fetch went well is not known here."""
        self.stop()
        took, sent = _clock_time(now - self.began), counted(self.requests, "request")
        return _join(f"fetching ended after {took}: {self._counts(now)}", sent)

    def _rate(self, now: float) -> float:
        """Give the orders of one second.

        While no page comes it changes with the whole seconds only: figures that run though
        nothing happens are hard to read.
        """
        elapsed = max(self._paged - self.began, float(int(now - self.began)))
        return self.orders / elapsed if elapsed > 0 else 0.0

    def _left(self, now: float) -> str:
        """Give the requests that are left, while that is known."""
        left, until = self._budget
        return "" if left is None or now > until else counted(left, "request") + " left"

    def _waits(self, now: float, form: str) -> str:
        """Give the wait that ends last, while it lasts."""
        why, until = self._wait
        return form.format(why=why, time=_seconds(until - now)) if until > now else ""

    def _pages(self) -> str:
        """Give the pages that were read, and about how many there are, while that is more."""
        total = sum(list(self._expected.values()))
        if total > self.pages:
            return f"{self.pages:,} of about {counted(total, 'page')}"
        return counted(self.pages, "page")

    def _counts(self, now: float) -> str:
        pages, orders = self._pages(), counted(self.orders, "order")
        return _join(pages, orders, f"{self._rate(now):,.0f} orders/s")


def _join(*parts: str) -> str:
    return ", ".join(filter(None, parts))


def _seconds(left: float) -> str:
    return f"{max(left, 0.1):.1f} s" if left < _WHOLE else f"{left:.0f} s"


def _clock_time(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes:02}:{seconds:02}"
