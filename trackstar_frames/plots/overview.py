"""One page of headline figures and plots."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any, NamedTuple

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure, SubFigure

from trackstar_frames.measures._policies import PolicyLike
from trackstar_frames.measures._time import resolve_as_of
from trackstar_frames.measures.backlog import backlog
from trackstar_frames.measures.cycle_time import cycle_time
from trackstar_frames.plots import _layout as layout
from trackstar_frames.plots import _style as style
from trackstar_frames.plots._groups import refuse_by
from trackstar_frames.plots._judged import AsOf, JudgedOrders, quiet
from trackstar_frames.plots.backlog import plot_backlog
from trackstar_frames.plots.compliance import plot_ship_date_compliance
from trackstar_frames.plots.cycle_time import plot_cycle_time
from trackstar_frames.plots.lateness import plot_lateness
from trackstar_frames.plots.status import plot_status_mix

# The shape of A4, but larger: printed on A4, text is 8 points high.
_PAGE, _HEIGHTS = (14.14, 10.0), (1.8, 3.9, 4.3)
_LETTERS = 175  # in a line of the caption
_MOST_NOTE_LINES, _NOTE_HEIGHT = 4, 28.0  # the height in sizes of text, in points
_LEFT = 0.02


class _Tile(NamedTuple):
    """A headline figure."""

    figure: str
    name: str
    detail: str


def plot_overview(
    orders: pd.DataFrame,
    *,
    policy: PolicyLike | None = None,
    policy_by: str | None = None,
    as_of: AsOf = None,
    by: str | Sequence[str] | None = None,
    freq: str = "W",
    title: str | None = None,
    note: bool = True,
) -> Figure:
    """Draw a page on the state of a warehouse: headline figures and five plots.

    Parameters
    ----------
    orders
        The frame of `fetch_orders_df`, or that of `ship_date_compliance`, whose policy and as-of
        are used.
    policy, policy_by, as_of
        As in `ship_date_compliance`. `as_of` is that of all figures on the page; of an earlier
        moment, the statuses are as `plot_status_mix` shows them.
    by
        Must be None: a page is of one group. For several, pass the rows of each.
    freq
        The periods of status and compliance over time, as in `status_mix`.
    title
        What to write over the page instead of "Orders at a glance".
    note
        Whether to write n, as_of and the policy under the title, and under those of the plots
        what they are based on.

    Returns
    -------
    matplotlib.figure.Figure
        A new figure with the shape of A4, landscape. Its plots cannot be drawn on given axes. In
        a notebook, where the value of a cell is shown, it is not one of pyplot's figures, which
        would show it once more.

    Raises
    ------
    TypeError, ValueError
        As `ship_date_compliance`, `backlog` and `cycle_time`, if `by` is given, and for a
        frame that has been judged by another policy or as of another time.

    Warns
    -----
    FilteredOrdersWarning
        As `status_mix`, `compliance_rate`, `backlog` and `cycle_time`, each once.
    UserWarning
        If `as_of` is not given and the frame does not say when it was fetched: now is taken.

    Examples
    --------
    >>> from trackstar_frames import OrderFrames
    >>> frames = OrderFrames.from_json([{"id": "a1", "status": "open"}])
    >>> page = plot_overview(frames.orders, as_of="2026-03-09")
    >>> page.savefig("overview.pdf")
    """
    refuse_by(by, "plot_overview", "draw a page of the rows of each group")
    judged = JudgedOrders(orders, None, policy, policy_by, as_of)
    compliance, rates = judged.frame, judged.totals.iloc[0]
    moment = judged.policy.get("as_of") or resolve_as_of(compliance, None)
    scale = max(style.font_scale(), 1)  # larger text gets a larger page
    width, height = _PAGE
    page = _new_page((width * scale, height * scale))
    # A head, two plots over time, and three of the current state.
    parts: Any = page.subfigures(3, 1, height_ratios=_HEIGHTS)
    head, upper, lower = parts
    axes = [*upper.subplots(1, 2), *lower.subplots(1, 3)]
    # Each measure warns of its filters once: what is drawn, not what is written over it.
    known = quiet(compliance)
    plot_status_mix(compliance, as_of=moment, freq=freq, note=note, ax=axes[0])
    plot_ship_date_compliance(compliance, freq=freq, note=note, ax=axes[1])
    plot_backlog(compliance, as_of=moment, note=note, ax=axes[2])
    plot_lateness(known, note=note, ax=axes[3])
    plot_cycle_time(compliance, as_of=moment, note=note, ax=axes[4])
    words = [f"n = {len(orders):,} orders", *judged.basis, judged.policy_words]
    tiles = [_on_time(rates), _open(known, moment), _late(known, rates), _time(known, moment)]
    _write_head(
        head, "Orders at a glance" if title is None else title, words if note else [], tiles
    )
    layout.legend_inside(axes[2], columns=2, clear_bars=True)
    layout.legend_inside(axes[3], columns=1, clear_bars=True)
    layout.legend_inside(axes[4], columns=1, clear_bars=False)
    for each in axes:
        layout.drop_from_caption(each, words)
    return page


def _new_page(size: tuple[float, float]) -> Figure:
    """Return a figure that is shown once."""
    page = plt.figure(figsize=size, layout="constrained")
    page.set_gid(style.OWN_FIGURE)
    if "inline" in plt.get_backend():
        # A notebook shows the value of a cell, and all open figures of pyplot after it.
        plt.close(page)
    return page


def _on_time(rates: pd.Series[Any]) -> _Tile:
    if not rates["n"]:
        return _Tile("none due", "orders on time", "no order can be judged yet")
    low, high = (f"{100 * rates[name]:.1f}" for name in ("rate_low", "rate_high"))
    detail = f"n = {rates['n']:,.0f} orders due, 95 % interval {low} to {high} %"
    return _Tile(style.share_words(rates["rate"]), "of orders due were shipped on time", detail)


def _open(compliance: pd.DataFrame, moment: Any) -> _Tile:
    table = backlog(compliance, as_of=moment)
    n, pace = table["n"].sum(), table.attrs["trackstar"]["backlog"]["pace"]
    if not n:
        return _Tile("0", "orders are open", "nothing is left to ship")
    work = f"{n / pace:,.1f} days of work" if pace else "none shipped in 28 days"
    oldest = style.duration_words(table["oldest"].max())
    return _Tile(f"{n:,}", "orders are open", f"{work}; oldest: {oldest}")


def _late(compliance: pd.DataFrame, rates: pd.Series[Any]) -> _Tile:
    late = compliance["lateness"][compliance["outcome"] == "late_open"]
    latest = f"the latest by {style.duration_words(late.max())}"
    detail = latest if len(late) else "none of those that are due"
    return _Tile(f"{rates['late_open']:,.0f}", "orders are late and still open", detail)


def _time(compliance: pd.DataFrame, moment: Any) -> _Tile:
    row = cycle_time(compliance, as_of=moment).iloc[0]
    name = "median time from receipt to shipment"
    if not row["n"]:
        return _Tile("unknown", name, "no order can be evaluated")
    reached = "not reached" if pd.isna(row["p90"]) else f"within {style.duration_words(row['p90'])}"
    median = "not reached" if pd.isna(row["median"]) else style.duration_words(row["median"])
    return _Tile(median, name, f"90 % {reached}; n = {row['n']:,}, open orders counted in")


def _write_head(head: SubFigure, title: str, note: list[str], tiles: list[_Tile]) -> None:
    """Write the title of the page, its caption, and the headline figures."""

    def write(x: float, y: float, text: str, size: float, **kws: Any) -> None:
        head.text(x, y, text, fontsize=size * style.font_scale(), va="top", **kws)

    write(_LEFT, 0.97, title.replace("$", r"\$"), 20, weight="bold")
    lines = textwrap.wrap("\u00a0· ".join(note), _LETTERS, break_on_hyphens=False)
    if len(lines) > _MOST_NOTE_LINES:
        lines = [*lines[: _MOST_NOTE_LINES - 1], lines[_MOST_NOTE_LINES - 1] + "…"]
    size = min(9.0, _NOTE_HEIGHT / max(len(lines), 1))
    write(_LEFT, 0.76, "\n".join(lines), size, color=style.MUTED)
    for column, tile in enumerate(tiles):
        x = _LEFT + column * (1 - _LEFT) / len(tiles)
        write(x, 0.45, tile.figure, 22, weight="bold", color=style.GROUPS[0].colour)
        write(x, 0.20, tile.name, 10)
        write(x, 0.09, tile.detail, 8, color=style.MUTED)
