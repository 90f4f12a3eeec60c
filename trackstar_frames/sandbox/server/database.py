"""Page tokens: a place in the listing, and nothing of the filters that led there."""

import base64
import json
import random
import re
import sqlite3
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from trackstar_frames.sandbox.generator.merchant import DAY, draw


class BadToken(ValueError):  # noqa: N818 -- caught at once, and never shown
    """A page token that this server has not issued."""


class Position(NamedTuple):
    """A place in the listing: after the order with this key and sequence number.

    `turn` tells two tokens of one place apart.
    """

    key: int | str
    seq: int
    turn: int = 0


def encode(position: Position) -> str:
    """Return `position` as an opaque page token."""
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode()


def decode(token: str) -> Position:
    """Return the position that `token` stands for.

    Raises
    ------
    BadToken
        If it was not made by `encode`.
    """
    try:
        key, seq, turn = json.loads(base64.b64decode(token, altchars=b"-_", validate=True))
    except (ValueError, TypeError):
        raise BadToken(token) from None
    if not (_whole(seq) and _whole(turn) and (_whole(key) or isinstance(key, str))):
        raise BadToken(token)
    return Position(key, seq, turn)


def _whole(value: Any) -> bool:
    # No wider than the database's own integers.
    return type(value) is int and -(2**63) <= value < 2**63


Order = Mapping[str, Any]


def row_of(order: Order) -> tuple[Any, ...]:
    """Return what of `order` stands in `COLUMNS`."""
    texts = [text_of(order.get(name)) for name in TEXTS]
    dates = [_microseconds(order.get(name)) for name in DATES]
    return (*texts, *dates, _tags(order.get("trackstar_tags")))


def text_of(value: Any) -> str | None:
    """Return a value as the text that filters compare; what is no text as JSON."""
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
    return json.dumps([text for tag in value for text in _tag_of(tag)])


def _tag_of(tag: Any) -> list[str]:
    if isinstance(tag, dict):
        return [f"{key}:{text_of(value)}" for key, value in tag.items()]
    return [] if tag is None else [str(tag)]


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


MAX_LIMIT = 1000
MAX_VALUES = 100
STATUSES = (
    "open",
    "confirmed",
    "processing",
    "picked",
    "packed",
    "partially_fulfilled",
    "fulfilled",
    "backordered",
    "exception",
    "cancelled",
    "other",
)
TYPES = ("d2c", "b2b", "dropship", "transfer")


class InvalidQueryError(ValueError):
    """A query that the endpoint answers with 422.

    Attributes
    ----------
    parameter, message
        Which parameter is at fault, and why.
    """

    def __init__(self, parameter: str, message: str) -> None:
        super().__init__(f"{parameter}: {message}")
        self.parameter = parameter
        self.message = message


@dataclass(frozen=True)
class Query:
    """What one request asks for: conditions, how many orders, and from where."""

    where: tuple[str, ...] = ()
    values: tuple[Any, ...] = ()
    limit: int = MAX_LIMIT
    position: Position | None = None


def parse(pairs: Sequence[tuple[str, str]], unknown: Collection[str] = ()) -> Query:
    """Return the query that `pairs` of parameter and value spell.

    Parameters
    ----------
    pairs
        Decoded parameters in the order they were sent.
    unknown
        Fields that this server does not know, though others do.

    Raises
    ------
    InvalidQueryError
        If the endpoint would answer 422.
    """
    for name, value in pairs:
        if name in ("ids", "ids[in]"):
            return _by_ids(name, value)
    _refuse_repeats(pairs)
    conditions = [_condition(*pair, unknown) for pair in pairs if pair[0] not in PAGING]
    given = dict(pairs)
    return Query(
        where=tuple(condition.sql for condition in conditions),
        values=tuple(value for condition in conditions for value in condition.values),
        limit=_limit(given.get("limit")),
        position=_position(given.get("page_token")),
    )


class Condition(NamedTuple):
    """One SQL condition and the values of its placeholders."""

    sql: str
    values: tuple[Any, ...]


class Field(NamedTuple):
    """A field that can be filtered on: its type, and its operators."""

    convert: Callable[[str], Any]
    operators: tuple[str, ...]


PAGING = ("limit", "page_token")
PARAMETER = re.compile(r"(?P<field>\w+)(?:\[(?P<operator>[\w-]+)\])?")
DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
COMPARISONS = {"eq": "=", "gt": ">", "gte": ">=", "lt": "<", "lte": "<="}


def _by_ids(name: str, value: str) -> Query:
    ids = _split(name, value)
    return Query((f"id IN ({_marks(ids)})",), tuple(ids), limit=MAX_LIMIT)


def _refuse_repeats(pairs: Sequence[tuple[str, str]]) -> None:
    names = [name for name, _ in pairs]
    for name in names:
        if names.count(name) > 1:
            raise InvalidQueryError(name, "Given more than once.")


def _limit(text: str | None) -> int:
    if text is None:
        return MAX_LIMIT
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise InvalidQueryError("limit", "Not a valid integer.")
    if not 1 <= int(text) <= MAX_LIMIT:
        raise InvalidQueryError("limit", f"Must be between 1 and {MAX_LIMIT}.")
    return int(text)


def _position(token: str | None) -> Position | None:
    try:
        return None if token is None else decode(token)
    except BadToken:
        raise InvalidQueryError("page_token", "Invalid page token.") from None


def _condition(name: str, value: str, unknown: Collection[str]) -> Condition:
    match = PARAMETER.fullmatch(name)
    field = FIELDS.get(match["field"]) if match else None
    if match is None or field is None or match["field"] in unknown:
        raise InvalidQueryError(name, "Unknown field.")
    operator = match["operator"] or "eq"
    if operator not in field.operators:
        raise InvalidQueryError(name, "Unknown operator.")
    values = _values(name, value, operator, field)
    return Condition(_sql(match["field"], operator, values), tuple(values))


def _values(name: str, text: str, operator: str, field: Field) -> list[Any]:
    is_list = operator in LISTS or (field.convert is _tag and operator == "contains")
    texts = _split(name, text) if is_list else [text]
    if operator.endswith("-insensitive"):
        texts = [text.casefold() for text in texts]
    try:
        return [field.convert(text) for text in texts]
    except ValueError as error:
        raise InvalidQueryError(name, str(error)) from None


def _split(name: str, text: str) -> list[str]:
    values = text.split(",")
    if len(values) > MAX_VALUES:
        raise InvalidQueryError(name, f"Longer than maximum length {MAX_VALUES}.")
    return values


def _sql(column: str, operator: str, values: list[Any]) -> str:
    if column == "trackstar_tags":
        found = TAGGED.format(marks=_marks(values))
        return found if operator == "contains" else f"NOT {found}"
    if operator in COMPARISONS:
        return f"{column} {COMPARISONS[operator]} ?"
    return TEMPLATES[operator].format(column=column, marks=_marks(values))


def _marks(values: list[Any]) -> str:
    return ", ".join("?" * len(values))


def _date(text: str) -> int:
    if not DATE.fullmatch(text):
        raise ValueError("Not a valid datetime: the format is YYYY-MM-DDTHH:MM:SSZ.")
    try:
        moment = datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise ValueError("Not a valid datetime.") from None
    return int(moment.timestamp()) * 1_000_000


def _one_of(allowed: tuple[str, ...]) -> Callable[[str], str]:
    def convert(text: str) -> str:
        if text not in allowed:
            raise ValueError(f"Must be one of: {', '.join(allowed)}.")
        return text

    return convert


def _tag(text: str) -> str:
    """Take a tag, or a pair written ``key:value``, as it is."""
    return text


LISTS = ("in", "nin", "in-insensitive")
# `IS NOT` is SQLite's inequality that is true of a null.
TEMPLATES = {
    "neq": "{column} IS NOT ?",
    "in": "{column} IN ({marks})",
    "nin": "({column} IS NULL OR {column} NOT IN ({marks}))",
    "contains": "instr({column}, ?) > 0",
    "not_contains": "ifnull(instr({column}, ?), 0) = 0",
    "eq-insensitive": "casefold({column}) = ?",
    "in-insensitive": "casefold({column}) IN ({marks})",
    "contains-insensitive": "instr(casefold({column}), ?) > 0",
}
TAGGED = "EXISTS (SELECT 1 FROM json_each(trackstar_tags) WHERE value IN ({marks}))"
CATEGORY = ("eq", "neq", "in", "nin", "contains", "not_contains")
NUMBER = (
    "eq",
    "in",
    "nin",
    "eq-insensitive",
    "in-insensitive",
    "contains",
    "contains-insensitive",
    "not_contains",
)
SHIP_DATE = ("eq", "neq", "gt", "gte", "lt", "lte")
FIELDS = {
    "created_date": Field(_date, (*SHIP_DATE, "in", "nin")),
    "updated_date": Field(_date, (*SHIP_DATE, "in", "nin")),
    "trackstar_created_date": Field(_date, (*SHIP_DATE, "in", "nin")),
    "trackstar_updated_date": Field(_date, (*SHIP_DATE, "in", "nin")),
    "required_ship_date": Field(_date, SHIP_DATE),
    "status": Field(_one_of(STATUSES), CATEGORY),
    "type": Field(_one_of(TYPES), CATEGORY),
    "warehouse_customer_id": Field(str, CATEGORY),
    "channel": Field(str, CATEGORY),
    "order_number": Field(str, NUMBER),
    "reference_id": Field(str, NUMBER),
    "trackstar_tags": Field(_tag, ("contains", "not_contains")),
}


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
        self._free: deque[sqlite3.Connection] = deque()
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

    def close(self) -> None:
        """Close the connections to the file."""
        while self._free:
            self._free.pop().close()

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
        return {seq: msgspec.json.decode(body) for seq, body in rows}

    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """Return what `sql` finds in the tables `orders` and `bodies`."""
        with self._connect() as db:
            return db.execute(sql, values).fetchall()

    def all(self) -> list[dict[str, Any]]:
        """Return every order, in the order of insertion."""
        with self._connect() as db:
            rows = db.execute("SELECT body FROM bodies ORDER BY seq")
            return [msgspec.json.decode(body) for (body,) in rows]

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
        # No thread waits for another's connection; one that is free is used again.
        try:
            db = self._free.pop()
        except IndexError:
            db = self._open()
        try:
            with db:
                yield db
        finally:
            self._free.append(db)

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, check_same_thread=False)
        db.execute("PRAGMA synchronous = OFF")
        db.execute("PRAGMA mmap_size = 1073741824")
        db.create_function("casefold", 1, _casefold, deterministic=True)
        return db


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


class Row(NamedTuple):
    """What the narrow table says of one order, times in seconds since the epoch.

    An order without a created or an updated date counts as a day old. `due` is None without one.
    """

    seq: int
    id: str
    status: str
    kind: str | None
    created: int
    updated: int
    due: int | None


def waiting(database: Database, before: int) -> list[Row]:
    """Return the orders that are under way, and had their last change by `before`."""
    return _rows(database.rows(WAITING, before * SECOND), before)


def settled(database: Database, rng: random.Random, count: int, before: int) -> list[Row]:
    """Return up to `count` orders, of any age, that were done with by `before`."""
    low, high = database.rows("SELECT ifnull(min(seq), 0), ifnull(max(seq), 0) FROM orders")[0]
    seqs = [low + draw(rng, high - low + 1) for _ in range(count)]
    return _rows(database.rows(SETTLED, before * SECOND, json.dumps(seqs)), before)


SECOND = 1_000_000
_PACE_COLUMNS = "seq, id, status, type, created_date, updated_date, required_ship_date"
# An order whose dates lie ahead of the connection's time has yet to happen; an id that none or
# several of them have names none.
FIT = """
    max(ifnull(created_date, 0), ifnull(updated_date, 0)) <= ?
    AND 1 = (SELECT count(*) FROM orders AS same WHERE same.id = orders.id)
"""
# By its statistics, SQLite takes those under way for most of the orders, and would read them all.
WAITING = f"""
    SELECT {_PACE_COLUMNS} FROM orders INDEXED BY orders_status WHERE {FIT} AND status IN (
        'open', 'confirmed', 'processing', 'picked', 'packed', 'partially_fulfilled',
        'backordered', 'exception', 'other'
    ) ORDER BY seq
"""  # noqa: S608 -- ours
SETTLED = f"""
    SELECT {_PACE_COLUMNS} FROM orders WHERE {FIT} AND status IN ('fulfilled', 'cancelled')
    AND seq IN (SELECT value FROM json_each(?)) ORDER BY seq
"""  # noqa: S608 -- ours


def _rows(found: Iterable[tuple[Any, ...]], before: int) -> list[Row]:
    rows = []
    for seq, key, status, kind, *times in found:
        created, updated, due = map(_seconds, times)
        dates = (_or(created, before - DAY), _or(updated, before - DAY), due)
        rows.append(Row(seq, key, status, kind, *dates))
    return rows


def _seconds(microseconds: int | None) -> int | None:
    # Upwards: what happens a second later must not come before it.
    return None if microseconds is None else -(-microseconds // SECOND)


def _or(value: int | None, default: int) -> int:
    return default if value is None else value
