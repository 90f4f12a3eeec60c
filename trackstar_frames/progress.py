"""Progress of a fetch: a bar in terminals and notebooks, lines of a log elsewhere."""

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

_LINE_INTERVAL = 10.0  # seconds between two lines of a log
_FRAME_INTERVAL = 0.1  # seconds between two frames of the bar
_ANNOUNCED_PAGES = 20  # an expected count above this is logged, whatever is shown
_DEFAULT_COLUMNS = 80
_BUDGET_LIFETIME = 1.0  # seconds
_TENTHS_BELOW = 10.0  # seconds; longer waits are shown in whole seconds
_log = logging.getLogger("trackstar_frames")


def start_progress(*, shown: bool | None = None) -> Progress:
    """Return the progress of a fetch, as a part of the enclosing `Progress` if there is one."""
    whole = _CURRENT.get()
    return Progress(shown=shown) if whole is None else _ConnectionProgress(whole)


class Progress:
    """Count and show pages, orders and requests of a fetch, from any thread."""

    def __init__(
        self, *, shown: bool | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._counters = Counters(clock())
        self._view = _choose_view(shown)(self._counters, clock)

    def __enter__(self) -> Self:
        self._view.open()
        self._token = _CURRENT.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        _CURRENT.reset(self._token)
        self._view.close()

    @property
    def requests(self) -> int:
        """The number of requests sent, retries included."""
        return self._counters.requests

    def add(self, orders: int, pages: int = 1) -> None:
        """Count pages and their orders."""
        now = self._clock()
        self._counters.add(orders, now, pages)
        self._view.update(now)

    def expect(self, pages: int, connection: Counters | None = None) -> None:
        """Expect about `pages` more, of the whole fetch or of one connection."""
        counters = connection or self._counters
        self._counters.expect(counters.pages + pages, counters)
        if pages > _ANNOUNCED_PAGES:
            _log.info("about %s pages to come, a request each", f"{pages:,}")

    def sent(self, left: int | None) -> None:
        """Count a request; `left` is the rest of this second's budget, None if unlimited."""
        now = self._clock()
        self._counters.sent(left, now)
        self._view.update(now)

    def waiting(self, reason: str, seconds: float) -> None:
        """Show that a thread starts to wait; of several waits, the one that ends last."""
        now = self._clock()
        self._counters.waiting(reason, now + seconds)
        self._view.update(now, is_long_wait=seconds > _LINE_INTERVAL)


class _ConnectionProgress(Progress):
    """The progress of one of several connections, shown as part of the whole."""

    def __init__(self, whole: Progress) -> None:
        super().__init__(shown=False)
        self._whole = whole

    def add(self, orders: int, pages: int = 1) -> None:
        super().add(orders, pages)
        self._whole.add(orders, pages)

    def expect(self, pages: int, connection: Counters | None = None) -> None:
        self._whole.expect(pages, connection or self._counters)

    def sent(self, left: int | None) -> None:
        super().sent(left)
        self._whole.sent(None)  # each token has its own budget

    def waiting(self, reason: str, seconds: float) -> None:
        self._whole.waiting(reason, seconds)


_CURRENT: ContextVar[Progress | None] = ContextVar("the enclosing progress", default=None)


class Counters:
    """The counts of a fetch, and the lines that show them; all times are those of one clock.

    Any thread writes under a lock, and reads without it: a line may be a page behind.
    """

    def __init__(self, started_at: float) -> None:
        self.started_at = started_at
        self.pages = self.orders = self.requests = 0
        self._last_page_at = started_at
        self._lock = threading.Lock()
        self.finish()  # nothing runs yet

    def finish(self) -> None:
        """Forget the budget, the wait and the expected pages, which only a running fetch has."""
        self._budget: tuple[int | None, float] = (None, -math.inf)
        self._wait = ("", -math.inf)
        self._expected: dict[object, int] = {}

    def add(self, orders: int, now: float, pages: int = 1) -> None:
        """Count pages and their orders."""
        with self._lock:
            self.pages += pages
            self.orders += orders
            self._last_page_at = now

    def expect(self, pages: int, connection: object) -> None:
        """Expect about `pages` in all of one connection."""
        with self._lock:
            self._expected[connection] = pages

    def sent(self, left: int | None, now: float) -> None:
        """Count a request."""
        with self._lock:
            self.requests += 1
            self._budget = (left, now + _BUDGET_LIFETIME)

    def waiting(self, reason: str, until: float) -> None:
        """Note a wait, unless a known one ends later."""
        with self._lock:
            if until >= self._wait[1]:
                self._wait = (reason, until)

    def bar(self, now: float, width: int | None) -> str:
        """Return the bar's line, shortened by the least important parts to fit the width."""
        clock, rate = _clock_time(now - self.started_at), f"{self._rate(now):,.0f}/s"
        short = f"fetching: {counted(self.orders, 'order')}"
        head = f"{short} [{clock}, {rate}]"
        pages, budget = self._page_words(), self._budget_words(now)
        wait = self._wait_words(now, "{reason}: {time}")
        lines = [f"{head} {_join(*form)}" for form in ((pages, budget, wait), (pages, wait))]
        lines += [f"{head} {wait}".rstrip(), _join(short, wait)]
        fitting = (line for line in lines if width is None or len(line) <= width)
        return next(fitting, lines[-1])[:width]

    def line(self, now: float) -> str:
        """Return a line of a log."""
        wait = self._wait_words(now, "waiting {time} ({reason})")
        return _join(f"fetching: {self._count_words(now)}", self._budget_words(now), wait)

    def last_line(self, now: float) -> str:
        """Return the last line of a log, which is the same whether the fetch succeeded or not."""
        self.finish()
        head = f"fetching ended after {_clock_time(now - self.started_at)}"
        return f"{head}: {self._count_words(now)}, {counted(self.requests, 'request')}"

    def _rate(self, now: float) -> float:
        """Return the orders per second."""
        # Without new pages it changes once a second only, as running figures are hard to read.
        elapsed = max(self._last_page_at - self.started_at, float(int(now - self.started_at)))
        return self.orders / elapsed if elapsed > 0 else 0.0

    def _budget_words(self, now: float) -> str:
        left, until = self._budget
        return "" if left is None or now > until else counted(left, "request") + " left"

    def _wait_words(self, now: float, form: str) -> str:
        reason, until = self._wait
        return form.format(reason=reason, time=_seconds(until - now)) if until > now else ""

    def _page_words(self) -> str:
        expected = sum(list(self._expected.values()))
        if expected > self.pages:
            return f"{self.pages:,} of about {counted(expected, 'page')}"
        return counted(self.pages, "page")

    def _count_words(self, now: float) -> str:
        orders, rate = counted(self.orders, "order"), f"{self._rate(now):,.0f} orders/s"
        return _join(self._page_words(), orders, rate)


def _join(*parts: str) -> str:
    return ", ".join(filter(None, parts))


def _seconds(seconds: float) -> str:
    return f"{max(seconds, 0.1):.1f} s" if seconds < _TENTHS_BELOW else f"{seconds:.0f} s"


def _clock_time(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes:02}:{seconds:02}"


class _View:
    """A view that shows nothing."""

    def __init__(self, counters: Counters, clock: Callable[[], float]) -> None:
        self._counters = counters
        self._clock = clock

    def open(self) -> None:
        """Start to show the counters."""

    def update(self, now: float, *, is_long_wait: bool = False) -> None:
        """Show counters that have changed."""

    def close(self) -> None:
        """Show the final counters."""


class _LogLines(_View):
    """A line in the log every ten seconds; none if the fetch ends sooner."""

    _always_closes = False

    def __init__(self, counters: Counters, clock: Callable[[], float]) -> None:
        super().__init__(counters, clock)
        self._lock = threading.Lock()
        self._written_at = -math.inf

    def update(self, now: float, *, is_long_wait: bool = False) -> None:
        last = max(self._written_at, -math.inf if is_long_wait else self._counters.started_at)
        if now < last + _LINE_INTERVAL:
            return
        with self._lock:
            if now < self._written_at + _LINE_INTERVAL:
                return  # another thread was first
            self._written_at = now
        self._write(self._counters.line(now))

    def close(self) -> None:
        with self._lock:
            written_at, self._written_at = self._written_at, math.inf
        if self._always_closes or written_at > -math.inf:
            self._write(self._counters.last_line(self._clock()))

    def _write(self, line: str) -> None:
        _log.info(line)


class _StderrLines(_LogLines):
    """A line on stderr every ten seconds, and always a last one."""

    _always_closes = True

    def _write(self, line: str) -> None:
        # A closed pipe must not end the fetch.
        with suppress(OSError, ValueError, AttributeError):
            sys.stderr.write(line + "\n")
            sys.stderr.flush()


class _Bar(_View):
    """A single line of tqdm."""

    # A thread of its own redraws it, so that the clock runs while no page arrives, and no fetching
    # thread waits for a slow terminal.

    def open(self) -> None:
        with warnings.catch_warnings():
            # Without ipywidgets tqdm warns, and draws text, which is fine.
            warnings.filterwarnings("ignore", message="IProgress not found")
            from tqdm.auto import tqdm  # noqa: PLC0415  (only where a bar is drawn)
        self._is_widget = _in_notebook()
        self._bar: Any = tqdm(
            desc=self._line(), bar_format="{desc}", dynamic_ncols=not self._is_widget
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
            self._counters.finish()
            with suppress(OSError, ValueError):
                self._set(self._line())
                self._bar.disable = self._is_gone()
                self._bar.close()

    def _is_gone(self) -> bool:
        # Text that a closed terminal refuses stays in stderr's buffer, and makes Python itself
        # exit with an error: nothing is written to one.
        return not (self._is_widget or _in_terminal())

    def _paint(self) -> None:
        shown = ""
        with suppress(OSError, ValueError):  # the terminal may close at any moment
            while not self._ended.wait(_FRAME_INTERVAL) and not self._is_gone():
                line = self._line()
                if line != shown:
                    self._set(line)
                    # tqdm itself would keep the lock if the terminal refuses the text.
                    with self._bar.get_lock():
                        self._bar.refresh(nolock=True)
                    shown = line

    def _set(self, line: str) -> None:
        self._bar.n = self._counters.orders
        self._bar.set_description_str(line, refresh=False)

    def _line(self) -> str:
        # Some terminals start a new line once the last column is written.
        return self._counters.bar(self._clock(), None if self._is_widget else _columns() - 1)


def _choose_view(shown: bool | None) -> type[_View]:  # noqa: FBT001  (passed through)
    """Return a view: True shows progress, False does not, None does unless this is CI."""
    if shown is False or (shown is None and os.environ.get("CI")):
        return _View
    if _in_terminal() or _in_notebook():
        return _Bar
    return _StderrLines if shown else _LogLines


def _in_terminal() -> bool:
    try:
        return sys.stderr.isatty()
    except (AttributeError, ValueError):  # stderr is None, or closed
        return False


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    # The shells of Colab, Databricks and others inherit from Jupyter's.
    return any(each.__name__ == "ZMQInteractiveShell" for each in type(shell).__mro__)


def _columns() -> int:
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or _DEFAULT_COLUMNS
    except (OSError, ValueError, AttributeError):
        return _DEFAULT_COLUMNS
