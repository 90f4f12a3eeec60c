import pandas as pd
import pytest
from helpers.pictures import legend_entries, make_orders, text_of

from trackstar_frames import SlaPolicy, due_next, plot_due_next
from trackstar_frames.measures.due_next import DUE_BUCKETS


def heights(axes):
    """Sum what is piled up at each place, from left to right."""
    found = {}
    for bar in axes.patches:
        if bar.get_width() < 1:  # the ground of what is overdue is wider
            middle = round(bar.get_x() + bar.get_width() / 2, 3)
            found[middle] = found.get(middle, 0) + bar.get_height()
    return [found[at] for at in sorted(found)]


@pytest.mark.parametrize("by", [None, "warehouse_id", ["warehouse_id", "channel"]])
def test_piles_are_as_high_as_the_figures(by):
    frame = make_orders(900, [f"w{n}" for n in range(8)])
    n = due_next(frame)["n"]
    assert heights(plot_due_next(frame, by=by)) == n[n > 0].tolist()


def test_layers_are_the_statuses_in_the_order_of_their_life():
    frame = make_orders(600)
    table = due_next(frame).drop(columns=["n", "units_left", "units_unknown"]).sum()
    expected = [f"{name} ({n})" for name, n in table.items() if n]
    assert legend_entries(plot_due_next(frame)) == expected


def test_what_is_overdue_is_set_apart():
    frame = make_orders(600)
    axes = plot_due_next(frame)
    places = axes.get_xticks()
    (now,) = {line.get_xdata()[0] for line in axes.lines}
    names = [tick.get_text() for tick in axes.get_xticklabels()]
    assert sum(places < now) == sum(name.endswith("overdue") for name in DUE_BUCKETS) == 4
    assert names[:4] == ["> 7 d", "3-7 d", "1-3 d", "< 1 d"]
    overdue = due_next(frame)["n"].iloc[:4].sum()
    n = due_next(frame)["n"].sum()
    assert f"n = {n} open orders, {overdue} of them overdue" in text_of(axes)
    assert "overdue due next" in text_of(axes)


def test_orders_without_a_due_time_have_a_pile_only_if_there_are_any():
    frame = make_orders(100)
    assert "no due" not in text_of(plot_due_next(frame))
    frame["required_ship_date"] = pd.Series(pd.NaT, index=frame.index, dtype="datetime64[us, UTC]")
    axes = plot_due_next(frame)
    assert heights(axes) == [due_next(frame)["n"].sum()]
    assert "no due time" in text_of(axes)


def test_policies_are_said_in_words():
    both = {"web": SlaPolicy.d2c_noon_cut_off(), None: SlaPolicy.b2b_four_business_days()}
    text = text_of(plot_due_next(make_orders(100), policy=both, policy_by="channel"))
    assert "channel 'web': D2C noon cut-off" in text
    assert "channel of all others: " in text


@pytest.mark.parametrize("rows", [0, 1])
def test_the_words_of_an_empty_plot_are_beside_the_line_at_as_of(rows):
    orders = make_orders(rows).assign(status="cancelled")
    axes = plot_due_next(orders)
    axes.figure.draw_without_rendering()
    (words,) = [text for text in axes.texts if "orders" in text.get_text() and not text.get_gid()]
    assert words.get_text() == ("no open orders" if rows else "no orders")
    line = axes.transData.transform((axes.lines[0].get_xdata()[0], 0))[0]
    assert words.get_window_extent().x0 > line
