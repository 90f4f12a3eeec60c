from datetime import UTC, datetime

import pandas as pd
import pytest

from trackstar_frames import OrderFrames, SlaPolicy, compliance_rate, late_orders
from trackstar_frames import ship_date_compliance as judge
from trackstar_frames.measures._policies import JUDGED_BY
from trackstar_frames.sandbox import Sandbox

AS_OF = "2026-03-10T12:00:00Z"
DUE = {"required_ship_date": "2026-03-08T12:00:00Z", "created_date": "2026-03-01T12:00:00Z"}
COLUMNS = [
    *("id", "order_number", "warehouse_id", "warehouse_customer_id", "channel", "status"),
    *("outcome", "due_at", "due_local", "lateness"),
    *("units_ordered", "units_shipped", "units_left", "shipped_share"),
]


def shipment(units, at):
    return {"shipped_date": at, "line_items": [{"sku": "A", "quantity": units}]}


def order(name, *shipments, units=4, **fields):
    lines = [{"sku": "A", "quantity": units}]
    return {"id": name, **DUE, "line_items": lines, "shipments": list(shipments), **fields}


def orders(*given):
    frame = OrderFrames.from_json(list(given)).orders
    frame.attrs["trackstar"]["fetched_at"] = AS_OF
    return frame


SOME = [
    order("young", status="open", required_ship_date="2026-03-09T12:00:00Z"),
    order("part", shipment(3, "2026-03-09T12:00:00Z"), status="partially_fulfilled"),
    order("late", shipment(4, "2026-03-10T11:00:00Z"), status="fulfilled"),
    order("old", status="exception", required_ship_date="2026-03-01T12:00:00Z"),
    order("later", shipment(9, "2026-03-10T12:00:00Z"), status="fulfilled"),
    order("good", shipment(4, "2026-03-08T11:00:00Z"), status="fulfilled"),
    order("soon", status="open", required_ship_date="2026-03-11T12:00:00Z"),
    order("void", status="cancelled"),
]


def test_the_longest_overdue_come_first_and_say_where_they_stand():
    late = late_orders(orders(*SOME))
    assert list(late.columns) == COLUMNS
    assert late["id"].tolist() == ["old", "part", "young"]
    assert late["status"].tolist() == ["exception", "partially_fulfilled", "open"]
    assert (late["lateness"] / pd.Timedelta("1D")).tolist() == [9, 2, 1]
    assert late["units_ordered"].tolist() == [4, 4, 4]
    assert late["units_shipped"].tolist() == [0, 3, 0]
    assert late["units_left"].tolist() == [4, 1, 4]
    assert late["shipped_share"].tolist() == [0, 0.75, 0]
    assert set(late["outcome"]) == {"late_open"}
    assert late.index.equals(pd.RangeIndex(3))


def test_those_that_shipped_late_can_be_listed_below():
    late = late_orders(orders(*SOME), shipped=True)
    assert late["id"].tolist() == ["old", "part", "young", "later", "late"]
    assert late["units_left"].tolist()[3:] == [0, 0]
    assert late["units_shipped"].tolist()[3:] == [4, 4]


def test_the_list_tells_policy_as_of_and_its_length():
    policy = SlaPolicy(grace="30h", name="Ours")
    late = late_orders(orders(*SOME), policy=policy)
    assert late["id"].tolist() == ["old", "part"]
    info = late.attrs["trackstar"]["compliance"]
    assert SlaPolicy.from_json(info) == policy
    assert (info["text"], info["n"]) == (policy.text, 2)
    assert pd.Timestamp(info["as_of"]) == pd.Timestamp(AS_OF)


def test_judged_frames_keep_their_policy_and_are_listed_alike():
    policy = SlaPolicy.late_shipment_rate(window="2D")
    judged = judge(orders(*SOME), policy)
    expected = late_orders(orders(*SOME), policy=policy)
    for late in (late_orders(judged), late_orders(judged, policy=policy, as_of=AS_OF)):
        pd.testing.assert_frame_equal(late, expected)
        assert late.attrs == expected.attrs
    with pytest.raises(ValueError, match="judged already, by another policy: 'Late shipment"):
        late_orders(judged, policy=SlaPolicy())
    with pytest.raises(ValueError, match="by this policy, but as of 2026-03-10T12:00:00"):
        late_orders(judged, as_of="2026-03-11T00:00")
    some = late_orders(judged[judged["id"] == "young"])
    assert some["id"].tolist() == ["young"]
    judged.attrs = {}
    pd.testing.assert_frame_equal(late_orders(judged), expected)
    judged = judged.drop(columns=JUDGED_BY)
    with pytest.raises(ValueError, match="lost its policy"):
        late_orders(judged)


def test_the_due_time_is_also_that_on_the_warehouses_wall():
    day = {"required_ship_date": "2026-03-09T00:00:00Z", "status": "open"}
    rows = [order(key, warehouse_id=key, **day) for key in ("e", "t")]
    zones = {"e": "America/New_York", "t": "Asia/Tokyo"}
    late = late_orders(orders(*rows), policy=SlaPolicy(tz=zones))
    assert late["id"].tolist() == ["t", "e"]
    assert late["due_local"].tolist() == [pd.Timestamp("2026-03-09T23:59:59")] * 2
    assert str(late["due_local"].dtype) == "datetime64[us]"


def test_an_earlier_moment_can_be_asked_about():
    late = late_orders(orders(*SOME), as_of="2026-03-08T13:00:00Z")
    assert late["id"].tolist() == ["old", "late", "later", "part"]
    assert late["units_left"].tolist() == [4, 4, 4, 4]
    between = order("two", shipment(1, "2026-03-07T12:00:00Z"), shipment(3, "2026-03-09T12:00:00Z"))
    late = late_orders(orders(between), as_of="2026-03-08T13:00:00Z")
    assert late[["units_shipped", "units_left", "shipped_share"]].isna().all(axis=None)
    assert late["units_ordered"].tolist() == [4]


def test_units_left_are_those_of_each_sku():
    lines = [{"sku": "A", "quantity": 5}, {"sku": "B", "quantity": 5}]
    sent = shipment(8, "2026-03-08T11:00:00Z")
    late = late_orders(orders(order("a", sent, status="open") | {"line_items": lines}))
    assert late[["units_ordered", "units_shipped", "units_left"]].to_numpy().tolist() == [
        [10, 5, 5]
    ]


@pytest.mark.parametrize("quantity", [None, 1.5])
def test_an_open_order_of_unknown_quantity_stays_in_the_list(quantity):
    lines = [{"sku": "A", "quantity": 1}, {"sku": "B", "quantity": quantity}]
    odd = {"line_items": lines, "status": "partially_fulfilled"}
    sent = shipment(1, "2026-03-08T11:00:00Z")
    late = late_orders(orders(*SOME[:1], order("a", sent) | odd))
    assert late["id"].tolist() == ["a", "young"]
    assert late["outcome"].tolist() == ["not_evaluable", "late_open"]
    assert late["lateness"][0] == pd.Timedelta("2D")
    assert late[["units_ordered", "units_left"]].iloc[0].isna().all()
    for change in ({"status": "fulfilled"}, {"status": "cancelled"}, {"required_ship_date": AS_OF}):
        assert late_orders(orders(order("a", sent) | odd | change)).empty


def test_labels_name_warehouses_and_customers():
    one = order("a", status="open", warehouse_id="w", warehouse_customer_id="c")
    late = late_orders(orders(one), labels={"w": "Newark", "c": "Acme", "a": "no id is named"})
    assert late[["id", "warehouse_id", "warehouse_customer_id"]].iloc[0].tolist() == [
        *("a", "Newark", "Acme")
    ]


def test_an_order_of_nothing_has_no_share():
    late = late_orders(orders(order("none", units=0, status="open")))
    assert late["units_left"].tolist() == [0]
    assert late["shipped_share"].isna().all()


@pytest.mark.parametrize("rows", [[], [SOME[5]], SOME])
def test_types_do_not_depend_on_the_data(rows):
    late = late_orders(orders(*rows), shipped=True)
    full = orders(*SOME)
    assert list(late.columns) == COLUMNS
    for name in ("id", "order_number", "warehouse_id", "channel", "status"):
        assert late[name].dtype == full[name].dtype
    kinds = ["datetime64[us, UTC]", "datetime64[us]", "timedelta64[us]", *["Int64"] * 3, "float64"]
    assert late.dtypes.iloc[7:].astype(str).tolist() == kinds


def test_the_list_is_as_long_as_the_count_says():
    with Sandbox(orders=350, seed=7, now=datetime(2026, 3, 4, 12, tzinfo=UTC)) as sandbox:
        frame = OrderFrames.from_json(sandbox.orders).orders
    as_of = frame["created_date"].quantile(0.7)
    for policy in (SlaPolicy(), SlaPolicy.d2c_noon_cut_off(), SlaPolicy.b2b_four_business_days()):
        rates = compliance_rate(frame, policy=policy, as_of=as_of)
        late = late_orders(frame, policy=policy, as_of=as_of, shipped=True)
        counts = late["outcome"].value_counts()
        assert counts["late_open"] == rates["late_open"][0] > 0
        assert counts["late_shipped"] == rates["late_shipped"][0] > 0
        open_ones = late[late["outcome"] == "late_open"]
        assert open_ones["lateness"].is_monotonic_decreasing
        assert late["outcome"].tolist()[: len(open_ones)] == ["late_open"] * len(open_ones)


def test_bad_arguments_are_refused():
    with pytest.raises(TypeError, match="pass the DataFrame of fetch_orders_df"):
        late_orders("orders")
    with pytest.raises(ValueError, match="lacks 'order_number'"):
        late_orders(orders(*SOME).drop(columns="order_number"))
    with pytest.raises(TypeError, match="policy is a map, and policy_by=None is no column"):
        late_orders(orders(*SOME), policy={"grace": "2h"})


def test_an_unknown_as_of_is_now_and_the_warning_points_here():
    frame = orders(*SOME)
    frame.attrs = {}
    with pytest.warns(UserWarning, match="pass as_of") as caught:
        assert "soon" in late_orders(frame)["id"].tolist()
    assert [each.filename for each in caught] == [__file__]
