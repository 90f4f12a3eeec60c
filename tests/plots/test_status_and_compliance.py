import numpy as np
import pandas as pd
import pytest
from helpers.marks import slow
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import same_color, to_rgb

from trackstar_frames.measures import SlaPolicy, compliance_rate, ship_date_compliance, status_mix
from trackstar_frames.plots import (
    plot_compliance_heatmap,
    plot_ship_date_compliance,
    plot_status_mix,
)
from trackstar_frames.plots._style import STATUSES
from trackstar_frames.schema import LIFECYCLE

AS_OF = "2026-03-04T12:00:00+00:00"
PLOTS = [plot_status_mix, plot_ship_date_compliance]
HOSTILE = [
    "$x^",
    "_private",
    "two\nlines\x00",
    "<script>alert(1)</script>",
    "$a$ and $b$",
    "",
    "l" * 99,
]


def orders(rows, seed=0, **columns):
    random = np.random.default_rng(seed)
    now = np.datetime64("2026-03-04T12:00", "us")
    created = now - (random.random(rows) * 60 * 86400e6).astype("m8[us]")
    due = created + np.timedelta64(2, "D")
    shipped = created + (random.gamma(3, 0.6, rows) * 86400e6).astype("m8[us]")
    shipped[shipped > now] = "NaT"
    status = np.where(np.isnat(shipped), random.choice(LIFECYCLE[:6], rows), "fulfilled")
    utc = {"created_date": created, "required_ship_date": due}
    utc |= dict.fromkeys(["last_shipped_date", "complete_shipped_date"], shipped)
    table = pd.DataFrame(
        {
            "status": pd.Categorical(status, categories=list(LIFECYCLE), ordered=True),
            "warehouse_id": "w",
            "units_ordered": 1,
            "channel": random.choice(["web", "edi"], rows) if rows else np.array([], dtype=str),
            **{name: pd.DatetimeIndex(stamps).tz_localize("UTC") for name, stamps in utc.items()},
            **columns,
        }
    )
    table.attrs["trackstar"] = {"fetched_at": AS_OF}
    return table


def words(axes):
    texts = [axes.get_title(loc="left"), axes.get_xlabel(), axes.get_ylabel()]
    texts += [text.get_text() for text in axes.texts]
    texts += [tick.get_text() for tick in axes.get_yticklabels()]
    if legend := axes.get_legend():
        texts += [text.get_text() for text in legend.get_texts()]
    return " ".join(" ".join(texts).split())


@pytest.mark.each_value
@pytest.mark.parametrize("plot", PLOTS)
@pytest.mark.parametrize("rows", [0, 3, 400])
@pytest.mark.parametrize("how", [{}, {"by": "channel"}, {"freq": "D"}])
def test_every_size_is_drawn_and_says_n_and_as_of(plot, rows, how):
    table = orders(rows)
    axes = plot(table, **({"freq": None} if plot is PLOTS[1] and "by" in how else {}), **how)
    assert isinstance(axes, Axes)
    assert "as of 2026-03-04 12:00 UTC" in words(axes)
    n = rows if plot is plot_status_mix else compliance_rate(ship_date_compliance(table))["n"][0]
    assert f"n = {n:,} orders" in words(axes)
    assert ("no orders" in words(axes)) == (n == 0)


@pytest.mark.parametrize("plot", PLOTS)
def test_given_axes_are_drawn_on_and_no_figure_is_made(plot):
    _, (left, right) = plt.subplots(1, 2)
    plt.sca(left)
    assert plot(orders(20), ax=right) is right
    assert len(plt.get_fignums()) == 1
    assert plt.gca() is left or plot is plot_ship_date_compliance
    assert not left.has_data()
    with pytest.raises(TypeError, match="pass matplotlib Axes"):
        plot(orders(20), ax="right")


@pytest.mark.parametrize("plot", PLOTS)
def test_a_new_figure_has_a_constrained_layout(plot):
    assert (
        plot(orders(5)).figure.get_layout_engine().__class__.__name__ == "ConstrainedLayoutEngine"
    )


@pytest.mark.one_of(2)
@pytest.mark.parametrize("plot", PLOTS)
@pytest.mark.parametrize("how", [{"freq": "W"}, {"freq": None}])
def test_hostile_names_are_printed_as_they_are(plot, how):
    names = np.array([*HOSTILE, None] * 10, dtype=object)
    table = orders(len(names), channel=names, status="_$odd$")
    if plot is plot_status_mix and how["freq"]:
        axes = plot(table, **how)
        assert r" _\$odd\$ (80)" in [text.get_text() for text in axes.get_legend().get_texts()]
        return
    axes = plot(table, by="channel", **how)
    ticks = [tick.get_text() for tick in axes.get_yticklabels()]
    panels = [panel.get_title(loc="left").split("\n")[0] for panel in axes.child_axes]
    labels = ticks if how["freq"] is None else panels
    assert len(labels) == 8
    assert all(len(label) < 60 and "\n" not in label for label in labels)
    assert not any(label.startswith("_") for label in labels)
    assert r"\$x^" in " ".join(labels)


def test_bars_are_as_long_as_the_figures():
    table = orders(300)
    for normalize in (False, True):
        mix = status_mix(table, by="channel", normalize=normalize)
        axes = plot_status_mix(table, by="channel", normalize=normalize)
        by_size = status_mix(table, by="channel").sum(axis=1).sort_values(ascending=False).index
        drawn = {
            (by_size[round(bar.get_y() + bar.get_height() / 2)], position): bar.get_width()
            for position, container in enumerate(axes.containers)
            for bar in container
        }
        statuses = [name for name in LIFECYCLE if mix[name].sum() > 0]
        for channel in mix.index:
            for position, status in enumerate(statuses):
                assert drawn.get((channel, position), 0) == pytest.approx(mix.loc[channel, status])


def test_bars_over_time_are_as_high_as_the_figures():
    table = orders(300)
    axes = plot_status_mix(table, freq="W")
    weeks = status_mix(table, freq="W").sum(axis=1).tolist()
    tops = {}
    for bar in axes.patches:
        tops[bar.get_x()] = max(tops.get(bar.get_x(), 0), bar.get_y() + bar.get_height())
    assert [tops[x] for x in sorted(tops)] == weeks


def test_lines_join_the_rates_that_will_stay_and_others_are_hollow():
    table = orders(400)
    rates = compliance_rate(ship_date_compliance(table), freq="W")
    rates = rates[rates["n"] > 0]
    axes = plot_ship_date_compliance(table)
    line = axes.lines[0].get_ydata(orig=False)
    stays = (rates["final"] & rates["covered"]).to_numpy()
    assert stays.tolist() == [True] * (len(rates) - 1) + [False]
    assert line[: len(rates)][stays] == pytest.approx(rates["rate"][stays].to_numpy())
    assert np.isnan(line[len(rates) - 1 :]).all()
    assert points(axes, hollow=True) == pytest.approx(rates["rate"][~stays].tolist())
    assert points(axes, hollow=False) == pytest.approx(sorted(rates["rate"][stays]))
    assert "hollow, not joined" in words(axes)
    assert axes.get_ylim() == pytest.approx((-0.03, 1.03))
    behind = next(other for other in axes.figure.axes if other is not axes)
    assert [bar.get_height() for bar in behind.patches] == rates["n"].tolist()


def points(axes, *, hollow):
    """Read the rates at which there are markers, hollow or not."""
    background = axes.get_facecolor()
    found = [
        line.get_ydata(orig=False)
        for line in axes.lines
        if line.get_marker() != "None"
        and same_color(line.get_markerfacecolor(), background) == hollow
    ]
    return sorted(np.concatenate(found).tolist()) if found else []


def test_nothing_is_drawn_after_as_of():
    table = orders(400)
    axes = plot_ship_date_compliance(table, as_of="2026-02-11T12:00")
    as_of = pd.Timestamp("2026-02-11T12:00").timestamp() / 86400 + 1e-6
    behind = next(other for other in axes.figure.axes if other is not axes)
    assert max(bar.get_x() + bar.get_width() for bar in behind.patches) <= as_of
    assert max(line.get_xdata().max() for line in axes.lines if len(line.get_xdata())) < as_of
    mix = plot_status_mix(table, freq="W", as_of="2026-02-11T12:00")
    assert max(bar.get_x() + bar.get_width() for bar in mix.patches) <= as_of


def test_periods_before_the_fetch_are_hollow():
    table = orders(600)
    table.attrs["trackstar"]["filters"] = {"created_date__gte": "2026-01-12T00:00:00+00:00"}
    rates = compliance_rate(ship_date_compliance(table), freq="W")
    axes = plot_ship_date_compliance(table)
    stays = rates["final"] & rates["covered"] & (rates["n"] > 0)
    assert len(points(axes, hollow=True)) == ((rates["n"] > 0) & ~stays).sum() > 1
    assert len(points(axes, hollow=False)) == stays.sum()
    assert "the fetch does not have all of its orders" in words(axes)


def test_few_orders_are_pale():
    table = orders(400)
    rates = compliance_rate(ship_date_compliance(table), freq="W")
    axes = plot_ship_date_compliance(table)
    marks = [line for line in axes.lines if line.get_marker() != "None"]
    pale = sum(len(line.get_xdata()) for line in marks if (line.get_alpha() or 1) < 1)
    assert pale == (rates["small"] & (rates["n"] > 0)).sum() > 0
    assert "pale: n below 30" in words(axes)


def test_each_target_is_a_line_that_is_named():
    table = orders(300)
    one = plot_ship_date_compliance(table, policy=SlaPolicy(target=0.9))
    assert [line.get_ydata()[0] for line in one.lines if line.get_linestyle() == "--"] == [0.9]
    assert "target 90 %" in words(one)
    both = {"web": SlaPolicy(target=0.96, grace="1h"), None: SlaPolicy(target=0.8)}
    axes = plot_ship_date_compliance(
        table, policy=both, policy_by="channel", labels={"web": "Shop"}
    )
    entries = [text.get_text() for text in axes.get_legend().get_texts()]
    assert entries == ["target 96 % (Shop)", "target 80 % (others)"]
    assert "channel 'web': Orders are due" in words(axes)
    assert "channel of all others: Orders are due" in words(axes)
    same = {"web": SlaPolicy(target=0.9, grace="1h"), None: SlaPolicy(target=0.9)}
    assert "target 90 %" in words(
        plot_ship_date_compliance(table, policy=same, policy_by="channel")
    )


def test_the_policy_is_printed_and_judged_frames_keep_theirs():
    table = orders(50)
    policy = {"tz": "America/New_York", "ship_event": "last", "grace": "2h", "due_day": "end"}
    direct = words(plot_ship_date_compliance(table, **policy))
    whole = SlaPolicy(**policy)
    for part in (
        "New_York",
        "shipped = last",
        "grace 2 h",
        "by the end of the day",
        "95 % intervals",
    ):
        assert part in direct
    assert whole.text in direct
    judged = ship_date_compliance(table, **policy)
    for given, how in ((judged, {}), (judged, policy), (judged, {"policy": whole})):
        assert words(plot_ship_date_compliance(given, **how)) == direct
    assert words(plot_ship_date_compliance(table, policy=whole)) == direct
    with pytest.raises(ValueError, match="judged already, by another policy: 'Orders are due"):
        plot_ship_date_compliance(judged, tz="UTC+01:00", grace="1h")
    with pytest.raises(ValueError, match=r"dataclasses.replace\(policy, tz='UTC'\)"):
        plot_ship_date_compliance(table, policy=whole, tz="UTC")
    by_warehouse = words(plot_ship_date_compliance(table, tz={"w": "Asia/Tokyo"}))
    assert "warehouses' own time" in by_warehouse
    for plot in (plot_ship_date_compliance, plot_status_mix):
        for tz, text in (
            ("Asia/Tokyo", "(Asia/Tokyo)"),
            ({"w": "Asia/Tokyo", None: "UTC"}, "(warehouses' own time)"),
        ):
            axes = plot(table, policy=SlaPolicy(tz=tz), freq="W")
            assert text in axes.get_xlabel()
        several = {"a": SlaPolicy(tz="Asia/Tokyo"), None: SlaPolicy(tz="Europe/Berlin")}
        axes = plot(table, policy=several, policy_by="channel", freq="W")
        assert "(warehouses' own time)" in axes.get_xlabel()


def test_a_judged_frame_without_its_policy_is_drawn_with_one_warning():
    judged = ship_date_compliance(orders(50)).drop(columns="judged_by")
    judged.attrs = {}
    with pytest.warns(UserWarning, match="lost its policy") as caught:
        axes = plot_ship_date_compliance(judged, by="channel")
    assert [each.filename for each in caught] == [__file__]
    assert "as of an unknown time" in words(axes)
    assert "The policy is not known." in words(axes)


@pytest.mark.one_of(3)
@pytest.mark.parametrize("name", ["ours: $5^2$ \\frac", "_hidden", "two\nlines"])
def test_a_policys_name_is_printed_as_it_is(name):
    table = orders(50)
    axes = plot_ship_date_compliance(table, policy=SlaPolicy.b2b_four_business_days(name=name))
    assert "in 4 business days" in words(axes)
    assert SlaPolicy(name=name).name.replace("$", r"\$") in words(axes)


def test_each_group_gets_its_own_rates():
    table = orders(400)
    axes = plot_ship_date_compliance(table, by="channel", freq="MS")
    rates = compliance_rate(ship_date_compliance(table), by="channel", freq="MS")
    legend = axes.get_legend()
    for label, handle in zip(legend.get_texts(), legend.legend_handles, strict=True):
        channel = label.get_text().split()[0]
        own = [
            line.get_ydata(orig=False)
            for line in axes.lines
            if line.get_marker() == handle.get_marker()
        ]
        expected = rates.loc[channel, "rate"].dropna()
        assert sorted(np.concatenate(own)) == pytest.approx(sorted(expected))


def test_only_the_largest_groups_are_drawn_and_the_others_are_noted():
    table = orders(600, channel=[f"c{n % 30}" for n in range(600)])
    _, ax = plt.subplots()
    lines = plot_ship_date_compliance(table, by="channel", ax=ax)
    assert len(lines.get_legend().get_texts()) == 6
    assert "the 6 largest of 30 groups; n of the rest = " in words(lines)
    rows = plot_status_mix(table, by="channel")
    assert len(rows.get_yticks()) == 20
    assert "the 20 largest of 30 groups; n of the rest = " in words(rows)


def test_more_groups_than_lines_have_a_small_plot_each():
    table = orders(900, channel=[f"c{n % 9}" for n in range(900)])
    axes = plot_ship_date_compliance(table, by="channel", policy=SlaPolicy(target=0.9))
    n = compliance_rate(ship_date_compliance(table), by="channel")["n"]
    titles = [panel.get_title(loc="left") for panel in axes.child_axes]
    assert sorted(titles) == sorted(f"{name}\nn = {count}" for name, count in n.items())
    assert "dashed: target 90 %" in words(axes)
    assert "thin grey: all orders" in words(axes)
    many = orders(600, channel=[f"c{n % 30}" for n in range(600)])
    axes = plot_ship_date_compliance(many, by="channel")
    assert len(axes.child_axes) == 20
    assert "the 20 largest of 30 groups" in words(axes)


def test_gaps_break_the_line():
    table = orders(3)
    due = ["2026-01-05T10:00Z", "2026-01-26T10:00Z", "2026-02-02T10:00Z"]
    table["required_ship_date"] = pd.to_datetime(due).astype("datetime64[us, UTC]")
    table["created_date"] = pd.Timestamp("2026-01-01", tz="UTC")
    line = plot_ship_date_compliance(table).lines[0]
    assert np.isnan(line.get_ydata(orig=False)).tolist() == [False, True, False, False]


def test_a_wrong_date_can_be_drawn_quickly():
    table = orders(3)
    stamps = np.array(["0001-01-01T05:00", "2026-01-01", "9999-12-31T05:00"], dtype="M8[us]")
    table["required_ship_date"] = pd.DatetimeIndex(stamps).tz_localize("UTC")
    plot_ship_date_compliance(table, freq="W")
    table["created_date"] = table["required_ship_date"]
    plot_status_mix(table, freq="YS")


def test_empty_plots_say_why():
    pending = orders(5).assign(created_date=pd.NaT)
    assert "no orders due yet" in words(plot_ship_date_compliance(pending, as_of="2020-01-01"))
    later = words(plot_ship_date_compliance(orders(5), as_of="2020-01-01"))
    assert "no orders that can be judged" in later


def test_undated_orders_are_noted():
    table = orders(5)
    table.loc[:1, "created_date"] = pd.NaT
    assert "not drawn: 2 without a created date" in words(plot_status_mix(table, freq="W"))


def test_styles_are_passed_on():
    bars = plot_status_mix(orders(5), alpha=0.5)
    assert {bar.get_alpha() for bar in bars.patches} == {0.5}
    line = plot_ship_date_compliance(orders(50), color="black", linestyle="--").lines[0]
    assert (line.get_color(), line.get_linestyle()) == ("black", "--")


def test_groups_or_periods():
    with pytest.raises(ValueError, match="one at a time"):
        plot_status_mix(orders(5), by="channel", freq="W")


def test_the_path_goes_from_light_to_dark():
    greys = [np.dot(to_rgb(STATUSES[name].colour), (0.299, 0.587, 0.114)) for name in LIFECYCLE[:7]]
    assert (np.diff(greys) < -0.05).all()


def test_the_legend_explains_what_is_drawn_and_nothing_else():
    table = orders(4, created_date=pd.to_datetime([*["2026-03-02T00:00Z"] * 3, None]))
    table["status"] = ["open", "open", "packed", "zz"]
    axes = plot_status_mix(table, freq="D")
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["open (2)", "packed (1)"]
    many = orders(60, status="open", channel=[f"c{number:02}" for number in range(60)])
    many.loc[59, ["status", "channel"]] = ["zz", "z"]
    axes = plot_status_mix(many, by="channel")
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["open (59)"]
    colours = [to_rgb(bar.get_facecolor()) for bar in axes.get_legend().get_patches()]
    assert colours == [to_rgb(STATUSES["open"].colour)]


@pytest.mark.one_of(2)
@pytest.mark.parametrize("rows", [slow(1), 3, slow(400)])
@pytest.mark.parametrize("zone", [slow("UTC"), "America/Los_Angeles", slow("Asia/Kolkata")])
@pytest.mark.parametrize("plot", [*PLOTS, plot_compliance_heatmap])
def test_daily_ticks_stand_at_the_start_of_a_day_whatever_matplotlibs_zone(plot, zone, rows):
    table = orders(rows)
    drawn = {}
    for timezone in ("UTC", zone):
        with plt.rc_context({"timezone": timezone}):
            given = {} if plot is plot_status_mix else {"policy": SlaPolicy(tz="Asia/Tokyo")}
            axes = plot(table, freq="D", **given)
            axes.figure.draw_without_rendering()
            ticks = axes.get_xticks()
            drawn[timezone] = (
                ticks.tolist(),
                [tick.get_text() for tick in axes.get_xticklabels()],
                axes.xaxis.get_offset_text().get_text(),
            )
        assert len(ticks) > 0
        assert (ticks % 1 == 0).all()
    assert drawn["UTC"] == drawn[zone]
