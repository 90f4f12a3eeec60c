"""A question in pieces: calendar windows of `created_date`, for each connection."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pandas as pd
from pandas.tseries.frequencies import to_offset
from pandas.tseries.offsets import BaseOffset

from trackstar_frames.calls.connections import Source
from trackstar_frames.calls.question import Question
from trackstar_frames.errors import SettingsError
from trackstar_frames.listing.windows import Window

__all__ = ["Piece", "cut"]

#: More tasks than this are a slip of `freq`; schedulers take minutes for as many.
_MOST = 100_000

# The year 1700; pandas 2 cannot tell times long before it.
_EARLIEST = -8_520_336_000
_EPOCH = pd.Timestamp(0, tz="UTC")


@dataclass(frozen=True)
class Piece:
    """What one task fetches: holds no secret.

    Attributes
    ----------
    label
        Of the connection.
    source
        Where the worker finds its token.
    question
        What is asked, within a window.
    """

    label: str
    source: Source
    question: Question


def cut(question: Question, connections: Mapping[str, Source], freq: object) -> list[Piece]:
    """Cut a question into pieces, window by window: neighbours have different tokens.

    Raises
    ------
    SettingsError
        If `freq` is none, or so short that it makes too many.
    """
    most = max(1, _MOST // len(connections))
    windows = _windows(question, _offset(freq), most)
    if len(windows) > most:
        raise SettingsError(
            f"freq={freq!r} makes more than {_MOST:,} partitions of {len(connections):,} "
            f"connections; use a longer one, such as 'MS', or a later created_date__gte"
        )
    return [
        Piece(label, source, window) for window in windows for label, source in connections.items()
    ]


def _windows(question: Question, offset: BaseOffset, most: int) -> list[Question]:
    """Cut each listing at the same seconds, into a window more than is allowed at most.

    Without a lower bound there is one: an order need not have a `created_date`.
    """
    wholes = [Window.of(query) for query in question.queries]
    cuts = list(itertools.islice(_cuts(wholes[0], offset), most))
    return [
        question.within([window.params for window in same])
        for same in zip(*(whole.cut(cuts) for whole in wholes), strict=True)
    ]


def _cuts(window: Window, offset: BaseOffset) -> Iterator[int]:
    """Give the calendar's cuts within a window, up to now: what is to come needs none."""
    if window.start is None:
        return
    start = pd.Timestamp(max(window.start, _EARLIEST), unit="s", tz="UTC")
    end = min(time.time(), math.inf if window.end is None else window.end)
    moment = offset.rollforward(start.normalize())
    while (second := int(moment.timestamp())) < end:
        if second > window.start:
            yield second
        moment += offset


def _offset(freq: object) -> BaseOffset:
    allowed = "must be a frequency of pandas, of a second at least, such as 'D', 'W', 'MS' or 'QS'"
    if not isinstance(freq, str):
        raise SettingsError(f"freq={freq!r} {allowed}")
    try:
        offset = to_offset(freq)
    except ValueError:  # whose words are pandas' own, and long
        raise SettingsError(f"freq={freq!r} {allowed}") from None
    if _EPOCH + offset < _EPOCH + pd.Timedelta(1, "s"):  # the API knows whole seconds
        raise SettingsError(f"freq={freq!r} {allowed}")
    return offset
