"""Laws between the measures: they never contradict each other on any order."""

import datetime as dt

import pandas as pd
import pytest
from helpers import sql_reference

import trackstar_frames as tf
from trackstar_frames import OrderFrames

AS_OF = "2026-03-12T00:00:00Z"
BASE = {
    "id": "a",
    "status": "partially_fulfilled",
    "created_date": "2026-03-01T08:00:00Z",
    "required_ship_date": "2026-03-03T00:00:00Z",
}
SEEDS = [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 8))]


def lines(**units):
    return [{"sku": sku, "quantity": quantity} for sku, quantity in units.items()]


def sent(day=2, status="shipped", **units):
    stamp = f"2026-03-{day:02}T12:00:00Z"
    return {"status": status, "shipped_date": stamp, "line_items": lines(**units)}


def part(sku, status):
    packed = [{"sku": sku, "quantity": 1, "parent_product_id": "k"}]
    stamp = "2026-03-02T12:00:00Z" if status == "shipped" else None
    return {"status": status, "shipped_date": stamp, "line_items": packed}


def read(*changes):
    made = [BASE | {"id": f"{number}"} | each for number, each in enumerate(changes)]
    return OrderFrames.from_json(made)


TWICE = {"line_items": lines(A=1, B=1), "shipments": [sent(A=1), sent(A=1)]}
KIT = {
    "line_items": [{"sku": "K", "product_id": "k", "quantity": 1}],
    "shipments": [part("P", "shipped"), part("Q", "open"), part("R", "open")],
}


@pytest.mark.parametrize(("order", "units", "unit_rate"), [(TWICE, 2, 0.5), (KIT, 1, 0.0)])
def test_what_lacks_a_part_is_late_in_every_measure(order, units, unit_rate):
    frames = read(order)
    judged = tf.ship_date_compliance(frames.orders, as_of=AS_OF)
    assert judged["outcome"].tolist() == ["late_open"]
    late = tf.late_orders(frames.orders, as_of=AS_OF)
    assert late[["units_ordered", "units_left"]].to_numpy().tolist() == [[units, 1]]
    backlog = tf.backlog(frames.orders, as_of=AS_OF).loc["partially_fulfilled"]
    assert backlog[["n", "units", "units_unknown"]].tolist() == [1, 1, 0]
    row = tf.fill_rates(frames, as_of=AS_OF).loc[0]
    assert row[["orders_filled", "unit_rate"]].tolist() == [0, unit_rate]
    otif = tf.ship_otif(frames, as_of=AS_OF).loc[0]
    assert otif[["n", "otif", "in_full"]].tolist() == [1, 0, 0]


def test_units_beyond_one_line_are_not_those_of_another():
    frames = read({"line_items": lines(A=5, B=5), "shipments": [sent(A=8)]})
    late = tf.late_orders(frames.orders, as_of=AS_OF).loc[0]
    assert late[["units_shipped", "units_left"]].tolist() == [5, 5]
    row = tf.fill_rates(frames, as_of=AS_OF).loc[0]
    assert row[["units", "units_filled", "units_overshipped"]].tolist() == [10, 5, 3]


@pytest.mark.parametrize("quantity", [1.5, None])
def test_an_order_of_unknown_quantity_is_judged_by_none_and_kept_by_the_lists(quantity):
    frames = read({"line_items": lines(A=1, B=quantity), "shipments": [sent(A=1)]})
    judged = tf.ship_date_compliance(frames.orders, as_of=AS_OF)
    assert judged["outcome"].tolist() == ["not_evaluable"]
    assert tf.backlog(frames.orders, as_of=AS_OF)["n"].sum() == 1
    assert len(tf.late_orders(frames.orders, as_of=AS_OF)) == 1
    assert tf.fill_rates(frames, as_of=AS_OF).loc[0, ["orders", "orders_filled"]].tolist() == [1, 0]
    assert tf.ship_otif(frames, as_of=AS_OF).loc[0, ["n", "not_evaluable"]].tolist() == [0, 1]


@pytest.mark.parametrize("as_of", ["2026-03-02", "2026-03-03", AS_OF])
@pytest.mark.parametrize("tz", ["UTC", "America/New_York"])
def test_the_overdue_orders_are_those_of_the_late_list(tz, as_of):
    ordered = {"status": "open", "shipments": []}
    unknown = ordered | {"line_items": lines(A=None)}
    frames = read(ordered | {"line_items": lines(A=1)}, unknown)
    policy = tf.SlaPolicy(tz=tz)
    due = tf.due_next(frames.orders, policy=policy, as_of=as_of)["n"]
    late = tf.late_orders(frames.orders, policy=policy, as_of=as_of)
    expected = 0 if as_of == "2026-03-02" else 2
    assert due[[name for name in due.index if "overdue" in name]].sum() == expected
    assert len(late) == expected


@pytest.mark.parametrize(
    "order",
    [
        {
            "line_items": lines(A=2),
            "shipments": [sent() | {"packages": [{"line_items": lines(A=2)}]}],
        },
        {"line_items": [*lines(A=2), *lines(A=-1)], "shipments": [sent(A=1)]},
    ],
)
def test_what_is_complete_is_so_everywhere(order):
    frames = read(order)
    orders = frames.orders
    assert tf.ship_date_compliance(orders, as_of=AS_OF)["outcome"].tolist() == ["on_time"]
    assert tf.late_orders(orders, as_of=AS_OF).empty
    assert tf.backlog(orders, as_of=AS_OF)["n"].sum() == 0
    row = tf.fill_rates(frames, as_of=AS_OF).loc[0]
    assert row[["order_rate", "line_rate", "unit_rate"]].tolist() == [1, 1, 1]
    assert tf.ship_otif(frames, as_of=AS_OF).loc[0, ["n", "otif"]].tolist() == [1, 1]


@pytest.mark.parametrize("seed", SEEDS)
def test_no_two_measures_contradict_each_other_on_any_order(seed, spoilt):
    frames = spoilt(seed).frames
    orders = frames.orders
    as_of = pd.Timestamp("2100-01-01T00:00Z")  # after all stamps
    fill = tf.fill_rates(frames, by="id", as_of=as_of)
    columns = orders.set_index("id").loc[fill.index]
    counted, known = fill["orders"] == 1, columns["units_ordered"].notna()
    both = counted & known
    left = (columns["units_ordered"] - columns["units_shipped"])[both].astype("int64")
    assert left.tolist() == (fill["units"] - fill["units_filled"])[both].tolist()
    over = columns["units_overshipped"][both].astype("int64")
    assert over.tolist() == fill["units_overshipped"][both].tolist()

    late = tf.late_orders(orders, as_of=as_of, shipped=True).set_index("id")
    mine = late.index.intersection(fill.index[both])
    assert len(mine) > 10
    assert late.loc[mine, "units_left"].tolist() == left.loc[mine].tolist()

    judged = tf.ship_date_compliance(orders, as_of=as_of).set_index("id")
    backlog = tf.backlog(orders, by="id", as_of=as_of)["n"].groupby("id").sum()
    on_time = judged.index[judged["outcome"] == "on_time"]
    assert backlog.loc[on_time].sum() == 0
    filled = fill["orders_filled"].loc[on_time.intersection(fill.index[counted])]
    assert (filled == 1).all()
    late_open = judged.index[judged["outcome"] == "late_open"]
    assert (backlog.loc[late_open] == 1).all()
    otif = tf.ship_otif(frames, by="id", as_of=as_of)
    rates = tf.compliance_rate(judged.reset_index(), by="id")
    assert otif["n"].tolist() == rates["n"].tolist()
    assert otif["otif"].tolist() == rates["on_time"].tolist()
    whole = otif.index[otif["in_full"] == 1]
    assert columns["complete_shipped_date"].reindex(whole).notna().all()


@pytest.mark.parametrize("back", [0, 20])
@pytest.mark.parametrize("seed", SEEDS)
def test_how_orders_end_is_what_every_other_measure_says(seed, back, spoilt):
    given = spoilt(seed)
    orders, as_of = given.frames.orders, given.now - dt.timedelta(days=back)
    of_each = {"by": "id", "as_of": as_of}
    ends = tf.failure_rates(orders, **of_each)
    kinds = ends[["cancelled", "closed", "open", "unknown"]]
    assert (kinds.sum(axis=1) == ends["created"]).all()
    backlog = tf.backlog(orders, **of_each)["n"].groupby("id").sum()
    assert ends.index[ends["open"] == 1].tolist() == backlog.index[backlog == 1].tolist()
    times = tf.cycle_time(orders, **of_each)
    reasons = times.attrs["trackstar"]["cycle_time"]["not_evaluable"]
    ended = ends[["short_closed", "unknown"]].sum()
    assert ended.sum() == reasons["closed_short"] + reasons["undated"]

    judged = tf.ship_date_compliance(orders, as_of=as_of).set_index("id").loc[ends.index]
    is_short = (judged["outcome"] == "short") | (
        (judged["outcome"] == "late_shipped") & judged["complete_shipped_date"].isna()
    )
    assert (ends.loc[is_short, "short_closed"] == 1).all()
    is_evaluated = judged["outcome"] != "not_evaluable"
    assert not (ends["short_closed"] == 1)[is_evaluated & ~is_short].any()
    assert not (ends["unknown"] == 1)[is_evaluated].any()
    unknown = judged["reason"][ends["unknown"] == 1]
    why = ends.attrs["trackstar"]["failure_rates"]["unknown"]
    assert sum(why.values()) == len(unknown) > 0
    # Those without a due date, and the like, have another reason before.
    for reason, n in why.items():
        assert 0 < (unknown == reason).sum() <= n
    fill = tf.fill_rates(given.frames, **of_each)
    assert fill["orders_filled"][ends["short_closed"] == 1].sum() == 0
    profile = tf.service_profile(given.frames, **of_each)
    assert (profile["n"] == ends["created"] - ends["cancelled"]).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_the_columns_of_orders_are_those_of_sql(seed, spoilt):
    given = spoilt(seed)
    columns = ["units_ordered", "units_shipped", "units_overshipped"]
    dates = ["first_shipped_date", "last_shipped_date", "complete_shipped_date"]
    query = f"select id, {', '.join([*columns, *dates])} from lives"
    expected = {row[0]: row[1:] for row in given.sql.execute(query).fetchall()}
    orders = given.frames.orders
    for row in orders[["id", *columns, *dates]].itertuples(index=False):
        units = tuple(None if pd.isna(each) else each for each in row[1:4])
        stamps = tuple(None if pd.isna(each) else each.isoformat() for each in row[4:])
        assert (*units, *map(sql_reference.micros, stamps)) == expected[row[0]]


@pytest.mark.one_of(3)
@pytest.mark.parametrize("tz", ["UTC", "America/New_York", "Asia/Tokyo"])
@pytest.mark.parametrize("text", ["9999-12-31T00:00:00Z", "9999-12-31T23:59:59Z", "9999-12-31"])
def test_what_is_never_due_is_pending_in_no_period_and_can_be_written(text, tz, tmp_path):
    ordered = {"status": "open", "line_items": lines(A=1)}
    frames = read(ordered | {"required_ship_date": text}, ordered, TWICE)
    policy = tf.SlaPolicy(tz=tz, target=0.9)
    judged = tf.ship_date_compliance(frames.orders, policy, as_of=AS_OF)
    assert judged["outcome"].tolist() == ["pending", "late_open", "late_open"]
    judged.to_parquet(tmp_path / "judged.parquet")
    for table in (
        tf.compliance_rate(judged, freq="D"),
        tf.sla_scorecard(judged, freq="D", policy=policy),
        tf.ship_otif(frames, freq="D", policy=policy, as_of=AS_OF),
    ):
        assert table.index.tolist() == [pd.Timestamp("2026-03-03")]
        assert table["n"].tolist() == [2]
    assert tf.due_next(judged)["n"].to_dict()["later"] == 1
    info = tf.compliance_rate(judged, freq="D").attrs["trackstar"]["compliance"]
    assert (info["n"], info["without_period"]) == (2, 1)
