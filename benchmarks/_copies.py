"""Many orders with all their parts: made-up ones, and copies of them under other ids."""

from pathlib import Path

import _pages
import _server
import pyarrow as pa
import pyarrow.compute as pc

import trackstar_frames as tf


def write(orders: int, folder: Path, *, parts: bool = True) -> tf.Snapshot:
    """Write a snapshot of so many orders, in the order of rows of any other.

    Parameters
    ----------
    orders
        How many.
    folder
        The root of the snapshot.
    parts
        Whether with what is in the orders: their lines, shipments and packages.
    """
    pages = -(-min(orders, _pages.MADE_UP * _pages.PAGE) // _pages.PAGE)
    with _server.serve(pages * _pages.PAGE) as serving:
        frames = tf.OrderFrames.from_json(_pages.fetch(serving.server, pages))
    made = frames.to_arrow()
    copies = range(-(-orders // len(made["orders"])))
    many = pa.concat_tables(_renamed(made["orders"], "id", number) for number in copies)
    many = many.slice(0, orders).sort_by([("created_date", "ascending"), ("id", "ascending")])
    tables = {"orders": many}
    for name in [each for each in made if each != "orders"]:
        if not parts:
            tables[name] = made[name].slice(0, 0)
            continue
        rows = pa.concat_tables(_renamed(made[name], "order_id", number) for number in copies)
        tables[name] = _of_orders(rows, many["id"])
    info = {**frames.info, "fetched_at": many["updated_date"].to_pylist()[-1].isoformat()}
    return tf.write_snapshot(tf.OrderFrames(tables, info), folder)


def _renamed(table: pa.Table, name: str, number: int) -> pa.Table:
    ids = pc.binary_join_element_wise(f"{number}", table[name], "-")
    return table.set_column(table.column_names.index(name), table.schema.field(name), ids)


def _of_orders(rows: pa.Table, ids: pa.ChunkedArray) -> pa.Table:
    """Return the rows of these orders, in their order."""
    place = pc.index_in(rows["order_id"], value_set=ids)
    kept = place.is_valid()
    rows, place = rows.filter(kept), place.filter(kept)
    return rows.take(pc.array_sort_indices(place.combine_chunks()))
