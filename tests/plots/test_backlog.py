import pandas as pd
import pytest
from helpers.pictures import legend_entries, make_orders, text_of

from trackstar_frames import SlaPolicy, backlog, plot_backlog, plot_status_mix, ship_date_compliance
from trackstar_frames.measures.backlog import AGE_BUCKETS


def heights(axes):
    """Sum what is piled up over each age."""
    found = dict.fromkeys(range(len(AGE_BUCKETS)), 0)
    for bar in axes.patches:
        found[round(bar.get_x() + bar.get_width() / 2)] += bar.get_height()
    return list(found.values())


@pytest.mark.parametrize("by", [None, "warehouse_id", ["warehouse_id", "channel"]])
def test_piles_are_as_high_as_the_figures(by):
    frame = make_orders(600, [f"w{n}" for n in range(5)])
    axes = plot_backlog(frame, by=by)
    assert heights(axes) == backlog(frame)[list(AGE_BUCKETS)].sum().tolist()


def test_layers_are_the_statuses_in_the_order_of_their_life():
    frame = make_orders(600)
    n = backlog(frame)["n"]
    assert legend_entries(plot_backlog(frame)) == [f"{name} ({k})" for name, k in n.items() if k]


def test_groups_are_the_largest_and_all_others():
    frame = make_orders(900, [f"w{n % 9}" for n in range(45)] + ["big", "none of them is open"] * 9)
    frame.loc[frame["warehouse_id"].str.startswith("none"), "status"] = "cancelled"
    n = backlog(frame, by="warehouse_id")["n"].groupby("warehouse_id").sum()
    open_ones = n[n > 0]
    entries = legend_entries(plot_backlog(frame, by="warehouse_id"))
    assert len(entries) == 7
    numbers = [int(entry.split("(")[-1].strip(")")) for entry in entries]
    assert numbers[:6] == sorted(open_ones, reverse=True)[:6]
    assert entries[-1] == f"{len(open_ones) - 6} other groups ({n.sum() - sum(numbers[:6])})"


def test_work_and_as_of_are_noted():
    frame = make_orders(600)
    table = backlog(frame)
    info = table.attrs["trackstar"]["backlog"]
    text = text_of(plot_backlog(frame))
    assert f"n = {table['n'].sum()} open orders" in text
    assert (
        f"{table['n'].sum() / info['pace']:.1f} days of work at {info['pace']:.1f} orders" in text
    )
    idle = frame[frame["complete_shipped_date"].isna()]
    assert "days of work unknown: none shipped in 28 days" in text_of(plot_backlog(idle))


def test_unknown_ages_have_a_pile_only_if_there_are_any():
    frame = make_orders(100)
    assert "unknown" not in [tick.get_text() for tick in plot_backlog(frame).get_xticklabels()]
    frame.loc[frame["status"] != "fulfilled", "created_date"] = pd.NaT
    assert heights(plot_backlog(frame))[-1] == backlog(frame)["unknown"].sum() > 0


def test_what_has_shipped_since_is_a_layer_of_its_own():
    entries = legend_entries(plot_backlog(make_orders(300), as_of="2026-02-01"))
    assert entries[-1].startswith("(shipped since) (")


def test_a_bare_day_ends_where_the_warehouse_is_as_in_the_measure():
    sent = pd.Timestamp("2026-03-03 03:00", tz="UTC")  # on the evening of the 2nd in New York
    orders = make_orders(1).assign(
        status="fulfilled",
        created_date=sent - pd.Timedelta("2D"),
        first_shipped_date=sent,
        last_shipped_date=sent,
        complete_shipped_date=sent,
    )
    new_york = SlaPolicy(tz="America/New_York")
    judged = ship_date_compliance(orders, new_york, as_of="2026-03-02")
    for as_of in (None, "2026-03-02"):
        assert sum(heights(plot_backlog(judged, as_of=as_of))) == 0
        assert backlog(judged, as_of=as_of)["n"].sum() == 0
    mix = plot_status_mix(orders, policy=new_york, as_of="2026-03-02")
    assert legend_entries(mix) == ["fulfilled (1)"]
    plain = [plot_backlog(orders, policy=each, as_of="2026-03-02") for each in (None, new_york)]
    assert [sum(heights(axes)) for axes in plain] == [1, 0]
