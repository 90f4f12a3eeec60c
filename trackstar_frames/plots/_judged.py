"""Orders that a plot judges, or that have been judged, and what all plots of them say."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib import dates
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from trackstar_frames.measures._checks import fetched_at, require
from trackstar_frames.measures._filters import warn_if_biased
from trackstar_frames.measures._policies import Policies, PolicyLike, judgement_of
from trackstar_frames.measures.compliance_rate import outcome_rates, warn_if_policy_lost
from trackstar_frames.measures.ship_date_compliance import judged_orders
from trackstar_frames.plots import _layout as layout
from trackstar_frames.plots import _style as style
from trackstar_frames.plots._groups import Groups

AsOf = str | dt.date | np.datetime64 | None

_TARGET_STROKES = ("--", ":", "-.", (0, (6, 2, 1, 2, 1, 2)))
_BIASES = ("filters", "limit", "complete")


def quiet(orders: pd.DataFrame) -> pd.DataFrame:
    """Return a frame without its filters, of which a measure has warned already."""
    copy = orders.copy(deep=False)
    known = orders.attrs.get("trackstar", {})
    kept = {name: value for name, value in known.items() if name not in _BIASES}
    copy.attrs = {**orders.attrs, "trackstar": kept}
    return copy


class Target(NamedTuple):
    """The targets of some policies for their on-time rates."""

    rate: float
    names: list[str]  # of the values whose policies have it; empty for all orders

    @property
    def words(self) -> str:
        """The target in words."""
        of = f" ({', '.join(self.names)})" if self.names else ""
        return f"target {100 * self.rate:g} %{of}"


class JudgedOrders:
    """Judged orders, their rates by group, and the texts that all plots of them share."""

    def __init__(
        self,
        orders: pd.DataFrame,
        by: str | Sequence[str] | None,
        policy: PolicyLike | None,
        policy_by: str | None,
        as_of: AsOf,
        *,
        plot: str | None = None,
    ) -> None:
        """Judge the orders; as `plot`, warn of filters that bias their rates."""
        require(orders, [], source="fetch_orders_df")
        self.frame = judged_orders(orders, policy, as_of, policy_by=policy_by)
        warn_if_policy_lost(self.frame)
        judgement = judgement_of(self.frame)
        self.policy = judgement.info if judgement else {}  # empty if it is not known
        self.policies = judgement.policies if judgement else None
        self.zone = judgement.policies.zone if judgement else "UTC"
        self.totals = outcome_rates(self.frame, by, None)
        if plot is not None:
            warn_if_biased(self.totals, plot)

    @property
    def as_of_day(self) -> float:
        """as_of in matplotlib's days: in the policy's zone, in UTC if there are several."""
        if self.policy.get("as_of") is None:
            return np.inf
        return day_number(self.policy["as_of"], self.zone)

    @property
    def zone_name(self) -> str:
        """The zone that due times are drawn in."""
        return zone_name(self.policies)

    @property
    def basis(self) -> list[str]:
        """What the rates are based on: n, as-of, and what is left out."""
        sums = self.totals.sum()
        as_of = self.policy.get("as_of") or fetched_at(self.frame)
        early = [f"{sums['early']:,.0f} early"] if sums["early"] else []
        return [
            f"n = {sums['n']:,.0f} orders due",
            f"as of {style.moment_words(as_of)}",
            *early,
            f"{sums['pending']:,.0f} pending",
            f"{sums['not_evaluable']:,.0f} not evaluable",
        ]

    @property
    def policy_words(self) -> str:
        """The policy, or each of them, in a sentence."""
        text = self.policy.get("text") or "The policy is not known."
        return style.printable(text, len(text))

    def targets(self, labels: Mapping[Any, str] | None = None) -> list[Target]:
        """Return the targets of the policies, the highest first."""
        if self.policies is None:
            return []
        found: dict[float, list[str]] = {}
        for value, policy in self.policies.of.items():
            if policy.target is not None:
                name = "others" if value is None else style.group_name(value)
                name = style.printable((labels or {}).get(value, name))
                found.setdefault(policy.target, []).append(name)
        are_all = len(found) == 1 and len(next(iter(found.values()))) == len(self.policies.of)
        return [Target(rate, [] if are_all else found[rate]) for rate in sorted(found)[::-1]]

    def add_title(
        self,
        axes: Axes,
        own_title: str,
        groups: Groups,
        parts: Sequence[str],
        *,
        title: str | None,
        note: bool,
        behind: Axes | None = None,
        resize: layout.Resize | None = None,
    ) -> None:
        """Set title and caption, and write into a plot without a rate why it has none."""
        words = [*self.basis, *parts, self.policy_words]
        given: dict[str, Any] = {"given": title, "note": note, "behind": behind, "resize": resize}
        layout.add_title(axes, own_title, groups.columns, words, **given)
        sums = self.totals.sum()
        if not sums["n"]:
            why = "no orders that can be judged" if sums["not_evaluable"] else "no orders"
            waits = sums["pending"] + sums["early"]
            style.write_in_middle(axes, "no orders due yet" if waits else why)


def zone_name(policies: Policies | None) -> str:
    """Return the zone that times by these policies are drawn in."""
    if policies is None:
        return "UTC"
    is_one = policies.zones == [policies.zone]
    return style.printable(policies.zone) if is_one else "warehouses' own time"


def day_number(moment: Any, zone: str) -> float:
    """Return a moment on the clock of a zone, in matplotlib's days."""
    wall = pd.Timestamp(moment).tz_convert(zone).tz_localize(None)
    return float(dates.date2num(wall.to_datetime64()))  # type: ignore[no-untyped-call]


def draw_targets(axes: Axes, targets: Sequence[Target], *, upright: bool = False) -> list[Line2D]:
    """Draw a line at each target: level, or upright; return the lines."""
    draw = axes.axvline if upright else axes.axhline
    strokes = [_TARGET_STROKES[each % len(_TARGET_STROKES)] for each in range(len(targets))]
    look: dict[str, Any] = {"color": style.text_colour(), "linewidth": 1.1, "zorder": 1.9}
    return [
        draw(target.rate, linestyle=stroke, label=target.words, **look)
        for target, stroke in zip(targets, strokes, strict=True)
    ]
