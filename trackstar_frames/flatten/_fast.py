"""The fast way: Arrow reads a page as it stands, and its columns are cut into tables.

No Python object per value, but for what the layout takes out as text. What is not as the
layout expects is refused as a whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json

from trackstar_frames.flatten._layout import Layout
from trackstar_frames.flatten._rows import Rows
from trackstar_frames.flatten._shape import LISTS, LONGEST_ID, Batch
from trackstar_frames.flatten._taken import Taken
from trackstar_frames.flatten.convert import EXACT

__all__ = ["REFUSALS", "flatten_fast"]

#: What `flatten_fast` raises for orders that it does not take.
REFUSALS = (pa.ArrowInvalid, msgspec.DecodeError, RecursionError)


def flatten_fast(orders: Sequence[msgspec.Raw], layout: Layout) -> Batch:
    """Flatten orders all at once.

    Raises
    ------
    pyarrow.ArrowInvalid, msgspec.DecodeError, RecursionError
        If a value or a key is not as the layout expects.
    """
    received = b"\n".join(orders)
    taken = Taken(received, _as_lines(orders, received), layout)
    tables = {"orders": Rows("orders", _read(taken.rest(), layout))}
    for table, lists in LISTS.items():
        for key, child in lists.items():
            tables[child] = tables[table].children(child, key)
    _refuse_doubtful(tables.values())
    taken.put_back(tables)
    _refuse_anonymous(tables["orders"])
    batch = {name: rows.as_table() for name, rows in tables.items()}
    return batch | {"problems": taken.problems(tables)}


def _as_lines(orders: Sequence[msgspec.Raw], received: bytes) -> bytes:
    """Put each order on one line; no byte changes its place."""
    if len(received) >= _TOO_LONG:
        raise pa.ArrowInvalid(f"{len(received):,} bytes at once")
    if not orders or b"\n" not in bytes(orders[0]):
        return received  # if another order is printed on several lines, reading refuses it
    # Outside of strings, a line's end is but a space.
    return b"\n".join(bytes(order).translate(_ON_ONE_LINE) for order in orders)


#: Arrow counts a block's bytes in 32 bits.
_TOO_LONG = 2**31 - 1


_ON_ONE_LINE = bytes.maketrans(b"\r\n", b"  ")


def _read(text: bytes, layout: Layout) -> pa.StructArray:
    table = pyarrow.json.read_json(
        pa.BufferReader(text),
        read_options=pyarrow.json.ReadOptions(use_threads=False, block_size=len(text) + 1),
        parse_options=pyarrow.json.ParseOptions(
            explicit_schema=layout.schema, unexpected_field_behavior="error"
        ),
        # Arrow's default pool keeps what its threads have freed: half as much memory again.
        memory_pool=pa.system_memory_pool(),
    )
    (batch,) = table.combine_chunks().to_batches()
    return batch.to_struct_array()


def _refuse_doubtful(tables: Iterable[Rows]) -> None:
    """Refuse numbers that were perhaps whole but for float64, and moments beyond the calendar."""
    for rows in tables:
        for values in rows.values.values():
            if pa.types.is_floating(values.type):
                _refuse_beyond(values, -EXACT + 1, EXACT - 1)
            elif pa.types.is_timestamp(values.type):
                _refuse_beyond(values.view(pa.int64()), *_CALENDAR)


def _refuse_beyond(values: pa.Array, lowest: int, highest: int) -> None:
    found = pc.min_max(values).as_py()
    if found["min"] is not None and not lowest <= found["min"] <= found["max"] <= highest:
        raise pa.ArrowInvalid(f"values from {found['min']} to {found['max']}")


#: The years 1 to 9999 in microseconds since 1970.
_CALENDAR = (-62_135_596_800_000_000, 253_402_300_799_999_999)


def _refuse_anonymous(orders: Rows) -> None:
    ids = orders.values["id",]
    lengths = pc.min_max(pc.binary_length(ids)).as_py()
    if ids.null_count or not 1 <= lengths["min"] <= lengths["max"] <= LONGEST_ID:
        raise pa.ArrowInvalid("an order without an id")
