"""Rates over what was due, bare days, several policies, and frames that keep their policy."""

import datetime as dt
import json
from statistics import NormalDist

import numpy as np
import pandas as pd
import pytest

from trackstar_frames import OrderFrames, SlaPolicy, compliance_rate, ship_date_compliance

BASE = {
    "id": "a",
    "status": "partially_fulfilled",
    "created_date": "2026-03-01T08:00:00Z",
    "required_ship_date": "2026-03-03T00:00:00Z",
}
NEW_YORK = SlaPolicy(tz="America/New_York")


def orders_of(*changes, **info):
    """Build the frame of orders that differ from BASE; `sent` lists dates and units of sku A."""
    bodies = []
    for number, change in enumerate(changes):
        order = BASE | {"id": str(number)} | change
        order.setdefault("line_items", [{"sku": "A", "quantity": 2}])
        order["shipments"] = [
            {"status": "shipped", "shipped_date": date, "line_items": [{"sku": "A", "quantity": n}]}
            for date, n in order.pop("sent", [])
        ]
        bodies.append(order)
    orders = OrderFrames.from_json(bodies).orders
    orders.attrs["trackstar"] = {"fetched_at": "2026-03-12T12:00:00Z", **info}
    return orders


def outcome(change, as_of="2026-03-12", **policy):
    row = ship_date_compliance(orders_of(change), as_of=as_of, **policy).iloc[0]
    return row["outcome"] if pd.isna(row["reason"]) else row["reason"]


def test_closed_with_less_than_was_ordered_is_short_or_late():
    late = {"status": "fulfilled", "sent": [("2026-03-09T12:00:00Z", 1)]}
    assert outcome(late) == "late_shipped"
    in_time = {"status": "fulfilled", "sent": [("2026-03-02T12:00:00Z", 1)]}
    assert outcome(in_time) == "short"
    assert outcome(in_time, ship_event="first") == "on_time"
    assert outcome(in_time, ship_event="last") == "on_time"
    assert outcome(in_time | {"status": "partially_fulfilled"}) == "late_open"
    table = compliance_rate(orders_of(late, in_time), as_of="2026-03-12")
    assert table[["n", "on_time", "late_shipped", "short", "rate"]].iloc[0].tolist() == [
        2,
        0,
        1,
        1,
        0,
    ]
    row = ship_date_compliance(orders_of(in_time)).iloc[0]
    assert row["shipped_at"] == pd.Timestamp("2026-03-02T12:00Z")
    assert pd.isna(row["lateness"])


@pytest.mark.parametrize("quantity", [None, 1.5])
@pytest.mark.parametrize("status", ["open", "partially_fulfilled", "fulfilled"])
def test_an_unknown_quantity_is_not_judged(quantity, status):
    lines = [{"sku": "A", "quantity": 1}, {"sku": "B", "quantity": quantity}]
    order = {"status": status, "line_items": lines, "sent": [("2026-03-02T12:00:00Z", 1)]}
    assert outcome(order) == "quantity unknown"
    assert outcome(order, ship_event="first") == "on_time"


def test_one_sku_shipped_twice_does_not_complete_an_order_of_two():
    lines = [{"sku": "A", "quantity": 1}, {"sku": "B", "quantity": 1}]
    assert outcome({"line_items": lines, "sent": [("2026-03-02T12:00:00Z", 2)]}) == "late_open"


def test_what_ships_before_it_is_due_counts_when_its_time_has_come():
    due = {"required_ship_date": "2026-03-30T00:00:00Z"}
    sent = {"status": "fulfilled", "sent": [("2026-03-02T12:00:00Z", 2)]}
    short = {"status": "fulfilled", "sent": [("2026-03-02T12:00:00Z", 1)]}
    orders = orders_of(due | sent, due | short, due | {"status": "open"}, {"status": "cancelled"})
    judged = ship_date_compliance(orders, as_of="2026-03-12")
    assert judged["outcome"].tolist() == ["on_time", "short", "pending", "not_evaluable"]
    assert not judged["is_due"].any()
    row = compliance_rate(judged).iloc[0]
    assert row[["n", "early", "pending", "not_evaluable", "on_time", "short"]].tolist() == [
        0, 2, 1, 1, 0, 0,
    ]  # fmt: skip
    assert pd.isna(row["rate"])
    orders.attrs = {}
    row = compliance_rate(orders, as_of="2026-03-30").iloc[0]
    assert row[["n", "early", "on_time", "short", "late_open"]].tolist() == [3, 0, 1, 1, 1]


def test_grace_is_part_of_being_due():
    order = {
        "required_ship_date": "2026-03-04T09:00:00Z",
        "status": "fulfilled",
        "sent": [("2026-03-04T08:00:00Z", 2)],
    }
    for as_of, is_due in [("2026-03-04T11:00Z", False), ("2026-03-04T11:00:00.000001Z", True)]:
        judged = ship_date_compliance(orders_of(order), as_of=as_of, grace="2h")
        assert judged["is_due"].tolist() == [is_due]


@pytest.mark.parametrize(
    "day", ["2026-03-03", "20260303", dt.date(2026, 3, 3), np.datetime64("2026-03-03")]
)
def test_a_bare_day_as_of_is_all_of_it_where_the_warehouses_are(day):
    # 03:00Z on the fourth is the evening of the third in New York.
    orders = orders_of({"status": "fulfilled", "sent": [("2026-03-04T03:00:00Z", 2)]}, {})
    judged = ship_date_compliance(orders, NEW_YORK, as_of=day)
    assert judged["outcome"].tolist() == ["on_time", "late_open"]
    assert judged["is_due"].all()
    assert judged.attrs["trackstar"]["compliance"]["as_of"] == "2026-03-04T04:59:59.999999+00:00"
    utc = ship_date_compliance(orders, as_of=day)
    assert utc["outcome"].tolist() == ["late_open", "late_open"]
    zones = {None: "America/New_York", "w": "Asia/Tokyo"}
    several = ship_date_compliance(orders, tz=zones, as_of=day)
    assert several.attrs["trackstar"]["compliance"]["as_of"].startswith("2026-03-03T23:59:59")


def test_a_bare_day_is_not_after_the_fetch_and_a_moment_is_a_moment():
    orders = orders_of({})
    for as_of, moment in [
        ("2026-03-12", "2026-03-12T12:00:00+00:00"),
        (pd.Timestamp("2026-03-11"), "2026-03-11T00:00:00+00:00"),
        (dt.datetime(2026, 3, 11, tzinfo=dt.UTC), "2026-03-11T00:00:00+00:00"),
        ("2026-03-11T00:00", "2026-03-11T00:00:00+00:00"),
    ]:
        judged = ship_date_compliance(orders, as_of=as_of)
        assert judged.attrs["trackstar"]["compliance"]["as_of"] == moment


def test_a_due_day_ends_at_midnight_and_is_shown_a_second_before():
    sent = [
        {"status": "fulfilled", "sent": [(f"2026-03-{when}Z", 2)]}
        for when in ("03T23:59:59", "03T23:59:59.500", "04T00:00:00")
    ]
    judged = ship_date_compliance(orders_of(*sent))
    assert judged["outcome"].tolist() == ["on_time", "on_time", "late_shipped"]
    assert (judged["due_at"] == pd.Timestamp("2026-03-03T23:59:59Z")).all()
    clock = SlaPolicy(cut_off="12:00", business_days=1)
    assert ship_date_compliance(orders_of({}), clock)["due_at"][0] == pd.Timestamp(
        "2026-03-03T23:59:59Z"
    )


# Several policies.

POLICIES = {"d2c": NEW_YORK, "b2b": SlaPolicy(grace="3D"), None: SlaPolicy(ship_event="first")}


def typed():
    sent = [("2026-03-04T03:00:00Z", 1)]
    kinds = ["d2c", "b2b", "other", None]
    orders = orders_of(
        *({"sent": sent, "line_items": [{"sku": "A", "quantity": 1}]} for _ in kinds)
    )
    return orders.assign(type=pd.array(kinds, dtype=orders["type"].dtype))


def test_each_value_is_judged_by_its_policy():
    orders = typed()
    judged = ship_date_compliance(orders, POLICIES, policy_by="type")
    assert judged["outcome"].tolist() == ["on_time", "on_time", "late_shipped", "late_shipped"]
    for code, (value, policy) in enumerate(POLICIES.items()):
        separate = ship_date_compliance(orders, policy)
        rows = [code, 3] if value is None else [code]
        columns = ["due_at", "shipped_at", "outcome", "is_due", "lateness", "reason"]
        pd.testing.assert_frame_equal(judged.loc[rows, columns], separate.loc[rows, columns])
    info = judged.attrs["trackstar"]["compliance"]
    assert info["policy_by"] == "type"
    found = {each["value"]: each for each in info["policies"]}
    assert {value: each["text"] for value, each in found.items()} == {
        value: policy.text for value, policy in POLICIES.items()
    }
    assert "type 'd2c': Orders are due by" in info["text"]
    assert json.loads(json.dumps(judged.attrs)) == judged.attrs
    table = compliance_rate(orders, by="type", policy=POLICIES, policy_by="type")
    pd.testing.assert_frame_equal(table, compliance_rate(judged, by="type"))
    assert table["on_time"].tolist() == [1, 1, 0, 0]


def test_periods_follow_the_zone_of_each_policy():
    judged = ship_date_compliance(
        typed().assign(required_ship_date=pd.Timestamp("2026-03-04T03:00Z")),
        POLICIES,
        policy_by="type",
    )
    table = compliance_rate(judged, by="type", freq="D")
    assert table.loc["d2c"].query("n > 0").index.tolist() == [pd.Timestamp("2026-03-03")]
    assert table.loc["b2b"].query("n > 0").index.tolist() == [pd.Timestamp("2026-03-04")]


def test_connections_have_policies_too():
    orders = typed().assign(connection=["x", "x", "y", "y"])
    policies = {"x": SlaPolicy(), "y": SlaPolicy(grace="3D")}
    table = compliance_rate(orders, by="connection", policy=policies, policy_by="connection")
    assert table["on_time"].tolist() == [0, 2]


def test_values_without_a_policy_are_listed():
    some = {"d2c": SlaPolicy(), "b2b": SlaPolicy()}
    with pytest.raises(ValueError, match=r"none for 2 of the values of 'type': 'other', null; add"):
        ship_date_compliance(typed(), some, policy_by="type")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"policy": POLICIES}, TypeError, "name the column of its keys"),
        ({"policy": SlaPolicy(), "policy_by": "type"}, ValueError, "a policy for each value"),
        ({"policy_by": "type"}, ValueError, "a policy for each value"),
        ({"policy": {}, "policy_by": "type"}, ValueError, "empty map"),
        ({"policy": {"d2c": "noon"}, "policy_by": "type"}, TypeError, r"policy\['d2c'\] is a str"),
        ({"policy": {("a",): SlaPolicy()}, "policy_by": "type"}, TypeError, "has the key"),
        ({"policy": POLICIES, "policy_by": "kind"}, ValueError, "lacks 'kind'"),
        (
            {"policy": POLICIES, "policy_by": "type", "grace": "1h"},
            ValueError,
            "change each policy",
        ),
    ],
)
def test_wrong_policies_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        ship_date_compliance(typed(), **arguments)


# What a judged frame carries.


def halves(judged):
    return [judged.iloc[:2], judged.iloc[2:]]


@pytest.mark.one_of(2)
@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize(
    "change",
    [
        lambda judged: pd.concat(halves(judged)),
        lambda judged: pd.concat(half.copy() for half in halves(judged)),
        lambda judged: judged.merge(pd.DataFrame({"id": list("0123"), "more": 1}), on="id"),
        lambda judged: judged.groupby("id", group_keys=False)[list(judged.columns)].apply(
            lambda rows: rows
        ),
        lambda judged: judged.rename(columns={"id": "order_id"}),
        lambda judged: pd.DataFrame(judged.to_dict("list")).astype(
            {"outcome": judged["outcome"].dtype}
        ),
    ],
    ids=["concat", "copies", "merge", "apply", "rename", "rebuilt"],
)
def test_a_frame_keeps_its_policy_through_what_analysts_do(change, several):
    how = {"policy": POLICIES, "policy_by": "type"} if several else {"policy": NEW_YORK}
    judged = ship_date_compliance(typed(), **how)
    changed = change(judged)
    changed.attrs = {}
    table = compliance_rate(changed, freq="W")
    expected = compliance_rate(judged, freq="W")
    pd.testing.assert_frame_equal(table, expected)
    info = table.attrs["trackstar"]["compliance"]
    assert info["as_of"] == "2026-03-12T12:00:00+00:00"
    if not several:
        assert info == expected.attrs["trackstar"]["compliance"]
    pd.testing.assert_frame_equal(compliance_rate(changed, freq="W", **how), expected)
    with pytest.raises(ValueError, match="by another policy"):
        compliance_rate(changed, policy=SlaPolicy(grace="9h"))


def test_a_frame_judged_in_two_ways_is_refused():
    orders = typed()
    first = ship_date_compliance(orders, NEW_YORK)
    later = ship_date_compliance(orders, NEW_YORK, as_of="2026-03-10T00:00Z")
    with pytest.raises(
        ValueError, match=r"different moments .*; judge all of them anew: ship_date_"
    ):
        compliance_rate(pd.concat([first, later]))
    other = ship_date_compliance(orders, SlaPolicy())
    with pytest.raises(ValueError, match=r"different policies: .*policy_by=column"):
        compliance_rate(pd.concat([first, other]))


# Periods.


def weekly(*, as_of, filters=None, **policy):
    days = pd.date_range("2026-02-02", "2026-03-01", tz="UTC")
    changes = [
        {
            "created_date": f"{day - pd.Timedelta('2D'):%Y-%m-%d}T08:00:00Z",
            "required_ship_date": f"{day:%Y-%m-%d}T00:00:00Z",
            "status": "fulfilled" if day < pd.Timestamp("2026-02-25T00:00Z") else "open",
            "sent": [(f"{day:%Y-%m-%d}T07:00:00Z", 2)]
            if day < pd.Timestamp("2026-02-25T00:00Z")
            else [],
        }
        for day in days
    ]
    orders = orders_of(*changes, {"required_ship_date": None}, filters=filters or {})
    return compliance_rate(orders, freq="W", as_of=as_of, **policy)


def test_periods_are_final_when_they_are_over_and_nothing_is_open():
    assert weekly(as_of="2026-03-01")["final"].tolist() == [True] * 4
    assert weekly(as_of="2026-02-28")["final"].tolist() == [True, True, True, False]
    assert weekly(as_of="2026-02-22T23:59Z")["final"].tolist() == [True, True, False, False]
    # Over, but the grace of its last orders is not.
    grace = weekly(as_of="2026-02-23T12:00Z", policy=SlaPolicy(grace="1D"))
    assert grace["early"].tolist() == [0, 0, 1, 1]
    assert grace["final"].tolist() == [True, True, False, False]
    # Sunday ends later in New York.
    far = weekly(as_of="2026-02-23T03:00Z", policy=NEW_YORK)
    assert far["final"].tolist() == [True, True, False, False]


def test_a_weekly_table_is_sliced_by_date():
    table = weekly(as_of="2026-03-01")
    assert table.index.name == "period"
    assert len(table.loc["2026-02-09":"2026-02-16"]) == 2
    assert len(table.loc["2026-02"]) == 4
    assert table.attrs["trackstar"]["compliance"]["without_period"] == 1


@pytest.mark.one_of(3)
@pytest.mark.parametrize(
    ("name", "value", "covered"),
    [
        # Due at the end of the second day after: 2 days and 15:59:59 later, rounded by nothing.
        ("created_date__gte", "2026-02-06", [False, True, True, True]),
        ("created_date__gte", "2026-02-07", [False, False, True, True]),
        ("created_date__gt", "2026-02-05", [False, True, True, True]),
        ("created_date[gte]", "2026-02-06T08:00:00Z", [False, True, True, True]),
        ("created_date[gt]", "2026-02-06T08:00:02Z", [False, False, True, True]),
        ("created_date__lte", "2026-02-06", [False, False, False, False]),
        ("created_date__lt", "2026-02-16", [True, True, False, False]),
        ("created_date__lt", "2026-03-02", [True, True, True, True]),
        ("required_ship_date__gte", "2026-02-03", [False, True, True, True]),
        ("required_ship_date__lte", "2026-02-22", [True, True, True, False]),
        ("required_ship_date__lt", "2026-02-22", [True, True, False, False]),
        ("type", "d2c", [True, True, True, True]),
    ],
)
def test_periods_beyond_the_bounds_of_a_fetch_are_not_covered(name, value, covered):
    table = weekly(as_of="2026-03-01", filters={name: value})
    assert table["covered"].tolist() == covered
    lead = table.attrs["trackstar"]["compliance"]["lead"]
    has_lower_bound = name.startswith("created_date") and "g" in name
    assert lead == ("2 days 15:59:59" if has_lower_bound else None)


# The interval.


def days_of(counts):
    """Build judged orders from (due day, on time, late)."""
    rows = [
        (day, word)
        for day, good, bad in counts
        for word in ["on_time"] * good + ["late_open"] * bad
    ]
    stamps = pd.Timestamp("2026-03-01T12:00Z") + pd.to_timedelta([day for day, _ in rows], unit="D")
    words = [word for _, word in rows]
    table = pd.DataFrame({"outcome": words, "is_due": True, "due_at": stamps.as_unit("us")})
    table.attrs["trackstar"] = {"compliance": {"as_of": "2027-01-01", "text": ""}}
    return table


def wilson(rate, n, z):
    centre = (rate + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * (rate * (1 - rate) / n + z**2 / (4 * n**2)) ** 0.5
    return centre - half, centre + half


def test_the_interval_counts_days_by_hand():
    # 5 days of 10: the rate is 0.6; squares of (on time - 0.6 * 10) are 16 + 16 + 4 + 4 + 0.
    counts = [(0, 10, 0), (1, 2, 8), (2, 8, 2), (3, 4, 6), (4, 6, 4)]
    row = compliance_rate(days_of(counts)).iloc[0]
    effect = (5 / 4 * 40 / 50**2) / (0.6 * 0.4 / 50)
    low, high = wilson(0.6, 50 / effect, 2.7764451051977987)  # t of 4 degrees of freedom
    assert row["rate_low"] == pytest.approx(low, abs=1e-9)
    assert row["rate_high"] == pytest.approx(high, abs=1e-9)
    assert not row["small"]


def test_days_that_agree_too_well_count_as_independent():
    row = compliance_rate(days_of([(day, 9, 1) for day in range(5)])).iloc[0]
    assert (row["rate_low"], row["rate_high"]) == pytest.approx(wilson(0.9, 50, 2.7764451051977987))


def test_one_day_is_its_own():
    row = compliance_rate(days_of([(0, 90, 10)])).iloc[0]
    assert (row["rate_low"], row["rate_high"]) == pytest.approx(
        wilson(0.9, 100, NormalDist().inv_cdf(0.975))
    )
    assert row["small"]


@pytest.mark.slow
@pytest.mark.parametrize("rate", [0.7, 0.85])
@pytest.mark.parametrize("days", [5, 20, 60])
def test_the_interval_covers_the_rate_where_days_differ(days, rate):
    rng = np.random.default_rng(days)
    repetitions, orders = 2000, 50
    chances = rng.normal(rate, 0.08, (repetitions, days)).clip(0, 1)
    truth = rng.normal(rate, 0.08, 1_000_000).clip(0, 1).mean()
    good = rng.binomial(orders, chances).reshape(-1, 1)
    is_good = (np.arange(orders) < good).ravel()
    cell = np.repeat(np.arange(repetitions * days), orders)
    table = pd.DataFrame(
        {
            "outcome": np.where(is_good, "on_time", "late_open"),
            "is_due": True,
            "due_at": pd.Timestamp("2026-01-01T12:00Z").as_unit("us")
            + pd.to_timedelta(cell % days, unit="D"),
            "repetition": cell // days,
        }
    )
    table.attrs["trackstar"] = {"compliance": {"as_of": "2027-01-01", "text": ""}}
    rates = compliance_rate(table, by="repetition")
    assert ((rates["rate_low"] <= truth) & (truth <= rates["rate_high"])).mean() >= 0.92


@pytest.mark.parametrize("tz", ["America/New_York", {"w1": "America/New_York", None: "UTC"}])
def test_due_times_that_are_midnight_at_the_warehouse_are_reported(tz):
    # The clocks change on 8 March: midnight is 05:00Z before, and 04:00Z after.
    stamps = [f"2026-03-{day:02}T0{5 if day < 9 else 4}:00:00Z" for day in range(3, 14)]
    days = [{"required_ship_date": stamp, "warehouse_id": "w1"} for stamp in stamps]
    with pytest.warns(UserWarning, match=r"100% of the required ship dates.*due_day='end'") as got:
        ship_date_compliance(orders_of(*days), tz=tz)
    assert [each.filename for each in got] == [__file__]
    with pytest.warns(UserWarning, match="are midnight where"):
        compliance_rate(orders_of(*days), policy=SlaPolicy(tz=tz))
    ship_date_compliance(orders_of(*days), tz=tz, due_day="end")
    ship_date_compliance(orders_of(*days), tz=tz, due_day="instant")
    ship_date_compliance(orders_of(*days[:9]), tz=tz)  # few
    ship_date_compliance(orders_of(*days[:5], *[{}] * 5), tz=tz)  # no more than half
    ship_date_compliance(orders_of(*days))  # by the zone of the policy
