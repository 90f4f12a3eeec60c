"""Personal data removed from tables, or replaced by keyed hashes; no I/O.

The schema says which columns are personal, and which may hold anything. ``"drop"`` makes both null;
``"hash"`` replaces each text in personal columns, but ``""``, by the hex digits of its HMAC-SHA-256
under a key, and makes free-form columns null. With both, the path of an unknown key, which may be a
name itself, ends in ``*``. What remains are things, places of business, amounts and dates, and the
ids, numbers and references that connect them. The columns and their types do not change.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Mapping
from functools import cache

import pyarrow as pa
import pyarrow.compute as pc

from trackstar_frames.errors import SettingsError
from trackstar_frames.schema import TABLES, Column, Table
from trackstar_frames.settings import PII_VARIABLE

_Digest = Callable[[bytes], str]


def redact(tables: Mapping[str, pa.Table], how: str, key: str | None = None) -> dict[str, pa.Table]:
    """Redact the personal data in some tables of the schema, once."""
    if how == "keep":
        return dict(tables)
    digest = _keyed_digest(key) if how == "hash" else None
    return {name: _redact_table(TABLES[name], table, digest) for name, table in tables.items()}


def _keyed_digest(key: str | None) -> _Digest:
    """Return a function that hashes one text, and each text once."""
    if not key:
        raise SettingsError(f"how='hash' needs a key, the text of {PII_VARIABLE}")
    empty = hmac.new(key.encode(), digestmod="sha256")

    @cache
    def digest(text: bytes) -> str:
        filled = empty.copy()
        filled.update(text)
        return filled.hexdigest() if text else ""

    return digest


def _redact_table(declared: Table, table: pa.Table, digest: _Digest | None) -> pa.Table:
    if declared.name == "problems":
        # Before the values are: those that are null are of unknown keys.
        table = _replace(table, "path", _star_unknown_keys(table))
    for column in declared.columns:
        if column.name in table.column_names and (column.personal or column.free_form):
            table = _replace(table, column.name, _redact_column(table[column.name], column, digest))
    return table


def _redact_column(
    values: pa.ChunkedArray, column: Column, digest: _Digest | None
) -> pa.ChunkedArray:
    if digest is None or column.free_form or column.kind != "string":
        return pa.chunked_array([pa.nulls(len(values), values.type)])
    return pa.chunked_array([_hash(each, digest) for each in values.chunks], values.type)


def _hash(texts: pa.Array, digest: _Digest) -> pa.Array:
    encoded = texts.dictionary_encode()
    distinct = encoded.dictionary.cast(pa.binary()).to_pylist()
    return pa.array(map(digest, distinct), texts.type).take(encoded.indices)


def _replace(table: pa.Table, name: str, values: pa.ChunkedArray) -> pa.Table:
    position = table.schema.get_field_index(name)
    return table.set_column(position, table.schema.field(position), values)


def _star_unknown_keys(problems: pa.Table) -> pa.ChunkedArray:
    """Return the paths of problems, with ``*`` for each key that is not the schema's."""
    paths = problems["path"]
    without_positions = pc.replace_substring_regex(paths, r"\[\d+\]", "[]")
    is_known = pc.and_(
        pc.is_in(without_positions, value_set=_KNOWN_PATHS),
        pc.is_valid(problems["value"]),  # without a value, the key is unknown
    )
    redacted = pc.if_else(is_known, paths, "*")
    for name, parents in _PARENTS.items():
        is_here = pc.and_(pc.invert(is_known), pc.equal(problems["table"], name))
        starred = pc.replace_substring_regex(paths, parents, r"\1*")
        redacted = pc.if_else(is_here, starred, redacted)
    return redacted


def _object_paths(table: Table) -> set[str]:
    return {".".join(each.path[:-1]) for each in table.columns if each.path} - {""}


def _known_paths(table: Table) -> set[str]:
    """Return the paths of a table's list, of its rows, and of all that is known in them."""
    inside = _object_paths(table) | {".".join(each.path) for each in table.columns if each.path}
    paths = {".".join(filter(None, (table.path, path))) for path in inside}
    return paths | {table.path, table.path.removesuffix("[]")}


def _parents_pattern(table: Table) -> str:
    """Return the pattern of what leads to a key of a table's rows, and of the key."""
    row = re.escape(f"{table.path}." if table.path else "").replace(r"\[\]", r"\[\d+\]")
    objects = "|".join(map(re.escape, sorted(_object_paths(table))))
    inside = rf"(?:(?:{objects})\.)?" if objects else ""
    return rf"(?s)\A((?:{row}{inside})?).*\z"


_KNOWN_PATHS = pa.array(sorted(set().union(*map(_known_paths, TABLES.values()))))
_PARENTS = {name: _parents_pattern(table) for name, table in TABLES.items() if name != "problems"}
