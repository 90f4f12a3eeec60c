"""The snapshot that a sync goes on from, and the changes that it makes."""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from heapq import nlargest
from math import ceil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from trackstar_frames.client import TrackstarClient, identify
from trackstar_frames.dates import parse_time
from trackstar_frames.errors import SnapshotError
from trackstar_frames.info import FetchInfo, of_connection
from trackstar_frames.pagination.threads import ThreadPool
from trackstar_frames.request import FetchRequest
from trackstar_frames.schema import CHILD_TABLES, TABLES
from trackstar_frames.snapshots.catalog import Entry, find_snapshots
from trackstar_frames.snapshots.manifest import Key
from trackstar_frames.snapshots.reader import has_older_orders, read_column, read_table
from trackstar_frames.snapshots.spill import Spill
from trackstar_frames.snapshots.writer import PartWriter, SharedPart, WriteResult
from trackstar_frames.tables import compare
from trackstar_frames.tables.assemble import as_batch, assemble, keep_freed_memory, split, take

#: The stamp of Trackstar's copy, that of the source, and the one that never changes.
TRACKSTAR_UPDATED, UPDATED, CREATED = "trackstar_updated_date", "updated_date", "created_date"
STAMPS = (TRACKSTAR_UPDATED, UPDATED, CREATED)

#: How many orders must have so late a stamp before the snapshot counts as complete up to it.
_WITNESSES = 2


class Stamps(NamedTuple):
    """The stamps of a snapshot's orders."""

    #: How many of its orders lack each stamp.
    missing: dict[str, int]
    #: How many lack both stamps of their changes.
    lacking: int
    #: Up to when it has all changes, by the clock of each stamp: the second greatest, as a single
    #: order may have any stamp, of those that are not later than its fetch started. Stamps that
    #: fewer orders have are left out.
    until: dict[str, datetime]


@dataclass(frozen=True)
class Base:
    """The orders of one connection in a snapshot, from which a sync goes on."""

    path: Path
    #: Metadata of the connection's fetch.
    info: FetchInfo
    #: In the sort order of their orders.
    parts: list[SharedPart]

    @property
    def name(self) -> str:
        """The snapshot's name."""
        return self.path.name

    @property
    def orders(self) -> int:
        """How many orders it has."""
        return sum(each.part.rows("orders") for each in self.parts)

    @property
    def full_at(self) -> datetime | None:
        """When all orders were last requested at once; None if that is not known."""
        if self.info.sync is not None:
            known = self.info.sync.get("full_at")
            return known and datetime.fromisoformat(known)
        return min(self._starts(), default=None)

    def stamps(self, now: datetime) -> Stamps:
        """Read the stamps of all its orders; `now` is by this machine's clock."""
        # Any of these clocks may be wrong: the earliest counts.
        latest = min(now, *self._starts())
        missing, lacking = dict.fromkeys(STAMPS, 0), 0
        seen: dict[str, list[datetime]] = {stamp: [] for stamp in STAMPS}
        for each in self.parts:
            columns = {stamp: read_column(self.path, each.position, stamp) for stamp in STAMPS}
            for stamp, column in columns.items():
                missing[stamp] += column.null_count
                in_time = column.filter(pc.less_equal(column, latest))
                if len(in_time):  # older versions of Arrow fail on none
                    greatest = in_time.take(pc.top_k_unstable(in_time, _WITNESSES)).to_pylist()
                    seen[stamp] = nlargest(_WITNESSES, seen[stamp] + greatest)
            lacks = (pc.is_null(columns[stamp]) for stamp in (TRACKSTAR_UPDATED, UPDATED))
            lacking += _count(pc.and_(*lacks))
        until = {
            stamp: moments[-1].astimezone(UTC)
            for stamp, moments in seen.items()
            if len(moments) == _WITNESSES
        }
        return Stamps(missing, lacking, until)

    def share(self, folder: Path) -> WriteResult:
        """Write all its parts to another folder as they are, but for orders of older schemas."""
        writer = PartWriter(folder, self.info, connection=self.info.connection)
        for part in self.parts:
            writer.add(_older_orders(part), part)
        return writer.result()

    def _starts(self) -> list[datetime]:
        """Return when its fetch had started at the latest, by each clock that was read."""
        # What was read first may have changed since, and a cached page is older than the start.
        texts = (self.info.started_at, self.info.fetched_at, self.info.server_time)
        return [parse_time(text) for text in texts if text]


def find_base(root: Path, request: FetchRequest, client: TrackstarClient) -> Base | None:
    """Find the newest snapshot of the request and of the client's one connection, if any."""
    bases = [
        Base(entry.path, entry.info, _shared_parts(entry)[None])
        for entry in reversed(find_snapshots(root))
        if not entry.info.connections and entry.info.connection == client.connection
    ]
    return _newest(bases, root, request, client.identify(request.hash))


def find_bases(root: Path, request: FetchRequest, labels: Iterable[str]) -> dict[str, Base]:
    """Find, for each connection, the newest snapshot of several and of the request that has it."""
    newest_first = [bases_in(entry) for entry in reversed(find_snapshots(root))]
    found = {}
    for label in labels:
        bases = [each[label] for each in newest_first if label in each]
        if base := _newest(bases, root, request, identify(label, request.hash)):
            found[label] = base
    return found


def bases_in(entry: Entry) -> dict[str, Base]:
    """Return the bases of a snapshot of several connections; none if it is of one."""
    parts = _shared_parts(entry)
    return {
        connection: Base(entry.path, of_connection(entry.info, connection), parts[connection])
        for connection in entry.info.connections
    }


def _shared_parts(entry: Entry) -> dict[str | None, list[SharedPart]]:
    parts = defaultdict(list)
    for position, part in enumerate(entry.manifest.parts):
        parts[part.connection].append(SharedPart(entry.path, position, part))
    return parts


def _newest(bases: list[Base], root: Path, request: FetchRequest, identity: str) -> Base | None:
    newest = next((base for base in bases if base.info.request_hash == identity), None)
    if bases and newest is None:
        raise SnapshotError(_explain_mismatch(root, bases[0], request))
    return newest


def _explain_mismatch(root: Path, newest: Base, request: FetchRequest) -> str:
    info = newest.info
    if info.request_hash is None:
        return (
            f"{newest.path} does not say which request it is of (an older version of this "
            f"package wrote it, or its frames were not fetched); sync under another root"
        )
    was, now = (
        {name: each.get(name) for name in ("filters", "extra_params", "limit", "pii")}
        for each in (info, request.metadata())
    )
    if was == now:
        return (
            f"{newest.path} was fetched with other credentials, or under another key of pii; if "
            f"it is the same connection, begin anew under another root, and give the client a "
            f"connection label, which outlives its token"
        )
    return (
        f"the snapshots of this connection under {root} are of another request: the newest of "
        f"{was}, and not {now}; pass the same on every call, or sync under another root"
    )


_Tables = Mapping[str, pa.Table]

_END: Key = (None, chr(sys.maxunicode))  # after all orders

#: How much longer than usual a part may grow before it is divided.
_GROWTH = 1.2


class Upsert:
    """The parts of a base with the orders that a sync fetched; those without a change are shared.

    `spill` has been deduplicated.
    """

    def __init__(self, base: Base, spill: Spill, *, several_listings: bool, removes: bool) -> None:
        self._base = base
        self._spill = spill
        # Whether orders without an id may be in the spill twice, as several listings had them.
        self._several_listings = several_listings
        # Whether orders that are not in the spill are gone, as all were requested.
        self._removes = removes
        self._ids = spill.ids()

    def write(self, writer: PartWriter) -> dict[str, int]:
        """Write all parts, and return how many orders are new, changed, unchanged and gone."""
        counts = sum(self._write_parts(writer), Counter())
        counts["new"] = self._spill.orders - counts["given"]
        return {name: counts[name] for name in ("new", "changed", "unchanged", "gone")}

    def _write_parts(self, writer: PartWriter) -> Iterator[Counter[str]]:
        """Write one part while the orders for the next one are read, so that memory stays small."""
        parts = self._base.parts
        spans = self._spill.spans([each.part.first or _END for each in parts[1:]])
        writing: Future[Counter[str]] | None = None
        with keep_freed_memory(), ThreadPool(1) as thread:
            for number, (base, (batches, kept)) in enumerate(zip(parts, spans, strict=True)):
                if writing is not None:
                    yield writing.result()
                fresh = assemble(batches, kept)[0]
                writing = thread.submit(self._write_part, writer, number, base, fresh)
            if writing is not None:
                yield writing.result()

    def _write_part(
        self, writer: PartWriter, number: int, base: SharedPart, fresh: dict[str, pa.Table]
    ) -> Counter[str]:
        """Write one part with the orders that were fetched for it, or only what they change.

        Empties `fresh`, to free its memory. Counts the base's orders that the server gave, those
        of them that have changed (or moved to another part) or have not, and those that are gone.
        """
        is_given = pc.is_in(read_column(base.folder, base.position, "id"), value_set=self._ids)
        given = _count(is_given)
        gone = len(is_given) - given if self._removes else 0
        had_problems = base.part.rows("problems") > 0
        has_changes = given or len(fresh["orders"]) or len(fresh["problems"])
        if not (has_changes or gone or (self._removes and had_problems)):
            writer.add(_older_orders(base), base, (number,))
            return Counter()
        old = {name: _read(base, name) for name in ("orders", "problems")}
        has_strays = self._settle_strays(old, fresh)
        ids = compare.common_ids(old["orders"], fresh["orders"])
        known = len(ids)
        all_known = known == given == len(fresh["orders"]) and not gone and not has_strays
        if all_known and _in_same_places(old, fresh):
            tables, changed = _replace(base, old, fresh, ids)
            writer.add({**_older_orders(base), **tables}, base, (number,))
        else:
            old |= {name: _read(base, name) for name in CHILD_TABLES}
            changed = len(set().union(*(_differing(name, old, fresh, ids) for name in TABLES)))
            merged = fresh if self._removes else _merge(old, fresh, is_given)
            for piece_number, piece in enumerate(_divide(merged, writer.part_size)):
                writer.add(piece, sort_key=(number, piece_number))
        return Counter(
            given=given, changed=changed + given - known, unchanged=known - changed, gone=gone
        )

    def _settle_strays(self, old: dict[str, pa.Table], fresh: dict[str, pa.Table]) -> bool:
        """Drop orders without an id that are known, or gone; return whether that changes any."""
        if self._several_listings:
            fresh["problems"] = _without_repeats(fresh["problems"])
        removed = 0
        if self._removes:
            ids = old["problems"]["order_id"]
            old["problems"], removed = old["problems"].filter(pc.is_valid(ids)), ids.null_count
        else:
            fresh["problems"] = _without_known(fresh["problems"], old["problems"])
        return bool(removed or fresh["problems"]["order_id"].null_count)


def _merge(
    old: dict[str, pa.Table], fresh: dict[str, pa.Table], is_given: pa.ChunkedArray
) -> dict[str, pa.Table]:
    """Join what stays of a part and what was fetched; both are emptied."""
    stays = np.flatnonzero(~np.asarray(is_given))
    comes = np.arange(len(fresh["orders"])) + len(is_given)
    batches = [as_batch(old), as_batch(fresh)]
    old.clear()
    fresh.clear()
    return assemble(batches, np.concatenate([stays, comes]))[0]


def _in_same_places(old: _Tables, fresh: _Tables) -> bool:
    """Return whether orders that are all known keep their places in the sort order."""
    was, now = old["orders"], fresh["orders"]
    rows = pc.index_in(now["id"], value_set=was["id"].combine_chunks())
    return not compare.unequal(was["created_date"].take(rows), now["created_date"]).any()


def _replace(
    base: SharedPart, old: dict[str, pa.Table], fresh: dict[str, pa.Table], ids: pa.ChunkedArray
) -> tuple[dict[str, pa.Table], int]:
    """Replace known orders; return the tables in which any differ, and how many orders differ."""
    # Both sides are emptied, and tables of the base are read one after the other: a part is in
    # memory about twice, and not three times.
    orders = old["orders"]["id"].combine_chunks()
    tables, changed = {}, set()
    for name in TABLES:
        if name not in old:
            old[name] = _read(base, name)
        differing = _differing(name, old, fresh, ids)
        changed |= differing
        was, now = old.pop(name), fresh.pop(name)
        if differing:
            tables[name] = _replace_rows(was, now, orders, differing)
    return tables, len(changed)


def _read(base: SharedPart, name: str) -> pa.Table:
    names = TABLES[name].schema.names  # without the label
    return read_table(base.folder, base.position, base.part, name, names)


def _older_orders(base: SharedPart) -> dict[str, pa.Table]:
    """Read a part's orders if they are of an older schema, so that a sync writes one meaning."""
    if not has_older_orders(base.folder, base.position):
        return {}
    return {"orders": _read(base, "orders")}


def _differing(name: str, old: _Tables, fresh: _Tables, ids: pa.ChunkedArray) -> set[str]:
    """Return which of the orders on both sides differ in a table."""
    if name == "problems":
        return _with_other_problems(old[name], fresh[name], ids)
    return compare.changed_in(name, old[name], fresh[name], ids)


def _replace_rows(was: pa.Table, now: pa.Table, orders: pa.Array, ids: set[str]) -> pa.Table:
    key = "id" if "id" in was.column_names else "order_id"
    # Rows of no order come last.
    old, new = (compare.positions(side[key], orders) for side in (was, now))
    is_changed = np.zeros(len(orders) + 1, bool)  # the last one is of no order
    is_changed[pc.index_in(pa.array(sorted(ids)), value_set=orders).to_numpy()] = True
    stays, comes = np.flatnonzero(~is_changed[old]), np.flatnonzero(is_changed[new])
    sequence = np.argsort(np.concatenate([old[stays], new[comes]]), kind="stable")
    rows = np.concatenate([stays, comes + len(was)])[sequence]
    return take(pa.concat_tables([was, now]), rows)


def _divide(tables: _Tables, part_size: int) -> Iterator[_Tables]:
    """Divide a part that has become too long, evenly; leave out one that has become empty."""
    orders = len(tables["orders"])
    if orders or len(tables["problems"]):
        pieces = max(1, ceil(orders / (part_size * _GROWTH)))
        yield from split(tables, max(1, ceil(orders / pieces)))


def _with_other_problems(old: pa.Table, fresh: pa.Table, ids: pa.ChunkedArray) -> set[str]:
    """Return which of the orders on both sides have other problems, as other raw values had."""
    sides = []
    for number, side in enumerate((old, fresh)):
        known = compare.rows_of_orders(ids, side, "order_id")
        sides.append(known.append_column("side", pa.repeat(number, len(known))))
    columns = TABLES["problems"].schema.names
    rows = pa.concat_tables(sides).group_by(columns).aggregate([("side", "count_distinct")])
    on_one_side = rows.filter(pc.equal(rows["side_count_distinct"], 1))
    return set(on_one_side["order_id"].to_pylist())


def _without_known(problems: pa.Table, known: pa.Table) -> pa.Table:
    """Leave out the orders without an id that are known, by their text, as they have no key."""
    known = known.filter(pc.is_null(known["order_id"]))
    is_known = pc.and_(
        pc.is_null(problems["order_id"]), pc.is_in(problems["value"], value_set=known["value"])
    )
    return problems.filter(pc.invert(is_known))


def _without_repeats(problems: pa.Table) -> pa.Table:
    """Leave out orders without an id, by their text, that another listing has given too."""
    has_text = pc.and_(pc.is_null(problems["order_id"]), pc.is_valid(problems["value"]))
    strays = problems.filter(has_text)
    firsts = pa.array(~strays["value"].to_pandas().duplicated())
    return pa.concat_tables([problems.filter(pc.invert(has_text)), strays.filter(firsts)])


def _count(mask: pa.ChunkedArray) -> int:
    return int(pc.sum(mask, min_count=0).as_py())
