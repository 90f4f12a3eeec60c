"""Where orders stood at one moment, and where at a later one."""

from __future__ import annotations

import numpy as np
import pandas as pd

from trackstar_frames.measures._keys import key
from trackstar_frames.measures._provenance import fetched_at
from trackstar_frames.measures._sides import as_ofs, check_sides
from trackstar_frames.measures._tally import coded
from trackstar_frames.measures._time import Array, instants
from trackstar_frames.measures.status import NO_STATUS
from trackstar_frames.schema import LIFECYCLE

__all__ = ["TRANSITIONS", "transitions"]

#: What a pair of statuses can mean.
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
_NOWHERE = -1


def transitions(old: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """Count orders by where they stood and where they stand; see `tf.status_transitions`.

    Parameters
    ----------
    old, new
        Frames of `fetch_orders_df`, or rows of them, each order once. Read are ``id``,
        ``connection`` (if there), ``status`` and ``created_date``, and ``fetched_at`` from
        their ``attrs``.

    Examples
    --------
    >>> old = pd.DataFrame({"id": ["a", "b"], "status": ["open", "packed"], "created_date": pd.NaT})
    >>> new = old.assign(status=["picked", "open"])
    >>> transitions(old, new)[["from_status", "to_status", "kind", "orders"]]
      from_status to_status      kind  orders
    0        open    picked   forward       1
    1      packed      open  backward       1
    """
    check_sides(old, new, ["status", "created_date"])
    told = as_ofs(fetched_at(old), fetched_at(new))
    pairs, statuses = _pairs(old, new)
    pairs["age"] = _ages(pairs.pop("created").to_numpy("M8[us]"), told["new_as_of"])
    cells = pairs.groupby(["was", "now"])["age"].agg(["size", "median", "max"]).reset_index()
    before = np.bincount(pairs["was"] - _NOWHERE, minlength=len(statuses) + 1)
    before[0] = 0  # what is new was nowhere, which is no status to be a share of
    table = _described(_nowhere_last(cells), statuses, before)
    table.attrs["trackstar"] = told
    return table


def _pairs(old: pd.DataFrame, new: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Give each order's places among the statuses, old and new; and the statuses."""
    codes, statuses = _codes(old, new)
    was, now = (
        pd.DataFrame(
            {"status": codes[side], "created": instants(frame, "created_date")},
            index=key(frame, "id"),
        )
        for side, frame in enumerate((old, new))
    )
    pairs = was.add_suffix("_old").join(now.add_suffix("_new"), how="outer")
    return pd.DataFrame(
        {
            "was": pairs["status_old"].fillna(_NOWHERE).astype(np.int64),
            "now": pairs["status_new"].fillna(_NOWHERE).astype(np.int64),
            "created": pairs["created_new"].fillna(pairs["created_old"]),
        }
    ), statuses


def _codes(old: pd.DataFrame, new: pd.DataFrame) -> tuple[list[Array], list[str]]:
    """Give each row's place among the statuses of both frames, and these in their order."""
    sides = [coded(frame, "status") for frame in (old, new)]
    unknown = {value for _, values in sides for value in values} - set(LIFECYCLE)
    statuses = [*LIFECYCLE, *sorted(unknown)]
    if any((codes < 0).any() for codes, _ in sides):
        statuses.append(NO_STATUS)
    # One more place, at the end, is what a null's code of -1 picks.
    return [
        np.array([*map(statuses.index, values), len(statuses) - 1])[codes]
        for codes, values in sides
    ], statuses


def _ages(created: Array, as_of: str | None) -> Array:
    now = "NaT" if as_of is None else pd.Timestamp(as_of).tz_localize(None)
    ages: Array = np.datetime64(now, "us") - created
    return ages


def _nowhere_last(cells: pd.DataFrame) -> pd.DataFrame:
    last = cells[["was", "now"]].replace(_NOWHERE, np.iinfo(np.int64).max)
    return cells.iloc[np.lexsort([last["now"], last["was"]])]


def _described(cells: pd.DataFrame, statuses: list[str], before: Array) -> pd.DataFrame:
    """Name the pairs, and say what each means."""
    was, now = (cells[side].to_numpy(np.int64) for side in ("was", "now"))
    lifecycle = pd.CategoricalDtype(statuses, ordered=True)
    whole = before[was - _NOWHERE]
    share = np.where(whole > 0, cells["size"] / np.maximum(whole, 1), np.nan)
    kinds = [
        _kind(*pair) for pair in zip(_names(was, statuses), _names(now, statuses), strict=True)
    ]
    return pd.DataFrame(
        {
            "from_status": pd.Categorical.from_codes(was, dtype=lifecycle),
            "to_status": pd.Categorical.from_codes(now, dtype=lifecycle),
            "kind": pd.Categorical(kinds, categories=list(TRANSITIONS)),
            "orders": cells["size"].to_numpy(np.int64),
            "share": share.astype(np.float64),
            "median_age": cells["median"].array.astype("timedelta64[us]"),
            "max_age": cells["max"].array.astype("timedelta64[us]"),
        }
    )


def _names(codes: Array, statuses: list[str]) -> list[str | None]:
    return [None if code == _NOWHERE else statuses[code] for code in codes]


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
