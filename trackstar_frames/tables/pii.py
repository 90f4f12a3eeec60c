"""Personal data taken out of a batch of tables, or put under a key; pure, no I/O.

What is personal, and what may hold anything, the schema says. What is left are things,
places of business, amounts and moments, and the ids, numbers and references that tie them
together. The columns and their types are the same as before.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType

import pyarrow as pa
import pyarrow.compute as pc

from trackstar_frames.errors import SettingsError
from trackstar_frames.schema import TABLES, Column, Table
from trackstar_frames.settings import PII_VARIABLE

__all__ = ["redact"]


_Digest = Callable[[bytes], str]


def redact(tables: Mapping[str, pa.Table], how: str, key: str | None = None) -> dict[str, pa.Table]:
    """Hide the personal data of a batch.

    Free-form columns become null, and the path of an unknown key, which may be a name
    itself, ends in ``*`` instead. To be called once for a batch: it tells unknown keys by the
    values of `problems`, which are null afterwards, and by the words of the schema.

    Parameters
    ----------
    tables
        By name, with any of the columns of the schema and any others.
    how
        ``"keep"`` changes nothing; ``"drop"`` makes personal columns null; ``"hash"`` puts
        in place of each personal text the hex digits of its HMAC-SHA-256 (null and ``""``
        stay as they are).
    key
        The key of ``"hash"``.

    Returns
    -------
    dict of str to pyarrow.Table
        The same tables, rows, columns and types.

    Raises
    ------
    SettingsError
        If ``"hash"`` comes without a key.

    Examples
    --------
    >>> packages = pa.table({"package_id": ["p1"], "tracking_number": ["1Z999"]})
    >>> redact({"packages": packages}, "drop")["packages"].to_pylist()
    [{'package_id': 'p1', 'tracking_number': None}]
    """
    if how == "keep":
        return dict(tables)
    digest = _keyed(key) if how == "hash" else None
    return {name: _redact_table(TABLES[name], table, digest) for name, table in tables.items()}


def _keyed(key: str | None) -> _Digest:
    """Make the function that hashes one text; it hashes each text once."""
    if not key:
        raise SettingsError(f"how='hash' needs a key, the text of {PII_VARIABLE}")
    empty = hmac.new(key.encode(), digestmod="sha256")

    @cache
    def digest(text: bytes) -> str:
        filled = empty.copy()
        filled.update(text)
        return filled.hexdigest() if text else ""

    return digest


def _redact_table(described: Table, table: pa.Table, digest: _Digest | None) -> pa.Table:
    if described.name == "problems":
        table = _put(table, "path", _without_unknown_keys(table))
    for column in described.columns:
        if column.name in table.column_names and (column.personal or column.free_form):
            table = _put(table, column.name, _redacted(table[column.name], column, digest))
    return table


def _redacted(values: pa.ChunkedArray, column: Column, digest: _Digest | None) -> pa.ChunkedArray:
    if digest is None or column.free_form or column.kind != "string":
        return pa.chunked_array([pa.nulls(len(values), values.type)])
    return pa.chunked_array([_hashed(each, digest) for each in values.chunks], values.type)


def _hashed(texts: pa.Array, digest: _Digest) -> pa.Array:
    encoded = texts.dictionary_encode()
    distinct = encoded.dictionary.cast(pa.binary()).to_pylist()
    return pa.array(map(digest, distinct), texts.type).take(encoded.indices)


def _put(table: pa.Table, name: str, values: pa.ChunkedArray) -> pa.Table:
    place = table.schema.get_field_index(name)
    return table.set_column(place, table.schema.field(place), values)


def _without_unknown_keys(problems: pa.Table) -> pa.ChunkedArray:
    """Put ``*`` for the names of unknown keys: for all that the schema does not spell."""
    paths = problems["path"]
    spelt = pc.is_in(pc.replace_substring_regex(paths, r"\[\d+\]", "[]"), value_set=_SPELT)
    safe = pc.and_(spelt, pc.is_valid(problems["value"]))  # without one, the key is unknown
    hidden = pc.if_else(safe, paths, "*")
    for name, parents in _PARENTS.items():
        unsafe = pc.and_(pc.invert(safe), pc.equal(problems["table"], name))
        starred = pc.replace_substring_regex(paths, parents, r"\1*")
        hidden = pc.if_else(unsafe, starred, hidden)
    return hidden


def _objects(table: Table) -> set[str]:
    return {".".join(column.path[:-1]) for column in table.columns} - {""}


def _spelt(table: Table) -> set[str]:
    """List the paths of a table's rows and of what stands in them."""
    inside = _objects(table) | {".".join(column.path) for column in table.columns}
    each = {".".join(filter(None, (table.path, path))) for path in inside}
    return each | {table.path, table.path.removesuffix("[]")}


def _parents(table: Table) -> str:
    """Write the pattern of what leads to a key of a table's rows, and of the key."""
    row = re.escape(f"{table.path}." if table.path else "").replace(r"\[\]", r"\[\d+\]")
    objects = "|".join(map(re.escape, sorted(_objects(table))))
    inside = rf"(?:(?:{objects})\.)?" if objects else ""
    return rf"(?s)\A((?:{row}{inside})?).*\z"


_SPELT = pa.array(sorted(set().union(*map(_spelt, TABLES.values()))))
_PARENTS = MappingProxyType(
    {name: _parents(table) for name, table in TABLES.items() if name != "problems"}
)
