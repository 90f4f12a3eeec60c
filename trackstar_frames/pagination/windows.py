"""Half-open windows of `created_date` that divide a query exactly; pure, no I/O.

An order's `created_date` never changes, so every order belongs to one window, however the server
sorts them. Where a window is cut depends on its filters and its first page only: the same
query is divided into the same windows again, and is found on disk.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt
import pandas as pd

from trackstar_frames.dates import api_time

_LOWER = ("created_date[gt]", "created_date[gte]")
_UPPER = ("created_date[lt]", "created_date[lte]")
_DAY = 86_400  # seconds
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CALENDAR = (-62_135_596_800, 253_402_300_800)  # the years 1 to 9999, all that can be written
_HISTORY = 3 * 365 * _DAY  # as much as a new connection loads
_CROWD = (0.05, 0.95)  # quantiles
_MIN_ORDERS = 8  # fewer say too little about their window
_SPREAD_OUT = 0.5  # a share of the window
_MIN_SHARE = 1e-6
_SORTED = 0.9  # a share of the steps from order to order


@dataclass(frozen=True)
class Window:
    """The parameters of a query within bounds of `created_date`."""

    params: dict[str, str]
    start: float = -math.inf  # the first second that is within (Unix)
    end: float = math.inf  # the first second beyond it

    @classmethod
    def of(cls, params: dict[str, str]) -> Window:
        """Return the window of a query within the caller's own bounds."""
        starts = [_read(params[each]) for each in _LOWER if each in params]
        ends = [
            _read(params[each]) + (each == "created_date[lte]") for each in _UPPER if each in params
        ]
        return cls(params, max(starts, default=-math.inf), min(ends, default=math.inf))

    @property
    def is_bounded(self) -> bool:
        """Whether all its orders have a `created_date`, so that it can be divided."""
        return self.start > -math.inf or self.end < math.inf

    def cut(self, cuts: Iterable[int]) -> list[Window]:
        """Cut at some seconds; the outer parts keep the caller's own bounds."""
        first, end = max(self.start, _CALENDAR[0]), min(self.end, _CALENDAR[1])
        inside = sorted({each for each in cuts if first < each < end})
        edges = [-math.inf, *inside, math.inf]
        return [self._part(*edge) for edge in itertools.pairwise(edges)]

    def _part(self, start: float, end: float) -> Window:
        params = self.params
        if start > -math.inf:
            params = {name: value for name, value in params.items() if name not in _LOWER}
            params["created_date[gte]"] = _write(start)
        if end < math.inf:
            params = {name: value for name, value in params.items() if name not in _UPPER}
            params["created_date[lt]"] = _write(end)
        return Window(params, max(start, self.start), min(end, self.end))


class Sample:
    """When the orders of a window's first page were created, and where the others may be."""

    def __init__(self, window: Window, created: Iterable[str], listed_at: datetime) -> None:
        self._window = window
        every = _seconds(created)
        times = every[(every >= window.start) & (every < window.end)]
        #: Whether the server gave orders that are not of the window.
        self.has_others = len(times) < len(every)
        self._steps = np.sign(np.diff(times))
        self._times = np.sort(times)
        self._low, self._high = _horizon(window, self._times, listed_at)

    @property
    def is_sorted(self) -> bool:
        """Whether the page was the head of a sorted listing, and shows its one end only."""
        steps = self._steps
        return bool(len(steps) and max(np.mean(steps >= 0), np.mean(steps <= 0)) > _SORTED)

    @property
    def size(self) -> float:
        """How many orders the window may hold; as many as the page, if they are all over it."""
        return len(self._times) / max(self._share, _MIN_SHARE)

    def divide(self, parts: int) -> list[tuple[Window, float]]:
        """Cut the window into about so many parts of as many orders; return the share of each."""
        # A page whose orders are all over the window shows where the others are. One whose orders
        # are close together is the head of a sorted listing, or a crowd with little around it: it
        # is cut off, and the rest is cut evenly.
        if not len(self._times):  # where else the orders may be is not known
            return [(self._window, 1.0)]
        steps = np.arange(1, parts) / parts
        is_spread_out = self._share >= _SPREAD_OUT
        cuts = self._cut_by_orders(steps) if is_spread_out else self._cut_around_crowd(steps)
        windows = self._window.cut(math.ceil(each) for each in cuts)
        starts = [window.start for window in windows[1:]]
        before = [0, *np.searchsorted(self._times, starts), len(self._times)]
        shares = np.diff(before) / len(self._times)
        return list(zip(windows, shares.tolist(), strict=True))

    @property
    def _share(self) -> float:
        """The share of the window over which the orders are spread."""
        if len(self._times) < _MIN_ORDERS:
            return 1.0
        first, last = self._crowd
        spread = (last - first) / (_CROWD[1] - _CROWD[0])
        return float(min(1.0, spread / (self._high - self._low)))

    @property
    def _crowd(self) -> tuple[float, float]:
        """The first and last second of most orders, without outliers."""
        first, last = np.quantile(self._times, _CROWD)
        return float(first), float(last)

    def _cut_by_orders(self, steps: npt.NDArray[np.float64]) -> list[float]:
        """Cut half by time, half by orders: the page may show some times too often."""
        points = np.unique([self._low, *self._times, self._high])
        time = (points - self._low) / (self._high - self._low)
        orders = np.searchsorted(self._times, points, side="right") / len(self._times)
        return list(np.interp(steps, (time + orders) / 2, points))

    def _cut_around_crowd(self, steps: npt.NDArray[np.float64]) -> list[float]:
        first, last = self._crowd
        cuts = list(np.interp(steps, [0, 1], [self._low, self._high]))
        if first - self._low > last - first:
            cuts.append(first)
        if self._high - last > last - first:
            cuts.append(last + 1)
        return cuts


def _horizon(
    window: Window, times: npt.NDArray[np.int64], listed_at: datetime
) -> tuple[float, float]:
    """Return the seconds between which orders are likely: not long ago, nor in the future."""
    latest = (listed_at.timestamp() // _DAY + 1) * _DAY
    low, high = max(latest - _HISTORY, window.start), min(latest, window.end)
    if low >= high:  # the window is before or after this
        low = window.start if window.start > -math.inf else math.inf
        high = window.end if window.end < math.inf else -math.inf
    return min([low, *times[:1]]), max([high, *(times[-1:] + 1)])


def _seconds(created: Iterable[str]) -> npt.NDArray[np.int64]:
    """Read when orders were created, without unreadable times."""
    texts = pd.Series(list(created), dtype=object)
    read = pd.to_datetime(texts, format="ISO8601", utc=True, errors="coerce").dropna()
    return np.asarray(read.dt.as_unit("s").astype("int64").to_numpy(), np.int64)


def _read(stamp: str) -> int:
    return int(datetime.fromisoformat(stamp).timestamp())


def _write(seconds: float) -> str:
    # Windows' `fromtimestamp` has no moment before the epoch.
    return api_time(_EPOCH + timedelta(seconds=seconds))
