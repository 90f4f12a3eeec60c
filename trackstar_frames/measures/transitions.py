"""Changes of status and due date between two frames of orders."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from trackstar_frames.measures import _checks, _filters
from trackstar_frames.measures._grouping import factorize, recode
from trackstar_frames.measures._time import NAT, Array, instant, instants, now_of, utc
from trackstar_frames.measures.status_mix import NO_STATUS
from trackstar_frames.schema import LIFECYCLE

#: The kinds of a pair of statuses.
TRANSITIONS = (
    "forward",
    "backward",
    "stuck",
    "settled",
    "left_path",
    "returned",
    "off_path",
    "new",
    "vanished",
)
_PATH = LIFECYCLE[: LIFECYCLE.index("fulfilled") + 1]
_FINAL = ("fulfilled", "cancelled")
# The code of an order that is not in a frame.
_ABSENT = -1
_MOVES = ("later", "earlier", "set", "removed")
#: A due date that moves beyond a bound takes its order out of a frame.
_OF_DUE = dict.fromkeys(("due from", "due until"), "orders whose due date moved across it")


def transitions(old: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """Count orders by their statuses in two frames; see `tf.status_transitions`."""
    _check_sides(old, new, ["status", "created_date"])
    info = as_of_pair(_checks.fetched_at(old), _checks.fetched_at(new))
    pairs, statuses = _pairs(old, new)
    as_of = info["new_as_of"]
    moment = NAT if as_of is None else now_of(instant("fetched_at", as_of))
    pairs["age"] = moment - pairs.pop("created").to_numpy("M8[us]")
    cells = pairs.groupby(["was", "now"])["age"].agg(["size", "median", "max"]).reset_index()
    absent_last = cells[["was", "now"]].replace(_ABSENT, np.iinfo(np.int64).max)
    cells = cells.iloc[np.lexsort([absent_last["now"], absent_last["was"]])]
    before = np.bincount(pairs["was"] - _ABSENT, minlength=len(statuses) + 1)
    before[0] = 0  # new orders have no share, as they had no status
    table = _table(cells, statuses, before)
    table.attrs["trackstar"] = info
    for frame in (old, new):
        _filters.warn_if_biased(frame, "status_transitions", _filters.EVERY)
    return table


def moved_due_dates(old: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """List the orders whose due date moved between two frames; see `tf.due_date_changes`."""
    _check_sides(old, new, ["status", "required_ship_date"])
    info = as_of_pair(_checks.fetched_at(old), _checks.fetched_at(new))
    in_old = _checks.order_keys(old, "id").get_indexer(_checks.order_keys(new, "id"))
    common = in_old >= 0
    was = instants(old, "required_ship_date")[in_old[common]]
    now = instants(new, "required_ship_date")[common]
    moved = (was != now) & ~(np.isnat(was) & np.isnat(now))
    orders, was, now = new.loc[common].loc[moved], was[moved], now[moved]
    moves = {"set": np.isnat(was), "removed": np.isnat(now), "earlier": now < was}
    kinds = np.select([*moves.values()], [*moves], default="later")
    names = _checks.connection_columns(new)
    table = pd.DataFrame(
        {
            **{name: _checks.column(orders, name).array for name in names},
            "order_id": _checks.column(orders, "id").array,
            "status": _checks.column(orders, "status").array,
            "old_due": utc(was),
            "new_due": utc(now),
            "moved": now - was,
            "kind": pd.Categorical(kinds, categories=list(_MOVES)),
        }
    ).sort_values([*names, "order_id"], ignore_index=True)
    table.attrs["trackstar"] = info
    for frame in (old, new):
        _filters.warn_if_biased(frame, "due_date_changes", _filters.EVERY, bounds=_OF_DUE)
    return table


def as_of_pair(old: object, new: object) -> dict[str, str | None]:
    """Return the as-of of two sides in ISO 8601 (UTC), None if unknown; the old must be older."""
    was, now = (None if each is None else instant("fetched_at", each) for each in (old, new))
    if was is not None and now is not None and was > now:
        raise ValueError(
            f"old is as of {was.isoformat()}, after new, which is as of {now.isoformat()}; pass "
            f"the older one first"
        )
    return {
        "old_as_of": None if was is None else was.isoformat(),
        "new_as_of": None if now is None else now.isoformat(),
    }


def _check_sides(old: pd.DataFrame, new: pd.DataFrame, columns: Sequence[str]) -> None:
    """Raise unless both frames have these columns, and each order once."""
    sides = {"old": old, "new": new}
    for name, frame in sides.items():
        _checks.require(frame, ["id", *columns], source="fetch_orders_df", name=name)
        _checks.require_unique_orders(frame, name)
    _checks.require_connections_alike(sides)


def _pairs(old: pd.DataFrame, new: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Return the index of each order's status in both frames, and the statuses."""
    sides = [factorize(frame, "status") for frame in (old, new)]
    unknown = {value for _, values in sides for value in values} - set(LIFECYCLE)
    statuses = [*LIFECYCLE, *sorted(unknown)]
    if any((codes < 0).any() for codes, _ in sides):
        statuses.append(NO_STATUS)
    was, now = (
        pd.DataFrame(
            {"status": recode(*side, statuses), "created": instants(frame, "created_date")},
            index=_checks.order_keys(frame, "id"),
        )
        for side, frame in zip(sides, (old, new), strict=True)
    )
    pairs = was.add_suffix("_old").join(now.add_suffix("_new"), how="outer")
    return pd.DataFrame(
        {
            "was": pairs["status_old"].fillna(_ABSENT).astype(np.int64),
            "now": pairs["status_new"].fillna(_ABSENT).astype(np.int64),
            "created": pairs["created_new"].fillna(pairs["created_old"]),
        }
    ), statuses


def _table(cells: pd.DataFrame, statuses: list[str], sizes: Array) -> pd.DataFrame:
    """Return the table of the cells; `sizes` are the numbers of orders in each old status."""
    was, now = (cells[side].to_numpy(np.int64) for side in ("was", "now"))
    lifecycle = pd.CategoricalDtype(statuses, ordered=True)
    whole = sizes[was - _ABSENT]
    names = [*statuses, None]  # the code of an absent order picks the last
    kinds = [_kind(names[before], names[after]) for before, after in zip(was, now, strict=True)]
    return pd.DataFrame(
        {
            "from_status": pd.Categorical.from_codes(was, dtype=lifecycle),
            "to_status": pd.Categorical.from_codes(now, dtype=lifecycle),
            "kind": pd.Categorical(kinds, categories=list(TRANSITIONS)),
            "orders": cells["size"].to_numpy(np.int64),
            "share": cells["size"].to_numpy() / np.where(whole > 0, whole, np.nan),
            "median_age": cells["median"].array.astype("timedelta64[us]"),
            "max_age": cells["max"].array.astype("timedelta64[us]"),
        }
    )


def _kind(was: str | None, now: str | None) -> str:
    if was is None or now is None:
        return "new" if was is None else "vanished"
    if was == now:
        return "settled" if was in _FINAL else "stuck"
    if was in _PATH and now in _PATH:
        return "forward" if _PATH.index(was) < _PATH.index(now) else "backward"
    if was in _PATH:
        return "left_path"
    return "returned" if now in _PATH else "off_path"
