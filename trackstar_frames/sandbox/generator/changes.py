"""What happens to made-up orders as time passes.

The future of an order is drawn as `make_orders` draws it, from a random stream of its own, until a
draw agrees with what has happened so far. So it is the same whether a day passes at once or hour by
hour, and orders leave as punctually as those that were made in one go.
"""

import math
from typing import Any, NamedTuple

from trackstar_frames.sandbox.generator import merchants, orders
from trackstar_frames.sandbox.generator.merchants import DAY, HOUR, Merchant, Random, format_time
from trackstar_frames.sandbox.generator.orders import Line, Order


class Changes(NamedTuple):
    """What `Sandbox.advance` did: lists of order ids.

    Attributes
    ----------
    new
        The orders that were added.
    changed
        The older orders that changed in any way.
    cancelled
        Those of `changed` that were cancelled.
    redated
        Those of `changed` whose required ship date was moved.
    late
        Those of `changed` and `new` that arrived late: their ``updated_date`` (of new ones, the
        ``created_date`` too) is before the time at which the orders stood until then.

    Examples
    --------
    >>> from trackstar_frames.sandbox import Sandbox
    >>> with Sandbox(orders=200, seed=1) as sandbox:
    ...     changes = sandbox.advance(hours=24, new=5)
    >>> len(changes.new), set(changes.cancelled) <= set(changes.changed)
    (5, True)
    """

    new: list[str]
    changed: list[str]
    cancelled: list[str]
    redated: list[str]
    late: list[str]


class OrderRow(NamedTuple):
    """The columns of a stored order that decide what happens to it; times since the epoch."""

    seq: int
    id: str
    status: str
    kind: str | None
    created: int
    updated: int
    due: int | None


_ATTEMPTS = 40  # draws of a future, before an order counts as stuck
_PUNCTUALITY = 0.95
_REGRETTED = 0.08  # the share of moves that are cancellations
_DETAILS = 0.12  # the share of moves that change a detail only


class TimeStep:
    """The time after `before` up to `now`; of what changes in it, a share `late` arrives late."""

    def __init__(self, rng: Random, before: int, now: int, merchant: Merchant, late: float) -> None:
        self.changes = Changes([], [], [], [], [])
        self._rng = rng
        self._before = before
        self._now = now
        self._merchant = merchant
        self._late = late
        self._products = {product.id: product for product in merchant.products}
        self._warehouses = {warehouse.id: warehouse for warehouse in merchant.warehouses}

    def future(self, row: OrderRow, seed: str) -> orders.Timeline | None:
        """Return the timeline of an order that waits; None if it does not change in this time."""
        rng, before, now = self._rng, self._before, self._now
        if row.status == "partially_fulfilled":
            # Such waits have no memory: whatever has passed, what is left is as long on average.
            leaves = before + 1 + int(rng.expovariate(1 / (8 * DAY)))
            timeline = orders.Timeline(row.created, row.due, (leaves,), None, stuck=False)
            return timeline if leaves <= now else None
        timeline = _timeline_after(Random(f"fate/{seed}/{row.id}"), row, before)
        if timeline.stuck and self._happens(180 * DAY):
            moment = self._moment()
            ended = {"cancelled": moment} if rng.chance(0.4) else {"shipped": (moment,)}
            timeline = timeline._replace(stuck=False, **ended)
        moves = self._happens(20 * DAY if timeline.stuck else 3 * DAY)
        if moves and rng.chance(_REGRETTED):
            timeline = timeline._replace(cancelled=self._moment())
        return timeline if moves or timeline.next_event <= now else None

    def progress(self, row: OrderRow, order: Order, timeline: orders.Timeline) -> None:
        """Change an order that waits to what `timeline` says at the end of this time."""
        plan = self._plan(order, timeline)
        late = self._late_after(row)
        state = self._next_state(plan)
        if state is not None:
            if late is not None:
                shipped = tuple(min(each, late) for each in state.shipped)
                state = state._replace(updated=late, shipped=shipped)
            self._apply(order, plan._replace(state=state))
            moment = state.updated
        else:
            self._change_detail(row, order)
            moment = self._moment() if late is None else late
        self._record(row, order, moment)

    def amend(self, row: OrderRow, order: Order) -> None:
        """Change an order that was fulfilled or cancelled before."""
        late = self._late_after(row)
        if not self._rng.pick(_AMENDMENTS)(self._rng, order):
            _add_tag(self._rng, order)
        self._record(row, order, self._moment() if late is None else late)

    def new_orders(self, count: int, first_number: int, odd: float) -> list[Order]:
        """Return `count` new orders, numbered from `first_number`."""
        rng, before, now = self._rng, self._before, self._now
        created = merchants.creation_times(rng, count, before + 1, now + 1)
        ends = [self._late_moment() if rng.chance(self._late) else now for _ in created]
        created = [
            moment if end == now else end - rng.draw(12 * HOUR)
            for moment, end in zip(created, ends, strict=True)
        ]
        drafts = zip(orders.order_numbers(created, first_number), created, ends, strict=True)
        return [self._new_order(*draft, odd) for draft in drafts]

    def _moment(self) -> int:
        """Return any second of this time."""
        return self._before + 1 + self._rng.draw(self._now - self._before)

    def _happens(self, mean: float) -> bool:
        """Return whether what happens once in `mean` seconds on average happens in this time."""
        return self._rng.chance(-math.expm1((self._before - self._now) / mean))

    def _plan(self, order: Order, timeline: orders.Timeline) -> orders.Plan:
        kind = order["type"] or "d2c"
        warehouse, service = self._warehouse(order), self._service(order, kind)
        lines = [
            (self._products[line["product_id"]], int(line["quantity"]))
            for line in order["line_items"]
        ]
        parts = len(_parts_left(order, lines)) if order["shipments"] else orders.units(lines)
        if parts <= 1:  # which cannot leave at two times
            timeline = timeline._replace(shipped=timeline.shipped[-1:])
        state = orders.State(order["status"], order["raw_status"], timeline.created, ())
        return orders.Plan(kind, warehouse, service, lines, timeline, state)

    def _warehouse(self, order: Order) -> merchants.Warehouse:
        for each in (order, *(order["shipments"] or [])):
            if each["warehouse_id"] is not None:
                return self._warehouses[each["warehouse_id"]]
        return self._rng.pick(self._merchant.warehouses)

    def _service(self, order: Order, kind: str) -> merchants.Service:
        merchant = self._merchant
        usual = merchant.freight if kind in orders.BULK_TYPES else merchant.parcels
        stated = {name: order[key] for name, key in _SERVICE_KEYS if order.get(key) is not None}
        if not stated:
            return self._rng.pick(usual)
        return next(
            service
            for service in (*usual, *merchant.parcels, *merchant.freight)
            if all(getattr(service, name) == value for name, value in stated.items())
        )

    def _next_state(self, plan: orders.Plan) -> orders.State | None:
        rng, now = self._rng, self._now
        if plan.timeline.next_event <= now:
            return orders.state_at(rng, plan.timeline, now)
        if rng.chance(_DETAILS):
            return None
        left = min(plan.timeline.shipped, default=now + DAY) - now
        return orders.next_state(rng, plan.state.status, left, self._moment())

    def _apply(self, order: Order, plan: orders.Plan) -> None:
        order |= {"status": plan.state.status, "raw_status": plan.state.raw_status}
        for line in order["line_items"]:
            line["is_picked"] = plan.state.picked
        if not order["shipments"]:
            parcels = orders.make_parcels(self._rng, self._merchant, plan)
            ship_to = order["ship_to_address"]
            made = [orders.make_shipment(self._rng, each, ship_to) for each in parcels]
            order["shipments"] = made or order["shipments"]
        elif plan.state.status == "cancelled":
            _cancel_shipments(self._rng, order)
        else:
            _ship(self._rng, order, plan)

    def _change_detail(self, row: OrderRow, order: Order) -> None:
        if row.due is not None and self._rng.chance(0.7):
            # Some workdays later, at the same time of day.
            due = merchants.after_workdays(row.due, 1 + self._rng.draw(4)) + row.due % DAY
            order["required_ship_date"] = format_time(due)
            self.changes.redated.append(row.id)
        else:
            _add_tag(self._rng, order)

    def _record(self, row: OrderRow, order: Order, moment: int) -> None:
        order["updated_date"] = format_time(moment)
        order["trackstar_updated_date"] = self._seen_at(moment)
        self.changes.changed.append(row.id)
        if order["status"] == "cancelled" != row.status:
            self.changes.cancelled.append(row.id)
        if moment <= self._before:
            self.changes.late.append(row.id)

    def _new_order(self, number: int, created: int, end: int, odd: float) -> Order:
        draft = orders.Draft(self._merchant, number, created, end, self._before + 1)
        order = orders.make_order(self._rng, draft, odd)
        if end <= self._before:
            seen = self._seen_at(end)
            order |= {"trackstar_created_date": seen, "trackstar_updated_date": seen}
            self.changes.late.append(order["id"])
        self.changes.new.append(order["id"])
        return order

    def _late_after(self, row: OrderRow) -> int | None:
        """Return when a late change of the order was made; None if its change is not late."""
        if not self._rng.chance(self._late):
            return None
        moment = max(self._late_moment(), row.created + 1, row.updated + 1)
        # What has just changed cannot have changed again hours ago.
        return moment if moment <= self._before - HOUR else None

    def _late_moment(self) -> int:
        delay = HOUR + int(self._rng.expovariate(1 / DAY))
        return self._before - min(delay, 7 * DAY)

    def _seen_at(self, moment: int) -> str:
        if moment <= self._before:
            moment = self._moment()
        return format_time(min(orders.seen_at(self._rng, self._merchant, moment), self._now))


# Fields of a service, and where an order repeats them.
_SERVICE_KEYS = (
    ("carrier_id", "carrier_id"),
    ("carrier_name", "carrier_name"),
    ("method_id", "shipping_method_id"),
    ("method_name", "shipping_method"),
)


def _timeline_after(stream: Random, row: OrderRow, before: int) -> orders.Timeline:
    """Return a timeline of which nothing has happened by `before`."""
    kind = row.kind or "d2c"
    # An order that is this old and still waits is hardly ever merely late.
    attempts = _ATTEMPTS if before - row.created < 30 * DAY else 0
    for _ in range(attempts):
        if row.due is None:
            due = orders.make_due_date(stream, row.created, kind, "none")
        else:
            due = orders.DueDate(row.due, row.due + (DAY - 1 if row.due % DAY == 0 else 0))
        timeline = orders.make_timeline(stream, row.created, kind, due, _PUNCTUALITY)
        if timeline.next_event > before:
            return timeline
    return orders.Timeline(row.created, row.due, (), None, stuck=True)


# Shipments


def _parts_left(order: Order, lines: list[Line]) -> list[tuple[list[Line], Order | None]]:
    """Return what is to leave together, and the shipments that wait for it (None: not made)."""
    left = dict(lines)
    for shipment in order["shipments"]:
        for product, quantity in _packed(shipment, lines).items():
            left[product] -= quantity
    rest = [(product, quantity) for product, quantity in left.items() if quantity > 0]
    waiting = [shipment for shipment in order["shipments"] if shipment["status"] == "open"]
    parts: list[tuple[list[Line], Order | None]] = [
        (_contents(shipment, lines), shipment) for shipment in waiting
    ]
    # A unit may be missing from a shipment that is otherwise whole; it does not follow alone.
    if orders.units(rest) > (1 if parts else 0):
        parts.append((rest, None))
    return parts


def _packed(shipment: Order, lines: list[Line]) -> dict[merchants.Product, int]:
    """Return the products of the order that are in a shipment, kits whole, and their quantities."""
    products = {product.item_id or product.id: product for product, _ in lines}
    packed: dict[merchants.Product, int] = {}
    for line in shipment["line_items"]:
        kit = line["parent_product_id"]
        product = products[kit or line["inventory_item_id"]]
        # There are as many of a kit as of each of its parts.
        packed[product] = line["quantity"] + (0 if kit else packed.get(product, 0))
    return packed


def _contents(shipment: Order, lines: list[Line]) -> list[Line]:
    """Return the lines of a shipment; each part of a kit is a kit of its own."""
    items = {item.item_id: item for product, _ in lines for item in product.parts or (product,)}
    contents = []
    for line in shipment["line_items"]:
        item, kit = items[line["inventory_item_id"]], line["parent_product_id"]
        product = merchants.Product(kit, "", "", 0.0, item.grams, (item,)) if kit else item
        contents.append((product, line["quantity"]))
    return contents


def _cancel_shipments(rng: Random, order: Order) -> None:
    for shipment in order["shipments"]:
        if shipment["status"] == "open":
            raw_status = rng.pick(orders.SHIPMENT_RAW_STATUSES["cancelled"])
            shipment |= {"status": "cancelled", "raw_status": raw_status}


def _ship(rng: Random, order: Order, plan: orders.Plan) -> None:
    parts, moments = _parts_left(order, plan.lines), [*plan.state.shipped]
    if plan.state.status == "fulfilled":
        moments += moments[-1:] * len(parts)
    for (lines, shipment), moment in zip(parts, moments, strict=False):
        status = orders.parcel_status(rng, moment)
        parcel = orders.Parcel(lines, plan.warehouse, plan.service, status, moment)
        made = orders.make_shipment(rng, parcel, order["ship_to_address"])
        if shipment is None:
            order["shipments"].append(made)
        else:
            shipment.pop("boxes", None)
            changed = ("raw_status", "status", "shipped_date", "packages")
            shipment |= {name: made[name] for name in changed}


# Amendments: what may change long after an order has left; False if it does not apply


def _add_tag(rng: Random, order: Order) -> bool:
    order["tags"] = [*(order["tags"] or []), f"audit-{rng.draw(10_000)}"]
    return True


def _add_trackstar_tag(rng: Random, order: Order) -> bool:
    if order.get("trackstar_tags") is None:
        return False
    order["trackstar_tags"].append({"claim": f"C-{rng.draw(10_000)}"})
    return True


def _refund(_rng: Random, order: Order) -> bool:
    price, discount = order["total_price"], order["total_discount"] or 0.0
    if not isinstance(price, float) or price <= 1:
        return False
    refund = round(price * 0.1, 2)
    order["total_price"] = round(price - refund, 2)
    order["total_discount"] = round(discount + refund, 2)
    return True


def _return(rng: Random, order: Order) -> bool:
    shipped = [each for each in order["shipments"] or [] if each["status"] == "shipped"]
    for shipment in shipped[-1:]:
        raw_status: Any = rng.pick(orders.SHIPMENT_RAW_STATUSES["other"])
        shipment |= {"status": "other", "raw_status": raw_status}
    return bool(shipped)


_AMENDMENTS = (_add_tag, _add_trackstar_tag, _refund, _refund, _return)
