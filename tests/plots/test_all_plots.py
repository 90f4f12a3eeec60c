import pandas as pd
import pytest
from helpers.pictures import AS_OF, make_orders, text_of
from matplotlib import pyplot as plt

from trackstar_frames import (
    FilteredOrdersWarning,
    SlaPolicy,
    plot_backlog,
    plot_compliance_heatmap,
    plot_cycle_time,
    plot_due_next,
    plot_lateness,
    plot_overview,
    plot_scorecard,
    plot_ship_date_compliance,
    plot_status_mix,
    plot_status_transitions,
    ship_date_compliance,
)

TARGET = SlaPolicy(target=0.9)


def scorecard(orders, **kwargs):
    """Draw a scorecard, which needs a target."""
    judged = "outcome" in orders.columns if isinstance(orders, pd.DataFrame) else True
    return plot_scorecard(orders, **{"policy": None if judged else TARGET, **kwargs})


OF_ORDERS = [plot_backlog, plot_cycle_time]
OF_DUE_DATES = [plot_lateness, plot_compliance_heatmap]
PLOTS = [*OF_ORDERS, *OF_DUE_DATES]
EVERY = [*PLOTS, plot_status_mix, plot_ship_date_compliance, plot_due_next, scorecard]
HOSTILE = ["$x^", "_private", "two\nlines\x00", "<b>", "$a$ and $b$", "", "l" * 99, None]


@pytest.mark.each_value
@pytest.mark.parametrize("plot", PLOTS)
@pytest.mark.parametrize("rows", [0, 1, 3, 400])
def test_every_size_is_drawn_and_says_n_and_as_of(plot, rows):
    text = text_of(plot(make_orders(rows)))
    assert "as of 2026-03-04 12:00 UTC" in text
    assert "n = " in text
    assert ("no orders" in text) == (rows == 0)


@pytest.mark.each_value
@pytest.mark.parametrize("plot", PLOTS)
@pytest.mark.parametrize("name", ["created_date", "required_ship_date", "complete_shipped_date"])
def test_dates_may_be_missing_altogether(plot, name):
    frame = make_orders(30)
    frame[name] = pd.Series(pd.NaT, index=frame.index, dtype="datetime64[us, UTC]")
    assert "as of" in text_of(plot(frame))


def test_plots_of_nothing_but_nulls_say_why_they_are_empty():
    frame = make_orders(30)
    for name in frame.columns[frame.columns.str.endswith("_date")]:
        frame[name] = pd.Series(pd.NaT, index=frame.index, dtype="datetime64[us, UTC]")
    assert "no orders that can be judged" in text_of(plot_lateness(frame))
    assert "no orders that can be judged" in text_of(plot_compliance_heatmap(frame))
    assert "no orders that can be evaluated" in text_of(plot_cycle_time(frame))
    closed = frame.assign(status="cancelled")
    assert "no open orders" in text_of(plot_backlog(closed))


@pytest.mark.one_of(4)
@pytest.mark.parametrize("plot", EVERY)
def test_titles_and_labels_are_those_given_and_the_note_can_be_left_out(plot):
    frame = make_orders(200)
    labels = {"north": "Newark", "south": "Reno $1"}
    axes = plot(frame, by="warehouse_id", labels=labels, title="March, $ and all")
    text = text_of(axes)
    assert axes.get_title(loc="left") == r"March, \$ and all"
    assert "Newark" in text
    assert r"Reno \$1" in text
    assert "north (" not in text
    assert "as of 2026-03-04 12:00 UTC" in text
    bare = text_of(plot(frame, note=False))
    assert "as of" not in bare
    assert "n = " not in " ".join(text.get_text() for text in plot(frame, note=False).texts)
    with pytest.raises(ValueError, match="has the name 'x' for"):
        plot(frame, by="warehouse_id", labels={"north": "x", "south": "x"})


def test_a_page_has_the_title_given_and_no_notes():
    page = plot_overview(make_orders(50), title="March", note=False)
    text = " ".join(each.get_text() for each in page.subfigs[0].texts)
    assert text.startswith("March")
    assert "as of" not in text


@pytest.mark.one_of(2)
@pytest.mark.parametrize("plot", EVERY)
def test_a_filter_that_biases_a_figure_is_warned_of_once_at_the_callers_line(plot):
    frame = make_orders(100)
    frame.attrs["trackstar"]["filters"] = {"status": "open"}
    with pytest.warns(FilteredOrdersWarning, match="leaves out") as warned:
        plot(frame, by=None)
    assert len(warned) == 1
    assert warned[0].filename == __file__
    frame.attrs["trackstar"]["filters"] = {"channel__in": ["web", "edi"]}
    plot(frame, by=None)


def test_a_page_warns_once_of_each_figure():
    frame = make_orders(100)
    frame.attrs["trackstar"]["filters"] = {"status": "open", "created_date__gte": "2026-01-01"}
    with pytest.warns(FilteredOrdersWarning) as warned:
        plot_overview(frame)
    figures = [str(each.message).split(" is not")[0] for each in warned]
    assert sorted(figures) == ["backlog", "cycle_time", "plot_ship_date_compliance", "status_mix"]
    assert {each.filename for each in warned} == {__file__}


@pytest.mark.parametrize("plot", [each for each in EVERY if each is not plot_status_mix])
def test_an_unknown_moment_is_warned_of_at_the_callers_line(plot):
    frame = make_orders(20)
    frame.attrs = {}
    with pytest.warns(UserWarning, match="do not say when they were fetched") as warned:
        plot(frame, by=None)
    assert [each.filename for each in warned] == [__file__]


@pytest.mark.one_of(2)
@pytest.mark.parametrize("plot", PLOTS)
def test_hostile_names_are_printed_as_they_are(plot):
    text = text_of(plot(make_orders(300, ["$x^"] * 9 + HOSTILE), by="warehouse_id"))
    assert "by warehouse_id" in text
    assert r"\$x^" in text
    assert "\x00" not in text
    assert "l" * 40 not in text


@pytest.mark.one_of(2)
@pytest.mark.parametrize(
    ("plot", "note"),
    [
        (plot_backlog, "33 other groups"),
        (plot_cycle_time, "the 20 largest of 40 groups"),
        (plot_compliance_heatmap, "the 20 largest of 40 groups"),
        (plot_lateness, "the 20 largest of 40 groups"),
    ],
)
def test_only_the_largest_groups_are_drawn_and_the_others_are_noted(plot, note):
    assert note in text_of(plot(make_orders(3000, [f"w{n}" for n in range(40)]), by="warehouse_id"))


def test_a_plot_without_groups_refuses_by():
    with pytest.raises(ValueError, match="draw a page of the rows of each group"):
        plot_overview(make_orders(3), by="warehouse_id")
    with pytest.raises(
        ValueError, match="by='x': plot_status_transitions draws all orders together"
    ):
        plot_status_transitions(None, by="x")


@pytest.mark.each_value
@pytest.mark.parametrize("plot", PLOTS)
@pytest.mark.parametrize("rows", [0, 1])
def test_groups_of_few_orders_are_drawn(plot, rows):
    text = text_of(plot(make_orders(rows), by=["warehouse_id", "channel"]))
    assert "by warehouse_id / channel" in text
    assert ("no orders" in text) == (rows == 0)


@pytest.mark.one_of(2)
@pytest.mark.parametrize("plot", PLOTS)
def test_given_axes_are_drawn_on_and_no_figure_is_made(plot):
    _, (left, right) = plt.subplots(1, 2)
    assert plot(make_orders(20), ax=right) is right
    assert len(plt.get_fignums()) == 1
    assert not left.has_data()
    with pytest.raises(TypeError, match="pass matplotlib Axes"):
        plot(make_orders(20), ax="right")


@pytest.mark.parametrize("plot", PLOTS)
def test_a_new_figure_has_a_constrained_layout(plot):
    engine = plot(make_orders(5)).figure.get_layout_engine()
    assert engine.__class__.__name__ == "ConstrainedLayoutEngine"


@pytest.mark.one_of(4)
@pytest.mark.parametrize("plot", PLOTS)
def test_types_of_arrow_give_the_same_plot(plot):
    frame = make_orders(60)
    arrow = frame.convert_dtypes(dtype_backend="pyarrow")
    arrow.attrs = frame.attrs
    assert text_of(plot(arrow)) == text_of(plot(frame))


@pytest.mark.one_of(2)
@pytest.mark.parametrize("plot", PLOTS)
def test_another_moment_is_noted(plot):
    assert "as of 2026-02-01 12:00 UTC" in text_of(plot(make_orders(60), as_of="2026-02-01T12:00"))


@pytest.mark.parametrize("plot", [*OF_DUE_DATES, plot_overview])
def test_judged_frames_keep_their_policy(plot):
    judged = ship_date_compliance(make_orders(60), tz="America/New_York", grace="2h")
    if plot is not plot_overview:
        text = text_of(plot(judged))
        assert "(America/New_York)" in text
        assert "grace 2 h" in text
    with pytest.raises(ValueError, match="judged already, by this policy, but as of"):
        plot(judged, as_of="2026-03-01")
    with pytest.raises(ValueError, match="judged already, by another policy"):
        plot(judged, policy=SlaPolicy())


@pytest.mark.parametrize("plot", OF_DUE_DATES)
def test_a_policy_is_applied_and_noted(plot):
    text = text_of(plot(make_orders(60), policy=SlaPolicy.d2c_noon_cut_off()))
    assert "D2C noon cut-off: orders created before 12:00" in text


@pytest.mark.parametrize("plot", [*PLOTS, plot_overview])
def test_other_things_are_refused(plot):
    with pytest.raises(TypeError, match="pass the DataFrame of fetch_orders_df"):
        plot([1, 2])
    with pytest.raises(ValueError, match="lacks 'status'"):
        plot(make_orders(3).drop(columns="status"))


def test_styles_are_passed_on():
    for plot in (plot_backlog, plot_lateness):
        assert {bar.get_alpha() for bar in plot(make_orders(50), alpha=0.5).patches} == {0.5}
    assert plot_cycle_time(make_orders(50), linewidth=5).lines[0].get_linewidth() == 5


@pytest.mark.one_of(4)
@pytest.mark.parametrize("plot", PLOTS)
def test_a_hundred_thousand_orders_are_drawn(plot):
    frame = make_orders(1000)
    many = pd.concat([frame] * 100, ignore_index=True)
    many.attrs = frame.attrs
    # Due days end with the day; cancelled orders are in no rate, and censored in cycle times.
    is_due = frame["required_ship_date"] + pd.Timedelta(days=1) <= AS_OF
    due = 100 * int((is_due & (frame["status"] != "cancelled")).sum())
    n = {plot_backlog: "n = 4,000 open", plot_cycle_time: "n = 100,000"}.get(plot, f"n = {due:,}")
    assert n in text_of(plot(many))
