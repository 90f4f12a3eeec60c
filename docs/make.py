"""Write the pages that are made from the code: `data_dictionary.md` and `filters.md`.

Run ``python docs/make.py`` after a change to `schema.TABLES` or `filters.FIELDS`; a test fails
until that is done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from trackstar_frames import FilterError, data_dictionary
from trackstar_frames.filters import FIELDS, MAX_LIST, Field, encode
from trackstar_frames.schema import CONNECTION, TABLES

__all__ = ["PAGES", "main"]

_NOTE = "<!-- Made by `python docs/make.py`; change the code it is made from instead. -->"
_MARKS = ("personal", "free_form", "deprecated")
_DAY = "2026-01-31"

_WHOLE = " (of `status` and `type` a whole value, of `trackstar_tags` a whole tag)"
_BETA = "; in beta: finds only orders that were updated after 1 July 2025"

#: What follows a field, in words.
_OPERATORS = MappingProxyType(
    {
        "eq": "is",
        "neq": "is not",
        "gt": "is after",
        "gte": "is at or after",
        "lt": "is before",
        "lte": "is at or before",
        "in": "is one of",
        "nin": "is none of",
        "contains": f"has this text in it{_WHOLE}",
        "not_contains": f"does not have this text in it{_WHOLE}",
        "eq-insensitive": f"is, whatever the case of letters{_BETA}",
        "in-insensitive": f"is one of, whatever the case of letters{_BETA}",
        "contains-insensitive": f"has this text in it, whatever the case of letters{_BETA}",
    }
)
_KINDS = MappingProxyType({"date": "a moment or a day", "string": "text"})


_TABLES_ARE = f"""\
What `tf.data_dictionary()` says. The path is where a value stands in an order's JSON; what has none
is computed. *personal* tells who or where a person is, *free-form* may hold anything: `pii` hides
both. *deprecated* is kept by the API for older readers. Of several connections, every table begins
with `{CONNECTION.name}`, the label of the row's connection."""
_FILTERS_ARE = """\
Written `field=value`, `field__op=value`, or as the API does, `**{"field[op]": value}`. What is not
below fails before any request, and names the nearest. All filters of a call hold together."""
_LISTS_ARE = f"""\
A list is for `in` and `nin`; a plain field with a list means `in`. The API takes {MAX_LIST} values
at most, and servers refuse long URLs: longer lists of `in` are asked for in parts, and their orders
put together. `ids` stand alone, as the API ignores every other filter beside them.
`trackstar_tags__contains` takes a list too, of tags and `key:value` pairs."""
_DAYS_ARE = """\
A date without a time means the whole day, UTC. A moment without a zone is UTC; the API knows whole
seconds."""


def make_dictionary() -> str:
    """Describe every column of every table."""
    rows: list[dict[str, Any]] = data_dictionary().to_dict("records")  # type: ignore[assignment]
    parts = ["# The tables and their columns", _NOTE, _TABLES_ARE]
    for name, table in TABLES.items():
        key = f" Key: {_codes(table.key)}." if table.key else ""
        columns = [_column(row) for row in rows if row["table"] == name]
        parts += [f"## {name}", f"One row is {table.grain}.{key}"]
        parts.append(_table(("column", "type", "path", "meaning", "mark"), columns))
    return _page(parts)


def make_filters() -> str:
    """Describe every filter: fields, operators, values, lists and days."""
    used = {operator for spec in FIELDS.values() for operator in spec.operators}
    meanings = [(f"`{_worded(each)}`", _OPERATORS[each]) for each in sorted(used)]
    fields = [_field(name, spec) for name, spec in FIELDS.items()]
    parts = ["# The filters", _NOTE, _FILTERS_ARE]
    parts.append(_table(("field", "values", "plain `field=` means", "operators"), fields))
    parts.append("## Operators")
    parts.append(_table(("operator", "an order comes if its field"), meanings))
    for title, words, examples in (
        ("## A list", _LISTS_ARE, _lists()),
        ("## A bare day", _DAYS_ARE, _days()),
    ):
        rows = [_asked(name, value) for name, value in examples]
        parts += [title, words, _table(("written", "asked for"), rows)]
    return _page(parts)


#: What makes each page.
PAGES: Mapping[str, Callable[[], str]] = MappingProxyType(
    {"data_dictionary.md": make_dictionary, "filters.md": make_filters}
)


def main() -> None:
    """Write all pages beside this file."""
    for name, make in PAGES.items():
        Path(__file__).with_name(name).write_text(make(), encoding="utf-8")


def _lists() -> Iterator[tuple[str, object]]:
    yield "status", ["open", "packed"]
    yield "order_number__in", "1001"
    yield "status__nin", ["cancelled", "other"]
    yield "status__in", []
    yield "order_number__in", ["1,001"]
    yield "trackstar_tags__contains", ["vip", "wave:am"]


def _days() -> Iterator[tuple[str, object]]:
    for operator in FIELDS["created_date"].operators:
        yield f"created_date__{operator}", [_DAY] if operator in ("in", "nin") else _DAY
    yield "created_date__gte", "2026-01-31T13:45:00.5+01:00"


def _asked(name: str, value: object) -> tuple[str, str]:
    """Tell what becomes of a filter: the very parameters, or the very refusal."""
    try:
        asked = " and ".join(
            f"`{parameter}={text}`"
            for query in encode({name: value})
            for parameter, text in query.items()
        )
    except FilterError as error:
        asked = f"refused: {error}"
    return f"`{name}={value!r}`", asked


def _field(name: str, spec: Field) -> tuple[str, str, str, str]:
    values = _codes(spec.allowed) if spec.allowed else _KINDS[spec.kind]
    plain = f"`{spec.plain}`" if spec.plain else "nothing: give an operator"
    return f"`{name}`", values, plain, _codes(map(_worded, spec.operators))


def _column(row: Mapping[str, Any]) -> tuple[str, str, str, str, str]:
    path = f"`{row['path']}`" if isinstance(row["path"], str) else "computed"
    marks = ", ".join(mark.replace("_", "-") for mark in _MARKS if row[mark])
    return f"`{row['column']}`", row["type"], path, row["description"], marks


def _worded(operator: str) -> str:
    return operator.replace("-", "_")


def _codes(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(
        f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines
    )


def _page(parts: Iterable[str]) -> str:
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    main()
