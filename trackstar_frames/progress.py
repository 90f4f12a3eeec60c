"""What a fetch shows while it goes on: a bar, lines, or nothing.

A bar in terminals and notebooks, a line every ten seconds elsewhere, nothing in CI.
"""

from __future__ import annotations

import logging
import math
import os
import sys
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from typing import Any, Self

from trackstar_frames._text import counted
from trackstar_frames.pagination.threads import starting

__all__ = ["Progress", "Share", "Tally", "progress"]


_EVERY = 10.0  # seconds between two lines
_FRAME = 0.1  # seconds between two frames of the bar
_MANY = 20  # pages; more are told at once, also where no bar is
_COLUMNS = 80  # where a terminal does not tell
_log = logging.getLogger("trackstar_frames")


def progress(*, shown: bool | None = None) -> Progress | Share:
    """Begin to show a fetch: on its own, or as a part of what is shown around it."""
    around = _AROUND.get()
    return Progress(shown=shown) if around is None else Share(around)


class Progress:
    """Count pages, orders and requests of one fetch, from any thread, and show them.

    Parameters
    ----------
    shown
        True shows a bar in terminals and notebooks, and writes a line every ten seconds to
        stderr elsewhere. False shows nothing. None is as True where somebody looks, logs the
        lines where nobody does, and shows nothing if ``CI`` is set.
    clock
        Tells the time in seconds.
    """

    def __init__(
        self, *, shown: bool | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._tally = Tally(clock())
        self._view = _choose_view(shown)(self._tally, clock)

    def __enter__(self) -> Self:
        self._view.open()
        self._inside = _AROUND.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        _AROUND.reset(self._inside)
        self._view.close()

    @property
    def requests(self) -> int:
        """How many requests were sent, those tried again included."""
        return self._tally.requests

    def add(self, orders: int, pages: int = 1) -> None:
        """Count one more page, or several, with so many orders."""
        now = self._clock()
        self._tally.add(orders, now, pages)
        self._view.tell(now)

    def expect(self, pages: int, part: Share | None = None) -> None:
        """Tell about how many more pages are to come, of all or of one of several fetches."""
        read = self._tally.pages if part is None else part.pages
        self._tally.expect(read + pages, part)
        if pages > _MANY:
            _log.info("about %s pages to come, a request each", f"{pages:,}")

    def sent(self, left: int | None) -> None:
        """Count one more request; so many more may leave in this second, None is no limit."""
        now = self._clock()
        self._tally.sent(left, now)
        self._view.tell(now)

    def waiting(self, why: str, seconds: float) -> None:
        """Tell that a thread begins to wait; of several waits the one that ends last is shown."""
        now = self._clock()
        self._tally.waiting(why, now + seconds)
        self._view.tell(now, at_once=seconds > _EVERY)


class Share:
    """What one of several fetches adds to what is shown of all; counts its own requests too."""

    def __init__(self, whole: Progress) -> None:
        self._whole = whole
        self._tally = Tally(0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the whole to go on."""

    @property
    def requests(self) -> int:
        """How many requests were sent for this one."""
        return self._tally.requests

    @property
    def pages(self) -> int:
        """How many pages it has read."""
        return self._tally.pages

    def add(self, orders: int) -> None:
        """Count one more page, with so many orders."""
        self._tally.add(orders, 0)
        self._whole.add(orders)

    def expect(self, pages: int) -> None:
        """Tell about how many more pages are to come."""
        self._whole.expect(pages, self)

    def sent(self, left: int | None) -> None:  # noqa: ARG002  (the budget is of one token)
        """Count one more request."""
        self._tally.sent(None, 0)
        self._whole.sent(None)

    def waiting(self, why: str, seconds: float) -> None:
        """Tell that a thread begins to wait."""
        self._whole.waiting(why, seconds)


_AROUND: ContextVar[Progress | None] = ContextVar("what is shown around this", default=None)


class _View:
    """Where a fetch is shown: nowhere, unless a subclass says more."""

    def __init__(self, tally: Tally, clock: Callable[[], float]) -> None:
        self._tally = tally
        self._clock = clock

    def open(self) -> None:
        """Begin to show."""

    def tell(self, now: float, *, at_once: bool = False) -> None:
        """Hear that a count has changed, or that a long wait begins."""

    def close(self) -> None:
        """Show the end."""


class _Lines(_View):
    """A line every ten seconds, to the log; none of a fetch that is over before."""

    _always_ends = False

    def __init__(self, tally: Tally, clock: Callable[[], float]) -> None:
        super().__init__(tally, clock)
        self._turn = threading.Lock()
        self._told = -math.inf

    def tell(self, now: float, *, at_once: bool = False) -> None:
        since = self._told if at_once else max(self._told, self._tally.began)
        if now < since + _EVERY:
            return
        with self._turn:
            if now < self._told + _EVERY:
                return  # another thread was first
            self._told = now
        self._write(self._tally.line(now))

    def close(self) -> None:
        with self._turn:
            told, self._told = self._told, math.inf
        if self._always_ends or told > -math.inf:
            self._write(self._tally.last_line(self._clock()))

    def _write(self, line: str) -> None:
        _log.info(line)


class _Printed(_Lines):
    """The same to stderr, as it was asked for."""

    _always_ends = True

    def _write(self, line: str) -> None:
        # A fetch is worth more than its lines: a pipe that is gone does not end it.
        with suppress(OSError, ValueError, AttributeError):
            sys.stderr.write(line + "\n")
            sys.stderr.flush()


class _Bar(_View):
    """One line that is drawn over and over.

    By a thread of its own: so a wait vanishes when it is over and the clock goes on though
    no page comes, and no thread that fetches waits for a slow terminal.
    """

    def open(self) -> None:
        self._file = None if _in_notebook() else sys.stderr
        self._bar = _tqdm()(
            desc=self._line(), bar_format="{desc}", dynamic_ncols=self._file is not None
        )
        self._ended = threading.Event()
        self._painter = threading.Thread(target=self._paint, name="progress", daemon=True)
        with starting():
            self._painter.start()

    def close(self) -> None:
        self._ended.set()
        try:
            self._painter.join()
        finally:
            self._tally.stop()
            with suppress(OSError, ValueError):
                self._set(self._line())
                self._bar.disable = self._is_gone()
                self._bar.close()

    def _is_gone(self) -> bool:
        # What a terminal has refused stays in stderr's buffer, and Python would end with an
        # error for it: none is written to one that is gone.
        return self._file is not None and not _in_terminal()

    def _paint(self) -> None:
        shown = ""
        with suppress(OSError, ValueError):  # the terminal goes just now
            while not self._ended.wait(_FRAME) and not self._is_gone():
                line = self._line()
                if line != shown:
                    self._set(line)
                    # tqdm itself would not let go of the lock if the terminal refuses.
                    with self._bar.get_lock():
                        self._bar.refresh(nolock=True)
                    shown = line

    def _set(self, line: str) -> None:
        self._bar.n = self._tally.orders
        self._bar.set_description_str(line, refresh=False)

    def _line(self) -> str:
        # The last column stays free: some terminals begin a new line once it is written.
        width = None if self._file is None else _columns(self._file) - 1
        return self._tally.bar(self._clock(), width)


def _choose_view(shown: bool | None) -> type[_View]:  # noqa: FBT001  (handed on)
    if shown is False or (shown is None and os.environ.get("CI")):
        return _View
    if _in_terminal() or _in_notebook():
        return _Bar
    return _Printed if shown else _Lines


def _in_terminal() -> bool:
    try:
        return sys.stderr.isatty()
    except (AttributeError, ValueError):  # there is none, or it is closed
        return False


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    # Colab, Databricks and others have shells of their own, which inherit from Jupyter's.
    return any(each.__name__ == "ZMQInteractiveShell" for each in type(shell).__mro__)


def _tqdm() -> Any:
    with warnings.catch_warnings():
        # Without ipywidgets it warns, and draws text: which is what is wanted then.
        warnings.filterwarnings("ignore", message="IProgress not found")
        from tqdm.auto import tqdm  # noqa: PLC0415  (only where a bar is drawn)
    return tqdm


def _columns(file: Any) -> int:
    try:
        return os.get_terminal_size(file.fileno()).columns or _COLUMNS
    except (OSError, ValueError, AttributeError):
        return _COLUMNS


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
