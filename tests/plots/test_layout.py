"""Nothing collides, whatever the settings, the place and the words."""

from itertools import combinations

import pytest
from helpers.marks import slow
from helpers.pictures import make_orders
from matplotlib import pyplot as plt

from trackstar_frames import (
    SlaPolicy,
    plot_backlog,
    plot_compliance_heatmap,
    plot_cycle_time,
    plot_due_next,
    plot_lateness,
    plot_overview,
    plot_ship_date_compliance,
    plot_status_mix,
)

LONG = {
    "web": SlaPolicy.d2c_noon_cut_off(name="Our agreement of March with the shop", target=0.95),
    None: SlaPolicy.b2b_four_business_days(name="The routing guide, fourth edition", target=0.9),
}
NAMES = ["north"] * 5 + ["south"] * 3 + ["a warehouse with a name too long for any label"]
SETTINGS = {
    "plain": {},
    "large": {"font.size": 14},
    "seaborn": {
        "axes.grid": True,
        "axes.facecolor": "#eaeaf2",
        "grid.color": "white",
        "patch.edgecolor": "w",
        "patch.force_edgecolor": True,
        "xtick.bottom": False,
        "font.size": 12,
    },
}


def held_to(plot, **kwargs):
    return lambda frame, ax=None: plot(frame, policy=LONG, policy_by="channel", ax=ax, **kwargs)


def by_group(plot, **kwargs):
    return lambda frame, ax=None: plot(frame, by="warehouse_id", ax=ax, **kwargs)


PICTURES = {
    "compliance": held_to(plot_ship_date_compliance),
    "compliance by group": held_to(plot_ship_date_compliance, by="warehouse_id"),
    "points": held_to(plot_ship_date_compliance, by="warehouse_id", freq=None),
    "heatmap": held_to(plot_compliance_heatmap),
    "lateness": held_to(plot_lateness),
    "lateness by group": by_group(plot_lateness),
    "backlog": plot_backlog,
    "cycle time": by_group(plot_cycle_time),
    "due next": held_to(plot_due_next),
    "status mix": by_group(plot_status_mix),
}


def words_of(axes):
    """Return the boxes of title, caption, labels and ticks, by what they say."""
    texts = [axes.title, axes._left_title, axes.xaxis.label, axes.yaxis.label]
    texts += [text for text in axes.texts if text.get_gid() == "caption"]
    for axis in (axes.xaxis, axes.yaxis):
        low, high = sorted(axis.get_view_interval())
        texts += [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
    if legend := axes.get_legend():
        texts += legend.get_texts()
    renderer = axes.figure.canvas.get_renderer()
    return {
        (number, text.get_text()): text.get_window_extent(renderer)
        for number, text in enumerate(texts)
        if text.get_text().strip() and text.get_visible()
    }


def collisions(boxes):
    """Return the pairs of texts that stand on one another, by more than a pixel or two."""
    return [
        (one, other)
        for (one, a), (other, b) in combinations(boxes.items(), 2)
        if min(a.x1, b.x1) - max(a.x0, b.x0) > 2 and min(a.y1, b.y1) - max(a.y0, b.y0) > 2
    ]


def is_within(box, frame):
    return (
        box.x0 > frame.x0 - 2
        and box.x1 < frame.x1 + 2
        and box.y0 > frame.y0 - 2
        and box.y1 < frame.y1 + 2
    )


@pytest.mark.one_of(6)
@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("name", PICTURES)
def test_a_figure_of_its_own_holds_all_words_apart(name, settings):
    with plt.rc_context(SETTINGS[settings]):
        axes = PICTURES[name](make_orders(600, NAMES))
        axes.figure.draw_without_rendering()
        boxes = words_of(axes)
    assert collisions(boxes) == []
    outside = [words for words, box in boxes.items() if not is_within(box, axes.figure.bbox)]
    assert outside == []


@pytest.mark.one_of(4)
@pytest.mark.parametrize("tight", [False, True])
@pytest.mark.parametrize("size", [slow((11, 8)), (6.4, 4.8)])
@pytest.mark.parametrize("names", [list(PICTURES)[:4], list(PICTURES)[4:8], list(PICTURES)[6:]])
def test_each_of_a_grid_keeps_to_its_cell(names, size, tight):
    figure, grid = plt.subplots(2, 2, figsize=size)
    frame = make_orders(600, NAMES)
    for name, ax in zip(names, grid.flat, strict=True):
        PICTURES[name](frame, ax=ax)
    if tight:
        figure.tight_layout()
    figure.draw_without_rendering()
    boxes = {}
    for name, ax in zip(names, grid.flat, strict=True):
        boxes |= {(name, *words): box for words, box in words_of(ax).items()}
    between = [pair for pair in collisions(boxes) if pair[0][0] != pair[1][0]]
    assert between == []
    assert [words for words, box in boxes.items() if not is_within(box, figure.bbox)] == []


@pytest.mark.parametrize("backend", ["inline", "agg"])
def test_a_page_is_shown_once_in_a_notebook(backend, monkeypatch):
    # The inline backend shows what a cell returns, and all open figures of pyplot.
    monkeypatch.setattr(plt, "get_backend", lambda: backend)
    page = plot_overview(make_orders(20))
    shown = [plt.figure(number) for number in plt.get_fignums()]
    assert (page in shown) == (backend != "inline")
    page.draw_without_rendering()
