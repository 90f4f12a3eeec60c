"""Judged frames after what analysts do to them: the same figures, or a line that helps."""

import io
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import trackstar_frames as tf
from trackstar_frames import OrderFrames, SlaPolicy

AS_OF = "2026-03-12T00:00:00Z"
POLICY = SlaPolicy(tz="America/New_York", target=0.9)
POLICIES = {
    "d2c": POLICY,
    "b2b": SlaPolicy(tz="Asia/Tokyo", ship_event="first", grace="6h", target=0.8),
    None: SlaPolicy(due_day="end", target=0.7),
}


def order(number):
    line = [{"sku": "A", "quantity": 1 + number % 2}]
    sent = {"shipped_date": f"2026-03-{3 + number % 8:02}T0{number % 10}:30:00Z"}
    return {
        "id": f"o{number}",
        "status": ["open", "fulfilled", "picked", "partially_fulfilled", "cancelled"][number % 5],
        "type": ["d2c", "b2b", None][number % 3],
        "warehouse_id": ["w1", "w2"][number % 2],
        "created_date": f"2026-03-{1 + number % 7:02}T08:00:00Z",
        "updated_date": f"2026-03-{4 + number % 7:02}T08:00:00Z",
        "required_ship_date": f"2026-03-{2 + number % 12:02}T0{number % 4}:00:00Z",
        "line_items": line,
        "shipments": [sent | {"line_items": [{"sku": "A", "quantity": 1}]}] if number % 4 else [],
    }


ORDERS = OrderFrames.from_json([order(number) for number in range(60)]).orders
MEASURES = {
    "compliance_rate": lambda judged: tf.compliance_rate(judged, freq="W"),
    "late_orders": tf.late_orders,
    "due_next": tf.due_next,
    "sla_scorecard": lambda judged: tf.sla_scorecard(judged, policy=None),
    "failure_rates": tf.failure_rates,
    "failure_rates by week": lambda judged: tf.failure_rates(judged, freq="W"),
    "status_mix": lambda judged: tf.status_mix(judged, freq="D"),
    "backlog": tf.backlog,
}
each_measure = pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES)
each_policy = pytest.mark.parametrize(
    "by", [{"policy": POLICY}, {"policy": POLICIES, "policy_by": "type"}], ids=["one", "several"]
)


def through_parquet(judged):
    file = io.BytesIO()
    judged.to_parquet(file)
    return pd.read_parquet(file)


def without_attrs(judged):
    judged = judged.copy()
    judged.attrs = {}
    return judged


CHANGES = {
    "concat": lambda judged: pd.concat([judged[:20], judged[20:].assign(more=1)]),
    "merge": lambda judged: pd.DataFrame({"id": judged["id"], "x": 1}).merge(judged),
    "apply": lambda judged: judged.groupby("warehouse_id", group_keys=False)[
        list(judged.columns)
    ].apply(lambda group: group),
    "parquet": through_parquet,
    "texts": lambda judged: judged.astype({"outcome": str, "judged_by": str}).astype(
        {"outcome": judged["outcome"].dtype}
    ),
    "attrs dropped": without_attrs,
    "judged_by dropped": lambda judged: judged.drop(columns="judged_by"),
    "index": lambda judged: judged.set_index(np.arange(len(judged)) % 7),
    "naive": lambda judged: judged.assign(due_at=judged["due_at"].dt.tz_localize(None)),
}


@pytest.mark.one_of(7)
@each_measure
@each_policy
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_changed_frame_has_the_same_figures(change, by, measure):
    judged = tf.ship_date_compliance(ORDERS, **by, as_of=AS_OF)
    found, expected = (measure(frame.sort_values("id")) for frame in (change(judged), judged))
    pd.testing.assert_frame_equal(found, expected, check_index_type=False, check_dtype=False)
    texts = [each.attrs["trackstar"]["compliance"]["text"] for each in (found, expected)]
    # Policies that are read from a column are sorted by their values.
    assert len({tuple(sorted(text.strip(".").split(". "))) for text in texts}) == 1


@pytest.mark.one_of(2)
@each_measure
def test_a_renamed_column_of_policies_is_not_needed(measure):
    judged = tf.ship_date_compliance(ORDERS, POLICIES, policy_by="type", as_of=AS_OF)
    renamed = judged.rename(columns={"type": "Kind"})
    if measure is MEASURES["sla_scorecard"]:
        with pytest.raises(ValueError, match=r"each value of 'type' has a target.*lost this col"):
            measure(renamed)
    else:
        pd.testing.assert_frame_equal(measure(renamed), measure(judged))


@pytest.mark.parametrize("name", ["compliance_rate", "late_orders", "due_next", "failure_rates"])
def test_plain_orders_among_judged_ones_are_an_error(name):
    judged = tf.ship_date_compliance(ORDERS[:40], POLICY, as_of=AS_OF)
    mixed = pd.concat([judged, ORDERS[40:]])
    with pytest.raises(ValueError, match=r"20 of these orders have not been judged.*judge all of"):
        MEASURES[name](mixed)


@pytest.mark.parametrize("name", ["compliance_rate", "due_next"])
def test_an_order_whose_policy_is_unknown_among_several_is_an_error(name):
    judged = tf.ship_date_compliance(ORDERS, POLICIES, policy_by="type", as_of=AS_OF)
    judged.loc[[3, 4], "judged_by"] = None
    with pytest.raises(ValueError, match=r"'judged_by' is null for 2 of these orders.*judge all"):
        MEASURES[name](judged)


def test_a_column_in_the_index_is_asked_back():
    with pytest.raises(ValueError, match=r"orders lacks 'id'; .*pass orders\.reset_index\(\)"):
        tf.late_orders(ORDERS.set_index("id"), as_of=AS_OF)


def test_the_backlog_of_a_judged_frame_is_as_of_its_judgement():
    orders = ORDERS.copy()
    orders.attrs["trackstar"] = {"fetched_at": "2026-03-20T12:00:00Z"}
    judged = tf.ship_date_compliance(orders, POLICY, as_of="2026-03-08")
    for frame in (judged, judged.drop(columns="judged_by"), without_attrs(judged)):
        info = tf.backlog(frame).attrs["trackstar"]["backlog"]
        assert info["as_of"] == "2026-03-09T03:59:59.999999+00:00"
    assert tf.due_next(judged)["n"].sum() == tf.backlog(judged)["n"].sum()
    info = tf.backlog(orders).attrs["trackstar"]["backlog"]
    assert info["as_of"] == "2026-03-20T12:00:00+00:00"


def test_a_bare_day_is_the_same_moment_in_the_backlog_and_the_late_orders():
    late = tf.late_orders(ORDERS, policy=POLICY, as_of="2026-03-05")
    table = tf.backlog(ORDERS, by="id", policy=POLICY, as_of="2026-03-05")
    assert table.attrs["trackstar"]["backlog"]["as_of"] == "2026-03-06T04:59:59.999999+00:00"
    assert late.attrs["trackstar"]["compliance"]["as_of"] == "2026-03-06T04:59:59.999999+00:00"
    assert (table["n"].groupby("id").sum().loc[late["id"]] == 1).all()


def test_what_looks_at_judged_orders_looks_at_their_moment_and_policy(shared_sandbox):
    frames = tf.fetch_orders(client=shared_sandbox.client())
    policy = tf.SlaPolicy(tz="America/New_York", due_day="end")
    moment = frames.orders["created_date"].max() - pd.Timedelta("20D")
    call = {"policy": policy, "as_of": moment}
    tables = SimpleNamespace(**{name: getattr(frames, name) for name in frames.to_arrow()})
    tables.orders = tf.ship_date_compliance(frames.orders, policy, as_of=moment)
    for measure, more in [
        (tf.ship_otif, {}),
        (tf.fill_rates, {"of": "due"}),
        (tf.cycle_time, {}),
        (tf.cycle_time_curve, {}),
        (tf.backlog, {}),
    ]:
        takes_tables = measure in (tf.ship_otif, tf.fill_rates)
        judged, plain = (each if takes_tables else each.orders for each in (tables, frames))
        pd.testing.assert_frame_equal(measure(judged, **more), measure(plain, **call, **more))
    for measure in (tf.ship_otif, tf.fill_rates):
        with pytest.raises(ValueError, match="judged already, by another policy"):
            measure(tables, policy=tf.SlaPolicy())
        with pytest.raises(ValueError, match="judged already, by this policy, but as of"):
            measure(tables, as_of=moment - pd.Timedelta("1D"))
