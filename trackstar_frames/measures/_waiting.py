"""The orders that are open, and what a backlog needs of them: of one frame, or of partitions."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import chain
from typing import NamedTuple

import numpy as np
import pandas as pd

from trackstar_frames.measures._life import FATES, LIFE, OPEN, SHIPPED, closings, fates, units_left
from trackstar_frames.measures._partitions import Partitioned, from_each
from trackstar_frames.measures._tally import coded, grouped, regrouped
from trackstar_frames.measures._time import Array, instants
from trackstar_frames.measures.status import NO_STATUS

__all__ = ["NEEDED", "PACE_DAYS", "SHIPPED_SINCE", "Waiting", "read_open"]

#: The columns that are read.
NEEDED = (*LIFE, "first_shipped_date", "units_ordered", "units_shipped")

#: Over how many days it is counted what was shipped lately.
PACE_DAYS = 28

#: Instead of a status: open at an earlier moment than the data's, and shipped since.
SHIPPED_SINCE = "(shipped since)"

_PACE = np.timedelta64(PACE_DAYS, "D")


class Waiting(NamedTuple):
    """What is told of orders, in one frame or one partition.

    Attributes
    ----------
    keys
        The groups of all orders; in its ``attrs``, where they are from.
    shipped
        How many orders of each group were shipped lately.
    fates
        How many orders have each of `FATES`.
    opened
        Of each open order, and nothing more: its group, the place of its status, the units that
        are left, and its age.
    statuses
        Their names, `NO_STATUS` and `SHIPPED_SINCE` last.
    """

    keys: pd.DataFrame
    shipped: Array
    fates: Array
    opened: pd.DataFrame
    statuses: list[str]


def read_open(orders: pd.DataFrame | Partitioned, names: list[str], now: np.datetime64) -> Waiting:
    """Read what a backlog needs; of a Dask frame, where each partition lies."""
    if isinstance(orders, pd.DataFrame):
        return _find(names, now, orders)
    wanted = orders[list(dict.fromkeys([*NEEDED, *names]))]
    return _joined(from_each([wanted], partial(_find, names, now)), names)


def _find(names: list[str], now: np.datetime64, orders: pd.DataFrame) -> Waiting:
    fate = fates(orders, now)
    groups, keys = grouped(orders, names)
    keys.attrs = dict(orders.attrs)
    still = fate == OPEN
    since = instants(orders, "complete_shipped_date") > now - _PACE
    lately = groups[(fate == SHIPPED) & since]
    read = orders[list(NEEDED)][still]
    codes, statuses = _statuses(read, now)
    ages = now - instants(read, "created_date")
    units = units_left(read, now)
    opened = pd.DataFrame({"group": groups[still], "status": codes, "units": units, "age": ages})
    return Waiting(
        keys,
        np.bincount(lately, minlength=len(keys)),
        np.bincount(fate, minlength=len(FATES)),
        opened,
        statuses,
    )


def _joined(parts: Sequence[Waiting], names: list[str]) -> Waiting:
    """Make what is told of all partitions one."""
    groups, keys = regrouped([part.keys for part in parts], names)
    statuses = list(dict.fromkeys(chain.from_iterable(part.statuses for part in parts)))
    shipped = np.zeros(len(keys), dtype=np.int64)
    opened = []
    for part, numbers in zip(parts, groups, strict=True):
        np.add.at(shipped, numbers, part.shipped)
        codes = np.array([*map(statuses.index, part.statuses)])[part.opened["status"]]
        opened.append(part.opened.assign(group=numbers[part.opened["group"]], status=codes))
    fates = np.sum([part.fates for part in parts], axis=0)
    return Waiting(keys, shipped, fates, pd.concat(opened, ignore_index=True), statuses)


def _statuses(orders: pd.DataFrame, now: np.datetime64) -> tuple[Array, list[str]]:
    """Return each open order's place among the statuses, and these."""
    codes, values = coded(orders, "status")
    codes = np.where(codes < 0, len(values), codes)
    codes = np.where(closings(orders) > now, len(values) + 1, codes)
    return codes, [*values, NO_STATUS, SHIPPED_SINCE]
