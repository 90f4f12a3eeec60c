"""How long things last while some still go on: the product-limit estimator of Kaplan and Meier.

Lengths are ``timedelta64[us]``; all groups are computed at once.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from trackstar_frames.measures._tally import Z95
from trackstar_frames.measures._time import Array

__all__ = ["Curve", "log_log", "percentile", "product_limit", "ranked"]

# A product of a million factors is off by less than this; 0.5 must not be missed for it.
_SLACK = 1e-9
_NAT = np.timedelta64("NaT", "us")


class Curve(NamedTuple):
    """One row for each length in each group at which something ended, in this order."""

    group: Array
    time: Array
    at_risk: Array
    ended: Array
    share: Array


def product_limit(groups: Array, lengths: Array, ended: Array) -> Curve:
    """Estimate the share that lasts longer than each length.

    What has not `ended` counts as going on until its length, and at that length still: of
    equal lengths, ends come first.
    """
    order = np.lexsort((lengths, groups))
    groups, lengths, ended = groups[order], lengths[order], ended[order].astype(np.int64)
    steps = (np.diff(groups) != 0) | (np.diff(lengths) != np.timedelta64(0, "us"))
    starts = np.flatnonzero(np.append(np.ones(min(len(groups), 1), dtype=bool), steps))
    ends = np.add.reduceat(ended, starts) if starts.size else ended
    starts, ends = starts[ends > 0], ends[ends > 0]
    group = groups[starts]
    at_risk = np.searchsorted(groups, group, side="right") - starts
    share = pd.Series(1 - ends / at_risk).groupby(group).cumprod().to_numpy()
    return Curve(group, lengths[starts], at_risk, ends, share)


def log_log(curve: Curve) -> tuple[Array, Array]:
    """Return the 95 % interval by Greenwood's variance of log(-log(share)); null at a share of 0.

    Unlike that of the share itself, it stays between 0 and 1.
    """
    left = curve.at_risk - curve.ended
    terms = curve.ended / (curve.at_risk * np.where(left > 0, left, np.nan))
    spread = np.sqrt(pd.Series(terms).groupby(curve.group).cumsum().to_numpy())
    share = np.where(left > 0, curve.share, np.nan)
    power = np.exp(-Z95 * spread / np.log(share))
    return share**power, share ** (1 / power)


def percentile(curve: Curve, percent: int, count: int) -> Array:
    """Return, for each of `count` groups, the first length that this many have ended by.

    It is null where the curve does not come down that far.
    """
    down = curve.share <= 1 - percent / 100 + _SLACK
    groups, first = np.unique(curve.group[down], return_index=True)
    result = np.full(count, _NAT)
    result[groups] = curve.time[down][first]
    return result


def ranked(groups: Array, lengths: Array, percent: int, count: int) -> Array:
    """Return, for each of `count` groups, the first length that this many do not exceed."""
    ordered = lengths[np.lexsort((lengths, groups))]
    sizes = np.bincount(groups, minlength=count)
    some = sizes > 0
    # In whole numbers: 0.9 * n may come out just above the rank that it is.
    ranks = (sizes * percent + 99) // 100 - 1
    result = np.full(count, _NAT)
    result[some] = ordered[(np.cumsum(sizes) - sizes + ranks)[some]]
    return result
