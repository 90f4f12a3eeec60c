"""The filters as types, so that an editor completes them and a type checker flags a typo.

They are those of `filters.FIELDS`, name by name; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Literal, TypeAlias, TypedDict

import numpy as np

#: A moment or a day; a Timestamp and a datetime are dates too.
Moment: TypeAlias = str | date | np.datetime64
Moments: TypeAlias = Moment | Iterable[Moment]
Texts: TypeAlias = str | Iterable[str]
Status: TypeAlias = Literal[
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
]
#: Lists of any text are for variables, whose values a type checker does not know.
Statuses: TypeAlias = Status | Iterable[Status] | list[str] | tuple[str, ...] | set[str]
Type: TypeAlias = Literal["d2c", "b2b", "dropship", "transfer"]
Types: TypeAlias = Type | Iterable[Type] | list[str] | tuple[str, ...] | set[str]


class OrderFilters(TypedDict, total=False):
    """The filters that `fetch_orders_df` and similar functions take, as keyword arguments.

    The ``_insensitive`` operators are in beta: they find only orders that were updated after 1 July
    2025.
    """

    created_date: Moments
    created_date__eq: Moment
    created_date__neq: Moment
    created_date__gt: Moment
    created_date__gte: Moment
    created_date__lt: Moment
    created_date__lte: Moment
    created_date__in: Moments
    created_date__nin: Moments
    updated_date: Moments
    updated_date__eq: Moment
    updated_date__neq: Moment
    updated_date__gt: Moment
    updated_date__gte: Moment
    updated_date__lt: Moment
    updated_date__lte: Moment
    updated_date__in: Moments
    updated_date__nin: Moments
    trackstar_created_date: Moments
    trackstar_created_date__eq: Moment
    trackstar_created_date__neq: Moment
    trackstar_created_date__gt: Moment
    trackstar_created_date__gte: Moment
    trackstar_created_date__lt: Moment
    trackstar_created_date__lte: Moment
    trackstar_created_date__in: Moments
    trackstar_created_date__nin: Moments
    trackstar_updated_date: Moments
    trackstar_updated_date__eq: Moment
    trackstar_updated_date__neq: Moment
    trackstar_updated_date__gt: Moment
    trackstar_updated_date__gte: Moment
    trackstar_updated_date__lt: Moment
    trackstar_updated_date__lte: Moment
    trackstar_updated_date__in: Moments
    trackstar_updated_date__nin: Moments
    required_ship_date: Moment
    required_ship_date__eq: Moment
    required_ship_date__neq: Moment
    required_ship_date__gt: Moment
    required_ship_date__gte: Moment
    required_ship_date__lt: Moment
    required_ship_date__lte: Moment
    ids: Texts
    ids__in: Texts
    status: Statuses
    status__eq: Status
    status__neq: Status
    status__in: Statuses
    status__nin: Statuses
    status__contains: Status
    status__not_contains: Status
    type: Types
    type__eq: Type
    type__neq: Type
    type__in: Types
    type__nin: Types
    type__contains: Type
    type__not_contains: Type
    warehouse_customer_id: Texts
    warehouse_customer_id__eq: str
    warehouse_customer_id__neq: str
    warehouse_customer_id__in: Texts
    warehouse_customer_id__nin: Texts
    warehouse_customer_id__contains: str
    warehouse_customer_id__not_contains: str
    channel: Texts
    channel__eq: str
    channel__neq: str
    channel__in: Texts
    channel__nin: Texts
    channel__contains: str
    channel__not_contains: str
    order_number: Texts
    order_number__eq: str
    order_number__in: Texts
    order_number__nin: Texts
    order_number__eq_insensitive: str
    order_number__in_insensitive: Texts
    order_number__contains: str
    order_number__contains_insensitive: str
    order_number__not_contains: str
    reference_id: Texts
    reference_id__eq: str
    reference_id__in: Texts
    reference_id__nin: Texts
    reference_id__eq_insensitive: str
    reference_id__in_insensitive: Texts
    reference_id__contains: str
    reference_id__contains_insensitive: str
    reference_id__not_contains: str
    trackstar_tags__contains: Texts
    trackstar_tags__not_contains: str
