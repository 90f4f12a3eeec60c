"""The same outcomes in plain Python, one order at a time, without pandas."""

import datetime as dt
import zoneinfo

import pandas as pd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trackstar_frames.measures import SlaPolicy, ship_date_compliance
from trackstar_frames.schema import LIFECYCLE

DATES = (
    "created_date",
    "required_ship_date",
    "first_shipped_date",
    "last_shipped_date",
    "complete_shipped_date",
)
TICK, DAY = dt.timedelta(microseconds=1), dt.timedelta(days=1)
ZONES = ["UTC", "America/New_York", "Europe/Berlin", "Asia/Tokyo", "Asia/Beirut", "America/Havana"]


def day_end(day, zone):
    midnight = dt.datetime.combine(day + dt.timedelta(days=1), dt.time())
    aware = midnight.replace(tzinfo=zoneinfo.ZoneInfo(zone))
    return aware.astimezone(dt.UTC) - TICK


def due_time(stamp, zone, due_day):
    bare = stamp.time() == dt.time()
    if due_day == "instant" or (due_day == "auto" and not bare):
        return stamp
    if zone is None:
        return None
    day = stamp if bare else stamp.astimezone(zoneinfo.ZoneInfo(zone))
    return day_end(day.date(), zone)


def clock_end(created, zone, clock):
    def works(day):
        return f"{day:%a}" in clock["workdays"] and day not in clock["holidays"]

    wall = created.astimezone(zoneinfo.ZoneInfo(zone))
    day = wall.date()
    if works(day) and wall.time() >= clock["cut_off"]:
        day += DAY
    for more in [0] + [1] * clock["business_days"]:
        day += more * DAY
        while not works(day):
            day += DAY
    return day_end(day, zone)


def undue(order, clock):
    """Return why an order has no due time."""
    if clock is None:
        return "no due" if order["required_ship_date"] is None else "no time zone"
    if order["status"] == "backordered":
        return "backordered"
    return "no created_date" if order["created_date"] is None else "no time zone"


def reason_of(order, due, *, as_of, ship_event, clock, window, exclude_statuses):  # noqa: PLR0911 (one for each reason)
    stamp = order[f"{ship_event}_shipped_date"]
    happened = {"fulfilled"} if ship_event == "complete" else {"fulfilled", "partially_fulfilled"}
    if order["created_date"] and order["created_date"] > as_of:
        return "created"
    if order["status"] == "cancelled":
        return "cancelled"
    if order["status"] in exclude_statuses:
        return "status left out"
    if due is None or (clock and order["status"] == "backordered"):
        return undue(order, clock)
    if window and due < as_of - window:
        return "due before"
    if ship_event == "complete" and order["units_ordered"] is None:
        return "quantity unknown"
    if order["status"] not in happened or stamp:
        return None
    last = order["last_shipped_date"] if ship_event == "complete" else None
    return "shipped without" if last is None else None


def closed_short(order, as_of):
    """Return when an order was closed with less than was ordered."""
    last = order["last_shipped_date"]
    whole = order["complete_shipped_date"] or order["status"] != "fulfilled"
    return None if whole or not last or last > as_of else last


def reference(order, *, as_of, due_day, clock, tz, ship_event, grace, **rest):
    required, stamp = order["required_ship_date"], order[f"{ship_event}_shipped_date"]
    zone = tz.get(order["warehouse_id"], tz.get(None))
    if clock is None:
        due = required and due_time(required, zone, due_day)
    else:
        created = order["created_date"]
        due = clock_end(created, zone, clock) if created and zone else None
    shipped = stamp if stamp and stamp <= as_of else None
    reason = reason_of(order, due, as_of=as_of, ship_event=ship_event, clock=clock, **rest)
    is_day = clock is not None or due_day == "end" or (required and required.time() == dt.time())
    is_day = is_day and (clock is not None or due_day != "instant")
    # A due day is good until the next midnight, and shown as 23:59:59.
    shown = due and (due.replace(microsecond=0) if is_day else due)
    if reason:
        return shown, shipped, "not_evaluable", False, None, reason
    is_due = as_of > due + grace or (is_day and as_of == due + grace)
    closed = closed_short(order, as_of) if ship_event == "complete" else None
    if shipped or closed:
        shipped = shipped or closed
        if shipped > due + grace:
            return shown, shipped, "late_shipped", True, shipped - shown, None
        outcome = "short" if closed else "on_time"
        return shown, shipped, outcome, is_due, None if closed else shipped - shown, None
    if is_due:
        return shown, None, "late_open", True, as_of - shown, None
    return shown, None, "pending", False, None, None


# A few days around changes of the clocks, in steps that often coincide.
moments = st.builds(
    lambda day, step, tick: (
        dt.datetime.combine(day, dt.time(), tzinfo=dt.UTC)
        + step * dt.timedelta(minutes=30)
        + tick * TICK
    ),
    st.sampled_from(
        [dt.date(2024, 3, 30), dt.date(2024, 3, 31), dt.date(2024, 11, 2), dt.date(2024, 11, 3)]
    ),
    st.one_of(st.just(0), st.integers(0, 47)),
    st.sampled_from([0, 0, -1, 1]),
)
order_rows = st.fixed_dictionaries(
    {
        "status": st.sampled_from(LIFECYCLE),
        "warehouse_id": st.sampled_from(["a", "b", None]),
        **dict.fromkeys(DATES, st.none() | moments),
        "units_ordered": st.sampled_from([1, 1, 1, None]),
    }
)


days = [dt.date(2024, month, day) for month, day in [(3, 29), (3, 31), (4, 1), (11, 1), (11, 4)]]
clocks = st.fixed_dictionaries(
    {
        "cut_off": st.sampled_from([dt.time(), dt.time(1, 30), dt.time(2, 30), dt.time(12)]),
        "business_days": st.integers(0, 6),
        "workdays": st.sampled_from(["Mon Tue Wed Thu Fri", "Sun Mon", "Fri Sat Sun"]),
        "holidays": st.lists(st.sampled_from(days)),
    }
)
policies = st.fixed_dictionaries(
    {
        "clock": st.none() | clocks,
        "window": st.none() | st.sampled_from([dt.timedelta(hours=6), dt.timedelta(3)]),
        "exclude_statuses": st.lists(st.sampled_from(["exception", "open", "fulfilled"])),
        "as_of": moments,
        "due_day": st.sampled_from(["auto", "instant", "end"]),
        "tz": st.fixed_dictionaries(
            {"a": st.sampled_from(ZONES), "b": st.sampled_from(ZONES)},
            optional={None: st.sampled_from(ZONES)},
        ),
        "ship_event": st.sampled_from(["first", "last", "complete"]),
        "grace": st.sampled_from([dt.timedelta(), TICK, dt.timedelta(hours=1), dt.timedelta(1)]),
    }
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(rows=st.lists(order_rows, min_size=1, max_size=20), policy=policies)
def test_columns_at_once_equal_rows_one_by_one(rows, policy):
    orders = pd.DataFrame(rows)
    orders[list(DATES)] = orders[list(DATES)].astype("datetime64[us, UTC]")
    orders["units_ordered"] = orders["units_ordered"].astype("Int64")
    fields = {name: value for name, value in policy.items() if name not in ("as_of", "clock")}
    if policy["clock"]:
        fields = {**fields, **policy["clock"], "due_day": "auto"}
    judged = ship_date_compliance(orders, SlaPolicy(**fields), as_of=policy["as_of"])
    for row, (_, got) in zip(rows, judged.iterrows(), strict=True):
        due, shipped, outcome, is_due, late, reason = reference(row, **policy)
        assert (None if pd.isna(got["due_at"]) else got["due_at"]) == due
        assert (None if pd.isna(got["shipped_at"]) else got["shipped_at"]) == shipped
        assert got["outcome"] == outcome
        assert got["is_due"] == is_due
        assert (None if pd.isna(got["lateness"]) else got["lateness"]) == late
        assert pd.isna(got["reason"]) if reason is None else got["reason"].startswith(reason)
