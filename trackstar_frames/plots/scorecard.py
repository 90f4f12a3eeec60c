"""The scorecard of a policy's target, as a table of groups and periods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from trackstar_frames.measures._checks import require
from trackstar_frames.measures._policies import PolicyLike
from trackstar_frames.measures.sla_scorecard import VERDICTS, sla_scorecard
from trackstar_frames.plots import _layout as layout
from trackstar_frames.plots import _style as style
from trackstar_frames.plots._groups import MOST_ROWS, Groups
from trackstar_frames.plots._judged import AsOf, quiet

_MOST_PERIODS = 12
_NARROW = 330  # points: no room for a sentence


class _Sign(NamedTuple):
    """How a verdict looks: its ground, and a mark that does not rest on colour."""

    ground: str
    marker: str
    words: str


_SIGNS = dict(
    zip(
        VERDICTS,
        (
            _Sign("#b9d9ee", "o", "met: the interval is at or above the target"),
            _Sign("#f3b48a", "X", "missed: the interval is below it"),
            _Sign("#eeeadb", "D", "undecided: it holds the target"),
        ),
        strict=True,
    )
)


def plot_scorecard(
    orders: pd.DataFrame,
    *,
    policy: PolicyLike | None = None,
    policy_by: str | None = None,
    as_of: AsOf = None,
    by: str | Sequence[str] | None = None,
    freq: str = "MS",
    labels: Mapping[Any, str] | None = None,
    title: str | None = None,
    note: bool = True,
    ax: Axes | None = None,
) -> Axes:
    r"""Draw the scorecard of each group and month as a table: rate, n and verdict.

    Parameters
    ----------
    orders
        The frame of `fetch_orders_df`, or that of `ship_date_compliance`, whose policy is used.
    policy, policy_by, as_of
        As in `sla_scorecard`; each policy has a target. They are written under the title.
    by
        A column, or several: a row for each of up to 20 groups, those with most orders due. With
        `policy_by`, groups are divided by that column too, as each row has one target.
    freq
        As in `sla_scorecard`: a column for each month, or other period, in which orders were due;
        at most the last 12 that have started at as_of.
    labels
        Names to show instead of values of `by`, such as ``{"c_1": "Acme"}``.
    title
        What to write over the table instead of its own title.
    note
        Whether to write n, as_of, the policy and how to read the table under the title.
    ax
        The axes to draw on; a new figure by default. The legend is under them.

    Returns
    -------
    matplotlib.axes.Axes
        A cell for each group and period, with the rate in percent, rounded to a tenth; n, the
        orders due; and, where the target's allowance is exceeded, by how many orders. Its colour
        and its mark are those of the verdict: a circle is met, a cross missed, a diamond undecided.
        Pale: fewer than 30 orders, or less than 4 due days. Asterisk: the period is not ``final``,
        or not ``covered``, as `compliance_rate` says. The target stands beside the group.

    Raises
    ------
    TypeError, ValueError
        As `sla_scorecard`, and if `ax` is not Axes.

    Warns
    -----
    FilteredOrdersWarning, UserWarning
        As `sla_scorecard`.

    Examples
    --------
    >>> from trackstar_frames import OrderFrames, SlaPolicy
    >>> order = {"id": "a1", "status": "open", "channel": "web",
    ...          "required_ship_date": "2026-03-02T12:00:00Z"}
    >>> orders = OrderFrames.from_json([order]).orders
    >>> policy = SlaPolicy(target=0.95)
    >>> ax = plot_scorecard(orders, policy=policy, by="channel", as_of="2026-03-09")
    >>> [tick.get_text() for tick in ax.get_yticklabels()]
    ['web (n = 1)\ntarget 95 %']
    """
    require(orders, [], source="fetch_orders_df")
    given: dict[str, Any] = {"policy": policy, "policy_by": policy_by, "as_of": as_of}
    card = sla_scorecard(orders, by=by, freq=freq, **given)
    info = card.attrs["trackstar"]["compliance"]
    columns = [str(name) for name in card.index.names if name != "period"]
    periods = card.index.get_level_values("period").unique()
    groups = _groups(quiet(orders), card, columns, len(periods), labels)
    last = _last_periods(card, periods, info)
    size = _Size(len(groups.names), len(last))
    axes = style.get_axes(
        ax, 2.2 + 0.62 * max(size.rows, 1), width=max(8, 3.6 + 1.05 * size.columns)
    )
    _draw_frame(axes, size)
    cells = _Cells(size)
    for row, position in enumerate(groups.positions if len(last) else []):
        of_group = card.iloc[position * len(periods) : (position + 1) * len(periods)].iloc[last]
        for place, cell in enumerate(of_group.itertuples()):
            cells.draw(axes, place, row, cell)
    groups.row_axis(axes)
    targets = [_target_words(card, position, len(periods)) for position in groups.positions]
    names = [tick.get_text() for tick in axes.get_yticklabels()]
    names = [f"{name}\n{words}" for name, words in zip(names, targets, strict=True)]
    size_of = [tick.get_fontsize() for tick in axes.get_yticklabels()]
    axes.set_yticks(range(size.rows), names, fontsize=min(size_of, default=10))
    axes.set_ylim(max(size.rows, 1) - 0.5, -0.5)
    axes.set_xticks(range(size.columns), [_period_words(periods[each], freq) for each in last])
    shown = card.iloc[(groups.positions[:, None] * len(periods) + last).ravel()]
    _legend(axes, shown)
    left_out = f"the last {len(last)} of {len(periods):,} periods"
    some = [left_out] if len(last) < len(periods) else []
    words = [
        *_note(card, info, shown, freq),
        *some,
        *groups.note,
        style.printable(info["text"], 9999),
    ]
    layout.add_title(axes, "Scorecard", groups.columns, words, given=title, note=note, resize=cells)
    if not card["n"].sum():
        style.write_in_middle(axes, "no orders due yet" if len(orders) else "no orders")
    return axes


def _groups(
    orders: pd.DataFrame,
    card: pd.DataFrame,
    columns: list[str],
    periods: int,
    labels: Mapping[Any, str] | None,
) -> Groups:
    """Return the groups of a scorecard, each of which has every period."""
    n = card["n"].to_numpy().reshape(-1, periods).sum(axis=1) if periods else np.zeros(0, int)
    index: Any = card.index[::periods] if periods else card.index
    index = index.droplevel("period") if columns else pd.RangeIndex(len(n))
    return Groups(orders, columns or None, pd.Series(n, index=index), MOST_ROWS, labels=labels)


class _Size(NamedTuple):
    rows: int
    columns: int


def _last_periods(card: pd.DataFrame, periods: pd.Index, info: Mapping[str, Any]) -> Any:
    """Return the places of the periods that are drawn, among all."""
    if not len(periods):
        return np.arange(0)
    n = card["n"].to_numpy().reshape(-1, len(periods)).sum(axis=0)
    due = np.flatnonzero(n)
    if info.get("as_of"):
        moment = pd.Timestamp(info["as_of"]).tz_convert("UTC").tz_localize(None)
        # A day more than as_of, which is later in some zones than in UTC.
        due = due[periods[due] <= moment + pd.Timedelta(days=1)]
    if not due.size:
        return np.arange(0)
    return np.arange(max(due[0], due[-1] + 1 - _MOST_PERIODS), due[-1] + 1)


def _draw_frame(axes: Axes, size: _Size) -> None:
    axes.set_xlim(-0.5, max(size.columns, 1) - 0.5)
    axes.set_ylim(max(size.rows, 1) - 0.5, -0.5)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)


class _Cells:
    """The cells of the table, whose texts have the size that fits."""

    def __init__(self, size: _Size) -> None:
        self._size = size
        self._parts: list[tuple[Any, float]] = []  # a text or mark, and its size relative to all

    def draw(self, axes: Axes, x: int, y: int, cell: Any) -> None:
        """Draw the figures of one group and period."""
        back = axes.get_facecolor()
        box = ((x - 0.48, y - 0.45), 0.96, 0.9)
        if not cell.n:
            axes.add_patch(Rectangle(*box, facecolor=style.nothing(axes), edgecolor="none"))
            axes.text(x, y, "·", ha="center", va="center", color=style.text_colour())
            return
        sign = _SIGNS[cell.verdict]
        ground = style.faded(sign.ground, back) if cell.small else sign.ground
        axes.add_patch(Rectangle(*box, facecolor=ground, edgecolor="none"))
        kws: dict[str, Any] = {"color": style.text_on(ground), "alpha": 0.6 if cell.small else 1}
        words: dict[str, Any] = {**kws, "ha": "center", "in_layout": False}
        star = "" if cell.final and cell.covered else "*"
        rate = f"{style.share_words(cell.rate, 1, ' %')}{star}"
        over = f", {cell.over_allowance:,} over" if cell.over_allowance else ""
        n = f"n {cell.n:,}{over}"
        (mark,) = axes.plot(x - 0.39, y - 0.02, sign.marker, clip_on=False, **kws)
        self._parts += [
            (axes.text(x + 0.06, y, rate, va="bottom", **words), 1),
            (axes.text(x + 0.06, y + 0.08, n, va="top", **words), 0.72),
            (mark, 0.8),
        ]

    def __call__(self, _: Axes, width: float, height: float) -> None:
        """Give all texts the size that fits into axes of so many points."""
        wide = width / max(self._size.columns, 1) / 7.2
        high = height / max(self._size.rows, 1) / 3.2
        size = float(np.clip(min(wide, high), 1, 10 * style.font_scale()))
        for part, relative in self._parts:
            if hasattr(part, "set_fontsize"):
                part.set_fontsize(size * relative)
            else:
                part.set_markersize(size * relative)


def _target_words(card: pd.DataFrame, position: int, periods: int) -> str:
    target = card["target"].iloc[position * periods] if periods else np.nan
    return "no target" if np.isnan(target) else f"target {100 * target:g} %"


def _period_words(start: pd.Timestamp, freq: str) -> str:
    """Name a period by its beginning."""
    if freq[0] == "Y":
        return f"{start:%Y}"
    if freq[0] == "Q":
        return f"{start:%Y} Q{start.quarter}"
    return f"{start:%b %Y}" if freq[0] == "M" else f"{start:%Y-%m-%d}"


def _legend(axes: Axes, shown: pd.DataFrame) -> None:
    """Explain the verdicts in use, under the table."""
    used = [verdict for verdict in VERDICTS if (shown["verdict"] == verdict).any()]
    marks = [
        Line2D(
            *([], []),
            marker="s",
            markersize=13 * style.font_scale(),
            linestyle="none",
            markerfacecolor=_SIGNS[each].ground,
            markeredgecolor="none",
        )
        for each in used
    ]
    signs = [
        Line2D([], [], marker=_SIGNS[each].marker, color="black", markersize=6.5, linestyle="none")
        for each in used
    ]
    is_narrow = style.points_wide(axes) < _NARROW * style.font_scale()
    words = [each if is_narrow else _SIGNS[each].words for each in used]
    layout.add_legend_under(axes, [*zip(marks, signs, strict=True)], words, lines=2.6)


def _note(card: pd.DataFrame, info: Mapping[str, Any], shown: pd.DataFrame, freq: str) -> list[str]:
    some = shown[shown["n"] > 0]
    words = [
        f"n = {card['n'].sum():,} orders due",
        f"as of {style.moment_words(info.get('as_of'))}",
        f"by the {style.freq_words(freq)} in which they were due",
        "over: orders late beyond what the target allows",
    ]
    if some["small"].any():
        words.append("pale: n below 30, or fewer than 4 due days")
    if not (some["final"] & some["covered"]).all():
        words.append("*: the rate may change, or the fetch has not all orders")
    return words
