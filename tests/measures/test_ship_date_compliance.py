import datetime as dt
import json
import re
import zoneinfo

import numpy as np
import pandas as pd
import pytest

from trackstar_frames.measures import OUTCOMES, SlaPolicy, ship_date_compliance
from trackstar_frames.schema import LIFECYCLE

NOON = "2026-03-04T12:00:00Z"
DATES = (
    "created_date",
    "required_ship_date",
    "first_shipped_date",
    "last_shipped_date",
    "complete_shipped_date",
)


def frame(*orders, fetched_at=NOON):
    """Build the frame of some orders; dates are ISO strings, `shipped` sets all three stamps."""
    rows = []
    for number, given_order in enumerate(orders):
        order = dict(given_order)
        shipped = order.pop("shipped", None)
        row = dict.fromkeys(DATES) | dict.fromkeys(DATES[2:], shipped)
        row |= {"id": str(number), "status": "open", "warehouse_id": "w", "created_date": "2020"}
        row |= {"type": None, "units_ordered": 1}
        rows.append(row | order)
    columns = ["id", "status", "warehouse_id", "type", "units_ordered", *DATES]
    table = pd.DataFrame(rows, columns=columns)
    table["units_ordered"] = table["units_ordered"].astype("Int64")
    for name in DATES:
        stamps = pd.to_datetime(table[name], utc=True, format="ISO8601")
        table[name] = stamps.astype("datetime64[us, UTC]")
    table["status"] = pd.Categorical(table["status"], categories=list(LIFECYCLE), ordered=True)
    if fetched_at:
        table.attrs["trackstar"] = {"fetched_at": fetched_at}
    return table


def judge(order, **policy):
    row = ship_date_compliance(frame(order), **policy).iloc[0]
    return row["outcome"] if pd.isna(row["reason"]) else row["reason"]


def test_the_plain_outcomes():
    due = "2026-03-04T09:00:00Z"
    assert judge({"required_ship_date": due, "shipped": "2026-03-04T08:59:59Z"}) == "on_time"
    assert judge({"required_ship_date": due, "shipped": due}) == "on_time"
    assert judge({"required_ship_date": due, "shipped": "2026-03-04T09:00:01Z"}) == "late_shipped"
    assert judge({"required_ship_date": due}) == "late_open"
    assert judge({"required_ship_date": "2026-03-04T15:00:00Z"}) == "pending"


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        ({}, "no due date"),
        ({"status": "cancelled", "required_ship_date": NOON}, "cancelled"),
        ({"status": "cancelled"}, "cancelled"),
        ({"status": "cancelled", "required_ship_date": NOON, "shipped": NOON}, "cancelled"),
        ({"status": "fulfilled", "required_ship_date": NOON}, "shipped without a usable stamp"),
        ({"created_date": "2026-03-04T12:00:01Z", "status": "cancelled"}, "created after as_of"),
        ({"required_ship_date": NOON, "units_ordered": None}, "quantity unknown"),
    ],
)
def test_what_cannot_be_judged_says_why(order, reason):
    assert judge(order) == reason


def test_due_at_as_of_itself_is_pending_still():
    due = {"required_ship_date": NOON}
    assert judge(due) == "pending"
    assert judge(due, as_of="2026-03-04T12:00:00.000001Z") == "late_open"
    assert judge(due, as_of="2026-03-04T14:00:00Z", grace="2h") == "pending"
    assert judge(due, as_of="2026-03-04T14:00:00.000001Z", grace="2h") == "late_open"


def test_created_at_as_of_itself_exists():
    assert judge({"created_date": NOON, "required_ship_date": NOON}) == "pending"
    assert judge({"created_date": None, "required_ship_date": NOON}) == "pending"


def test_what_ships_after_as_of_has_not_shipped_yet():
    order = {
        "status": "fulfilled",
        "required_ship_date": "2026-03-03T12:00:00Z",
        "shipped": "2026-03-03T11:00:00Z",
    }
    for as_of, outcome in [
        ("2026-03-03T10:00:00Z", "pending"),
        ("2026-03-03T11:00:00Z", "on_time"),
        ("2026-03-05T00:00:00Z", "on_time"),
    ]:
        judged = ship_date_compliance(frame(order), as_of=as_of)
        assert judged["outcome"][0] == outcome
        assert judged["shipped_at"].isna()[0] == (outcome == "pending")
    late = order | {"shipped": "2026-03-03T13:00:00Z"}
    assert judge(late, as_of="2026-03-03T12:30:00Z") == "late_open"


def test_an_order_closed_short_was_open_until_its_last_shipment():
    order = {
        "status": "fulfilled",
        "required_ship_date": "2026-03-02T12:00:00Z",
        "first_shipped_date": "2026-03-01T12:00:00Z",
        "last_shipped_date": "2026-03-03T12:00:00Z",
    }
    assert judge(order, as_of="2026-03-02T00:00:00Z") == "pending"
    assert judge(order, as_of="2026-03-03T00:00:00Z") == "late_open"
    assert judge(order, as_of="2026-03-03T12:00:00Z") == "late_shipped"
    assert judge(order, ship_event="first") == "on_time"
    assert judge(order, ship_event="last") == "late_shipped"


def test_a_partial_order_is_judged_by_the_chosen_event():
    order = {
        "status": "partially_fulfilled",
        "required_ship_date": "2026-03-04T09:00:00Z",
        "first_shipped_date": "2026-03-04T08:00:00Z",
        "last_shipped_date": "2026-03-04T10:00:00Z",
    }
    assert judge(order) == "late_open"
    assert judge(order, ship_event="first") == "on_time"
    assert judge(order, ship_event="last") == "late_shipped"
    unstamped = {"status": "partially_fulfilled", "required_ship_date": NOON}
    assert judge(unstamped) == "pending"
    assert judge(unstamped, ship_event="first") == "shipped without a usable stamp"


@pytest.mark.parametrize("status", ["backordered", "exception", "open", "other"])
def test_every_status_but_cancelled_is_judged_by_its_due_date(status):
    assert judge({"status": status, "required_ship_date": "2026-03-03T09:00Z"}) == "late_open"


@pytest.mark.one_of(4)
@pytest.mark.parametrize(
    ("zone", "stamp", "due"),
    [
        ("UTC", "2026-03-02T00:00:00Z", "2026-03-03T00:00:00Z"),
        ("Asia/Tokyo", "2026-03-02T00:00:00Z", "2026-03-02T15:00:00Z"),
        ("America/Los_Angeles", "2026-03-02T00:00:00Z", "2026-03-03T08:00:00Z"),
        ("Asia/Kolkata", "2026-03-02T00:00:00Z", "2026-03-02T18:30:00Z"),
        # The day on which the clocks go on, and the one before.
        ("America/New_York", "2026-03-07T00:00:00Z", "2026-03-08T05:00:00Z"),
        ("America/New_York", "2026-03-08T00:00:00Z", "2026-03-09T04:00:00Z"),
        ("Europe/Berlin", "2026-03-28T00:00:00Z", "2026-03-28T23:00:00Z"),
        ("Europe/Berlin", "2026-03-29T00:00:00Z", "2026-03-29T22:00:00Z"),
        # The day on which they go back.
        ("America/New_York", "2026-10-31T00:00:00Z", "2026-11-01T04:00:00Z"),
        ("America/New_York", "2026-11-01T00:00:00Z", "2026-11-02T05:00:00Z"),
        ("Europe/Berlin", "2026-10-24T00:00:00Z", "2026-10-24T22:00:00Z"),
        ("Europe/Berlin", "2026-10-25T00:00:00Z", "2026-10-25T23:00:00Z"),
        # The other half of the earth, and clocks that change by half an hour.
        ("Australia/Sydney", "2026-04-05T00:00:00Z", "2026-04-05T14:00:00Z"),
        ("Australia/Sydney", "2026-10-04T00:00:00Z", "2026-10-04T13:00:00Z"),
        ("Australia/Lord_Howe", "2026-04-04T00:00:00Z", "2026-04-04T13:00:00Z"),
        ("Australia/Lord_Howe", "2026-04-05T00:00:00Z", "2026-04-05T13:30:00Z"),
        ("Australia/Lord_Howe", "2026-10-03T00:00:00Z", "2026-10-03T13:30:00Z"),
        ("Australia/Lord_Howe", "2026-10-04T00:00:00Z", "2026-10-04T13:00:00Z"),
        # Midnight is skipped, and midnight comes twice.
        ("Asia/Beirut", "2024-03-30T00:00:00Z", "2024-03-30T22:00:00Z"),
        ("America/Havana", "2024-11-02T00:00:00Z", "2024-11-03T04:00:00Z"),
    ],
)
def test_a_bare_day_lasts_until_its_end_at_the_warehouse(zone, stamp, due):
    last, shown = (pd.Timestamp(due) - pd.Timedelta(length) for length in ("1us", "1s"))
    order = {"required_ship_date": stamp, "status": "fulfilled"}
    for shipped, outcome in [(last, "on_time"), (pd.Timestamp(due), "late_shipped")]:
        table = frame(order | {"shipped": shipped.isoformat()})
        judged = ship_date_compliance(table, as_of="2027-01-01T00:00Z", tz=zone)
        assert judged["due_at"][0] == shown
        assert judged["outcome"][0] == outcome


def test_how_a_due_date_is_read():
    bare, timed = "2026-03-02T00:00:00Z", "2026-03-02T03:00:00Z"
    zone = "America/New_York"

    def due(stamp, due_day):
        table = frame({"required_ship_date": stamp})
        return ship_date_compliance(table, due_day=due_day, tz=zone)["due_at"].astype(str)[0]

    assert due(bare, "auto") == "2026-03-03 04:59:59+00:00"
    assert due(bare, "instant") == "2026-03-02 00:00:00+00:00"
    assert due(bare, "end") == "2026-03-03 04:59:59+00:00"
    assert due(timed, "auto") == "2026-03-02 03:00:00+00:00"
    # 03:00 UTC is the evening of the first of March there.
    assert due(timed, "end") == "2026-03-02 04:59:59+00:00"


def test_zones_by_warehouse():
    day = {"required_ship_date": "2026-03-02T00:00:00Z"}
    orders = frame(*({**day, "warehouse_id": key} for key in ("e", "t", "x", None)))
    zones = {"e": "America/New_York", "t": zoneinfo.ZoneInfo("Asia/Tokyo"), None: "UTC"}
    judged = ship_date_compliance(orders, tz=zones)
    ends = (judged["due_at"] + pd.Timedelta("1s")).dt.strftime("%d %H").tolist()
    assert ends == ["03 05", "02 15", "03 00", "03 00"]
    with pytest.raises(ValueError, match="no zone for 1 of the warehouses: 'x'"):
        ship_date_compliance(orders, tz={"e": "UTC", "t": "UTC"})


def test_an_order_without_a_warehouse_needs_no_zone_for_a_moment():
    orders = frame(
        {"required_ship_date": "2026-03-02T00:00:00Z", "warehouse_id": None},
        {"required_ship_date": "2026-03-02T01:00:00Z", "warehouse_id": None},
    )
    judged = ship_date_compliance(orders, tz={"e": "America/New_York"})
    assert judged["reason"][0] == "no time zone for warehouse"
    assert judged["outcome"].tolist() == ["not_evaluable", "late_open"]
    instant = ship_date_compliance(orders, tz={"e": "America/New_York"}, due_day="instant")
    assert instant["outcome"].tolist() == ["late_open", "late_open"]


def test_single_fields_are_a_policy_and_never_stand_beside_one():
    orders = frame({"required_ship_date": NOON}, {"status": "cancelled"})
    fields = {"tz": "Asia/Tokyo", "grace": "2h", "ship_event": "last", "due_day": "end"}
    loose = ship_date_compliance(orders, **fields)
    whole = ship_date_compliance(orders, SlaPolicy(**fields))
    pd.testing.assert_frame_equal(loose, whole)
    assert loose.attrs == whole.attrs
    assert SlaPolicy.from_json(whole.attrs["trackstar"]["compliance"]) == SlaPolicy(**fields)
    for name, value in fields.items():
        with pytest.raises(ValueError, match=rf"replace\(policy, {name}='{value}'\)"):
            ship_date_compliance(orders, SlaPolicy(), **{name: value})
    with pytest.raises(TypeError, match="policy is a str; pass an SlaPolicy, such as"):
        ship_date_compliance(orders, "2026-03-04")


def test_grace_moves_the_judgement_and_nothing_else():
    order = {"required_ship_date": "2026-03-04T09:00:00Z", "shipped": "2026-03-04T10:00:00Z"}
    strict = ship_date_compliance(frame(order))
    kind = ship_date_compliance(frame(order), grace=dt.timedelta(hours=1))
    assert (strict["outcome"][0], kind["outcome"][0]) == ("late_shipped", "on_time")
    assert strict["due_at"][0] == kind["due_at"][0]
    assert kind["lateness"][0] == pd.Timedelta("1h")


def test_lateness():
    due = {"required_ship_date": "2026-03-04T09:00:00Z"}
    orders = frame(
        due | {"shipped": "2026-03-04T07:00:00Z"},
        due | {"shipped": "2026-03-04T10:30:00Z"},
        due,
        {"required_ship_date": "2026-03-05T09:00:00Z"},
        {"shipped": "2026-03-04T07:00:00Z"},
    )
    late = ship_date_compliance(orders)["lateness"]
    assert (late[:3] / pd.Timedelta("1h")).tolist() == [-2, 1.5, 3]
    assert late[3:].isna().all()


@pytest.mark.parametrize(
    "as_of",
    [
        "2026-03-04 12:00",
        "2026-03-04T13:00:00+01:00",
        dt.datetime(2026, 3, 4, 12),  # noqa: DTZ001 (naive on purpose)
        dt.datetime(2026, 3, 4, 12, tzinfo=dt.UTC),
        pd.Timestamp("2026-03-04 07:00", tz="America/New_York"),
        np.datetime64("2026-03-04T12:00"),
        None,
    ],
)
def test_as_of_and_the_policy_are_recorded(as_of):
    orders = frame({"required_ship_date": NOON})
    orders.attrs["other"] = 1
    judged = ship_date_compliance(orders, as_of=as_of, tz={"w": "Asia/Tokyo"}, grace="90min")
    assert judged.attrs == {
        "other": 1,
        "trackstar": {
            "fetched_at": NOON,
            "compliance": {
                "as_of": "2026-03-04T12:00:00+00:00",
                "text": "Orders are due by their required ship date, a bare day until its end "
                "(warehouses' own time: Asia/Tokyo); shipped = complete; grace 1 h 30 min.",
                "name": "",
                "cut_off": None,
                "business_days": 0,
                "workdays": "Mon Tue Wed Thu Fri",
                "holidays": [],
                "clock_start": None,
                "due_day": "auto",
                "tz": {"w": "Asia/Tokyo"},
                "tz_default": None,
                "ship_event": "complete",
                "grace": "01:30:00",
                "exclude_statuses": [],
                "window": None,
                "target": None,
                "zone_data": judged.attrs["trackstar"]["compliance"]["zone_data"],
            },
        },
    }
    zone_data = judged.attrs["trackstar"]["compliance"]["zone_data"]
    assert zone_data is None or re.fullmatch(r"20\d\d[a-z]", zone_data)
    assert json.loads(json.dumps(judged.attrs)) == judged.attrs
    assert orders.attrs == {"other": 1, "trackstar": {"fetched_at": NOON}}


def test_an_unknown_as_of_is_now_with_a_warning():
    orders = frame({"required_ship_date": NOON}, fetched_at=None)
    with pytest.warns(UserWarning, match="pass as_of") as caught:
        judged = ship_date_compliance(orders)
    assert caught[0].filename == __file__
    as_of = pd.Timestamp(judged.attrs["trackstar"]["compliance"]["as_of"])
    assert abs(as_of - pd.Timestamp.now(tz="UTC")) < pd.Timedelta("1min")


def test_columns_and_index_are_kept():
    orders = frame(*[{"required_ship_date": NOON}] * 3).assign(mine=[1, 2, 3])
    orders.index = ["a", "a", "b"]
    before = orders.copy()
    judged = ship_date_compliance(orders)
    pd.testing.assert_frame_equal(orders, before)
    pd.testing.assert_frame_equal(judged[orders.columns], orders)
    added = ["due_at", "shipped_at", "outcome", "is_due", "lateness", "reason", "judged_by"]
    assert list(judged.columns) == [*orders.columns, *added]
    again = ship_date_compliance(judged)
    pd.testing.assert_frame_equal(again, judged)


@pytest.mark.parametrize("rows", [0, 1])
def test_types_do_not_depend_on_the_data(rows):
    judged = ship_date_compliance(frame(*[{}] * rows))
    assert str(judged["due_at"].dtype) == "datetime64[us, UTC]"
    assert str(judged["shipped_at"].dtype) == "datetime64[us, UTC]"
    assert str(judged["lateness"].dtype) == "timedelta64[us]"
    assert judged["reason"].dtype == pd.Series(["x"]).dtype
    assert judged["outcome"].cat.categories.tolist() == list(OUTCOMES)
    assert judged["outcome"].cat.ordered
    assert len(judged) == rows


def test_arrow_frames_and_plain_strings_come_out_the_same():
    orders = frame(
        {"required_ship_date": "2026-03-02T00:00:00Z", "warehouse_id": None},
        {"status": "cancelled", "required_ship_date": NOON, "shipped": NOON},
        {"status": "fulfilled", "required_ship_date": NOON, "shipped": NOON},
    )
    arrow = orders.astype(
        dict.fromkeys(DATES, "timestamp[us, tz=UTC][pyarrow]")
        | dict.fromkeys(["id", "status", "warehouse_id"], "string[pyarrow]")
    )
    zones = {"w": "Asia/Tokyo", None: "America/New_York"}
    expected = ship_date_compliance(orders, tz=zones)
    for table in (arrow, orders.astype({"status": object})):
        table.attrs = orders.attrs
        judged = ship_date_compliance(table, tz=zones)
        added = ["due_at", "shipped_at", "outcome", "is_due", "lateness", "reason", "judged_by"]
        pd.testing.assert_frame_equal(judged[added], expected[added])


@pytest.mark.parametrize(
    ("policy", "error", "message"),
    [
        ({"due_day": "ends"}, ValueError, "did you mean 'end'"),
        ({"due_day": 3}, TypeError, "pass a string"),
        ({"ship_event": "delivered"}, ValueError, "use one of 'first', 'last', 'complete'"),
        ({"tz": "America/New_Yrok"}, ValueError, "did you mean 'America/New_York'"),
        ({"tz": "America"}, ValueError, "not a time zone"),
        ({"tz": "../etc"}, ValueError, "not a time zone"),
        ({"tz": -5}, TypeError, "not a time zone"),
        ({"tz": {"w": "Nowhere"}}, ValueError, "not a time zone"),
        ({"tz": {7: "UTC"}}, TypeError, "key 7"),
        ({"tz": {}}, ValueError, "no zone for 1"),
        ({"grace": "-1h"}, ValueError, "zero or more"),
        ({"grace": "soon"}, ValueError, "write it like"),
        ({"grace": "90"}, ValueError, "no unit; write it like"),  # not nanoseconds
        ({"grace": 5}, TypeError, "pass a string such as"),
        ({"as_of": "yesterday-ish"}, ValueError, "write it like"),
        ({"as_of": "NaT"}, ValueError, "write it like"),
        ({"as_of": "03/04/2026"}, ValueError, "write it like"),
        ({"as_of": "2026-03-04-05:00"}, ValueError, "write it like"),
        ({"as_of": "10:00"}, ValueError, "write it like"),
        ({"as_of": 20260304}, TypeError, "not a moment"),
    ],
)
def test_a_bad_policy_is_refused(policy, error, message):
    with pytest.raises(error, match=message):
        ship_date_compliance(frame({"required_ship_date": NOON}), **policy)


@pytest.mark.parametrize(
    "text", ["2026-03-04 9:00", "2026-03-04 09:00 UTC", "20260304T09", "2026-03-04t11:00+02"]
)
def test_as_of_is_read_as_pandas_does_if_its_year_is_first(text):
    judged = ship_date_compliance(frame({"required_ship_date": NOON}), as_of=text)
    assert judged.attrs["trackstar"]["compliance"]["as_of"] == "2026-03-04T09:00:00+00:00"


def test_a_frame_that_does_not_fit_is_refused():
    orders = frame({"required_ship_date": NOON})
    with pytest.raises(TypeError, match="fetch_orders_df"):
        ship_date_compliance([{"id": 1}])
    with pytest.raises(ValueError, match="lacks 'created_date', 'complete_shipped_date'"):
        ship_date_compliance(orders.drop(columns=["created_date", "complete_shipped_date"]))
    with pytest.raises(ValueError, match="lacks 'warehouse_id'"):
        ship_date_compliance(orders.drop(columns="warehouse_id"), tz={"w": "UTC"})
    with pytest.raises(TypeError, match=r"'required_ship_date' is .*, not moments"):
        ship_date_compliance(orders.assign(required_ship_date=NOON))
    ship_date_compliance(
        orders.drop(columns=["id", "warehouse_id", "last_shipped_date"]), ship_event="first"
    )
