"""The endpoint's query grammar, turned into SQL.

Nulls: a comparison with a null is false, so ``eq``, ``gt``, ``gte``, ``lt``, ``lte``, ``in`` and
``contains`` leave out orders whose field is null or absent; ``neq``, ``nin`` and
``not_contains`` say "not this value" and keep them. Of ``status`` and ``type``, ``contains`` takes
a whole value; of ``trackstar_tags`` a list of tags and pairs, any of which an order may have.
"""

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from trackstar_frames.sandbox.tokens import BadToken, Position, decode

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
