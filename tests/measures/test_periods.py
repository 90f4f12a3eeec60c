"""Rates of orders by when they were created: which periods are final, and which are covered."""

import pandas as pd
import pytest
from pandas.testing import assert_index_equal

import trackstar_frames as tf
from trackstar_frames import OrderFrames

DAYS = pd.date_range("2026-02-02", "2026-03-01", tz="UTC")
WEEKS = ["2026-02-02", "2026-02-09", "2026-02-16", "2026-02-23"]
NEW_YORK = tf.SlaPolicy(tz="America/New_York")
LINES = [{"sku": "A", "quantity": 2}]


def order(day, **changes):
    """An order of a day that ships on the next one, until 25 February."""
    shipped = day + pd.Timedelta(hours=30)
    is_shipped = shipped < pd.Timestamp("2026-02-26", tz="UTC")
    sent = [{"shipped_date": shipped.isoformat(), "line_items": LINES, "packages": [{}]}]
    return {
        "id": f"{day:%m-%d}",
        "status": "fulfilled" if is_shipped else "open",
        "created_date": (day + pd.Timedelta(hours=8)).isoformat(),
        "required_ship_date": (day + pd.Timedelta(days=2)).isoformat(),
        "line_items": LINES,
        "shipments": sent if is_shipped else [],
        **changes,
    }


def frames_of(filters=None, **changes):
    frames = OrderFrames.from_json([order(day, **changes) for day in DAYS])
    for name in frames.to_arrow():
        getattr(frames, name).attrs["trackstar"] = {"filters": filters or {}}
    return frames


MEASURES = {
    "fill_rates": tf.fill_rates,
    "fill_rates, shipped": lambda frames, **given: tf.fill_rates(frames, of="shipped", **given),
    "cycle_time": lambda frames, **given: tf.cycle_time(frames.orders, **given),
    "failure_rates": lambda frames, **given: tf.failure_rates(frames.orders, **given),
    "service_profile": tf.service_profile,
}
EACH = pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES)


@EACH
def test_a_period_is_final_when_it_is_over_and_nothing_is_open(measure):
    table = measure(frames_of(), freq="W", as_of="2026-03-03T12:00Z")
    assert table.index.tolist() == [pd.Timestamp(week) for week in WEEKS]
    assert table.index.name == "period"
    assert table["final"].tolist() == [True, True, True, False]
    # In the middle of a week; its orders, and those of later, are none of a period that is over.
    table = measure(frames_of(), freq="W", as_of="2026-02-20T12:00Z")
    assert table["final"].tolist() == [True, True, False]
    # Sunday ends later in New York.
    for as_of, over in (("2026-02-23T03:00Z", 2), ("2026-02-25T12:00Z", 3)):
        final = measure(frames_of(), freq="W", policy=NEW_YORK, as_of=as_of)["final"]
        assert final.sum() == over


def test_a_profile_is_final_when_48_hours_have_passed_for_each_order():
    for as_of, over in (("2026-02-24T07:59Z", 2), ("2026-02-24T08:00Z", 3)):
        table = tf.service_profile(frames_of(), freq="W", as_of=as_of)
        assert table["final"].sum() == over
    fill = tf.fill_rates(frames_of(), freq="W", as_of="2026-02-24T07:59Z")
    assert fill["final"].sum() == 3


@pytest.mark.one_of(6)
@pytest.mark.filterwarnings("ignore::trackstar_frames.FilteredOrdersWarning")
@pytest.mark.parametrize(
    ("name", "value", "covered"),
    [
        ("created_date__gte", "2026-02-09", [False, True, True, True]),
        ("created_date__gt", "2026-02-09", [False, False, True, True]),
        ("created_date[gte]", "2026-02-09T00:00:01Z", [False, False, True, True]),
        ("created_date__lte", "2026-02-15", [True, True, False, False]),
        ("created_date__lt", "2026-02-15", [True, False, False, False]),
        ("created_date__lt", "2026-03-20", [True, True, True, True]),  # after as_of
        ("required_ship_date__gte", "2026-02-09", [False] * 4),
        ("required_ship_date__lt", "2026-03-20", [False] * 4),
        ("type", "d2c", [True] * 4),
    ],
)
@EACH
def test_periods_beyond_the_bounds_of_a_fetch_are_not_covered(measure, name, value, covered):
    table = measure(frames_of({name: value}), freq="W", as_of="2026-03-03T12:00Z")
    assert table["covered"].tolist() == covered
    assert "covered" not in measure(frames_of({name: value}), as_of="2026-03-03T12:00Z")


@EACH
def test_every_group_has_every_period_and_an_order_of_later_makes_none(measure):
    days = [DAYS[0], DAYS[20]]
    orders = [order(day, channel=name) for day, name in zip(days, ("web", "edi"), strict=True)]
    orders.append(order(pd.Timestamp("2026-04-01", tz="UTC"), channel="web"))
    orders.append(order(DAYS[3], id="x", created_date=None, channel="web"))
    frames = OrderFrames.from_json(orders)
    table = measure(frames, by="channel", freq="W", as_of="2026-03-03")
    periods = [pd.Timestamp(week) for week in WEEKS[:3]]
    assert table.index.tolist() == [(name, each) for name in ("edi", "web") for each in periods]
    assert table.iloc[:, 0].tolist() == [0, 0, 1, 1, 0, 0]


@EACH
def test_a_period_is_one_of_the_calendar_in_the_zone(measure):
    late = order(DAYS[0], created_date="2026-02-09T03:00:00Z")
    frames = OrderFrames.from_json(late)
    given = {"freq": "W", "as_of": "2026-03-03T12:00Z"}
    assert measure(frames, **given).index[0] == pd.Timestamp("2026-02-09")
    assert measure(frames, policy=NEW_YORK, **given).index[0] == pd.Timestamp("2026-02-02")
    policies = {"policy": {"b2b": tf.SlaPolicy(), None: NEW_YORK}, "policy_by": "type"}
    assert measure(frames, **policies, **given).index[0] == pd.Timestamp("2026-02-02")
    zones = tf.SlaPolicy(tz={"w": "America/New_York", None: "UTC"})
    assert measure(frames, policy=zones, **given).index[0] == pd.Timestamp("2026-02-09")


@EACH
def test_wrong_periods_are_refused(measure):
    with pytest.raises(ValueError, match="freq='hour' is not allowed"):
        measure(frames_of(), freq="hour", as_of="2026-03-03")
    with pytest.raises(ValueError, match=r"by='period': the result has a 'period' of its own"):
        measure(with_period(), by="period", as_of="2026-03-03")
    with pytest.raises(TypeError, match="policy_by=None is no column"):
        measure(frames_of(), policy={None: NEW_YORK}, as_of="2026-03-03")


def with_period():
    frames = frames_of()
    frames.orders["period"] = 1
    return frames


@EACH
def test_no_orders_have_no_periods(measure):
    frames = OrderFrames.from_json([])
    full, none = (measure(each, freq="D", as_of="2026-03-03") for each in (frames_of(), frames))
    assert none.empty
    assert none.columns.tolist() == full.columns.tolist()
    assert none.dtypes.tolist() == full.dtypes.tolist()


@pytest.mark.filterwarnings("ignore::trackstar_frames.FilteredOrdersWarning")
@pytest.mark.parametrize(
    "filters",
    [{}, {"created_date__gte": "2026-02-06"}, {"required_ship_date__lte": "2026-02-22"}],
)
def test_those_due_are_in_the_periods_of_compliance(filters):
    frames = frames_of(filters)
    for as_of in ("2026-02-20T12:00Z", "2026-03-03"):
        given = {"freq": "W", "policy": NEW_YORK, "as_of": as_of}
        table = tf.fill_rates(frames, of="due", **given)
        rates = tf.compliance_rate(frames.orders, **given)
        assert_index_equal(table.index, rates.index)
        assert table["orders"].tolist() == rates["n"].tolist()
        assert table["covered"].tolist() == rates["covered"].tolist()
    # Overdue orders that have not shipped may still be filled.
    assert rates["final"].tolist() == [True, True, True, True, False]
    assert table["final"].tolist() == [True, True, True, False, False]


def test_rates_of_days_that_differ_have_wider_intervals():
    days = [DAYS[number // 50] for number in range(200)]
    orders = [
        order(day, id=f"{number}", status="cancelled" if number < 50 else "open", shipments=[])
        for number, day in enumerate(days)
    ]
    frames = OrderFrames.from_json(orders)
    row = tf.failure_rates(frames.orders, as_of="2026-03-03").loc[0]
    # All of one day and none of three: the variance over days is 4 / 3 * (37.5^2 + 3 * 12.5^2)
    # / 200^2 = 1 / 16, that of 3 independent orders; t of 3 degrees of freedom is 3.1824.
    assert row["cancelled_rate"] == pytest.approx(0.25)
    assert row["cancelled_rate_low"] == pytest.approx(0.0164, abs=1e-4)
    assert row["cancelled_rate_high"] == pytest.approx(0.8693, abs=1e-4)
    assert not row["small"]
    few = tf.failure_rates(frames.orders[:150], as_of="2026-03-03").loc[0]
    assert few["created"] == 150
    assert few["small"]
