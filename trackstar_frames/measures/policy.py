"""What an order is held to: when it is due, what counts as shipped, and what is left out."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any, Literal, Self, cast

import numpy as np

from trackstar_frames.errors import one_of
from trackstar_frames.measures._calendar import Calendars, HolidaysLike
from trackstar_frames.measures._card import policy_card
from trackstar_frames.measures._policy_fields import READERS
from trackstar_frames.measures._time import TzLike, Zones
from trackstar_frames.measures._wording import policy_text

__all__ = ["DueDay", "Length", "ShipEvent", "SlaPolicy"]

DueDay = Literal["auto", "instant", "end"]
ShipEvent = Literal["first", "last", "complete"]
Length = str | dt.timedelta | np.timedelta64

#: What stands beside a policy in ``attrs["trackstar"]["compliance"]``.
_BESIDE = ("as_of", "text", "n")


@dataclass(frozen=True, kw_only=True)
class SlaPolicy:
    """What ship-date compliance is measured against: all that decides an order's outcome.

    An order is due by its ``required_ship_date``, or, with a `cut_off`, by a clock that starts
    when it was created. `dataclasses.replace` changes a policy; ``str(policy)`` says it in
    plain English.

    Parameters
    ----------
    name
        What to call it; the text begins with it.
    cut_off
        The time of day at the warehouse, such as ``"12:00"``: an order received before it
        counts as received on that day; one received at the very minute, or later, on the next
        business day, as does one received on a day that is none. None: required ship dates count.
    business_days
        With a cut-off: how many business days after the one of its receipt an order is due, at
        the end of that day at the warehouse. 0 is the same day.
    workdays
        With a cut-off: the days of the week on which all warehouses work.
    holidays
        With a cut-off: which of them are not worked on. A country or a part of one, by ISO code
        (``"US"``, ``"US-CA"``: its public holidays, in the years that the package holidays
        knows, extra ``calendars``), a list of dates, or a map from warehouse_id to these, where
        the key None stands for all others.
    clock_start
        With a cut-off: a column of your own. Where it is not null, the clock starts then instead
        of at ``created_date``: when a backordered order's stock came, say.
    due_day
        How to read a required ship date. ``"auto"``: exactly midnight UTC is a bare day, good
        until the end of that calendar date in the warehouse's zone (the date itself is never
        moved across zones), anything else is a moment. ``"instant"``: always a moment.
        ``"end"``: always a day; a stamp with a time is due at the end of the warehouse-local
        day it falls on.
    tz
        The warehouses' time zone, or a map from warehouse_id to zones, where the key None
        stands for all others and for orders without a warehouse.
    ship_event
        Which stamp counts as shipped: when the units shipped reach the units ordered
        (``"complete"``), or the ``"first"`` or ``"last"`` shipment. Trackstar gives one stamp
        per shipment; whether that is the label or the dock is the warehouse's habit.
    grace
        How much later than due still counts as in time. Zero or more.
    leave_out
        Statuses of orders that are not judged, such as ``"exception"``.
    window
        Judge only what was due in so long a time before as_of, or is due later: ``"30D"``.
    late_below
        The late rate that is aimed at, as a share of 1. It decides nothing, and is told.

    Raises
    ------
    TypeError, ValueError
        For a field of the wrong kind or value, and one of a clock without a `cut_off`.
    ImportError
        For holidays by code without the extra ``calendars``.

    Notes
    -----
    Fields are kept as JSON has them (``cut_off="12:00"``, ``grace="02:00:00"``), so that a
    policy equals the one that `from_json` reads back.

    Examples
    --------
    >>> policy = SlaPolicy(cut_off="14:00", business_days=1, tz="Europe/Berlin", holidays="DE")
    >>> print(policy)  # doctest: +NORMALIZE_WHITESPACE
    Orders created before 14:00 warehouse time (Europe/Berlin) are due the next business day,
    later ones in 2 business days; Mon-Fri without DE holidays; shipped = complete; no grace.
    >>> SlaPolicy.from_json(policy.to_json()) == policy
    True
    """

    name: str = ""
    cut_off: str | dt.time | None = None
    business_days: int = 0
    workdays: str = "Mon Tue Wed Thu Fri"
    holidays: HolidaysLike = ()
    clock_start: str | None = None
    due_day: DueDay = "auto"
    tz: TzLike = "UTC"
    ship_event: ShipEvent = "complete"
    grace: Length = "0s"
    leave_out: str | Iterable[str] = ()
    window: Length | None = None
    late_below: float | None = None

    def __post_init__(self) -> None:
        for name, read in READERS.items():
            object.__setattr__(self, name, read(getattr(self, name)))
        if self.cut_off is None:
            self._check_no_clock()
        elif self.due_day != "auto":
            raise ValueError(
                f"due_day={self.due_day!r} says how a required_ship_date is read, but with a "
                f"cut_off none is; leave one of them out"
            )

    def _check_no_clock(self) -> None:
        plain = {each.name: each.default for each in fields(self) if each.name in _CLOCK}
        changed = [name for name in plain if getattr(self, name) != plain[name]]
        if changed:
            raise ValueError(f"{', '.join(changed)} without a cut_off: add cut_off='12:00', say")

    def __hash__(self) -> int:
        return hash(json.dumps(self.to_json(), sort_keys=True))

    def __str__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return policy_card(self)

    @property
    def text(self) -> str:
        """The whole policy in plain English."""
        return policy_text(self)

    @property
    def zones(self) -> Zones:
        """The time zones, ready to be looked up."""
        return Zones.read(self.tz)

    @property
    def calendars(self) -> Calendars:
        """The holidays, ready to be looked up."""
        return Calendars.read(self.holidays)

    def to_json(self) -> dict[str, Any]:
        """Spell the policy in JSON values: what is under None in a map stands apart.

        Returns
        -------
        dict of str to Any
            A value for each field.

        Examples
        --------
        >>> told = SlaPolicy(tz={"w1": "Asia/Tokyo", None: "UTC"}).to_json()
        >>> told["tz"], told["tz_default"], told["grace"]
        ({'w1': 'Asia/Tokyo'}, 'UTC', '00:00:00')
        """
        told = {each.name: getattr(self, each.name) for each in fields(self)}
        for name in _MAPS:
            if isinstance(told[name], dict):
                by_warehouse = dict(told[name])
                told[f"{name}_default"] = by_warehouse.pop(None, None)
                told[name] = by_warehouse
        return cast("dict[str, Any]", json.loads(json.dumps(told)))

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Self:
        """Read back what `to_json` wrote, or ``attrs["trackstar"]["compliance"]``.

        Parameters
        ----------
        told
            A value for each field that is not the default.

        Returns
        -------
        SlaPolicy
            Equal to the one that was written.

        Raises
        ------
        TypeError, ValueError
            For what no policy is made of.

        Examples
        --------
        >>> SlaPolicy.from_json({"tz": "Asia/Tokyo"}) == SlaPolicy(tz="Asia/Tokyo")
        True
        """
        if not isinstance(told, Mapping):
            raise TypeError(f"a policy is told by a map of its fields, not by {told!r}")
        known = [each.name for each in fields(cls)]
        given = {name: value for name, value in told.items() if name not in _BESIDE}
        for name in _MAPS:
            default = given.pop(f"{name}_default", None)
            if default is not None:
                given[name] = {**given[name], None: default}
        for name in given:
            if name not in known:
                raise ValueError(one_of("field", name, known))
        return cls(**given)

    @classmethod
    def on_time_shipment(cls, **changes: Any) -> Self:
        """Shipped complete by the required ship date: what ``SlaPolicy()`` is, named.

        An order that is overdue and has not shipped counts as late (WERC, DC Measures).

        Parameters
        ----------
        **changes
            Fields that are to be other than so.

        Returns
        -------
        SlaPolicy
            Of the name "On-time shipment".

        Examples
        --------
        >>> print(SlaPolicy.on_time_shipment(grace="30min"))  # doctest: +NORMALIZE_WHITESPACE
        On-time shipment: orders are due by their required ship date, a bare day until its end
        (UTC); shipped = complete; grace 30 min.
        """
        return cls(**{"name": "On-time shipment", **changes})

    @classmethod
    def late_shipment_rate(cls, **changes: Any) -> Self:
        """Amazon's: of the orders of the last 30 days, less than 4 % ship-confirmed late.

        Late means that the first shipment came after the expected ship date. The late shipment
        rate is ``1 - rate`` of `compliance_rate`. Amazon's help for sellers (page 200285190,
        "Late shipment rate") counts over 10 days too: ``window="10D"``. It does not say which
        orders the days hold; here it is those due in them, and one that is overdue
        and has not shipped counts as late.

        Parameters
        ----------
        **changes
            Fields that are to be other than so.

        Returns
        -------
        SlaPolicy
            Of the name "Late shipment rate".

        Examples
        --------
        >>> print(SlaPolicy.late_shipment_rate())  # doctest: +NORMALIZE_WHITESPACE
        Late shipment rate: orders are due by their required ship date, a bare day until its end
        (UTC); shipped = first; no grace; not judged if due more than 30 d before as-of;
        target: less than 4 % late.
        """
        amazon = {
            "name": "Late shipment rate",
            "ship_event": "first",
            "window": "30D",
            "late_below": 0.04,
        }
        return cls(**{**amazon, **changes})

    @classmethod
    def d2c_noon_cut_off(cls, **changes: Any) -> Self:
        """Orders of consumers: received before noon, due the same business day, else the next.

        By default in New York, without the holidays of the United States.

        Parameters
        ----------
        **changes
            Fields that are to be other than so.

        Returns
        -------
        SlaPolicy
            Of the name "D2C noon cut-off".

        Examples
        --------
        >>> print(SlaPolicy.d2c_noon_cut_off(tz="Europe/Berlin", holidays="DE"))
        ... # doctest: +NORMALIZE_WHITESPACE
        D2C noon cut-off: orders created before 12:00 warehouse time (Europe/Berlin) are due the
        same business day, later ones the next; Mon-Fri without DE holidays; shipped = complete;
        no grace.
        """
        noon = {"name": "D2C noon cut-off", "cut_off": "12:00", **_NEW_YORK}
        return cls(**{**noon, **changes})

    @classmethod
    def b2b_four_business_days(cls, **changes: Any) -> Self:
        """Orders of businesses: due four business days after their receipt, by noon or the next.

        By default in New York, without the holidays of the United States.

        Parameters
        ----------
        **changes
            Fields that are to be other than so.

        Returns
        -------
        SlaPolicy
            Of the name "B2B four business days".

        Examples
        --------
        >>> SlaPolicy.b2b_four_business_days(business_days=5).business_days
        5
        """
        four = {"name": "B2B four business days", "cut_off": "12:00", "business_days": 4}
        return cls(**{**four, **_NEW_YORK, **changes})


_NEW_YORK = MappingProxyType({"tz": "America/New_York", "holidays": "US"})
#: Fields that mean nothing without a cut-off.
_CLOCK = ("business_days", "workdays", "holidays", "clock_start")
#: Fields that may be maps from warehouse ids.
_MAPS = ("tz", "holidays")
