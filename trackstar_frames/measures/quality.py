"""What is missing, contradicts itself or is odd in the data: the report to read first."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pandas as pd

from trackstar_frames.measures._checks import blank, by_columns, moment_of, own_texts, require
from trackstar_frames.measures._evidence import Evidence
from trackstar_frames.measures._findings import Finding
from trackstar_frames.measures._keys import require_alike, require_once
from trackstar_frames.measures._partitions import is_partitioned
from trackstar_frames.measures._provenance import tell
from trackstar_frames.measures._quality import CHECKS, READ
from trackstar_frames.measures._tables import Tables, check_tables
from trackstar_frames.measures._tally import grid, grouped
from trackstar_frames.measures._time import Array, TzLike, Zones

__all__ = ["data_quality"]

_CHECK = "check"
_COLUMNS = 7
_MOST_WORDS = 10


def data_quality(
    frames: Tables | pd.DataFrame,
    by: str | Sequence[str] | None = None,
    *,
    as_of: str | dt.date | np.datetime64 | None = None,
    tz: TzLike = "UTC",
    examples: int = 3,
) -> pd.DataFrame:
    """Report what is missing, contradicts itself or is odd, before any figure is trusted.

    Parameters
    ----------
    frames
        The `OrderFrames` of `fetch_orders`, `read_snapshot` or ``Snapshot.read()``, or any
        object with such tables; or the frame of `fetch_orders_df` alone, of which nothing can
        be told that stands in lines, shipments or problems. Of lines, shipments and problems,
        those of ``orders`` are read, which may be some rows of all.
    by
        A column of ``orders``, or several, to group by. Nulls are a group of their own.
    as_of
        The moment after which a stamp has not happened yet; naive means UTC. By default when
        the data were fetched, from ``orders.attrs``.
    tz
        The warehouses' zone or zones, in which due dates end, as for `ship_date_compliance`.
    examples
        How many order ids to give at most for each row. None with 0.

    Returns
    -------
    pandas.DataFrame
        One row per group and check. The index holds the groups, then the ``check``: always all
        of them, in the order below.

        - ``n`` (Int64): rows affected; ``of``: rows in which it was looked for. Both are null
          where the tables to look in were not given.
        - ``share`` (float64): n / of, a share of 1; null over nothing.
        - ``table`` (str): whose rows these are: ``orders``, ``line_items`` or
          ``shipment_line_items``.
        - ``detail`` (str): what was met, and how often: columns, statuses, paths; the ten most
          frequent. Null where there is nothing to list.
        - ``examples`` (lists of str): ids of orders affected, the first ones of ``orders``; of
          several connections, ``connection/id``.
        - ``meaning`` (str): what is wrong, and what comes of it.

        ``attrs["trackstar"]["data_quality"]`` tells as_of, the zones, ``not_looked_for`` (the
        checks without their tables), and ``orders_without_id``: how many orders had no id, so
        that ``problems`` alone has them; null without that table.

    Raises
    ------
    TypeError, ValueError
        For an argument of the wrong kind or value, missing columns, an order with more than one
        row, warehouses that `tz` does not know, and more groups than a table can hold.

    Warns
    -----
    UserWarning
        If `as_of` is not given and the frames do not say when they were fetched: now is taken.

    Notes
    -----
    Of all orders: ``no_created_date``, ``after_as_of`` (by any stamp but the due date),
    ``status_other`` (``raw_status`` in the detail), ``status_unknown``, ``no_status``,
    ``no_warehouse``, ``no_customer``, ``no_lines``, ``placeholder_date``, ``date_without_zone``,
    ``value_not_kept``, ``unknown_key``. Of those not cancelled: ``no_due_date`` and, of the
    others of them, ``due_at_midnight``. Of those with both stamps: ``due_before_created`` (a bare
    day is due at its end, in `tz`), ``shipped_before_created``. Of fulfilled ones, each in one at
    most: ``fulfilled_without_shipment``, ``fulfilled_without_ship_date``, ``fulfilled_short``. Of
    those with an order_number: ``order_number_twice``, within a customer. Of those of which
    both warehouses are known: ``shipped_elsewhere``.

    Of ordered lines: ``line_without_sku``, ``line_without_quantity``, ``line_of_no_units``. Of
    shipped lines: ``shipped_line_without_sku``, ``shipped_line_without_quantity`` and, of those
    with a sku, ``shipped_line_not_ordered``, where a part of a kit that was ordered is not
    amiss. Shipments that are cancelled are not looked at, but for
    ``fulfilled_without_shipment``, which needs that there are none at all.

    The dates are those of orders and, of whole frames, of shipments and packed lines. ``extra``
    tells of them, so that they are not looked for without it, or with ``pii`` other than
    ``"keep"``, which empties it. A day without a time of day lacks no zone.

    An empty text is as good as none. The paths of unknown keys are those of ``problems``: with
    ``pii`` other than ``"keep"``, without the keys' names. A long fetch takes its as_of from its
    oldest page, so that orders that change meanwhile may be ``after_as_of``.

    Examples
    --------
    >>> from trackstar_frames import OrderFrames
    >>> orders = [
    ...     {"id": "a1", "status": "other", "raw_status": "ON_HOLD", "order_number": "7"},
    ...     {"id": "a2", "status": "fulfilled", "order_number": "7"},
    ... ]
    >>> report = data_quality(OrderFrames.from_json(orders), as_of="2026-03-04")
    >>> report.loc[["status_other", "order_number_twice"], ["n", "of", "examples"]]
                        n  of  examples
    check
    status_other        1   2      [a1]
    order_number_twice  2   2  [a1, a2]
    """
    orders, tables = _given(frames)
    names = _by(orders, by)
    most, zones = _examples(examples), Zones.read(tz)
    moment = moment_of(orders, as_of)
    seen = Evidence(orders, tables, moment.tz_localize(None).to_datetime64(), zones)
    findings = [check.find(seen) for check in CHECKS]

    groups, keys = grouped(orders, names)
    checks = [check.name for check in CHECKS]
    rows = pd.CategoricalIndex(checks, checks, ordered=True, name=_CHECK)
    labels = grid(keys, names, rows, _COLUMNS)
    table = _counts(findings, groups, len(keys)).set_axis(labels)
    ids = seen.ids.to_numpy(dtype=object)
    details = [_details(each, groups, len(keys)) for each in findings]
    first = [_first(each, groups, len(keys), ids, most) for each in findings]
    table["table"] = own_texts([check.table for check in CHECKS] * len(keys)).array
    table["detail"] = own_texts(_by_group(details)).array
    table["examples"] = pd.Series(_by_group(first), dtype=object).array
    table["meaning"] = own_texts([check.meaning for check in CHECKS] * len(keys)).array
    blind = [each is None for each in findings]
    told = {
        "as_of": moment.isoformat(),
        **zones.to_json(),
        "not_looked_for": list(itertools.compress(checks, blind)),
        "orders_without_id": seen.nameless,
    }
    tell(table, orders, "data_quality", told)
    return table


def _given(frames: Any) -> tuple[pd.DataFrame, Tables | None]:
    """Tell orders from whole frames, and check what is there."""
    if isinstance(frames, pd.DataFrame) or is_partitioned(frames):
        require(frames, READ, source="fetch_orders_df")
        orders = cast("pd.DataFrame", frames)
        require_once(orders, "orders")
        return orders, None
    tables = check_tables(frames)
    needed: dict[str, Sequence[str]] = {"orders": READ, "shipments": ["warehouse_id"]}
    if getattr(tables, "problems", None) is not None:
        needed["problems"] = ["order_id", "path", "message"]
    for name, columns in needed.items():
        require(getattr(tables, name), columns, source="an OrderFrames", name=f"frames.{name}")
    require_alike({f"frames.{name}": getattr(tables, name) for name in needed})
    return tables.orders, tables


def _by(orders: pd.DataFrame, by: str | Sequence[str] | None) -> list[str]:
    names = by_columns(orders, by)
    if _CHECK in names:
        raise ValueError(f"by={by!r}: the report has a {_CHECK!r} of its own; rename the column")
    return names


def _examples(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"examples={value!r} is not a whole number")
    if value < 0:
        raise ValueError(f"examples={value!r} is not allowed; use zero or more")
    return value


def _counts(findings: Sequence[Finding | None], groups: Array, rows: int) -> pd.DataFrame:
    """Count for each group and check; null where it was not looked for."""
    shape = (rows, len(findings))
    hits, tried = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    for place, found in enumerate(findings):
        if found is not None:
            tried[:, place] = np.bincount(groups[found.order], minlength=rows)
            hits[:, place] = np.bincount(groups[found.order[found.hit]], minlength=rows)
    blind = np.tile([found is None for found in findings], rows)
    n, of = (pd.array(each.ravel(), dtype="Int64") for each in (hits, tried))
    n[blind], of[blind] = pd.NA, pd.NA
    share = hits.ravel() / np.where(tried.ravel() > 0, tried.ravel(), np.nan)
    return pd.DataFrame({"n": n, "of": of, "share": share})


def _first(
    found: Finding | None, groups: Array, rows: int, ids: Array, most: int
) -> list[list[str]]:
    """List the first orders affected of each group, each once."""
    lists: list[list[str]] = [[] for _ in range(rows)]
    if found is None:
        return lists
    order = pd.unique(found.order[found.hit])
    order = order[np.lexsort((order, groups[order]))]
    held = groups[order]
    rank = np.arange(len(order)) - np.searchsorted(held, held)
    for place in order[rank < most]:
        lists[groups[place]].append(str(ids[place]))
    return lists


def _details(found: Finding | None, groups: Array, rows: int) -> list[str | None]:
    """Spell what is listed for each group, the most frequent first."""
    texts: list[str | None] = [None] * rows
    if found is None or found.listed is None or not len(found.listed[0]):
        return texts
    order, words = found.listed
    table = pd.DataFrame({"group": groups[order], "word": _spelt(words)})
    sizes = table.value_counts().reset_index(name="n")
    sizes = sizes.sort_values(["group", "n", "word"], ascending=[True, False, True])
    for group, held in sizes.groupby("group"):
        named = [f"{word} ({n:,})" for word, n in zip(held["word"], held["n"], strict=True)]
        more = [f"{len(named) - _MOST_WORDS:,} more"] if len(named) > _MOST_WORDS else []
        texts[int(str(group))] = ", ".join([*named[:_MOST_WORDS], *more])
    return texts


def _spelt(words: Array) -> Array:
    """Put a word where there is none."""
    return np.where(blank(pd.Series(words, dtype=object)), "(none)", words)


def _by_group(by_check: Sequence[list[Any]]) -> list[Any]:
    """Put cells, given for each check and group, in the order of the rows."""
    return [*itertools.chain.from_iterable(zip(*by_check, strict=True))]
