import datetime as dt

import numpy as np
import pytest
from helpers.pictures import legend_entries, text_of
from matplotlib import pyplot as plt

from trackstar_frames import OrderFrames, plot_throughput, throughput
from trackstar_frames.sandbox import Sandbox

AS_OF = "2026-03-04T12:00"


@pytest.fixture(scope="module")
def frames():
    with Sandbox(orders=400, seed=1, now=dt.datetime(2026, 3, 4, 12, tzinfo=dt.UTC)) as sandbox:
        return OrderFrames.from_json(list(sandbox.orders))


def lines_of(axes, marker):
    return [
        (line.get_xdata(), line.get_ydata(orig=False))
        for line in axes.lines
        if line.get_marker() == marker
    ]


def test_lines_are_the_figures_and_what_is_not_over_is_hollow(frames):
    table = throughput(frames, freq="W", as_of=AS_OF)
    axes = plot_throughput(frames, freq="W", as_of=AS_OF)
    for marker, name in (("o", "orders"), ("s", "received")):
        (_, joined), (at, hollow) = lines_of(axes, marker)
        assert joined[:-1].tolist() == table[name].iloc[:-1].tolist()
        assert np.isnan(joined[-1])
        assert hollow.tolist() == table[name].iloc[-1:].tolist()
        assert at[0] < np.datetime64(AS_OF).astype("M8[s]").astype(float) / 86400
    sums = table.sum()
    assert legend_entries(axes) == [
        f"shipped ({sums['orders']})",
        f"received ({sums['received']})",
        f"open at the end ({table['open'].iloc[-1]})",
    ]
    text = text_of(axes)
    assert f"n = {sums['orders']} orders shipped, {sums['received']} received" in text
    assert "as of 2026-03-04 12:00 UTC" in text
    assert "hollow, not joined: not over" in text


@pytest.mark.parametrize("freq", ["hour", "weekday"])
def test_profiles_are_bars_of_means(frames, freq):
    table = throughput(frames, freq=freq, as_of=AS_OF)
    axes = plot_throughput(frames, freq=freq, as_of=AS_OF)
    for name, bars in zip(("orders", "received"), axes.containers, strict=True):
        means = (table[name] / table["days"]).tolist()
        assert [bar.get_height() for bar in bars] == pytest.approx(means)
    with pytest.raises(ValueError, match="one at a time"):
        plot_throughput(frames, freq=freq, by="channel", as_of=AS_OF)


def test_groups_are_lines_or_small_plots(frames):
    few = plot_throughput(frames, by="warehouse_id", freq="MS", as_of=AS_OF)
    n = throughput(frames, by="warehouse_id", freq="MS", as_of=AS_OF)["orders"]
    n = n.groupby("warehouse_id", dropna=False).sum()
    assert len(legend_entries(few)) == len(n) <= 6
    by = ["warehouse_id", "channel"]
    many = plot_throughput(frames, by=by, freq="MS", as_of=AS_OF)
    groups = frames.orders.groupby(by, dropna=False).ngroups
    assert len(many.child_axes) == min(groups, 20) > 6
    _, ax = plt.subplots()
    assert len(legend_entries(plot_throughput(frames, by=by, freq="MS", as_of=AS_OF, ax=ax))) == 6


def test_no_orders_are_drawn_too():
    assert "no orders" in text_of(plot_throughput(OrderFrames.from_json([]), as_of=AS_OF))


def test_other_things_are_refused(frames):
    with pytest.raises(TypeError, match="pass the OrderFrames"):
        plot_throughput(frames.orders)
