"""Orders for pictures, and what a picture says."""

import random
from datetime import UTC, datetime, timedelta

import pandas as pd

AS_OF = datetime(2026, 3, 4, 12, tzinfo=UTC)
OPEN = ("open", "confirmed", "processing", "picked", "packed", "backordered", "exception")
DATES = ("created_date", "required_ship_date", "updated_date", "first_shipped_date")
DATES += ("last_shipped_date", "complete_shipped_date")


def make_orders(rows, warehouses=("north", "south"), seed=0):
    """Make orders of 90 days, one in fifty stuck, in these warehouses by turns."""
    rng = random.Random(seed)
    frame = pd.DataFrame([_order(rng, warehouses[n % len(warehouses)]) for n in range(rows)])
    frame = frame.reindex(
        columns=["status", "warehouse_id", "channel", "units_ordered", "units_shipped", *DATES]
    )
    for name in DATES:
        frame[name] = pd.to_datetime(frame[name], utc=True).astype("datetime64[us, UTC]")
    frame.attrs["trackstar"] = {"fetched_at": AS_OF.isoformat()}
    return frame


def _order(rng, warehouse):
    created = AS_OF - timedelta(days=90 * rng.random())
    due = (created + timedelta(days=rng.choice((1, 2, 3)))).replace(
        hour=0, minute=0, second=0, microsecond=0
    )
    shipped = created + timedelta(days=rng.lognormvariate(0.3, 0.7))
    left = shipped <= AS_OF and rng.random() > 0.02
    status = "fulfilled" if left else rng.choice(OPEN)
    if rng.random() < 0.03:
        status, left = "cancelled", False
    units = rng.randint(1, 6)
    return {
        "status": status,
        "warehouse_id": warehouse,
        "channel": rng.choice(("web", "edi")),
        "units_ordered": units,
        "units_shipped": units if left else 0,
        "created_date": created,
        "updated_date": created + timedelta(days=1),
        "required_ship_date": due,
    } | dict.fromkeys(DATES[3:], shipped if left else None)


def text_of(axes):
    """Return all that axes say."""
    texts = [axes.get_title(loc="left"), axes.get_xlabel(), axes.get_ylabel()]
    texts += [text.get_text() for text in axes.texts]
    texts += [tick.get_text() for tick in (*axes.get_xticklabels(), *axes.get_yticklabels())]
    texts += legend_entries(axes)
    texts += [panel.get_title(loc="left") for panel in axes.child_axes]
    return " ".join(" ".join(texts).split())


def legend_entries(axes):
    """Return the entries of a legend."""
    legend = axes.get_legend()
    return [text.get_text() for text in legend.get_texts()] if legend else []
