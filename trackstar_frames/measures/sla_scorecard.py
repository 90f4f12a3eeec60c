"""Each group's on-time rate month by month, held against the target of its policy."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from trackstar_frames.measures import _checks, _filters, _policies
from trackstar_frames.measures._labels import parse_labels, relabel
from trackstar_frames.measures._partitions import Partitioned
from trackstar_frames.measures._policies import PolicyLike
from trackstar_frames.measures.compliance_rate import outcome_rates
from trackstar_frames.measures.policy import SlaPolicy
from trackstar_frames.measures.ship_date_compliance import judged_orders, moment_to_judge_at

#: What an interval says of a target.
VERDICTS = ("met", "missed", "undecided")

#: What is shown of the table of `compliance_rate`.
_COLUMNS = ("n", "rate", "rate_low", "rate_high", "small", "final", "covered")
_ROUNDING = 1e-9


def sla_scorecard(
    orders: pd.DataFrame | Partitioned,
    *,
    by: str | Sequence[str] | None = None,
    freq: str = "MS",
    policy: PolicyLike | None = None,
    policy_by: str | None = None,
    as_of: str | dt.date | np.datetime64 | None = None,
    labels: Mapping[Any, str] | None = None,
) -> pd.DataFrame:
    """Hold the on-time rate of each group and month against the target of the policy.

    Parameters
    ----------
    orders
        The frame of `fetch_orders_df` or of `ship_date_compliance`, or some of its rows, with
        the columns that `ship_date_compliance` reads. A Dask DataFrame is counted partition by
        partition.
    by
        A column, or several, to group by, such as ``warehouse_customer_id``. Nulls are a group
        of their own.
    freq
        The period: by default months (``MS``), or any other that `compliance_rate` takes.
    policy, policy_by
        The policy, with its target: as for `compliance_rate`. A frame that has been judged must
        have been judged by the same policy.
    as_of
        As for `compliance_rate`.
    labels
        Names to show for values of `by`, such as ``{warehouse_customer_id: name}``.

    Returns
    -------
    pandas.DataFrame
        One row per group and month in which orders were due. The index is that of
        `compliance_rate`: the groups, then the first moment of the ``period``, as wall-clock
        time (without a zone) in the policy's zones. Every group has every month from the first
        to the last.

        - ``n`` (int64), ``rate``, ``rate_low``, ``rate_high`` (float64), ``small`` (bool): those
          of `compliance_rate`; with its other columns about the period.
        - ``target`` (float64): the share of orders that should be on time.
        - ``over_allowance`` (int64): how many more orders were not on time than the target
          allows, of n; 0 if it is kept. The allowance is a whole number of orders, rounded down.
        - ``verdict`` (ordered categorical): ``met`` if all of the interval is at the target or
          above, ``missed`` if all of it is below, else ``undecided``; null where n is 0.
        - ``change`` (float64): the rate minus that of the period before; null where either is.

        ``attrs["trackstar"]["compliance"]`` holds the policy, its ``text``, ``as_of`` and n.

    Raises
    ------
    TypeError, ValueError
        As `compliance_rate`; also for a policy without a target, and labels that give two groups
        one name.

    Warns
    -----
    FilteredOrdersWarning, UserWarning
        As `compliance_rate`.

    Notes
    -----
    A verdict says what the orders can tell: few of them leave it undecided, whichever side of
    the target their rate is on. ``over_allowance`` says what happened, and is what a penalty per
    order goes by. The month of as_of is not over, and its rate may change.

    Examples
    --------
    >>> import pandas as pd
    >>> due = pd.to_datetime(["2026-02-10"] * 50 + ["2026-03-10"] * 50, utc=True)
    >>> late = pd.to_timedelta([*[1] * 10, *[0] * 40, *[1] * 2, *[0] * 48], unit="D")
    >>> orders = pd.DataFrame({
    ...     "status": "fulfilled", "created_date": due, "required_ship_date": due,
    ...     "first_shipped_date": due + late + pd.Timedelta("9h")})
    >>> policy = SlaPolicy.late_shipment_rate(window=None)
    >>> card = sla_scorecard(orders, policy=policy, as_of="2026-04-01")
    >>> card[["n", "rate", "target", "over_allowance", "change"]].round(2)
    ... # doctest: +NORMALIZE_WHITESPACE
                 n  rate  target  over_allowance  change
    period
    2026-02-01  50  0.80    0.96               8     NaN
    2026-03-01  50  0.96    0.96               0    0.16
    """
    _checks.require(orders, [], source="fetch_orders_df", lazy=True)
    names = _checks.by_columns(orders, by)
    shown = parse_labels(labels)
    moment = moment_to_judge_at(orders, policy, policy_by, as_of)
    judged = judged_orders(orders, policy, moment, policy_by=policy_by)
    if isinstance(judged, pd.DataFrame):
        policies = _policies.require_judgement(judged).policies
    else:
        policies = _policies.resolve_policies(policy, policy_by)
    targets = {value: _target(policy) for value, policy in policies.of.items()}
    if policies.by is not None and policies.by not in judged.columns:
        raise ValueError(
            f"each value of {policies.by!r} has a target of its own, and the frame has lost this "
            f"column; give it back, or its name"
        )
    # Each row has one target.
    names += [policies.by] if policies.by is not None and policies.by not in names else []
    rates = outcome_rates(judged, names, freq, warn=True)
    _filters.warn_if_biased(rates, "sla_scorecard")
    table = rates.drop(columns=[name for name in rates.columns if name not in _COLUMNS])
    values: list[Any] = [None] * len(rates)
    if policies.by is not None:
        values = rates.index.get_level_values(policies.by).tolist()
    rest = targets.get(None, np.nan)
    target = np.array([targets.get(value, rest) for value in values], dtype=np.float64)
    table["target"] = target
    n, late = rates["n"], rates["n"] - rates["on_time"]
    # A little more, as 10 orders of which 1 - 0.9 may be late are allowed one.
    allowed = np.floor(n * (1 - target) + _ROUNDING)
    table["over_allowance"] = np.maximum(late - allowed, 0).astype(np.int64)
    codes = np.select(
        [n == 0, table["rate_low"] >= target, table["rate_high"] < target], [-1, 0, 1], 2
    )
    table["verdict"] = pd.Categorical.from_codes(codes, pd.Index(VERDICTS), ordered=True)
    rate = table["rate"]
    groups = rate.groupby(level=names, dropna=False, sort=False) if names else rate
    table["change"] = groups.diff()
    _checks.copy_attrs(table, rates)
    return table.set_axis(relabel(table.index, names, shown))


def _target(policy: SlaPolicy) -> float:
    if policy.target is None:
        raise ValueError(
            "the policy has no target to hold the rates against; give it one, such as "
            "dataclasses.replace(policy, target=0.95)"
        )
    return policy.target
