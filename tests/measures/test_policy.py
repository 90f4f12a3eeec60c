import datetime as dt
import json
import pickle
import zoneinfo
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pandas as pd
import pytest
from holidays import country_holidays, financial_holidays
from hypothesis import example, given
from hypothesis import strategies as st

from trackstar_frames import SlaPolicy
from trackstar_frames.schema import LIFECYCLE

PRESETS = {
    SlaPolicy.on_time_shipment: """On-time shipment: orders are due by their required ship date,
        a bare day until its end (UTC); shipped = complete; no grace.""",
    SlaPolicy.late_shipment_rate: """Late shipment rate: orders are due by their required ship
        date, a bare day until its end (UTC); shipped = first; no grace; not judged if due more
        than 30 d before as-of; target: at least 96 % on time.""",
    SlaPolicy.d2c_noon_cut_off: """D2C noon cut-off: orders created before 12:00 warehouse time
        (America/New_York) are due the same business day, later ones the next; Mon-Fri without US
        parcel carriers' holidays; shipped = complete; no grace.""",
    SlaPolicy.b2b_four_business_days: """B2B four business days: orders created before 12:00
        warehouse time (America/New_York) are due in 4 business days, later ones in 5; Mon-Fri
        without US parcel carriers' holidays; shipped = complete; no grace.""",
}


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_say_what_they_are(preset):
    policy = preset()
    assert str(policy) == policy.text == " ".join(PRESETS[preset].split())


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_can_be_changed_and_travel(preset):
    policy = preset(
        tz={"w": "Asia/Tokyo", None: "UTC"}, grace="90min", exclude_statuses="exception"
    )
    assert policy.grace == "01:30:00"
    assert policy.exclude_statuses == ("exception",)
    assert policy == replace(preset(), tz=policy.tz, grace="90min", exclude_statuses=["exception"])
    assert policy != preset()
    for again in (
        SlaPolicy.from_json(json.loads(json.dumps(policy.to_json()))),
        pickle.loads(pickle.dumps(policy)),
    ):
        assert again == policy
        assert hash(again) == hash(policy)
        assert str(again) == str(policy)
    with pytest.raises(FrozenInstanceError):
        policy.grace = "0s"


@pytest.mark.parametrize(
    ("fields", "part"),
    [
        ({"due_day": "instant"}, "Orders are due by the moment of their required ship date (UTC)"),
        ({"due_day": "end"}, "due by the end of the day of their required ship date (UTC)"),
        ({"tz": {"a": "Asia/Tokyo", "b": "UTC"}}, "(warehouses' own time: Asia/Tokyo, UTC)"),
        ({"tz": {z: z for z in ("CET", "EET", "WET", "UTC")}}, "own time: 4 zones)"),
        ({"cut_off": "14:30", "business_days": 1}, "14:30 warehouse time (UTC) are due the next"),
        ({"cut_off": "12:00", "business_days": 1}, "later ones in 2 business days; Mon-Fri all"),
        ({"cut_off": "12:00", "workdays": "Sun Mon Tue"}, "; Mon, Tue, Sun all year;"),
        ({"cut_off": "12:00", "workdays": "Sat"}, "; Sat all year;"),
        ({"cut_off": "12:00", "holidays": "2026-01-01"}, "Mon-Fri without 1 given date;"),
        ({"cut_off": "12:00", "holidays": "DE-BY"}, "Mon-Fri without DE-BY holidays;"),
        (
            {"cut_off": "12:00", "holidays": ["US", "2026-11-27", "2026-12-24", "-2026-10-12"]},
            "without US holidays and 2 given dates, but on 1 given date;",
        ),
        ({"cut_off": "12:00", "holidays": {"w": "US"}}, "without each warehouse's holidays"),
        ({"cut_off": "12:00", "clock_start": "stocked"}, "received (stocked, else created) before"),
        ({"grace": "26h 1500ms"}, "grace 1 d 2 h 1.5 s"),
        ({"exclude_statuses": ["other", "exception"]}, "not judged: exception, other"),
        ({"window": "36h"}, "not judged if due more than 1 d 12 h before as-of"),
        ({"target": 0.975}, "target: at least 97.5 % on time"),
        ({"name": "Ours\n at last"}, "Ours at last: orders are due"),
    ],
)
def test_the_text_says_every_field(fields, part):
    assert part in SlaPolicy(**fields).text


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("cut_off", ["12:00", dt.time(12), "12:00:00"]),
        ("holidays", [["2026-12-25"], (dt.date(2026, 12, 25),), np.array(["2026-12-25"], "M8[D]")]),
        ("holidays", [None, (), []]),
        ("holidays", ["2026-12-25", dt.date(2026, 12, 25), ["2026-12-25", "2026-12-25"]]),
        ("holidays", ["US-CA", ["US-CA"], country_holidays("US", subdiv="CA", years=2026)]),
        ("holidays", [["US", "-2026-10-12"], ["-2026-10-12", "US"]]),
        ("workdays", ["Mon Tue Wed Thu Fri", "1111100", [1, 1, 1, 1, 1, 0, 0]]),
        ("grace", ["2h", dt.timedelta(hours=2), np.timedelta64(120, "m")]),
        ("window", ["10D", dt.timedelta(days=10)]),
        ("tz", ["Asia/Tokyo", zoneinfo.ZoneInfo("Asia/Tokyo")]),
        ("exclude_statuses", ["other", ["other"], {"other"}]),
        ("business_days", [3, np.int64(3)]),
    ],
)
def test_what_means_the_same_is_the_same(field, values):
    made = {SlaPolicy(**{"cut_off": "12:00", field: value}) for value in values}
    assert len(made) == 1


zones = st.sampled_from(["UTC", "America/New_York", "Asia/Tokyo"])
closed = st.dates() | st.sampled_from(["US", "US-CA", "DE-BY", "carriers-US", "-1999-01-01"])
dates = st.lists(closed, max_size=3) | closed
clocks = st.fixed_dictionaries(
    {"cut_off": st.times()},
    optional={
        "business_days": st.integers(0, 30),
        "workdays": st.sampled_from(["Mon Tue", "Sun Mon Tue Wed Thu"]),
        "holidays": dates | st.dictionaries(st.sampled_from(["a", "b", None]), dates, min_size=1),
        "clock_start": st.just("stocked"),
    },
)
due_dates = st.fixed_dictionaries({"due_day": st.sampled_from(["auto", "instant", "end"])})
others = st.fixed_dictionaries(
    {},
    optional={
        "name": st.text(max_size=5),
        "tz": zones | st.dictionaries(st.sampled_from(["a", "b", None]), zones),
        "ship_event": st.sampled_from(["first", "last", "complete"]),
        "grace": st.timedeltas(dt.timedelta(), dt.timedelta(9)),
        "exclude_statuses": st.sets(st.sampled_from(LIFECYCLE)),
        "window": st.timedeltas(dt.timedelta(microseconds=1), dt.timedelta(90)),
        "target": st.floats(0.01, 1),
    },
)


@given(clocks | due_dates, others)
@example({"cut_off": dt.time(0), "holidays": [dt.date(99, 1, 1)]}, {})
def test_every_policy_comes_back_from_json(some, more):
    policy = SlaPolicy(**some, **more)
    values = json.loads(json.dumps(policy.to_json()))
    assert values == policy.to_json()
    again = SlaPolicy.from_json({"as_of": "2026-01-01", "text": policy.text, "n": 3, **values})
    assert again == policy
    assert hash(again) == hash(policy)
    assert replace(again) == policy


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"name": None}, TypeError, "pass a string"),
        ({"cut_off": 12}, TypeError, "not a time of day; pass a string such as '12:00'"),
        ({"cut_off": "noon"}, ValueError, "write it like '12:00'"),
        ({"cut_off": "24:00"}, ValueError, "write it like '12:00'"),
        ({"cut_off": "12:00+01:00"}, ValueError, "a zone of its own; name that in tz"),
        ({"cut_off": "12:00", "business_days": -1}, ValueError, "use 0 to 1,000"),
        ({"cut_off": "12:00", "business_days": 1.5}, TypeError, "not a whole number"),
        ({"cut_off": "12:00", "business_days": True}, TypeError, "not a whole number"),
        ({"cut_off": "12:00", "workdays": "Mo Tu"}, ValueError, "not days of the week; write them"),
        ({"cut_off": "12:00", "workdays": "0000000"}, ValueError, "at least one"),
        ({"cut_off": "12:00", "workdays": None}, ValueError, "not days of the week"),
        ({"cut_off": "12:00", "holidays": "Utopia"}, ValueError, "write it like 'US' or 'US-CA'"),
        ({"cut_off": "12:00", "holidays": "US-CAL"}, ValueError, "did you mean 'US-CA'"),
        ({"cut_off": "12:00", "holidays": "US-QQ"}, ValueError, "Use 'US' for the whole, or"),
        ({"cut_off": "12:00", "holidays": 7}, TypeError, "pass a code such as 'US', or a list"),
        ({"cut_off": "12:00", "holidays": [20261225]}, ValueError, "write it like '2026-12-25'"),
        ({"cut_off": "12:00", "holidays": ["soon"]}, ValueError, "holds 'soon', not a date"),
        ({"cut_off": "12:00", "holidays": ["2026-12-25 09:00"]}, ValueError, "not a date"),
        ({"cut_off": "12:00", "holidays": ["04/07/2026"]}, ValueError, "not a date"),
        ({"cut_off": "12:00", "holidays": {}}, TypeError, "not a map from warehouse ids"),
        ({"cut_off": "12:00", "holidays": {dt.date(2026, 1, 1): "x"}}, TypeError, "not a map"),
        ({"cut_off": "12:00", "holidays": {3: "US"}}, TypeError, "holidays has the key 3"),
        ({"cut_off": "12:00", "clock_start": 3}, TypeError, "not a column's name"),
        ({"cut_off": "12:00", "due_day": "end"}, ValueError, "leave one of them out"),
        ({"due_day": None}, TypeError, "pass a string"),
        ({"business_days": 4}, ValueError, r"business_days without a cut_off: add cut_off"),
        ({"holidays": "US", "workdays": "Sat"}, ValueError, "workdays, holidays without a cut_off"),
        ({"tz": "Mars"}, ValueError, "not a time zone"),
        ({"ship_event": "delivered"}, ValueError, "use one of 'first', 'last', 'complete'"),
        ({"grace": "-1s"}, ValueError, "zero or more"),
        ({"exclude_statuses": ["excepton"]}, ValueError, "did you mean 'exception'"),
        ({"exclude_statuses": 3}, TypeError, "not a list of statuses"),
        ({"window": "0D"}, ValueError, "use a length such as '30D'"),
        ({"window": 30}, TypeError, "not a length of time"),
        ({"target": 96}, ValueError, "use a share of 1, such as 0.96"),
        ({"target": float("nan")}, ValueError, "use a share of 1"),
        ({"target": "96%"}, TypeError, "not a number"),
        ({"cut_off": "12:00", "holidays": ["-US"]}, ValueError, "holds 'US', not a date"),
        (
            {"cut_off": "12:00", "holidays": ["2026-07-03", "-2026-07-03"]},
            ValueError,
            "has '2026-07-03' both as a holiday and as '-2026-07-03'",
        ),
    ],
)
def test_an_invalid_policy_is_refused(fields, error, message):
    with pytest.raises(error, match=message):
        SlaPolicy(**fields)


def test_json_of_something_else_is_refused():
    with pytest.raises(ValueError, match="field='graze' is not allowed; did you mean 'grace'"):
        SlaPolicy.from_json({"graze": "1h"})
    with pytest.raises(TypeError, match="'Amazon' is not a policy; pass a map of its fields"):
        SlaPolicy.from_json("Amazon")


def test_a_policy_is_no_dict_of_the_callers():
    zones = {"w": "Asia/Tokyo"}
    policy = SlaPolicy(tz=zones)
    zones["w"] = "UTC"
    policy.to_json()["tz"]["w"] = "UTC"
    assert policy.tz == {"w": "Asia/Tokyo"}


def test_holidays_are_whole_days_of_any_type():
    days = ["2026-07-03", pd.Timestamp("2026-07-03"), dt.datetime(2026, 7, 3)]  # noqa: DTZ001
    assert SlaPolicy(cut_off="12:00", holidays=days).holidays == ("2026-07-03",)


def listed(holidays, year=2026, **more):
    policy = SlaPolicy(cut_off="12:00", holidays=holidays)
    return [f"{day:%m-%d}" for day in policy.holidays_in(year, **more)]


#: The federal holidays of 2026; Independence Day is a Saturday.
FEDERAL = ["01-01", "01-19", "02-16", "05-25", "06-19", "07-03", "07-04", "09-07", "10-12", "11-11"]
FEDERAL += ["11-26", "12-25"]
CARRIERS = ["01-01", "05-25", "07-04", "09-07", "11-26", "12-25"]


def test_the_holidays_in_force_are_listed():
    assert listed("US") == FEDERAL
    assert listed(["US", "2026-11-27", "-2026-10-12", "2027-01-04"]) == sorted(
        {*FEDERAL, "11-27"} - {"10-12"}
    )
    assert listed("carriers-US") == CARRIERS
    assert listed(["carriers-US", "2026-07-03", "-2026-07-04"]) == sorted(
        {*CARRIERS, "07-03"} - {"07-04"}
    )
    assert listed(()) == listed(["-2026-07-04"]) == []
    assert listed(country_holidays("US")) == FEDERAL
    exchange = financial_holidays("NYSE", years=[2026, 2027])
    assert listed(exchange) == [f"{day:%m-%d}" for day in sorted(exchange) if day.year == 2026]
    assert listed(country_holidays("DE", subdiv="BY")) == listed("DE-BY")


def test_dates_added_to_an_object_of_the_package_or_taken_from_it_count():
    mine = country_holidays("US", years=2026)
    mine.append("2026-11-27")
    mine.pop("2026-10-12")
    assert listed(mine) == sorted({*FEDERAL, "11-27"} - {"10-12"})
    assert listed(mine, 2027) == listed("US", 2027)
    later = country_holidays("US")  # of no year yet
    later.append("2026-11-27")
    assert listed(later) == sorted([*FEDERAL, "11-27"])
    fixed = country_holidays("US", years=2026, observed=False)
    assert listed(fixed) == sorted({*FEDERAL} - {"07-03"})


def test_an_object_without_a_code_must_have_its_dates():
    both = country_holidays("US", years=2026) + country_holidays("CA", years=2026)
    assert {"07-01", "10-12", "11-11"} <= set(listed(both))
    of_no_year = [financial_holidays("NYSE"), country_holidays("US", observed=False)]
    for each in of_no_year:
        with pytest.raises(ValueError, match=r"has no dates yet.*make it with its years"):
            SlaPolicy(cut_off="12:00", holidays=each)


def test_carriers_rest_on_the_monday_after_a_sunday():
    assert listed("carriers-US", 2022) == [
        *("01-01", "05-30", "07-04", "09-05", "11-24", "12-25", "12-26")
    ]
    assert listed("carriers-US", 2023)[:2] == ["01-01", "01-02"]
    assert listed("carriers-US", 2021)[2:4] == ["07-04", "07-05"]
    assert [listed("carriers-US", year)[0] for year in (1, 9999)] == ["01-01"] * 2


def test_holidays_of_a_warehouse_are_listed():
    calendars = {"b": "2026-05-01", None: "carriers-US"}
    assert listed(calendars) == listed(calendars, warehouse_id="x") == CARRIERS
    assert listed(calendars, warehouse_id="b") == ["05-01"]
    with pytest.raises(ValueError, match="warehouse_id='x' is not allowed"):
        listed({"b": "US"}, warehouse_id="x")
    with pytest.raises(ValueError, match="use 1 to 9999"):
        listed("US", 0)
    with pytest.raises(TypeError, match="year='2026' is not a whole number"):
        listed("US", "2026")
    assert SlaPolicy().holidays_in(2026) == []
