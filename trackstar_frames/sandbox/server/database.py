"""The orders of one connection in an SQLite database, and the query strings that select them."""

import base64
import json
import re
import sqlite3
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec

from trackstar_frames.sandbox.generator.changes import OrderRow
from trackstar_frames.sandbox.generator.merchants import Random
from trackstar_frames.sandbox.generator.orders import RAW_STATUSES

Order = Mapping[str, Any]

MAX_LIMIT = 1000
MAX_VALUES = 100
STATUSES = tuple(RAW_STATUSES)
TYPES = ("d2c", "b2b", "dropship", "transfer")


class InvalidQueryError(ValueError):
    """A query that the endpoint refuses with 422; `args`: the invalid parameter, and why."""


_Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class Position(NamedTuple):
    """A position in the listing: after the order with this sort key and sequence number."""

    # A page token is a position, and nothing of the filters that led there.
    key: _Int64 | str
    seq: _Int64
    nonce: _Int64 = 0  # distinguishes tokens of the same position

    def to_token(self) -> str:
        """Return the position as an opaque page token."""
        return base64.urlsafe_b64encode(json.dumps(self).encode()).decode()

    @classmethod
    def from_token(cls, token: str) -> "Position":
        """Return the position of a page token; raise InvalidQueryError if it is none."""
        try:
            text = base64.b64decode(token, altchars=b"-_", validate=True)
            return msgspec.json.decode(text, type=cls)
        except (ValueError, msgspec.DecodeError):
            raise InvalidQueryError("page_token", "Invalid page token.") from None


# Query strings


class Field(NamedTuple):
    """A field that can be filtered on."""

    store: Callable[[Any], Any]  # from an order's value to that of the column
    convert: Callable[[str], Any]  # from a filter's text to what the column is compared with
    operators: tuple[str, ...]


@dataclass(frozen=True)
class Query:
    """What one request asks for: SQL conditions and their values, the limit, the position."""

    where: tuple[str, ...] = ()
    values: tuple[Any, ...] = ()
    limit: int = MAX_LIMIT
    position: Position | None = None


def parse(pairs: Sequence[tuple[str, str]], unknown: Collection[str] = ()) -> Query:
    """Return the query of these decoded parameters; raise InvalidQueryError if it has none."""
    for name, value in pairs:
        if name in ("ids", "ids[in]"):
            # `ids` overrides all other parameters.
            ids = _split(name, value)
            return Query((f"id IN ({_placeholders(ids)})",), tuple(ids))
    names = [name for name, _ in pairs]
    for name in names:
        if names.count(name) > 1:
            raise InvalidQueryError(name, "Given more than once.")
    given = dict(pairs)
    limit, token = given.pop("limit", str(MAX_LIMIT)), given.pop("page_token", None)
    conditions = [_condition(*pair, unknown) for pair in given.items()]
    return Query(
        where=tuple(sql for sql, _ in conditions),
        values=tuple(value for _, values in conditions for value in values),
        limit=_limit(limit),
        position=None if token is None else Position.from_token(token),
    )


def _split(name: str, text: str) -> list[str]:
    values = text.split(",")
    if len(values) > MAX_VALUES:
        raise InvalidQueryError(name, f"Longer than maximum length {MAX_VALUES}.")
    return values


def _placeholders(values: Collection[Any]) -> str:
    return ", ".join("?" * len(values))


def _limit(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise InvalidQueryError("limit", "Not a valid integer.")
    if not 1 <= int(text) <= MAX_LIMIT:
        raise InvalidQueryError("limit", f"Must be between 1 and {MAX_LIMIT}.")
    return int(text)


def _condition(name: str, text: str, unknown: Collection[str]) -> tuple[str, list[Any]]:
    """Return the SQL of one filter, and its values."""
    match = re.fullmatch(r"(?P<field>\w+)(?:\[(?P<operator>[\w-]+)\])?", name)
    field = FIELDS.get(match["field"]) if match else None
    if match is None or field is None or match["field"] in unknown:
        raise InvalidQueryError(name, "Unknown field.")
    operator = match["operator"] or "eq"
    if operator not in field.operators:
        raise InvalidQueryError(name, "Unknown operator.")
    templates = _TAG_TEMPLATES if match["field"] == "trackstar_tags" else _TEMPLATES
    operator, _, insensitive = operator.partition("-")
    texts = _split(name, text) if "{marks}" in templates[operator] else [text]
    column = match["field"]
    if insensitive:
        texts, column = [each.casefold() for each in texts], f"casefold({column})"
    try:
        values = [field.convert(each) for each in texts]
    except ValueError as error:
        raise InvalidQueryError(name, str(error)) from None
    return templates[operator].format(column=column, marks=_placeholders(values)), values


# `IS NOT` is SQLite's inequality that is true of a null.
_TEMPLATES = {
    "eq": "{column} = ?",
    "neq": "{column} IS NOT ?",
    "gt": "{column} > ?",
    "gte": "{column} >= ?",
    "lt": "{column} < ?",
    "lte": "{column} <= ?",
    "in": "{column} IN ({marks})",
    "nin": "({column} IS NULL OR {column} NOT IN ({marks}))",
    "contains": "instr({column}, ?) > 0",
    "not_contains": "ifnull(instr({column}, ?), 0) = 0",
}
_TAG_TEMPLATES = {
    "contains": "EXISTS (SELECT 1 FROM json_each({column}) WHERE value IN ({marks}))",
    "not_contains": "NOT EXISTS (SELECT 1 FROM json_each({column}) WHERE value = ?)",
}


def _date(text: str) -> int:
    if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", text):
        raise ValueError("Not a valid datetime: the format is YYYY-MM-DDTHH:MM:SSZ.")
    try:
        moment = datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise ValueError("Not a valid datetime.") from None
    return int(moment.timestamp()) * 1_000_000


def _one_of(allowed: tuple[str, ...], text: str) -> str:
    if text not in allowed:
        raise ValueError(f"Must be one of: {', '.join(allowed)}.")
    return text


def _text(value: Any) -> str | None:
    """Return a value as the text that filters compare; as JSON if it is no text."""
    return value if value is None or isinstance(value, str) else json.dumps(value)


def _microseconds(value: Any) -> int | None:
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return round(aware.timestamp() * 1_000_000)


def _tags(value: Any) -> str | None:
    """Return tags as the JSON list of texts that filters compare, ``key:value`` for pairs."""
    if not isinstance(value, list):
        return None
    texts = []
    for tag in value:
        if isinstance(tag, dict):
            texts += [f"{key}:{_text(each)}" for key, each in tag.items()]
        elif tag is not None:
            texts.append(str(tag))
    return json.dumps(texts)


COMPARISONS = ("eq", "neq", "gt", "gte", "lt", "lte")
MEMBERSHIP = ("in", "nin")
CATEGORY = ("eq", "neq", *MEMBERSHIP, "contains", "not_contains")
INSENSITIVE = ("eq-insensitive", "in-insensitive", "contains-insensitive")
NUMBER = ("eq", *MEMBERSHIP, "contains", "not_contains", *INSENSITIVE)
FIELDS = {
    "created_date": Field(_microseconds, _date, (*COMPARISONS, *MEMBERSHIP)),
    "updated_date": Field(_microseconds, _date, (*COMPARISONS, *MEMBERSHIP)),
    "trackstar_created_date": Field(_microseconds, _date, (*COMPARISONS, *MEMBERSHIP)),
    "trackstar_updated_date": Field(_microseconds, _date, (*COMPARISONS, *MEMBERSHIP)),
    "required_ship_date": Field(_microseconds, _date, COMPARISONS),
    "status": Field(_text, partial(_one_of, STATUSES), CATEGORY),
    "type": Field(_text, partial(_one_of, TYPES), CATEGORY),
    "warehouse_customer_id": Field(_text, str, CATEGORY),
    "channel": Field(_text, str, CATEGORY),
    "order_number": Field(_text, str, NUMBER),
    "reference_id": Field(_text, str, NUMBER),
    "trackstar_tags": Field(_tags, str, ("contains", "not_contains")),
}


# The database

# Name, key and direction; the key must not be null, or no page would follow a null.
LISTING_ORDERS = {
    "inserted": ("seq", "ASC"),
    "reversed": ("seq", "DESC"),
    "id": ("ifnull(id, '')", "ASC"),
    "created_date": ("ifnull(created_date, 0)", "ASC"),
    "created_date_desc": ("ifnull(created_date, 0)", "DESC"),
    "updated_date": ("ifnull(updated_date, 0)", "ASC"),
    "updated_date_desc": ("ifnull(updated_date, 0)", "DESC"),
}
_STORE: dict[str, Callable[[Any], Any]] = {
    "id": _text,
    **{name: field.store for name, field in FIELDS.items()},
}
# Large pages, because an order fills a small one.
_TABLES = f"""
    PRAGMA page_size = 32768;
    CREATE TABLE bodies (seq INTEGER PRIMARY KEY, body BLOB NOT NULL);
    CREATE TABLE orders (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, {", ".join(_STORE)}, made_up INTEGER NOT NULL
    );
"""
_INDEXES = "".join(
    f"CREATE INDEX orders_{name} ON orders ({name});" for name in _STORE if name != "trackstar_tags"
)
_INSERT = f"INSERT INTO orders VALUES (NULL, {_placeholders(_STORE)}, ?)"  # noqa: S608 -- ours
_SELECT = f"SELECT {', '.join(_STORE)} FROM orders WHERE seq = ?"  # noqa: S608 -- ours
_PAGE = """
    SELECT page.key, seq, body FROM (
        SELECT {key} AS key, seq FROM orders WHERE {where}
        ORDER BY {key} {direction}, seq {direction} LIMIT ?
    ) AS page JOIN bodies USING (seq)
    ORDER BY page.key {direction}, seq {direction}
"""
# Times in whole seconds, rounded up: what happens a second later must not come before them.
_CHANGEABLE = """
    SELECT seq, id, status, type,
        created_date / 1000000, (updated_date + 999999) / 1000000, required_ship_date / 1000000
    FROM orders {index} WHERE made_up AND updated_date <= 1000000 * ? AND {where} ORDER BY seq
"""
# SQLite's statistics have it that most orders wait, so that without the index it would read all.
_WAITING = _CHANGEABLE.format(
    index="INDEXED BY orders_status",
    where=f"status IN {tuple(each for each in STATUSES if each not in ('fulfilled', 'cancelled'))}",
)
_DONE = _CHANGEABLE.format(
    index="",
    where="status IN ('fulfilled', 'cancelled') AND seq IN (SELECT value FROM json_each(?))",
)


class Page(NamedTuple):
    """Orders as JSON in UTF-8, and the position after them (None at the end)."""

    orders: list[bytes]
    end: Position | None


class Database:
    """The orders of one connection, in a new file; may be used from several threads."""

    def __init__(self, path: Path, order: str, omitted: Collection[str] = ()) -> None:
        self._path = path
        self._omitted = omitted
        self._key, self._direction = LISTING_ORDERS[order]
        self._free: deque[sqlite3.Connection] = deque()
        with self._connect() as db:
            db.executescript(_TABLES)

    def load(self, orders: Iterable[Order], *, made_up: bool) -> None:
        """Add the first orders, whatever their ids."""
        with self._connect() as db:
            db.execute("PRAGMA journal_mode = OFF")
            for order in orders:
                self._insert(db, order, made_up=made_up)
            db.executescript(_INDEXES + "ANALYZE;")
            # From here on, readers do not wait for a writer.
            db.execute("PRAGMA journal_mode = WAL")

    def upsert(self, orders: Iterable[Order]) -> None:
        """Replace the orders whose id is known, at their positions, and add the others."""
        with self._connect() as db:
            for order in orders:
                key = (_text(order.get("id")),)
                found = db.execute("SELECT seq FROM orders WHERE id = ?", key).fetchall()
                for (seq,) in found:
                    self._update(db, seq, order, made_up=False)
                if not found:
                    self._insert(db, order, made_up=False)

    def advance(self, changed: Mapping[OrderRow, Order], new: Iterable[Order]) -> None:
        """Replace made-up orders and add new ones, in one transaction."""
        with self._connect() as db:
            for row, order in changed.items():
                self._update(db, row.seq, order, made_up=True)
            for order in new:
                self._insert(db, order, made_up=True)

    def delete(self, ids: Iterable[str]) -> None:
        """Delete the orders of these ids; unknown ids are ignored."""
        with self._connect() as db:
            keys = [(_text(key),) for key in ids]
            db.executemany(
                "DELETE FROM bodies WHERE seq IN (SELECT seq FROM orders WHERE id = ?)", keys
            )
            db.executemany("DELETE FROM orders WHERE id = ?", keys)

    def page(self, query: Query) -> Page:
        """Return the page that `query` asks for."""
        where, values = query.where, query.values
        if query.position is not None:
            operator = "<" if self._direction == "DESC" else ">"
            where = (*where, f"({self._key}, seq) {operator} (?, ?)")
            values = (*values, *query.position[:2])
        sql = _PAGE.format(key=self._key, where=_all(where), direction=self._direction)
        rows = self._read(sql, *values, query.limit + 1)
        end = Position(*rows[query.limit - 1][:2]) if len(rows) > query.limit else None
        return Page([body for _, _, body in rows[: query.limit]], end)

    def count(self, query: Query) -> int:
        """Return how many orders match `query`, on all its pages."""
        sql = f"SELECT count(*) FROM orders WHERE {_all(query.where)}"  # noqa: S608 -- ours
        return int(self._read(sql, *query.values)[0][0])

    def order(self, seq: int) -> dict[str, Any] | None:
        """Return the order of a sequence number; None if it has been deleted."""
        rows = self._read("SELECT body FROM bodies WHERE seq = ?", seq)
        return msgspec.json.decode(rows[0][0]) if rows else None

    def orders(self) -> list[dict[str, Any]]:
        """Return every order, in the order of insertion."""
        rows = self._read("SELECT body FROM bodies ORDER BY seq")
        return [msgspec.json.decode(body) for (body,) in rows]

    def orders_of(self, rows: Iterable[OrderRow]) -> dict[OrderRow, dict[str, Any]]:
        """Return the orders of these rows; those that have been deleted are left out."""
        return {row: order for row in rows if (order := self.order(row.seq)) is not None}

    def waiting(self, before: int) -> list[OrderRow]:
        """Return the made-up orders that wait, and last changed by `before`."""
        return [OrderRow(*row) for row in self._read(_WAITING, before)]

    def sample_done(self, rng: Random, count: int, before: int) -> list[OrderRow]:
        """Return up to `count` made-up orders that were fulfilled or cancelled by `before`."""
        ((low, high),) = self._read("SELECT ifnull(min(seq), 0), ifnull(max(seq), 0) FROM orders")
        seqs = [low + rng.draw(high - low + 1) for _ in range(count)]
        return [OrderRow(*row) for row in self._read(_DONE, before, json.dumps(seqs))]

    @property
    def start(self) -> Position:
        """The position before every order; to SQLite, any text is greater than any number."""
        edge = 2**63 - 1 if self._direction == "DESC" else -(2**63)
        return Position(edge, edge)

    def close(self) -> None:
        """Close the connections to the file."""
        while self._free:
            self._free.pop().close()

    def _read(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._connect() as db:
            return db.execute(sql, values).fetchall()

    @contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        # A connection is used by one thread at a time, and kept for the next one.
        try:
            db = self._free.pop()
        except IndexError:
            db = sqlite3.connect(self._path, check_same_thread=False)
            db.execute("PRAGMA synchronous = OFF")
            db.execute("PRAGMA mmap_size = 1073741824")
            db.create_function("casefold", 1, lambda s: s and s.casefold(), deterministic=True)
        try:
            with db:
                yield db
        finally:
            self._free.append(db)

    def _insert(self, db: sqlite3.Connection, order: Order, *, made_up: bool) -> None:
        values, body = self._stored(order)
        seq = db.execute(_INSERT, (*values, made_up)).lastrowid
        db.execute("INSERT INTO bodies VALUES (?, ?)", (seq, body))

    def _update(self, db: sqlite3.Connection, seq: int, order: Order, *, made_up: bool) -> None:
        values, body = self._stored(order)
        old = db.execute(_SELECT, (seq,)).fetchone() or values
        # Indexes are expensive to update: touch only those of columns that changed.
        pairs = zip(_STORE, old, values, strict=True)
        changed = {name: new for name, was, new in pairs if was != new} | {"made_up": made_up}
        names = ", ".join(f"{name} = ?" for name in changed)
        db.execute(f"UPDATE orders SET {names} WHERE seq = ?", (*changed.values(), seq))  # noqa: S608 -- ours
        db.execute("UPDATE bodies SET body = ? WHERE seq = ?", (body, seq))

    def _stored(self, order: Order) -> tuple[tuple[Any, ...], bytes]:
        """Return the values of an order's columns, and its JSON."""
        if self._omitted:
            order = {name: value for name, value in order.items() if name not in self._omitted}
        values = tuple(store(order.get(name)) for name, store in _STORE.items())
        return values, msgspec.json.encode(order)


def _all(conditions: tuple[str, ...]) -> str:
    if any(each.startswith(("updated_date >", "trackstar_updated_date >")) for each in conditions):
        # Few orders have changed lately, and a window of created_date may be wide. SQLite guesses
        # the contrary where the window has two ends; a plus keeps it from using that index.
        conditions = tuple(re.sub("^created_date", "+created_date", each) for each in conditions)
    return " AND ".join(conditions) or "1"
