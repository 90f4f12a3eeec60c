import pytest
from helpers.pictures import legend_entries, make_orders, text_of
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D

from trackstar_frames import SlaPolicy, plot_scorecard, sla_scorecard
from trackstar_frames.plots.scorecard import _SIGNS

POLICY = SlaPolicy(target=0.74)


def cells(axes):
    """Read what is written in each cell, by row and column."""
    found = {}
    for text in axes.texts:
        x, y = text.get_position()
        if text.get_gid() is None and 0 <= round(y) < len(axes.get_yticks()):
            found.setdefault((round(y), round(x)), []).append(text.get_text())
    return found


def marks(axes):
    """Read the mark of each cell, by row and column."""
    return {
        (round(line.get_ydata()[0]), round(line.get_xdata()[0] + 0.3)): line.get_marker()
        for line in axes.lines
    }


def test_cells_marks_and_colours_are_those_of_the_figures():
    frame = make_orders(1500, ["a", "b", "c", "c", "c", "c"])
    axes = plot_scorecard(frame, policy=POLICY, by="warehouse_id")
    card = sla_scorecard(frame, policy=POLICY, by="warehouse_id")
    order = card.groupby("warehouse_id")["n"].sum().sort_values(ascending=False).index
    found, signs = cells(axes), marks(axes)
    for row, name in enumerate(order):
        for column, month in enumerate(card.loc[name].itertuples()):
            star = "" if month.final and month.covered else "*"
            over = f", {month.over_allowance} over" if month.over_allowance else ""
            assert found[row, column] == [f"{100 * month.rate:.1f} %{star}", f"n {month.n}{over}"]
            assert signs[row, column] == _SIGNS[month.verdict].marker
    strong = {to_rgb(box.get_facecolor()) for box in axes.patches}
    shown = card[(card["n"] > 0) & ~card["small"]]["verdict"]
    assert {to_rgb(_SIGNS[verdict].ground) for verdict in shown} <= strong
    assert len(legend_entries(axes)) == card["verdict"].nunique()
    assert len({sign.marker for sign in _SIGNS.values()}) == len(_SIGNS)


def test_each_row_names_its_target():
    both = {"web": SlaPolicy(target=0.96), None: SlaPolicy(target=0.5)}
    axes = plot_scorecard(
        make_orders(300), policy=both, policy_by="channel", labels={"web": "Shop"}
    )
    rows = [tick.get_text() for tick in axes.get_yticklabels()]
    assert sorted(row.split(" (")[0] + row.split("\n")[1] for row in rows) == [
        "Shoptarget 96 %",
        "editarget 50 %",
    ]
    assert "channel 'web': Orders are due" in text_of(axes)


@pytest.mark.parametrize("rows", [0, 1])
def test_little_is_drawn_too(rows):
    text = text_of(plot_scorecard(make_orders(rows), policy=POLICY))
    assert f"n = {rows} orders due" in text
    assert ("no orders" in text) == (rows == 0)
    assert "as of 2026-03-04 12:00 UTC" in text
    assert "target: at least 74 % on time" in text


@pytest.mark.parametrize("freq", ["MS", "W"])
@pytest.mark.parametrize("size", [(14, 10), (6.4, 4.8)])
def test_in_a_grid_the_legend_is_under_the_names_of_the_periods(size, freq):
    figure, grid = plt.subplots(2, 2, figsize=size)
    axes = plot_scorecard(make_orders(600), policy=POLICY, freq=freq, ax=grid[0, 1])
    signs = set()
    for _ in range(3):  # as by tight_layout and savefig
        figure.draw_without_rendering()
        legend = axes.get_legend()
        entries = [text.get_window_extent() for text in legend.get_texts()]
        names = [tick.get_window_extent() for tick in axes.get_xticklabels()]
        assert max(each.y1 for each in entries) < min(each.y0 for each in names) + 2
        assert min(each.y0 for each in entries) > grid[1, 1].bbox.y1
        marks = legend.findobj(Line2D)
        signs.add(tuple((each.get_marker(), each.get_markersize()) for each in marks))
    assert {marker for marker, _ in next(iter(signs))} > {"s"}
    assert len(signs) == 1


def test_the_last_twelve_periods_are_drawn():
    axes = plot_scorecard(make_orders(900), policy=POLICY, freq="W")
    assert len(axes.get_xticks()) == 12
    assert "the last 12 of 14 periods" in text_of(axes)


def test_a_policy_without_a_target_is_refused():
    with pytest.raises(ValueError, match="the policy has no target"):
        plot_scorecard(make_orders(9))
