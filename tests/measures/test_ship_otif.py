import json

import pandas as pd
import pytest

import trackstar_frames as tf
from trackstar_frames import OrderFrames, compliance_rate, ship_date_compliance, ship_otif

DUE = "2026-03-02T00:00:00Z"
DAY = "2026-03-02T12:00:00Z"
LATER = "2026-03-03T12:00:00Z"
AS_OF = "2026-03-06"
COUNTS = ["n", "otif", "on_time", "in_full", "short", "pending", "not_evaluable"]
COLUMNS = [*COUNTS, "rate", "rate_low", "rate_high", "small"]


def lines(*pairs, **more):
    return [{"sku": sku, "quantity": quantity, **more} for sku, quantity in pairs]


def shipment(*pairs, at=DAY, **more):
    return {"shipped_date": at, "line_items": lines(*pairs), **more}


def order(*shipments, ordered=(("A", 2), ("B", 1)), **more):
    due = {"required_ship_date": DUE, "status": "fulfilled"}
    return due | {"line_items": lines(*ordered), "shipments": list(shipments), **more}


def frames(*orders, backend=None):
    named = [{"id": f"{number:03}"} | each for number, each in enumerate(orders)]
    return OrderFrames.from_json(named, dtype_backend=backend)


def counted(*orders, as_of=AS_OF, **policy):
    row = ship_otif(frames(*orders), as_of=as_of, **policy).iloc[0]
    return {name: int(row[name]) for name in COUNTS if row[name]}


FULL = {"n": 1, "otif": 1, "on_time": 1, "in_full": 1}


def test_in_full_by_the_due_time_is_otif():
    assert counted(order(shipment(("A", 2), ("B", 1)))) == FULL
    assert counted(order(shipment(("A", 2)), shipment(("B", 1)))) == FULL
    assert counted(order(shipment(("A", 9), ("B", 1)))) == FULL


def test_what_ships_in_part_late_or_not_at_all_is_not():
    late = order(shipment(("A", 2)), shipment(("B", 1), at=LATER))
    assert counted(late) == {"n": 1}
    assert counted(order(shipment(("A", 2)), status="partially_fulfilled")) == {"n": 1}
    assert counted(order(status="open")) == {"n": 1}
    void = shipment(("A", 2), ("B", 1), status="cancelled")
    assert counted(order(void, status="open")) == {"n": 1}


def test_the_right_number_of_the_wrong_goods_is_on_time_but_not_in_full():
    assert counted(order(shipment(("A", 3)))) == {"n": 1, "on_time": 1}
    assert counted(order(shipment(("A", 2), ("Z", 1)))) == {"n": 1, "on_time": 1}


def test_one_fulfilled_short_has_failed_unless_the_rest_may_have_shipped():
    assert counted(order(shipment(("A", 2)))) == {"n": 1, "short": 1}
    undated = shipment(("B", 1), at=None)
    assert counted(order(shipment(("A", 2)), undated)) == {"not_evaluable": 1}
    void = shipment(("B", 1), at=None, status="cancelled")
    assert counted(order(shipment(("A", 2)), void)) == {"n": 1, "short": 1}


def test_orders_that_are_not_due_or_cannot_be_judged_are_not_in_n():
    assert counted(order(status="open"), as_of="2026-03-01") == {"pending": 1}
    never = [order(status="cancelled"), order(required_ship_date=None)]
    nothing = [order(shipment(("A", 1)), ordered=each) for each in ((), [("A", 0)])]
    assert counted(*never, *nothing) == {"not_evaluable": 4}
    assert counted(order(created_date=LATER), as_of=DUE) == {"not_evaluable": 1}


def test_any_past_moment_can_be_evaluated():
    sent = order(shipment(("A", 2)), shipment(("B", 1), at="2026-03-02T18:00:00Z"))
    assert counted(sent, as_of=DAY) == {"pending": 1}
    assert counted(sent, as_of="2026-03-02T18:00:00Z") == FULL
    mended = order(shipment(("A", 3)), shipment(("B", 1), at="2026-03-02T18:00:00Z"))
    assert counted(mended, as_of=DAY) == {"n": 1, "on_time": 1}
    assert counted(mended) == FULL


def test_grace_and_the_reading_of_days_move_the_limit():
    sent = order(shipment(("A", 2), ("B", 1), at=LATER))
    assert counted(sent, grace="12h") == {"n": 1}
    assert counted(sent, grace="13h") == FULL
    assert counted(order(shipment(("A", 2), ("B", 1))), due_day="instant") == {"n": 1}
    night = order(shipment(("A", 2), ("B", 1), at="2026-03-03T04:00:00Z"))
    assert counted(night) == {"n": 1}
    assert counted(night, tz="America/New_York") == FULL


def test_periods_are_those_of_the_compliance_rate(some_orders):
    made = OrderFrames.from_json(some_orders)
    policy = {"as_of": "2026-07-01", "tz": "America/New_York", "due_day": "end", "grace": "2h"}
    compliance = ship_date_compliance(made.orders, **policy)
    for by, freq in [(None, "D"), ("channel", "W"), (["type", "warehouse_id"], "MS")]:
        table = ship_otif(made, by, freq, **policy)
        rates = compliance_rate(compliance, by, freq)
        pd.testing.assert_index_equal(table.index, rates.index)
        assert (table["n"] - table["short"]).tolist() == rates["n"].tolist()
        assert table["on_time"].tolist() == rates["on_time"].tolist()
        assert table["pending"].tolist() == rates["pending"].tolist()
        assert (table["n"] + table["pending"] + table["not_evaluable"]).sum() == len(some_orders)
        assert table.attrs == compliance.attrs
    assert 0 < table["otif"].sum() <= table["on_time"].sum()


def test_rates_have_their_interval_and_are_null_over_nothing():
    done = order(shipment(("A", 2), ("B", 1)), channel="web")
    some = [*[done] * 15, *[order(status="open", channel="web")] * 133, order(status="cancelled")]
    table = ship_otif(frames(*some), "channel", as_of=AS_OF)
    web = table.loc["web"]
    assert web["rate"] == 15 / 148
    # From Newcombe (1998), table I.
    assert web[["rate_low", "rate_high"]].tolist() == pytest.approx([0.0624, 0.1605], abs=6e-5)
    assert pd.isna(table.index[1])
    assert table.iloc[1][["rate", "rate_low", "rate_high"]].isna().all()


@pytest.mark.parametrize("backend", [None, "pyarrow"])
@pytest.mark.parametrize(("by", "freq"), [(None, None), ("channel", None), (["type"], "W")])
def test_empty_frames_keep_columns_and_types(backend, by, freq):
    table = ship_otif(frames(backend=backend), by, freq, as_of=AS_OF)
    assert list(table.columns) == COLUMNS
    assert len(table) == (by is None)
    assert (table[COUNTS].dtypes == "int64").all()
    assert (table.drop(columns=[*COUNTS, "small"]).dtypes == "float64").all()
    assert table["small"].dtype == "bool"
    assert table["rate"].isna().all()


def test_the_policy_is_carried():
    table = ship_otif(frames(order()), as_of="2026-03-06T12:00", grace="2h", tz="Asia/Tokyo")
    policy = table.attrs["trackstar"]["compliance"]
    assert policy["as_of"] == "2026-03-06T12:00:00+00:00"
    assert (policy["grace"], policy["tz"], policy["ship_event"]) == (
        "02:00:00",
        "Asia/Tokyo",
        "complete",
    )
    assert json.loads(json.dumps(table.attrs)) == table.attrs


def test_as_of_is_when_the_data_were_fetched_or_now_with_a_warning(shared_sandbox):
    fetched = tf.fetch_orders(client=shared_sandbox.client(), limit=50)
    info = ship_otif(fetched).attrs["trackstar"]
    assert pd.Timestamp(info["compliance"]["as_of"]) == pd.Timestamp(info["fetched_at"])
    with pytest.warns(UserWarning, match="do not say when they were fetched") as caught:
        ship_otif(frames(order()))
    assert [each.filename for each in caught] == [__file__]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"by": "chanel"}, ValueError, "did you mean 'channel'"),
        ({"freq": "weekly"}, ValueError, "use one of 'D', 'W'"),
        ({"as_of": "soon"}, ValueError, "as_of='soon' is not a moment"),
        ({"due_day": "noon"}, ValueError, "due_day='noon'"),
        ({"tz": "Mars"}, ValueError, "tz='Mars' is not a time zone"),
        ({"tz": {"w": "UTC"}}, ValueError, "tz has no zone for 1 of the warehouses: 'x'"),
        ({"grace": "-1h"}, ValueError, "zero or more"),
    ],
)
def test_bad_arguments_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        ship_otif(frames(order(warehouse_id="x")), **{"as_of": AS_OF} | arguments)


def test_orders_alone_are_refused():
    with pytest.raises(TypeError, match="pass the OrderFrames of fetch_orders"):
        ship_otif(frames(order()).orders)
