"""What the filters of a fetch leave out: which figures they bias, and which periods are whole."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from trackstar_frames._text import warn
from trackstar_frames.errors import FilteredOrdersWarning, FilterError
from trackstar_frames.filters import encode, is_list, parse_name
from trackstar_frames.measures._checks import fetched_at
from trackstar_frames.measures._policies import Policies
from trackstar_frames.measures._time import Array, Period, Periods, instant
from trackstar_frames.schema import LIFECYCLE, OPEN_STATUSES

#: The statuses of orders that count in a figure.
NOT_CANCELLED = tuple(status for status in LIFECYCLE if status != "cancelled")
EVERY = LIFECYCLE

#: What a bound of a date leaves out of the orders that are open at a moment.
OF_OPEN: Mapping[str, str] = MappingProxyType(
    {
        "created from": "orders created before that are still open",
        "created until": "orders created since",
        "due from": "open orders due before, or without a required_ship_date",
        "due until": "open orders due later, or without a required_ship_date",
    }
)
#: The same, of those that are overdue.
OF_OVERDUE: Mapping[str, str] = MappingProxyType(
    {name: text for name, text in OF_OPEN.items() if name != "due until"}
)
#: The same, of what is shipped and received in each period.
OF_FLOW: Mapping[str, str] = MappingProxyType(
    {
        "created from": "orders created before that were shipped since",
        "created until": "orders created since",
        "due from": "orders due before, or without a required_ship_date",
        "due until": "orders due later, or without a required_ship_date",
    }
)
#: A figure of the orders that were created, or due, in some time: a bound leaves out others.
OF_COHORT: Mapping[str, str] = MappingProxyType({})

_DATES = {
    "created_date": "created",
    "trackstar_created_date": "created",
    "required_ship_date": "due",
}
_UPDATES = ("updated_date", "trackstar_updated_date")
_NUMBERS = ("order_number", "reference_id")
_MOST_LISTED = 4
_WIDTH = 60


class Bounds(NamedTuple):
    """The moments between which a date of all fetched orders lies; None for no bound."""

    start: pd.Timestamp | None
    end: pd.Timestamp | None


def filters_of(frame: pd.DataFrame) -> dict[str, Any]:
    """Return the filters with which a frame was fetched, as far as it knows them."""
    filters: dict[str, Any] = frame.attrs.get("trackstar", {}).get("filters") or {}
    return filters


def bounds_of(filters: Mapping[str, Any], date: str) -> Bounds:
    """Return the bounds that filters set to ``"created"``, when orders came, or ``"due"``."""
    starts, ends = [], []
    for name, value in filters.items():
        if _DATES.get(_field(name)) != date:
            continue
        with suppress(FilterError):  # as a free-form value that was not kept
            for key, text in _parameters(name, value):
                operator = key.partition("[")[2].rstrip("]") or "eq"
                moments = [instant(name, each) for each in text.split(",")]
                starts += [min(moments)] if operator in ("gt", "gte", "eq", "in") else []
                ends += [max(moments)] if operator in ("lt", "lte", "eq", "in") else []
    return Bounds(max(starts, default=None), min(ends, default=None))


def created_periods(
    keys: pd.DataFrame,
    length: Period,
    pending: Any,
    policies: Policies,
    as_of: pd.Timestamp | None,
) -> dict[str, Array]:
    """Return which periods of creation are final, and which are covered by the fetch.

    `keys` have the periods, with the attrs of the orders; `pending` is how many orders of each may
    still change its figures.
    """
    periods = Periods(keys["period"].to_numpy(dtype="M8[us]"), length, policies.zones)
    filters = filters_of(keys)
    created, due = (bounds_of(filters, date) for date in ("created", "due"))
    # Of the orders created on one day, some are due within a bound of due dates, and some are not.
    has_due_bound = due != Bounds(None, None)
    return {
        "final": periods.are_over(as_of) & (np.asarray(pending) == 0),
        "covered": periods.lie_within(*created, as_of) & (not has_due_bound),
    }


def open_statuses(frame: pd.DataFrame, as_of: pd.Timestamp | None) -> tuple[str, ...]:
    """Return the statuses, at the time of the fetch, of orders that were open at a moment."""
    known = fetched_at(frame)
    if known is None or as_of is None or as_of >= instant("fetched_at", known):
        return OPEN_STATUSES
    return NOT_CANCELLED  # what shipped after an earlier moment is fulfilled by now


def warn_if_biased(
    frame: pd.DataFrame,
    measure: str,
    statuses: Collection[str] = NOT_CANCELLED,
    *,
    bounds: Mapping[str, str] = OF_COHORT,
    as_of: pd.Timestamp | None = None,
) -> None:
    """Warn if the fetch left out orders that count in a figure.

    Those that count have one of the `statuses`; `bounds` says what a bound of a date leaves out.
    """
    known = frame.attrs.get("trackstar", {})
    filters = filters_of(frame)
    causes = {name: why for name, why in _causes(filters, statuses, bounds, as_of) if why}
    found = [f"{_spelt(name, filters[name])} leaves out {why}" for name, why in causes.items()]
    if (limit := known.get("limit")) is not None:
        found.append(f"limit={limit} leaves out all but the server's first {limit:,} orders")
    if known.get("complete") is False:
        found.append("the fetch ended before it had all orders")
    if not found:
        return
    others = {name: value for name, value in filters.items() if name not in causes}
    if set(statuses) == set(OPEN_STATUSES):
        others = {"status__nin": ["fulfilled", "cancelled"], **others}
    right = ", ".join(_spelt(name, value) for name, value in others.items())
    instead = f"with {right} and no other filter" if right else "without a filter"
    warn(
        f"{measure} is not of all the orders that count in it: {'; '.join(found)}. Fetch {instead}"
        f"{' or limit' if limit is not None else ''} for this figure",
        FilteredOrdersWarning,
    )


def _causes(
    filters: Mapping[str, Any],
    statuses: Collection[str],
    bounds: Mapping[str, str],
    as_of: pd.Timestamp | None,
) -> Iterator[tuple[str, str]]:
    """Yield each filter, and what it leaves out of a figure; "" for nothing."""
    for name, value in filters.items():
        field = _field(name)
        if field == "status":
            missing = [status for status in statuses if not _lets_through(name, value, status)]
            yield name, _of_statuses(missing)
        elif field in _UPDATES:
            yield (
                name,
                "orders by when they were updated, which depends on what became of them",
            )
        elif field == "ids" or (field in _NUMBERS and _is_choice(name)):
            yield name, "all orders but those that it names"
        elif field in _DATES:
            yield name, _of_bounds(name, value, bounds, as_of)


def _of_statuses(missing: Collection[str]) -> str:
    if not missing:
        return ""
    listed = ", ".join([*missing][:_MOST_LISTED])
    more = " and others" if len(missing) > _MOST_LISTED else ""
    return f"orders with the status {listed}{more}"


def _of_bounds(name: str, value: Any, bounds: Mapping[str, str], as_of: pd.Timestamp | None) -> str:
    date = _DATES[_field(name)]
    start, end = bounds_of({name: value}, date)
    # What comes after as_of is in no figure.
    if date == "created" and end is not None and as_of is not None and end > as_of:
        end = None
    sides = (("from", start), ("until", end))
    found = [bounds.get(f"{date} {side}", "") for side, bound in sides if bound is not None]
    return " and ".join(filter(None, found))


def _lets_through(name: str, value: Any, status: str) -> bool:
    """Return whether a filter of the status finds orders in this one."""
    values = [str(each) for each in value] if is_list(value) else [str(value)]
    operator = parse_name(name)[1] or "in"
    tests: dict[str, Callable[[], bool]] = {
        "eq": lambda: status in values,
        "in": lambda: status in values,
        "neq": lambda: status not in values,
        "nin": lambda: status not in values,
        "contains": lambda: any(each in status for each in values),
        "not_contains": lambda: not any(each in status for each in values),
    }
    return tests[operator]()


def _is_choice(name: str) -> bool:
    """Return whether a filter names its orders one by one."""
    operator = parse_name(name)[1] or "eq"
    return operator.removesuffix("-insensitive") in ("eq", "in")


def _field(name: str) -> str:
    """Return the field of a filter; "" for one that is unknown."""
    with suppress(FilterError):
        return parse_name(name)[0]
    return ""


def _parameters(name: str, value: Any) -> Iterator[tuple[str, str]]:
    for query in encode({name: value}):
        yield from query.items()


def _spelt(name: str, value: Any) -> str:
    return f"{name}={textwrap.shorten(repr(value), _WIDTH, placeholder='...')}"
