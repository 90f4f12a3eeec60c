"""Due times by a clock, and the other fields of a policy."""

import zoneinfo
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from holidays import country_holidays

from trackstar_frames import SlaPolicy, compliance_rate, ship_date_compliance

NOON = SlaPolicy(cut_off="12:00", tz="America/New_York", holidays="US")
STAMPS = ("created_date", "first_shipped_date", "last_shipped_date", "complete_shipped_date")
AS_OF = "2026-06-30T12:00:00Z"


def frame(*rows):
    """Build orders; dates are ISO strings, `shipped` sets all three stamps."""
    made = []
    for row in rows:
        shipped = row.get("shipped")
        plain = {"status": "fulfilled" if shipped else "open", "warehouse_id": "w"}
        plain["units_ordered"] = 1
        made.append(dict.fromkeys(STAMPS) | dict.fromkeys(STAMPS[1:], shipped) | plain | row)
    table = pd.DataFrame(made)
    for name in {*STAMPS, "required_ship_date", "stocked"} & set(table.columns):
        # Not by to_datetime, which before pandas 3 knows only the years from 1677 to 2262.
        plain = [row.get(name) and row[name].removesuffix("Z") for row in made]
        table[name] = pd.DatetimeIndex(np.array(plain, dtype="M8[us]")).tz_localize("UTC")
    return table


def due(created, policy, **row):
    judged = ship_date_compliance(frame({"created_date": created, **row}), policy, as_of=AS_OF)
    return judged["due_at"][0]


def judge(policy, as_of=AS_OF, **row):
    judged = ship_date_compliance(frame(row), policy, as_of=as_of).iloc[0]
    return judged["outcome"] if pd.isna(judged["reason"]) else judged["reason"]


def day_end(day, zone):
    """Return when a day ends, by Python's own clocks."""
    after = pd.Timestamp(day) + pd.Timedelta("1D")
    return after.tz_localize(zoneinfo.ZoneInfo(zone)) - pd.Timedelta("1s")


@pytest.mark.parametrize(
    ("created", "day"),
    [
        # 2026-03-04 was a Wednesday; noon in New York was 17:00 UTC.
        ("2026-03-04T16:59:59.999999Z", "2026-03-04"),
        ("2026-03-04T17:00:00Z", "2026-03-05"),
        ("2026-03-04T17:00:59Z", "2026-03-05"),
        # It was still the 4th there, and then the 5th.
        ("2026-03-05T04:59:59Z", "2026-03-05"),
        ("2026-03-05T05:00:00Z", "2026-03-05"),
        # Friday before and after noon; Saturday and Sunday, whatever the time.
        ("2026-03-06T16:59:59Z", "2026-03-06"),
        ("2026-03-06T17:00:00Z", "2026-03-09"),
        ("2026-03-07T15:00:00Z", "2026-03-09"),
        ("2026-03-07T20:00:00Z", "2026-03-09"),
        # The clocks went on that Sunday: noon on Monday is 16:00 UTC.
        ("2026-03-08T20:00:00Z", "2026-03-09"),
        ("2026-03-09T15:59:59Z", "2026-03-09"),
        ("2026-03-09T16:00:00Z", "2026-03-10"),
        # They go back on the 1st of November: noon on Monday is 17:00 UTC again.
        ("2026-10-30T15:59:59Z", "2026-10-30"),
        ("2026-10-30T16:00:00Z", "2026-11-02"),
        ("2026-11-02T16:59:59Z", "2026-11-02"),
        ("2026-11-02T17:00:00Z", "2026-11-03"),
        # Independence Day of 2026 is a Saturday, so the Friday before it is taken.
        ("2026-07-02T15:59:59Z", "2026-07-02"),
        ("2026-07-02T16:00:00Z", "2026-07-06"),
        ("2026-07-03T12:00:00Z", "2026-07-06"),
        # New Year's Day of 2028 is a Saturday: a holiday of the year before.
        ("2027-12-30T17:00:00Z", "2028-01-03"),
        # The holiday of the next year, a Friday, and Christmas, another.
        ("2026-12-31T17:00:00Z", "2027-01-04"),
        ("2026-12-24T17:00:00Z", "2026-12-28"),
    ],
)
def test_the_noon_cut_off_in_new_york(created, day):
    assert due(created, NOON) == day_end(day, "America/New_York")


@pytest.mark.parametrize(
    ("zone", "cut_off", "created", "day"),
    [
        # The days on which the clocks change, if they are worked on: Berlin's go from 2 to 3.
        ("Europe/Berlin", "03:30", "2026-03-29T01:29:59Z", "2026-03-29"),
        ("Europe/Berlin", "03:30", "2026-03-29T01:30:00Z", "2026-03-30"),
        ("Europe/Berlin", "02:30", "2026-03-29T00:59:59Z", "2026-03-29"),
        ("Europe/Berlin", "02:30", "2026-03-29T01:00:00Z", "2026-03-30"),
        # From 3 back to 2: half past two comes twice, and both times the wall shows it.
        ("Europe/Berlin", "02:30", "2026-10-25T00:29:59Z", "2026-10-25"),
        ("Europe/Berlin", "02:30", "2026-10-25T00:30:00Z", "2026-10-26"),
        ("Europe/Berlin", "02:30", "2026-10-25T01:29:59Z", "2026-10-25"),
        ("Europe/Berlin", "02:30", "2026-10-25T01:30:00Z", "2026-10-26"),
        ("America/New_York", "12:00", "2026-03-08T15:59:59Z", "2026-03-08"),
        ("America/New_York", "12:00", "2026-03-08T16:00:00Z", "2026-03-09"),
        ("America/New_York", "12:00", "2026-11-01T16:59:59Z", "2026-11-01"),
        ("America/New_York", "12:00", "2026-11-01T17:00:00Z", "2026-11-02"),
        # Lord Howe's clocks change by half an hour, on the other side of the year.
        ("Australia/Lord_Howe", "12:00", "2026-04-05T01:29:59Z", "2026-04-05"),
        ("Australia/Lord_Howe", "12:00", "2026-04-05T01:30:00Z", "2026-04-06"),
        ("Australia/Lord_Howe", "12:00", "2026-10-04T00:59:59Z", "2026-10-04"),
        ("Australia/Lord_Howe", "12:00", "2026-10-04T01:00:00Z", "2026-10-05"),
        ("Australia/Sydney", "12:00", "2026-04-04T00:59:59Z", "2026-04-04"),
        ("Australia/Sydney", "12:00", "2026-04-05T01:59:59Z", "2026-04-05"),
        # A day that begins at one o'clock, and one that ends there.
        ("Asia/Beirut", "12:00", "2024-03-30T10:00:00Z", "2024-03-31"),
        ("America/Havana", "12:00", "2024-11-02T15:59:59Z", "2024-11-02"),
        ("Asia/Kolkata", "00:00", "2026-03-03T18:30:00Z", "2026-03-05"),
        ("Asia/Kolkata", "23:59:59.5", "2026-03-04T18:29:59.499999Z", "2026-03-04"),
    ],
)
def test_the_clock_on_the_wall_decides_whatever_the_season(zone, cut_off, created, day):
    policy = SlaPolicy(cut_off=cut_off, tz=zone, workdays="1111111")
    ends = pd.Timestamp(f"{day}T23:59:59").tz_localize(zone, ambiguous=True)
    assert due(created, policy) == ends


@pytest.mark.parametrize(
    ("days", "created", "day"),
    [
        (1, "2026-03-05T12:00:00Z", "2026-03-06"),
        (1, "2026-03-06T12:00:00Z", "2026-03-09"),
        (4, "2026-03-04T12:00:00Z", "2026-03-10"),
        (4, "2026-03-04T17:00:00Z", "2026-03-11"),
        # On a Saturday it counts as received on Monday, before the cut-off: four days from then.
        (4, "2026-03-07T20:00:00Z", "2026-03-13"),
        # Thanksgiving between.
        (4, "2026-11-24T12:00:00Z", "2026-12-01"),
    ],
)
def test_business_days_are_counted_from_the_day_of_receipt(days, created, day):
    policy = replace(NOON, business_days=days)
    assert due(created, policy) == day_end(day, "America/New_York")


@pytest.mark.parametrize("workdays", ["Mon", "Mon Tue Wed Thu Fri", "1111111"])
def test_the_holidays_of_all_the_years_ahead_are_looked_up(workdays):
    policy = SlaPolicy(cut_off="12:00", business_days=1000, workdays=workdays, holidays="US")
    off = country_holidays("US", years=range(2025, 2060))
    days = pd.date_range("2026-01-05", periods=9000)
    worked = [day for day in days if f"{day:%a}" in policy.workdays and day.date() not in off]
    assert due("2026-01-05T09:00:00Z", policy) == day_end(worked[1000], "UTC")


def test_each_warehouse_has_its_clock_and_its_holidays():
    policy = SlaPolicy(
        cut_off="12:00",
        tz={"b": "Europe/Berlin", "t": "Asia/Tokyo", None: "UTC"},
        holidays={"b": "DE-BY", "t": ["2026-06-05"], None: None},
    )
    # Corpus Christi, a Thursday, is a holiday in Bavaria.
    rows = [{"created_date": "2026-06-04T08:00:00Z", "warehouse_id": key} for key in "btx"]
    judged = ship_date_compliance(frame(*rows), policy, as_of=AS_OF)
    ends = [("2026-06-05", "Europe/Berlin"), ("2026-06-08", "Asia/Tokyo"), ("2026-06-04", "UTC")]
    assert judged["due_at"].tolist() == [day_end(*each) for each in ends]
    with pytest.raises(ValueError, match="holidays has no calendar for 2 of the warehouses: 't'"):
        ship_date_compliance(frame(*rows), replace(policy, holidays={"b": "DE"}), as_of=AS_OF)


@pytest.mark.parametrize(
    ("maps", "reason"),
    [
        ({"tz": {"w": "UTC"}}, "no time zone for warehouse"),
        ({"holidays": {"w": "US"}}, "no calendar for warehouse"),
        ({"tz": {"w": "UTC"}, "holidays": {"w": "US", None: "US"}}, "no time zone for warehouse"),
    ],
)
def test_an_order_without_a_warehouse_needs_a_zone_and_a_calendar(maps, reason):
    policy = SlaPolicy(cut_off="12:00", **maps)
    order = {"created_date": "2026-03-04T09:00:00Z"}
    assert judge(policy, **order, warehouse_id=None) == reason
    assert judge(policy, **order) == "late_open"


def test_the_required_ship_date_is_not_read():
    order = {"created_date": "2026-03-04T12:00:00Z", "required_ship_date": "2026-03-01T00:00:00Z"}
    assert judge(NOON, shipped="2026-03-04T20:00:00Z", **order) == "on_time"
    assert judge(SlaPolicy(), shipped="2026-03-04T20:00:00Z", **order) == "late_shipped"


@pytest.mark.parametrize(
    ("shipped", "as_of", "outcome"),
    [
        ("2026-03-05T04:59:59.999999Z", AS_OF, "on_time"),
        ("2026-03-05T05:00:00Z", AS_OF, "late_shipped"),
        (None, "2026-03-05T04:59:59.999998Z", "pending"),
        (None, "2026-03-05T04:59:59.999999Z", "late_open"),  # as of that day: over
        (None, "2026-03-05T05:00:00Z", "late_open"),
        (None, "2026-03-04", "late_open"),
    ],
)
def test_the_business_day_lasts_to_its_end(shipped, as_of, outcome):
    order = {"created_date": "2026-03-04T12:00:00Z", "shipped": shipped}
    assert judge(NOON, as_of, **order) == outcome


def test_a_backordered_orders_clock_starts_when_the_caller_says():
    unknown = "backordered: nothing tells when its clock starts"
    order = {"created_date": "2026-03-02T12:00:00Z", "status": "backordered"}
    assert judge(NOON, **order) == unknown
    assert judge(SlaPolicy(), **order, required_ship_date="2026-03-04T00:00:00Z") == "late_open"
    stocked_policy = replace(NOON, clock_start="stocked")
    assert judge(stocked_policy, **order, stocked=None) == unknown
    assert judge(stocked_policy, "2026-03-03", **order, stocked="2026-03-04T12:00:00Z") == "pending"
    assert (
        judge(stocked_policy, "2026-03-06", **order, stocked="2026-03-04T12:00:00Z") == "late_open"
    )


def test_a_clocks_start_replaces_the_creation_of_any_order():
    stocked_policy = replace(NOON, clock_start="stocked")
    created = "2026-03-02T12:00:00Z"
    assert due(created, stocked_policy, stocked=None) == day_end("2026-03-02", "America/New_York")
    later = due(created, stocked_policy, stocked="2026-03-04T12:00:00Z")
    assert later == day_end("2026-03-04", "America/New_York")
    assert due(None, stocked_policy, stocked="2026-03-04T12:00:00Z") == later
    assert judge(NOON, created_date=None) == "no created_date for a clock to start at"
    with pytest.raises(ValueError, match="orders lacks 'stocked'"):
        judge(stocked_policy, created_date=created)


def test_a_clock_needs_no_required_ship_date_at_all():
    assert "required_ship_date" not in frame({"created_date": AS_OF}).columns
    assert judge(NOON, created_date=AS_OF) == "pending"
    with pytest.raises(ValueError, match="lacks 'required_ship_date'"):
        judge(SlaPolicy(), created_date=AS_OF)


def test_statuses_can_be_left_out():
    policy = SlaPolicy(exclude_statuses=["exception", "other"])
    order = {"created_date": "2026-03-02T12:00:00Z", "required_ship_date": "2026-03-04T00:00:00Z"}
    for status in ("exception", "other"):
        assert judge(policy, status=status, **order) == "status left out by the policy"
    assert judge(policy, status="open", **order) == "late_open"
    assert judge(policy, status="cancelled", **order) == "cancelled"


@pytest.mark.parametrize(
    ("due_date", "outcome"),
    [
        ("2026-05-31T12:00:00Z", "late_open"),
        ("2026-05-31T11:59:59.999999Z", "due before the window"),
        ("2026-06-30T12:00:00Z", "pending"),
        ("2027-01-01T12:00:00Z", "pending"),
        (None, "no due date"),
    ],
)
def test_a_window_reaches_back_from_as_of_to_the_due_time(due_date, outcome):
    order = {"created_date": "2026-01-02T12:00:00Z", "required_ship_date": due_date}
    for grace in ("0s", "2D"):
        assert judge(SlaPolicy(window="30D", grace=grace), **order) == outcome
    without = "late_open" if outcome == "due before the window" else outcome
    assert judge(SlaPolicy(), **order) == without


def test_amazons_rate_goes_by_the_first_shipment():
    split = {
        "created_date": "2026-06-20T12:00:00Z",
        "required_ship_date": "2026-06-22T00:00:00Z",
        "first_shipped_date": "2026-06-22T20:00:00Z",
        "last_shipped_date": "2026-06-25T20:00:00Z",
        "complete_shipped_date": "2026-06-25T20:00:00Z",
        "status": "fulfilled",
    }
    late = split | {"first_shipped_date": "2026-06-23T00:00:00Z"}
    never = split | {"status": "open"} | dict.fromkeys(STAMPS[1:])
    orders = frame(split, split, late, never, split | {"status": "cancelled"})
    rates = compliance_rate(orders, policy=SlaPolicy.late_shipment_rate(), as_of=AS_OF)
    assert rates[["n", "on_time", "late_shipped", "late_open"]].iloc[0].tolist() == [4, 2, 1, 1]
    assert 1 - rates["rate"][0] == 0.5


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Tokyo", "UTC"])
@pytest.mark.parametrize("clock", [{}, {"cut_off": "12:00", "holidays": "US"}])
def test_dates_that_mean_never_are_judged_like_others(zone, clock):
    days = ("0001-01-01T00:00:00Z", "9999-12-31T00:00:00Z")
    orders = frame(*({"created_date": day, "required_ship_date": day} for day in days))
    judged = ship_date_compliance(orders, SlaPolicy(tz=zone, **clock), as_of=days[1])
    assert judged["outcome"].tolist() == ["late_open", "pending"]
    assert (judged["due_at"] - orders["created_date"]).dt.days.between(0, 3).all()
    assert compliance_rate(judged, freq="YS")["late_open"].sum() == 1
