"""What of an order can be filtered on, as it stands in the narrow table."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

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
    return json.dumps([text for tag in value for text in _tag(tag)])


def _tag(tag: Any) -> list[str]:
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
