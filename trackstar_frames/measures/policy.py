"""The policy of ship-date compliance: when orders are due, and what counts as shipped."""

from __future__ import annotations

import datetime as dt
import difflib
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from types import ModuleType
from typing import Any, Literal, Self, cast

import numpy as np
import pandas as pd

from trackstar_frames._text import card, lines, table
from trackstar_frames.dates import duration
from trackstar_frames.errors import one_of
from trackstar_frames.measures import _checks, _time
from trackstar_frames.measures._time import Array, TzLike
from trackstar_frames.schema import LIFECYCLE

DueDay = Literal["auto", "instant", "end"]
ShipEvent = Literal["first", "last", "complete"]
Length = str | dt.timedelta | np.timedelta64
HolidaysLike = (
    str | Iterable[str | dt.date] | Mapping[str | None, str | Iterable[str | dt.date] | None] | None
)
#: Codes of calendars, then dates in ISO 8601, then those that are worked on, after a minus.
Dates = tuple[str, ...]

#: Fields that mean nothing without a cut-off.
_CLOCK_FIELDS = ("business_days", "workdays", "holidays", "clock_start")
#: Fields that may be maps from warehouse ids.
_BY_WAREHOUSE = ("tz", "holidays")
#: What else is in ``attrs["trackstar"]["compliance"]``.
_OTHER_INFO = ("as_of", "text", "n", "zone_data")
_NEW_YORK = {"tz": "America/New_York", "holidays": "carriers-US"}


@dataclass(frozen=True, kw_only=True)
class SlaPolicy:
    """When orders are due, and what counts as shipped: all that decides an order's outcome.

    An order is due by its ``required_ship_date``, or, with a `cut_off`, by a clock that starts
    when it was created. Policies are immutable and hashable; `dataclasses.replace` makes a
    changed one, and ``str(policy)`` describes one in plain English. All parameters are
    keyword-only and optional.

    Parameters
    ----------
    name
        The name that the policy's text begins with. Default ``""``.
    cut_off
        A time of day at the warehouse, such as ``"12:00"`` or a `datetime.time` without a zone.
        An order created before it counts as received on that day. One created at that very
        minute, or later, or on a day that is not a business day, counts as received on the
        next business day. Default None: orders are due by their required ship dates.
    business_days
        With a cut-off: how many business days after the day of its receipt an order is due, at
        the end of that day at the warehouse: 0 to 1000. Default 0, the same day.
    workdays
        With a cut-off: the days of the week on which all warehouses work, as
        `numpy.busdaycalendar` takes a weekmask. Default ``"Mon Tue Wed Thu Fri"``.
    holidays
        With a cut-off: days that are not worked on. The ISO code of a country or of a part of one
        (``"US"``, ``"US-CA"``: its public holidays, as the package holidays lists them, extra
        ``calendars``), ``"carriers-US"`` (the six on which parcel carriers rest: New Year's,
        Memorial, Independence, Labor, Thanksgiving and Christmas Day; of one on a Sunday, the
        Monday after too, and of one on a Saturday no other day), a date,
        ``"-2026-07-03"`` for a date that is worked on after all, or a list of any of these; an
        object of the package holidays, of which the country and the part are taken, with the
        dates that were added to it or taken from it, or else (of a stock exchange, joined ones,
        or with options) the dates that it holds; or a map from ``warehouse_id`` to these, in which
        the key None stands for all others. `holidays_in` lists the dates. Default ``()``, none.
    clock_start
        With a cut-off: the name of a column of your own with moments. Where it is not null, the
        clock starts then instead of at ``created_date``, such as when the stock of a backordered
        order arrived. Default None.
    due_day
        Without a cut-off: how to read a required ship date. ``"auto"``, the default: exactly
        midnight UTC is a day, good until the end of that calendar date in the warehouse's zone
        (the date itself is never moved across zones), and anything else is a moment.
        ``"instant"``: always a moment. ``"end"``: always a day; a stamp with a time is due at
        the end of the warehouse-local day in which it falls.
    tz
        The warehouses' time zone, by IANA name or as a `datetime.tzinfo`, or a map from
        ``warehouse_id`` to zones, in which the key None stands for all others and for orders
        without a warehouse. Default ``"UTC"``.
    ship_event
        Which stamp counts as shipped. ``"complete"``, the default: when the units shipped reach
        the units ordered. ``"first"`` or ``"last"``: the first or last shipment. Trackstar gives
        one stamp per shipment; whether that is the label or the dock depends on the warehouse.
    grace
        How much later than due still counts as in time: a string with a unit, a
        `datetime.timedelta` or a `numpy.timedelta64`, of zero or more. Default ``"0s"``.
    exclude_statuses
        A status, or several, of orders that are not evaluable, such as ``"exception"``: any of
        the eleven that the API documents. Default ``()``, none.
    window
        Judge only orders due after this long before as_of: a length such as ``"30D"``, longer
        than zero. Default None: all orders.
    target
        The target for the on-time rate, as a share of 1: more than 0, at most 1. It decides no
        outcome; texts and pictures show it. Default None.

    Raises
    ------
    TypeError, ValueError
        For a field of the wrong type or value, a clock's field without a `cut_off`, and
        `due_day` with one.
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

    A policy changed, with zones by warehouse:

    >>> from dataclasses import replace
    >>> zones = {"w1": "Europe/London", None: "Europe/Berlin"}
    >>> print(replace(policy, tz=zones, grace="30min"))  # doctest: +NORMALIZE_WHITESPACE
    Orders created before 14:00 warehouse time (warehouses' own time: Europe/Berlin,
    Europe/London) are due the next business day, later ones in 2 business days; Mon-Fri without
    DE holidays; shipped = complete; grace 30 min.
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
    exclude_statuses: str | Iterable[str] = ()
    window: Length | None = None
    target: float | None = None

    def __post_init__(self) -> None:
        defaults = {each.name: each.default for each in fields(self)}
        for name, parse in _PARSERS.items():
            given = getattr(self, name)
            if given is not None or defaults[name] is not None:
                object.__setattr__(self, name, parse(given))
        changed = [name for name in _CLOCK_FIELDS if getattr(self, name) != defaults[name]]
        if changed and self.cut_off is None:
            raise ValueError(
                f"{', '.join(changed)} without a cut_off: add cut_off='12:00' or another time"
            )
        if self.cut_off is not None and self.due_day != "auto":
            raise ValueError(
                f"due_day={self.due_day!r} says how a required_ship_date is read, but with a "
                f"cut_off none is; leave one of them out"
            )

    def __hash__(self) -> int:
        return hash(json.dumps(self.to_json(), sort_keys=True))

    def __str__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        default, mine = asdict(type(self)()), asdict(self)
        rows = [(name, _cell(value)) for name, value in mine.items() if value != default[name]]
        changed = table(("field", "value"), rows) if rows else ""
        return card("SlaPolicy", lines([self.text]), changed)

    @property
    def text(self) -> str:
        """The whole policy in plain English."""
        parts = [_due_date(self)] if self.cut_off is None else [_clock(self), _workdays(self)]
        grace = f"grace {_length(self.grace)}" if pd.Timedelta(self.grace) else "no grace"
        parts += [f"shipped = {self.ship_event}", grace]
        if self.exclude_statuses:
            parts.append(f"not judged: {', '.join(self.exclude_statuses)}")
        if self.window is not None:
            parts.append(f"not judged if due more than {_length(self.window)} before as-of")
        if self.target is not None:
            parts.append(f"target: at least {100 * self.target:g} % on time")
        text = "; ".join(parts) + "."
        return f"{self.name}: {text[0].lower()}{text[1:]}" if self.name else text

    def to_json(self) -> dict[str, Any]:
        """Return the policy in JSON values.

        The default of a map, which is under None, becomes a field of its own.

        Returns
        -------
        dict of str to Any
            A value for each field.

        Examples
        --------
        >>> values = SlaPolicy(tz={"w1": "Asia/Tokyo", None: "UTC"}).to_json()
        >>> values["tz"], values["tz_default"], values["grace"]
        ({'w1': 'Asia/Tokyo'}, 'UTC', '00:00:00')
        """
        values = asdict(self)
        for name in _BY_WAREHOUSE:
            values |= _time.by_warehouse_to_json(name, values[name])
        return cast("dict[str, Any]", json.loads(json.dumps(values)))

    def holidays_in(self, year: int, warehouse_id: str | None = None) -> list[dt.date]:
        """List the dates of a year that are not worked on, whatever day of the week they are.

        Parameters
        ----------
        year
            From 1 to 9999.
        warehouse_id
            Whose dates to list, where `holidays` is a map; by default those of all others.

        Returns
        -------
        list of datetime.date
            In order; empty without holidays.

        Raises
        ------
        TypeError, ValueError
            If `year` is not one, or the map does not have the warehouse.
        ImportError
            For holidays by code without the extra ``calendars``.

        Examples
        --------
        >>> policy = SlaPolicy(cut_off="12:00", holidays=["carriers-US", "-2026-05-25"])
        >>> [day.isoformat() for day in policy.holidays_in(2026)]
        ['2026-01-01', '2026-07-04', '2026-09-07', '2026-11-26', '2026-12-25']
        """
        if isinstance(year, bool) or not isinstance(year, int | np.integer):
            raise TypeError(f"year={year!r} is not a whole number")
        if not dt.MINYEAR <= year <= dt.MAXYEAR:
            raise ValueError(f"year={year!r} is not allowed; use 1 to 9999")
        holidays: Any = self.holidays
        if isinstance(holidays, dict):
            if warehouse_id not in holidays and None not in holidays:
                raise ValueError(one_of("warehouse_id", warehouse_id, list(holidays)))
            holidays = holidays.get(warehouse_id, holidays.get(None))
        found = map(dt.date.fromisoformat, _dates_of(holidays, [int(year)]))
        return [day for day in found if day.year == year]

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Return the policy that `to_json` wrote, or ``attrs["trackstar"]["compliance"]`` holds.

        Parameters
        ----------
        values
            A value for each field that is not the default.

        Returns
        -------
        SlaPolicy
            Equal to the one that was written.

        Raises
        ------
        TypeError, ValueError
            For values that do not make a policy.

        Examples
        --------
        >>> SlaPolicy.from_json({"tz": "Asia/Tokyo"}) == SlaPolicy(tz="Asia/Tokyo")
        True
        """
        if not isinstance(values, Mapping):
            raise TypeError(f"{values!r} is not a policy; pass a map of its fields")
        known = [each.name for each in fields(cls)]
        given = {name: value for name, value in values.items() if name not in _OTHER_INFO}
        for name in _BY_WAREHOUSE:
            if name in given:
                given[name] = _time.by_warehouse_from_json(name, given)
                given.pop(f"{name}_default", None)
        for name in given:
            if name not in known:
                raise ValueError(one_of("field", name, known))
        return cls(**given)

    @classmethod
    def on_time_shipment(cls, **changes: Any) -> Self:
        """Return the on-time shipment policy: shipped complete by the required ship date.

        It is ``SlaPolicy()`` with a name. An order that is overdue and has not shipped counts as
        late (WERC, DC Measures).

        Parameters
        ----------
        **changes
            Fields to set differently.

        Returns
        -------
        SlaPolicy
            With the name "On-time shipment".

        Examples
        --------
        >>> print(SlaPolicy.on_time_shipment(grace="30min"))  # doctest: +NORMALIZE_WHITESPACE
        On-time shipment: orders are due by their required ship date, a bare day until its end
        (UTC); shipped = complete; grace 30 min.
        """
        return cls(**{"name": "On-time shipment", **changes})

    @classmethod
    def late_shipment_rate(cls, **changes: Any) -> Self:
        """Return Amazon's policy: of the orders of 30 days, less than 4 % ship-confirmed late.

        Late means that the first shipment came after the expected ship date. The late shipment
        rate is ``1 - rate`` of `compliance_rate`. Amazon's help for sellers (page 200285190,
        "Late shipment rate") counts over 10 days too: ``window="10D"``. It does not say which
        orders belong to the days; here it is those due in them, and one that is overdue and has
        not shipped counts as late.

        Parameters
        ----------
        **changes
            Fields to set differently.

        Returns
        -------
        SlaPolicy
            With the name "Late shipment rate".

        Examples
        --------
        >>> print(SlaPolicy.late_shipment_rate())  # doctest: +NORMALIZE_WHITESPACE
        Late shipment rate: orders are due by their required ship date, a bare day until its end
        (UTC); shipped = first; no grace; not judged if due more than 30 d before as-of;
        target: at least 96 % on time.
        """
        amazon = {"name": "Late shipment rate", "ship_event": "first", "window": "30D"}
        return cls(**{**amazon, "target": 0.96, **changes})

    @classmethod
    def d2c_noon_cut_off(cls, **changes: Any) -> Self:
        """Return a policy for consumers' orders: before noon due the same business day.

        Later orders are due the next business day. By default in New York, without the days on
        which parcel carriers rest.

        Parameters
        ----------
        **changes
            Fields to set differently.

        Returns
        -------
        SlaPolicy
            With the name "D2C noon cut-off".

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
        """Return a policy for businesses' orders: due four business days after their receipt.

        The cut-off is noon. By default in New York, without the days on which parcel carriers
        rest.

        Parameters
        ----------
        **changes
            Fields to set differently.

        Returns
        -------
        SlaPolicy
            With the name "B2B four business days".

        Examples
        --------
        >>> SlaPolicy.b2b_four_business_days(business_days=5).business_days
        5
        """
        four = {"name": "B2B four business days", "cut_off": "12:00", "business_days": 4}
        return cls(**{**four, **_NEW_YORK, **changes})


# Parsing: each field that is given is checked and kept as JSON has it.

_MOST_DAYS = 1000
_WEEK = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def _parse_name(given: object) -> str:
    if not isinstance(given, str):
        raise TypeError(f"name={given!r} is a {type(given).__name__}; pass a string")
    return " ".join(given.split())


def _parse_cut_off(given: object) -> str:
    if not isinstance(given, str | dt.time):
        raise TypeError(f"cut_off={given!r} is not a time of day; pass a string such as '12:00'")
    try:
        time = given if isinstance(given, dt.time) else dt.time.fromisoformat(given)
    except ValueError as error:
        message = f"cut_off={given!r} is not a time of day; write it like '12:00'"
        raise ValueError(message) from error
    if time.tzinfo is not None:
        raise ValueError(f"cut_off={given!r} has a zone of its own; name that in tz")
    return time.isoformat("auto" if time.second or time.microsecond else "minutes")


def _parse_business_days(given: object) -> int:
    if isinstance(given, bool) or not isinstance(given, int | np.integer):
        raise TypeError(f"business_days={given!r} is not a whole number")
    if not 0 <= given <= _MOST_DAYS:
        raise ValueError(f"business_days={given!r} is not allowed; use 0 to {_MOST_DAYS:,}")
    return int(given)


def _parse_workdays(given: Any) -> str:
    try:
        mask = np.busdaycalendar(weekmask=given).weekmask
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"workdays={given!r} are not days of the week; write them like 'Mon Tue Wed Thu Fri', "
            f"at least one"
        ) from error
    return " ".join(day for day, is_worked in zip(_WEEK, mask, strict=True) if is_worked)


def _parse_holidays(given: Any) -> Dates | dict[str | None, Dates]:
    if not _is_calendar(given) and isinstance(given, Mapping):
        if not given or isinstance(next(iter(given)), dt.date):
            raise TypeError(
                f"holidays={given!r} is not a map from warehouse ids; pass a code such as 'US', or "
                f"a list of dates"
            )
        return _time.parse_by_warehouse("holidays", given, _parse_calendar)
    return _parse_calendar(given)


def _is_calendar(given: object) -> bool:
    """Return whether this is an object of the package holidays, which is a dict of dates."""
    return isinstance(given, dict) and hasattr(given, "_populate")


def _parse_calendar(given: Any) -> Dates:
    """Return codes, then dates, then dates that are worked on, each sorted."""
    if given is None:
        return ()
    if _is_calendar(given) or isinstance(given, str | dt.date):
        given = [given]
    if not isinstance(given, Iterable):
        raise TypeError(f"holidays={given!r} are not dates; pass a code such as 'US', or a list")
    found = {text for each in given for text in _parse_closed(each)}
    if both := [text for text in found if f"-{text}" in found]:
        raise ValueError(f"holidays has {both[0]!r} both as a holiday and as {f'-{both[0]}'!r}")
    return tuple(sorted(found, key=lambda text: (_KINDS.index(_kind(text)), text)))


def _parse_closed(given: Any) -> list[str]:
    if _is_calendar(given):
        return _parse_object(given)
    if not isinstance(given, str) or given[:1].isdigit():
        return [_parse_date(given)]
    if given.startswith("-"):
        return [f"-{_parse_date(given[1:])}"]
    # Texts that may be meant as dates get the message of those.
    is_code = given == _CARRIERS or given[:1].isupper()
    return [_parse_code(given) if is_code else _parse_date(given)]


def _parse_object(calendar: Any) -> list[str]:
    """Return the code of a calendar, and how its dates differ from those of it; or its dates."""
    dates = {_parse_date(day) for day in calendar}
    country, part = (getattr(calendar, name, None) for name in ("country", "subdiv"))
    # A code stands for one country, with the days that the package counts by default.
    if isinstance(country, str) and isinstance(part, str | None):
        usual = _library().country_holidays(country, subdiv=part, years=calendar.years)
        if all(getattr(usual, name) == getattr(calendar, name) for name in _CALENDAR_OPTIONS):
            plain = {_parse_date(day) for day in usual}
            changes = [*(dates - plain), *(f"-{day}" for day in plain - dates)]
            return [_parse_code("-".join(filter(None, (country, part)))), *changes]
    if not dates:  # of a stock exchange, joined ones, or with options
        raise ValueError(
            f"holidays={calendar!r} has no dates yet, and no code stands for them; make it with "
            f"its years, such as years=range(2024, 2031)"
        )
    return [*dates]


_CALENDAR_OPTIONS = ("categories", "observed")
_CARRIERS = "carriers-US"
_KINDS = ("code", "closed", "worked")


def _kind(text: str) -> str:
    if text.startswith("-"):
        return "worked"
    return "closed" if text[:1].isdigit() else "code"


def _parse_code(code: str) -> str:
    if code == _CARRIERS:
        return code
    country, _, part = code.partition("-")
    parts = _library().list_supported_countries(include_aliases=False)
    if country not in parts:
        raise ValueError(
            f"holidays={code!r} is not a country that the package holidays knows; write it like "
            f"'US' or 'US-CA', or pass 'carriers-US' or a list of dates"
        )
    if part and part not in parts[country]:
        near = difflib.get_close_matches(part, parts[country], n=1, cutoff=0.5)
        hint = f"did you mean '{country}-{near[0]}'? " if near else ""
        raise ValueError(
            f"holidays={code!r} is not a part of {country} that the package holidays knows; {hint}"
            f"Use {country!r} for the whole, or one of {', '.join(parts[country]) or 'none'}"
        )
    return code


def _parse_date(day: Any) -> str:
    stamp = _time.parse_stamp(day)
    if stamp is None or stamp != stamp.normalize():
        raise ValueError(f"holidays holds {day!r}, not a date; write it like '2026-12-25'")
    return stamp.date().isoformat()  # strftime writes the year 99 as "99"


def _library() -> ModuleType:
    try:
        import holidays  # noqa: PLC0415  (an extra, needed for codes only)
    except ModuleNotFoundError as error:
        raise ImportError(
            f"{error}; holidays by country need the extra 'calendars': install "
            f"trackstar_frames[calendars]; lists of dates do not",
            name=error.name,
        ) from error
    return holidays


def _parse_clock_start(given: object) -> str:
    if not isinstance(given, str):
        raise TypeError(f"clock_start={given!r} is not a column's name")
    return given


def _parse_exclude_statuses(given: object) -> tuple[str, ...]:
    statuses = [given] if isinstance(given, str) else given
    if not isinstance(statuses, Iterable):
        raise TypeError(f"exclude_statuses={given!r} is not a list of statuses")
    chosen = {_checks.choice("exclude_statuses", status, LIFECYCLE) for status in statuses}
    return tuple(status for status in LIFECYCLE if status in chosen)


def _parse_window(given: object) -> str:
    window = duration("window", given)
    if not window:
        raise ValueError(f"window={given!r} holds no order; use a length such as '30D'")
    return str(window).removesuffix(" 00:00:00")


def _parse_target(given: object) -> float:
    if isinstance(given, bool) or not isinstance(given, int | float | np.number):
        raise TypeError(f"target={given!r} is not a number")
    if not 0 < given <= 1:
        raise ValueError(f"target={given!r} is not allowed; use a share of 1, such as 0.96")
    return float(given)


_PARSERS = {
    "name": _parse_name,
    "cut_off": _parse_cut_off,
    "business_days": _parse_business_days,
    "workdays": _parse_workdays,
    "holidays": _parse_holidays,
    "clock_start": _parse_clock_start,
    "due_day": lambda given: _checks.choice("due_day", given, ("auto", "instant", "end")),
    "tz": _time.parse_zones,
    "ship_event": lambda given: _checks.choice("ship_event", given, ("first", "last", "complete")),
    "grace": lambda given: str(duration("grace", given)).removeprefix("0 days "),
    "exclude_statuses": _parse_exclude_statuses,
    "window": _parse_window,
    "target": _parse_target,
}


# The clock: from a moment to the end of a business day.

# A warehouse works on at least this many of a year's Mondays, or of any other weekday it works on.
_WORKED_WEEKS = 40


def clock_ends(orders: pd.DataFrame, policy: SlaPolicy) -> Array:
    """Return the ends of the business days at which clocks run out; NaT where that is unknown."""
    starts = _time.instants(orders, "created_date")
    if policy.clock_start is not None:
        given = _time.instants(orders, policy.clock_start)
        starts = np.where(np.isnat(given), starts, given)
    zone_codes, zones = _time.codes_by_warehouse(orders, "tz", policy.tz)
    holiday_codes, holidays = _time.codes_by_warehouse(orders, "holidays", policy.holidays)
    ends = np.full(len(orders), _time.NAT)
    for zone, dates in itertools.product(range(len(zones)), range(len(holidays))):
        rows = (zone_codes == zone) & (holiday_codes == dates)
        ends[rows] = _clock_ends_in(zones[zone], holidays[dates], starts[rows], policy)
    return ends


def _clock_ends_in(zone: str, holidays: Dates, starts: Array, policy: SlaPolicy) -> Array:
    walls = _time.local(starts, zone)
    days = walls.astype("M8[D]")
    years = 2 + policy.business_days // (_WORKED_WEEKS * len(policy.workdays.split()))
    closed = np.array(_dates_from(holidays, days, years), dtype="M8[D]")
    calendar = np.busdaycalendar(weekmask=policy.workdays, holidays=closed)
    cut_off = np.datetime64(f"1970-01-01T{policy.cut_off}", "us") - np.datetime64(0, "us")
    is_after = (walls - days >= cut_off) & np.is_busday(days, busdaycal=calendar)
    offsets = policy.business_days + is_after
    due = np.busday_offset(days, offsets, roll="forward", busdaycal=calendar)
    return _time.day_ends(due, zone)


def _dates_from(holidays: Dates, days: Array, years: int) -> Iterable[str]:
    """Return the holidays of each day's year and the following ones, `years` in all."""
    starts = np.unique(days[~np.isnat(days)].astype("M8[Y]")).astype(np.int64) + 1970
    wanted = {int(year) + more for year in starts for more in range(years)}
    return _dates_of(holidays, wanted.intersection(range(dt.MINYEAR, dt.MAXYEAR + 1)))


def _dates_of(holidays: Dates, years: Iterable[int]) -> list[str]:
    """Return the dates that are not worked on: those of the codes in these years, and all given."""
    closed: set[str] = set()
    for text in holidays:
        kind = _kind(text)
        if kind == "code":
            closed.update(_dates_by_code(text, sorted(years)))
        elif kind == "closed":
            closed.add(text)
        else:
            closed.discard(text[1:])
    return sorted(closed)


def _dates_by_code(code: str, years: Sequence[int]) -> Iterator[str]:
    if code == _CARRIERS:
        for year in years:
            yield from _carriers_holidays(year)
        return
    country, _, part = code.partition("-")
    found = _library().country_holidays(country, subdiv=part or None, years=years)
    yield from (day.isoformat() for day in found)


def _carriers_holidays(year: int) -> Iterator[str]:
    """Yield when UPS and FedEx neither collect nor deliver; of a Sunday, the Monday after."""
    for month, day in ((1, 1), (7, 4), (12, 25)):
        fixed = dt.date(year, month, day)
        yield fixed.isoformat()
        if fixed.isoweekday() == _SUNDAY:
            yield (fixed + dt.timedelta(1)).isoformat()
    for month, weekday, number in ((5, 1, -1), (9, 1, 1), (11, 4, 4)):
        days = [dt.date(year, month, 1) + dt.timedelta(more) for more in range(_DAYS_OF[month])]
        same = [each for each in days if each.isoweekday() == weekday]
        yield same[number if number < 0 else number - 1].isoformat()


_SUNDAY = 7
_DAYS_OF = {5: 31, 9: 30, 11: 30}


# The text of a policy, and its fields in a notebook.

_MOST_ZONES = 3
_MOST_VALUES = 10


def _due_date(policy: SlaPolicy) -> str:
    due = {
        "auto": "by their required ship date, a bare day until its end",
        "instant": "by the moment of their required ship date",
        "end": "by the end of the day of their required ship date",
    }
    return f"Orders are due {due[policy.due_day]} ({_zone(policy.tz)})"


def _clock(policy: SlaPolicy) -> str:
    start = f"received ({policy.clock_start}, else created)" if policy.clock_start else "created"
    days = policy.business_days
    due = {
        0: "the same business day, later ones the next",
        1: "the next business day, later ones in 2 business days",
    }.get(days, f"in {days} business days, later ones in {days + 1}")
    zone = _zone(policy.tz)
    return f"Orders {start} before {policy.cut_off} warehouse time ({zone}) are due {due}"


def _zone(tz: Any) -> str:
    if isinstance(tz, str):
        return tz
    names = sorted(set(tz.values()))
    listed = ", ".join(names) if len(names) <= _MOST_ZONES else f"{len(names)} zones"
    return f"warehouses' own time: {listed}"


def _workdays(policy: SlaPolicy) -> str:
    worked = policy.workdays.split()
    first = _WEEK.index(worked[0])
    in_a_row = list(_WEEK[first : first + len(worked)]) == worked
    days = f"{worked[0]}-{worked[-1]}" if in_a_row and len(worked) > 1 else ", ".join(worked)
    holidays: Any = policy.holidays
    if isinstance(holidays, dict):
        return f"{days} without each warehouse's holidays"
    kinds = [_kind(text) for text in holidays]
    codes = (text for text, kind in zip(holidays, kinds, strict=True) if kind == "code")
    off = [
        "US parcel carriers' holidays" if code == _CARRIERS else f"{code} holidays"
        for code in codes
    ]
    if "closed" in kinds:
        off.append(_dates_given(kinds.count("closed")))
    if not off:
        return f"{days} all year"
    but = f", but on {_dates_given(kinds.count('worked'))}" if "worked" in kinds else ""
    return f"{days} without {' and '.join(off)}{but}"


def _dates_given(count: int) -> str:
    return "1 given date" if count == 1 else f"{count} given dates"


def _length(value: object) -> str:
    """Return a length of time as text, such as ``1 d 2 h 30 min``."""
    whole = pd.Timedelta(value)  # type: ignore[arg-type]
    seconds = whole.seconds % 60 + whole.microseconds / 1e6
    units = {"d": whole.days, "h": whole.components.hours, "min": whole.components.minutes}
    counts = {**units, "s": seconds}
    return " ".join(f"{count:g} {unit}" for unit, count in counts.items() if count) or "0 s"


def _cell(value: object) -> str:
    """Return a field as text; of a long one, the beginning."""
    if isinstance(value, dict):
        value = [f"{key or 'all others'}: {_cell(each)}" for key, each in value.items()]
    if not isinstance(value, (list, tuple)):
        return str(value)
    more = len(value) - _MOST_VALUES
    return ", ".join(map(str, value[:_MOST_VALUES])) + (f" and {more:,} more" if more > 0 else "")
