"""The orders that differ between two sets of finished tables, by table."""

from trackstar_frames.schema import CHILD_TABLES
from trackstar_frames.tables.compare import changed_in, common_ids

COMPARED = ("orders", *CHILD_TABLES)


def changed_orders(old, new):
    """Return, of each table but `problems`, the ids of orders on both sides that differ there."""
    ids = common_ids(old["orders"], new["orders"])
    return {name: changed_in(name, old[name], new[name], ids) for name in COMPARED}
