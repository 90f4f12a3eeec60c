import json

import pandas as pd
import pytest

import trackstar_frames as tf
from trackstar_frames import OrderFrames, SlaPolicy, compliance_rate, ship_otif

DUE = "2026-03-02T00:00:00Z"
DAY = "2026-03-02T12:00:00Z"
LATER = "2026-03-03T12:00:00Z"
AS_OF = "2026-03-06"
COUNTS = ["n", "otif", "on_time", "in_full", "short", "early", "pending", "not_evaluable"]
AMOUNTS = ["lines", "lines_filled", "units", "units_filled"]
COLUMNS = [
    *COUNTS,
    *("rate", "rate_low", "rate_high", "on_time_rate", "in_full_rate", "small"),
    *("lines", "lines_filled", "line_rate", "units", "units_filled", "unit_rate"),
]


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


def amounts(*orders, as_of=AS_OF, **policy):
    return ship_otif(frames(*orders), as_of=as_of, **policy)[AMOUNTS].iloc[0].tolist()


FULL = {"n": 1, "otif": 1, "on_time": 1, "in_full": 1}


def test_in_full_by_the_due_time_is_otif():
    assert counted(order(shipment(("A", 2), ("B", 1)))) == FULL
    assert counted(order(shipment(("A", 2)), shipment(("B", 1)))) == FULL
    assert counted(order(shipment(("A", 9), ("B", 1)))) == FULL


def test_shipped_whole_six_days_late_is_in_full_and_not_on_time():
    late = order(shipment(("A", 2), ("B", 1), at="2026-03-08T12:00:00Z"))
    assert counted(late, as_of="2026-03-12") == {"n": 1, "in_full": 1}
    # By then it was neither.
    assert counted(late, as_of="2026-03-07") == {"n": 1}
    assert amounts(late, as_of="2026-03-12") == [2, 0, 3, 0]


def test_what_ships_in_part_or_not_at_all_is_neither():
    assert counted(order(shipment(("A", 2)), status="partially_fulfilled")) == {"n": 1}
    assert counted(order(status="open")) == {"n": 1}
    void = shipment(("A", 2), ("B", 1), status="cancelled")
    assert counted(order(void, status="open")) == {"n": 1}


def test_the_right_number_of_the_wrong_goods_is_neither():
    assert counted(order(shipment(("A", 3)), status="open")) == {"n": 1}
    assert counted(order(shipment(("A", 2), ("Z", 1)))) == {"n": 1, "short": 1}


def test_lines_and_units_go_by_what_had_shipped_by_the_due_time():
    half = order(shipment(("A", 2)), shipment(("B", 1), at=LATER))
    assert counted(half) == {"n": 1, "in_full": 1}
    assert amounts(half) == [2, 1, 3, 2]
    assert amounts(half, grace="1D") == [2, 2, 3, 3]
    over = order(shipment(("A", 1), ("B", 7)), status="open")
    assert amounts(half, over) == [4, 2, 6, 4]
    pending = order(shipment(("A", 1)), status="open", required_ship_date="2026-04-01T00:00:00Z")
    assert amounts(pending, order(status="cancelled")) == [0, 0, 0, 0]


def test_with_the_first_shipment_an_order_may_be_on_time_and_not_in_full():
    part = order(shipment(("A", 2)), status="partially_fulfilled")
    assert counted(part, ship_event="first") == {"n": 1, "on_time": 1}
    rest = order(shipment(("A", 2)), shipment(("B", 1), at=LATER))
    assert counted(rest, ship_event="first") == FULL
    assert amounts(rest, ship_event="first") == [2, 1, 3, 2]


def test_orders_closed_short_have_failed():
    assert counted(order(shipment(("A", 2)))) == {"n": 1, "short": 1}
    assert counted(order(shipment(("A", 2), at=LATER))) == {"n": 1}


def test_orders_that_are_not_due_or_cannot_be_judged_are_not_in_n():
    assert counted(order(status="open"), as_of="2026-03-01") == {"pending": 1}
    early = order(shipment(("A", 2), ("B", 1)), required_ship_date="2026-03-30T00:00:00Z")
    assert counted(early) == {"early": 1}
    never = [order(status="cancelled"), order(required_ship_date=None)]
    unknown = order(shipment(("A", 1)), ordered=[("A", 1), ("B", None)])
    assert counted(*never, unknown) == {"not_evaluable": 3}
    assert counted(order(created_date=LATER), as_of=DUE) == {"not_evaluable": 1}


def test_orders_of_several_policies_are_judged_together():
    sent = shipment(("A", 2), ("B", 1), at=LATER)
    some = frames(order(sent, type="b2b"), order(sent, type="d2c"))
    policies = {"b2b": SlaPolicy(grace="1D"), "d2c": SlaPolicy()}
    table = ship_otif(
        some, by="type", policy=policies, policy_by="type", as_of=AS_OF, labels={"b2b": "Trade"}
    )
    assert table.index.tolist() == ["Trade", "d2c"]
    assert table["otif"].tolist() == [1, 0]
    assert table["units_filled"].tolist() == [3, 0]


def test_grace_and_the_reading_of_days_move_the_limit():
    sent = order(shipment(("A", 2), ("B", 1), at=LATER))
    late = {"n": 1, "in_full": 1}
    assert counted(sent, grace="12h") == late
    assert counted(sent, grace="13h") == FULL
    assert counted(order(shipment(("A", 2), ("B", 1))), due_day="instant") == late
    night = order(shipment(("A", 2), ("B", 1), at="2026-03-03T04:00:00Z"))
    assert counted(night) == late
    assert counted(night, tz="America/New_York") == FULL


def test_periods_and_counts_are_those_of_the_compliance_rate(some_orders):
    made = OrderFrames.from_json(some_orders)
    policy = SlaPolicy(tz="America/New_York", due_day="end", grace="2h")
    for by, freq in [(None, None), (None, "D"), ("channel", "W"), (["type", "status"], "MS")]:
        given = {"by": by, "freq": freq, "policy": policy, "as_of": "2026-07-01"}
        table, rates = ship_otif(made, **given), compliance_rate(made.orders, **given)
        pd.testing.assert_index_equal(table.index, rates.index)
        shared = [name for name in table.columns if name in rates and name != "in_full"]
        # Those on time are in full, by one rule: the rates, and their intervals, are equal.
        pd.testing.assert_frame_equal(table[shared], rates[shared])
        assert {"n", "early", "rate_low", "small", *(["final"] if freq else [])} <= {*shared}
        assert table.attrs == rates.attrs
    assert 0 < table["otif"].sum() < table["in_full"].sum() <= table["n"].sum()


@pytest.mark.parametrize("backend", [None, "pyarrow"])
@pytest.mark.parametrize(("by", "freq"), [(None, None), ("channel", None), (["type"], "W")])
def test_empty_frames_keep_columns_and_types(backend, by, freq):
    table = ship_otif(frames(backend=backend), by=by, freq=freq, as_of=AS_OF)
    assert list(table.columns) == [*COLUMNS, *(["final", "covered"] if freq else [])]
    assert len(table) == (by is None)
    assert (table[[*COUNTS, *AMOUNTS]].dtypes == "int64").all()
    rates = [name for name in COLUMNS if "rate" in name]
    assert (table[rates].dtypes == "float64").all()
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
    fetched = tf.fetch_orders(client=shared_sandbox.client())
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
