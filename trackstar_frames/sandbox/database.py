"""The orders of one connection, in an embedded database.

What can be filtered on stands in a narrow table with indexes; each order's JSON stands beside it
ready-made, so that a page is found by an index and joined from text.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from trackstar_frames.sandbox.query import Query
from trackstar_frames.sandbox.tokens import Position

Order = Mapping[str, Any]


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
    """

    def __init__(self, path: Path, order: str) -> None:
        self._path = path
        self._key, self._direction = LISTING_ORDERS[order]
        with self._connect() as db:
            db.executescript(TABLES)

    def load(self, orders: Iterable[Order]) -> None:
        """Add `orders`, whatever their ids."""
        with self._connect() as db:
            db.execute("PRAGMA journal_mode = OFF")
            for order in orders:
                _insert(db, order)
            db.executescript(INDEXES)
            # From here on, readers do not wait for a writer.
            db.execute("PRAGMA journal_mode = WAL")

    def upsert(self, orders: Iterable[Order]) -> None:
        """Replace the orders whose id is known, in their places, and add the others."""
        with self._connect() as db:
            for order in orders:
                if not _replace(db, order):
                    _insert(db, order)

    def delete(self, ids: Iterable[str]) -> None:
        """Forget the orders of these ids; an unknown id is none."""
        with self._connect() as db:
            keys = [(_string(key),) for key in ids]
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
    cursor = db.execute(INSERT, _row(order))
    db.execute("INSERT INTO bodies VALUES (?, ?)", (cursor.lastrowid, _text(order)))


def _replace(db: sqlite3.Connection, order: Order) -> bool:
    found = db.execute("SELECT seq FROM orders WHERE id = ?", (_string(order.get("id")),))
    seqs = [row[0] for row in found]
    for seq in seqs:
        db.execute(UPDATE, (*_row(order), seq))
        db.execute("UPDATE bodies SET body = ? WHERE seq = ?", (_text(order), seq))
    return bool(seqs)


def _text(order: Order) -> bytes:
    return msgspec.json.encode(order)


def _row(order: Order) -> tuple[Any, ...]:
    texts = [_string(order.get(name)) for name in TEXTS]
    dates = [_microseconds(order.get(name)) for name in DATES]
    return (*texts, *dates, _tags(order.get("trackstar_tags")))


def _string(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value)


def _microseconds(value: Any) -> int | None:
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return round(aware.timestamp() * 1_000_000)


def _tags(value: Any) -> str | None:
    if not isinstance(value, list):
        return None
    return json.dumps([text for tag in value for text in _tag(tag)])


def _tag(tag: Any) -> list[str]:
    if isinstance(tag, dict):
        return [f"{key}:{_string(value)}" for key, value in tag.items()]
    return [] if tag is None else [str(tag)]


def _casefold(value: str | None) -> str | None:
    return None if value is None else value.casefold()


def _all(conditions: tuple[str, ...]) -> str:
    return " AND ".join(conditions) or "1"


TEXTS = (
    "id",
    "status",
    "type",
    "warehouse_customer_id",
    "channel",
    "order_number",
    "reference_id",
)
DATES = (
    "created_date",
    "updated_date",
    "trackstar_created_date",
    "trackstar_updated_date",
    "required_ship_date",
)
COLUMNS = (*TEXTS, *DATES, "trackstar_tags")
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
INSERT = f"INSERT INTO orders VALUES (NULL{', ?' * len(COLUMNS)})"  # noqa: S608 -- ours
UPDATE = f"UPDATE orders SET {', '.join(f'{name} = ?' for name in COLUMNS)} WHERE seq = ?"  # noqa: S608
PAGE = """
    SELECT page.key, seq, body FROM (
        SELECT {key} AS key, seq FROM orders WHERE {where}
        ORDER BY {key} {direction}, seq {direction} LIMIT ?
    ) AS page JOIN bodies USING (seq)
    ORDER BY page.key {direction}, seq {direction}
"""
