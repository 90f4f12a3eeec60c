"""Names for values of groups, whatever the values are."""

import numpy as np
import pandas as pd
import pytest

import trackstar_frames as tf
from trackstar_frames import SlaPolicy

ORDERS = pd.DataFrame(
    {
        "warehouse_id": ["w1", None, "w2", None],
        "tier": [0, 1, 0, 2],
        "channel": ["web", "web", None, ""],
        "status": "open",
        "created_date": pd.Timestamp("2026-03-01", tz="UTC"),
        "required_ship_date": pd.Timestamp("2026-03-02", tz="UTC"),
        "first_shipped_date": pd.NaT,
    }
)
POLICY = SlaPolicy(ship_event="first")


def counts(labels, by="warehouse_id"):
    table = tf.compliance_rate(ORDERS, by=by, policy=POLICY, as_of="2026-03-05", labels=labels)
    return table["n"].to_dict()


@pytest.mark.parametrize("null", [None, np.nan, pd.NA])
def test_a_name_for_null(null):
    assert counts({"w1": "Newark", null: "(none)"}) == {"Newark": 1, "w2": 1, "(none)": 2}
    assert counts({null: "(none)"}) == {"w1": 1, "w2": 1, "(none)": 2}
    both = counts({null: "(none)", "": "(empty)"}, by=["warehouse_id", "channel"])
    assert both[("(none)", "(empty)")] == both[("w2", "(none)")] == 1
    with pytest.raises(ValueError, match="already has: 'w2'"):
        counts({null: "w2"})


def test_names_for_numbers_and_keys_that_are_no_values():
    assert counts({0: "first", 2: "last", None: "(none)"}, by="tier") == {
        "first": 2,
        1: 1,
        "last": 1,
    }
    assert set(counts({("a", "w1"): "x", 7: "y"})) >= {"w1", "w2"}


def test_policies_by_the_values_of_an_array():
    values = ORDERS["tier"].unique()
    table = tf.compliance_rate(
        ORDERS, policy=dict.fromkeys(values, POLICY), policy_by="tier", as_of="2026-03-05"
    )
    assert table["n"].tolist() == [4]
    policies = dict.fromkeys(["w1", "w2", np.nan], POLICY)
    with pytest.raises(TypeError, match="the key nan; use values of 'warehouse_id', and None for"):
        tf.compliance_rate(ORDERS, policy=policies, policy_by="warehouse_id", as_of="2026-03-05")


@pytest.mark.parametrize("by", ["period", ["channel", "period"]])
@pytest.mark.parametrize(
    "measure",
    [
        lambda orders, by: tf.compliance_rate(
            orders, by=by, freq="W", policy=POLICY, as_of="2026-03-05"
        ),
        lambda orders, by: tf.sla_scorecard(
            orders, by=by, policy=SlaPolicy(ship_event="first", target=0.9), as_of="2026-03-05"
        ),
        lambda orders, by: tf.status_mix(orders, by=by, freq="W"),
    ],
)
def test_a_column_called_period_is_not_mistaken_for_the_periods(measure, by):
    orders = ORDERS.assign(period=["a", "b", "a", "b"])
    with pytest.raises(ValueError, match="the result has a 'period' of its own"):
        measure(orders, by)
    table = tf.compliance_rate(orders, by=by, policy=POLICY, as_of="2026-03-05")
    assert table["n"].sum() == len(orders)
