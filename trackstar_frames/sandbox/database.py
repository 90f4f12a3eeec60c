"""The orders of one connection, in an embedded database.

What can be filtered on stands in a narrow table with indexes; each order's JSON stands beside it
ready-made, so that a page is found by an index and joined from text.
"""

import json
import re
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from trackstar_frames.sandbox.columns import COLUMNS, Order, row_of, text_of
from trackstar_frames.sandbox.query import Query
from trackstar_frames.sandbox.tokens import Position


class Page(NamedTuple):
    """Orders as JSON in UTF-8, and the place after them (None at the end)."""

    orders: list[bytes]
    end: Position | None


class Database:
    """Orders of one connection.

    Parameters
    ----------
    path
        The file to create.
    order
        The order of a listing: a name of `LISTING_ORDERS`.
    without
        Fields that no order has, whatever is written.
    """

    def __init__(self, path: Path, order: str, without: Collection[str] = ()) -> None:
        self._path = path
        self._without = without
        self._key, self._direction = LISTING_ORDERS[order]
        with self._connect() as db:
            db.executescript(TABLES)

    def load(self, orders: Iterable[Order]) -> None:
        """Add `orders`, whatever their ids."""
        with self._connect() as db:
            db.execute("PRAGMA journal_mode = OFF")
            for order in self._kept(orders):
                _insert(db, order)
            db.executescript(INDEXES)
            # From here on, readers do not wait for a writer.
            db.execute("PRAGMA journal_mode = WAL")

    def upsert(self, orders: Iterable[Order]) -> None:
        """Replace the orders whose id is known, in their places, and add the others."""
        with self._connect() as db:
            for order in self._kept(orders):
                if not _replace(db, order):
                    _insert(db, order)

    def rewrite(self, changed: Mapping[int, Order], new: Iterable[Order]) -> None:
        """Replace the orders of these sequence numbers and add the new ones, all at once."""
        with self._connect() as db:
            for seq, order in zip(changed, self._kept(changed.values()), strict=True):
                _update(db, seq, order)
            for order in self._kept(new):
                _insert(db, order)

    def delete(self, ids: Iterable[str]) -> None:
        """Forget the orders of these ids; an unknown id is none."""
        with self._connect() as db:
            keys = [(text_of(key),) for key in ids]
            db.executemany(
                "DELETE FROM bodies WHERE seq IN (SELECT seq FROM orders WHERE id = ?)", keys
            )
            db.executemany("DELETE FROM orders WHERE id = ?", keys)

    def page(self, query: Query) -> Page:
        """Return the page that `query` asks for."""
        where, values = self._after(query)
        sql = PAGE.format(key=self._key, where=where, direction=self._direction)
        with self._connect() as db:
            rows = db.execute(sql, (*values, query.limit + 1)).fetchall()
        more = len(rows) > query.limit
        rows = rows[: query.limit]
        return Page([row[2] for row in rows], Position(*rows[-1][:2]) if more else None)

    def count(self, query: Query) -> int:
        """Return how many orders match `query`, on all its pages."""
        with self._connect() as db:
            sql = f"SELECT count(*) FROM orders WHERE {_all(query.where)}"  # noqa: S608 -- ours
            return int(db.execute(sql, query.values).fetchone()[0])

    def body(self, seq: int) -> bytes | None:
        """Return the JSON of the order of that sequence number."""
        with self._connect() as db:
            row = db.execute("SELECT body FROM bodies WHERE seq = ?", (seq,)).fetchone()
        return None if row is None else bytes(row[0])

    def bodies(self, seqs: Iterable[int]) -> dict[int, dict[str, Any]]:
        """Return the orders of these sequence numbers; those that are gone are left out."""
        rows = self.rows(BODIES, json.dumps([*seqs]))
        return {seq: json.loads(body) for seq, body in rows}

    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """Return what `sql` finds in the tables `orders` and `bodies`."""
        with self._connect() as db:
            return db.execute(sql, values).fetchall()

    def all(self) -> list[dict[str, Any]]:
        """Return every order, in the order of insertion."""
        with self._connect() as db:
            return [
                json.loads(row[0]) for row in db.execute("SELECT body FROM bodies ORDER BY seq")
            ]

    @property
    def start(self) -> Position:
        """The place before every order; to SQLite, every text is greater than any number."""
        edge = 2**63 - 1 if self._direction == "DESC" else -(2**63)
        return Position(edge, edge)

    def __len__(self) -> int:
        return self.count(Query())

    def _kept(self, orders: Iterable[Order]) -> Iterable[Order]:
        if not self._without:
            return orders
        return (
            {name: value for name, value in order.items() if name not in self._without}
            for order in orders
        )

    def _after(self, query: Query) -> tuple[str, tuple[Any, ...]]:
        if query.position is None:
            return _all(query.where), query.values
        beyond = "<" if self._direction == "DESC" else ">"
        place = f"({self._key}, seq) {beyond} (?, ?)"
        return _all((*query.where, place)), (*query.values, *query.position[:2])

    @contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        # A handle of its own for every call: no thread waits for another's, and none is left open.
        with closing(sqlite3.connect(self._path)) as db, db:
            db.execute("PRAGMA synchronous = OFF")
            db.execute("PRAGMA mmap_size = 1073741824")
            db.create_function("casefold", 1, _casefold, deterministic=True)
            yield db


def _insert(db: sqlite3.Connection, order: Order) -> None:
    cursor = db.execute(INSERT, row_of(order))
    db.execute("INSERT INTO bodies VALUES (?, ?)", (cursor.lastrowid, _text(order)))


def _replace(db: sqlite3.Connection, order: Order) -> bool:
    found = db.execute("SELECT seq FROM orders WHERE id = ?", (text_of(order.get("id")),))
    seqs = [row[0] for row in found]
    for seq in seqs:
        _update(db, seq, order)
    return bool(seqs)


def _update(db: sqlite3.Connection, seq: int, order: Order) -> None:
    old = db.execute(ROW, (seq,)).fetchone() or ()
    # An index is dear to keep; only those of what has changed are touched.
    changed = {
        name: value
        for name, was, value in zip(COLUMNS, old, row_of(order), strict=False)
        if was != value
    }
    if changed:
        names = ", ".join(f"{name} = ?" for name in changed)
        db.execute(f"UPDATE orders SET {names} WHERE seq = ?", (*changed.values(), seq))  # noqa: S608 -- ours
    db.execute("UPDATE bodies SET body = ? WHERE seq = ?", (_text(order), seq))


def _text(order: Order) -> bytes:
    return msgspec.json.encode(order)


def _casefold(value: str | None) -> str | None:
    return None if value is None else value.casefold()


def _all(conditions: tuple[str, ...]) -> str:
    if any(each.startswith(CHANGED_SINCE) for each in conditions):
        # What has changed lately is little, and a window of created_date may be wide. SQLite
        # guesses the contrary where the window has two ends; a plus keeps it from that index.
        conditions = tuple(re.sub("^created_date", "+created_date", each) for each in conditions)
    return " AND ".join(conditions) or "1"


CHANGED_SINCE = ("updated_date >", "trackstar_updated_date >")


# The key must not be null, or the rows after a null could not be found.
LISTING_ORDERS = {
    "inserted": ("seq", "ASC"),
    "reversed": ("seq", "DESC"),
    "id": ("ifnull(id, '')", "ASC"),
    "created_date": ("ifnull(created_date, 0)", "ASC"),
    "created_date_desc": ("ifnull(created_date, 0)", "DESC"),
    "updated_date": ("ifnull(updated_date, 0)", "ASC"),
    "updated_date_desc": ("ifnull(updated_date, 0)", "DESC"),
}
# Large pages, because an order fills a small one.
TABLES = f"""
    PRAGMA page_size = 32768;
    CREATE TABLE bodies (seq INTEGER PRIMARY KEY, body BLOB NOT NULL);
    CREATE TABLE orders (seq INTEGER PRIMARY KEY AUTOINCREMENT, {", ".join(COLUMNS)});
"""
INDEXES = "\n".join(
    [
        *(f"CREATE INDEX orders_{name} ON orders ({name});" for name in COLUMNS[:-1]),
        "ANALYZE;",
    ]
)
BODIES = "SELECT seq, body FROM bodies WHERE seq IN (SELECT value FROM json_each(?)) ORDER BY seq"
INSERT = f"INSERT INTO orders VALUES (NULL{', ?' * len(COLUMNS)})"  # noqa: S608 -- ours
ROW = f"SELECT {', '.join(COLUMNS)} FROM orders WHERE seq = ?"  # noqa: S608 -- ours
PAGE = """
    SELECT page.key, seq, body FROM (
        SELECT {key} AS key, seq FROM orders WHERE {where}
        ORDER BY {key} {direction}, seq {direction} LIMIT ?
    ) AS page JOIN bodies USING (seq)
    ORDER BY page.key {direction}, seq {direction}
"""
