"""What lies ahead of orders that are under way.

An order's fate is drawn as the generator draws it, from a stream of chance of the order's own,
until a draw agrees with what has happened so far. So it is the same whether a day passes at once or
hour by hour, and orders leave as punctually as those that were made in one go.
"""

import math
import random
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, cast

from trackstar_frames.sandbox.generator.lifecycle import (
    BULK,
    SHIPMENT_STATUSES,
    SPLIT,
    Draft,
    Line,
    Parcel,
    Plan,
    State,
    Timeline,
    make_course,
    make_move,
    make_parcels,
    make_shipment,
    make_state,
    make_timeline,
    parcel_status,
)
from trackstar_frames.sandbox.generator.merchant import (
    DAY,
    HOUR,
    Customer,
    Merchant,
    Product,
    Service,
    Span,
    Warehouse,
    after_workdays,
    chance,
    draw,
    pick,
    placed,
    stamp,
)
from trackstar_frames.sandbox.generator.orders import make_order, numbered, synced
from trackstar_frames.sandbox.server.database import Row


def fate(rng: random.Random, row: Row, span: Span, story: str) -> Timeline | None:
    """Return what becomes of an order that waits; None if nothing does in `span`.

    Parameters
    ----------
    rng
        What chance decides.
    row
        The order.
    span
        The time that passes; what the order's timeline says lies after its beginning.
    story
        The same story gives the same order the same fate.
    """
    if row.status == "partially_fulfilled":
        rest = _rest(rng, row, span)
        return rest if first_event(rest) <= span.now else None
    timeline = _ahead(random.Random(f"{story}/{row.id}"), row, span.before)
    if timeline.stuck and span.sees(rng, 180 * DAY):
        timeline = _freed(rng, timeline, span)
    moves = span.sees(rng, 20 * DAY if timeline.stuck else 3 * DAY)
    if moves and chance(rng, REGRETTED):
        timeline = timeline._replace(cancelled=span.moment(rng))
    return timeline if moves or first_event(timeline) <= span.now else None


def first_event(timeline: Timeline) -> float:
    """Return when the order first leaves or is cancelled."""
    cancelled = math.inf if timeline.cancelled is None else timeline.cancelled
    return min((cancelled, *timeline.shipped))


TRIES = 40
PUNCTUALITY = 0.95
REGRETTED = 0.08


def _ahead(stream: random.Random, row: Row, before: int) -> Timeline:
    # What is this old and under way is hardly ever merely late.
    tries = TRIES if before - row.created < 30 * DAY else 0
    for _ in range(tries):
        timeline = _timeline(stream, row)
        if first_event(timeline) > before:
            return timeline
    return Timeline(row.created, row.due, before, (), None, stuck=True)


def _timeline(stream: random.Random, row: Row) -> Timeline:
    kind = row.kind if row.kind in SPLIT else "d2c"
    if row.due is None:
        return make_timeline(stream, row.created, kind, "none", PUNCTUALITY)
    due_by = row.due + DAY - 1 if row.due % DAY == 0 else row.due
    return make_course(stream, row.created, kind, (row.due, due_by), PUNCTUALITY)


def _rest(rng: random.Random, row: Row, span: Span) -> Timeline:
    # Waits of this kind have no memory: whatever has passed, the mean of what is left is the same.
    leaves = span.before + 1 + int(rng.expovariate(1 / (8 * DAY)))
    return Timeline(row.created, row.due, span.before, (leaves,), None, stuck=False)


def _freed(rng: random.Random, timeline: Timeline, span: Span) -> Timeline:
    moment = span.moment(rng)
    if chance(rng, 0.4):
        return timeline._replace(cancelled=moment, stuck=False)
    return timeline._replace(shipped=(moment,), stuck=False)


Order = dict[str, Any]


class Directory:
    """A merchant's world, found by what its orders say.

    Orders that are not the merchant's own are read as well: a product, a warehouse or a carrier
    that it does not know is taken for what the order says.

    Parameters
    ----------
    merchant
        Whose world it is.
    """

    def __init__(self, merchant: Merchant) -> None:
        self.merchant = merchant
        self._products = {product.id: product for product in merchant.products}
        self._warehouses = {warehouse.id: warehouse for warehouse in merchant.warehouses}
        self._customers = {customer.id: customer for customer in merchant.customers}

    def plan(self, rng: random.Random, order: Order, timeline: Timeline) -> Plan:
        """Return the plan of an order as it stands; `timeline` is what becomes of it."""
        kind = str(order.get("type") or "d2c")
        return Plan(
            self._customer(order),
            kind,
            self._warehouse(rng, order),
            self._service(rng, order, kind),
            self._lines(order),
            timeline,
            State(order["status"], order.get("raw_status"), timeline.created, ()),
        )

    def _customer(self, order: Order) -> Customer:
        known = self._customers.get(str(order.get("warehouse_customer_id")))
        return known or self.merchant.customers[0]

    def _warehouse(self, rng: random.Random, order: Order) -> Warehouse:
        ids = [each.get("warehouse_id") for each in [order, *dicts(order.get("shipments"))]]
        named = next((key for key in ids if isinstance(key, str)), None)
        if named is None:
            return pick(rng, self.merchant.warehouses)
        return self._warehouses.get(named) or self.merchant.warehouses[0]._replace(id=named)

    def _service(self, rng: random.Random, order: Order, kind: str) -> Service:
        stated = {
            name: value for name in SERVICE if isinstance(value := order.get(KEYS[name]), str)
        }
        usual = self.merchant.freight if kind in BULK else self.merchant.parcels
        for service in (*usual, *self.merchant.parcels, *self.merchant.freight):
            if all(getattr(service, name) == value for name, value in stated.items()):
                return service if stated else pick(rng, usual)
        # Its numbers and pages are not for a carrier that the merchant does not know.
        return usual[0]._replace(tracking="############", url=None, **stated)

    def _lines(self, order: Order) -> list[Line]:
        lines = dicts(order.get("line_items"))
        pairs = [(self._product(line), quantity_of(line)) for line in lines]
        return [(product, quantity) for product, quantity in pairs if quantity > 0]

    def _product(self, line: dict[str, Any]) -> Product:
        key, sku = str(line.get("product_id") or ""), str(line.get("sku") or "")
        return self._products.get(key) or Product(key, key, sku, 0.0, GRAMS)


def packed(shipment: dict[str, Any], lines: list[Line]) -> list[Line]:
    """Return which of an order's products are in a shipment, and how many of each."""
    known = {name: product for product, _ in lines for name in _names(product)}
    found: dict[Product, int] = {}
    for line in dicts(shipment.get("line_items")):
        kit, item, sku = (line.get(name) for name in ITEM)
        product = known.get(str(kit or item)) or known.get(str(sku))
        if product is not None:
            # A kit is as many as each of its parts.
            found[product] = quantity_of(line) + (0 if kit else found.get(product, 0))
    return list(found.items())


def contents(shipment: dict[str, Any], lines: list[Line]) -> list[Line]:
    """Return what is in a shipment by its own account; what it weighs, by the order's products."""
    known = {each.sku: each for product, _ in lines for each in (product, *product.parts)}
    return [
        (_item(line, known.get(str(line.get("sku")))), quantity_of(line))
        for line in dicts(shipment.get("line_items"))
    ]


def _item(line: dict[str, Any], known: Product | None) -> Product:
    # What a line leaves out stays out.
    kit, item, sku = (cast(str, line.get(name)) for name in ITEM)
    single = Product("", item, sku, 0.0, known.grams if known else GRAMS)
    return Product(kit, "", sku, 0.0, single.grams, (single,)) if kit else single


def _names(product: Product) -> list[str]:
    return [name for name in (product.sku, product.item_id, product.id) if name]


def left_of(lines: Iterable[Line], taken: Iterable[Line]) -> list[Line]:
    """Return what is left of `lines` without those `taken`."""
    left: dict[Product, int] = {}
    for product, quantity in lines:
        left[product] = left.get(product, 0) + quantity
    for product, quantity in taken:
        left[product] = left.get(product, 0) - quantity
    return [(product, quantity) for product, quantity in left.items() if quantity > 0]


def units(lines: Iterable[Line]) -> int:
    """Return how many units there are in all."""
    return sum(quantity for _, quantity in lines)


def dicts(value: Any) -> list[dict[str, Any]]:
    """Return the objects of a list; of what is no list, none."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def quantity_of(line: dict[str, Any]) -> int:
    """Return the quantity of a line, 0 if it states none."""
    quantity = line.get("quantity")
    return int(quantity) if isinstance(quantity, int | float) else 0


GRAMS = 500
# What a service says of itself, and where an order repeats it.
KEYS = {
    "carrier_id": "carrier_id",
    "carrier_name": "carrier_name",
    "method_id": "shipping_method_id",
    "method_name": "shipping_method",
}
SERVICE = tuple(KEYS)
ITEM = ("parent_product_id", "inventory_item_id", "sku")


class Part(NamedTuple):
    """What is to leave together, and the shipment that waits for it (None: not yet made)."""

    lines: list[Line]
    shipment: dict[str, Any] | None


def fitted(plan: Plan, order: Order) -> Plan:
    """Return `plan` with no more shipments ahead than there are parts of the order left."""
    shipments = dicts(order.get("shipments"))
    most = len(_parts(order, plan)) if shipments else units(plan.lines)
    timeline = plan.timeline
    shipped = timeline.shipped if most > 1 else timeline.shipped[-1:]
    return plan._replace(timeline=timeline._replace(shipped=shipped))


def follow(rng: random.Random, order: Order, plan: Plan, merchant: Merchant) -> None:
    """Change `order` to what `plan` says of it."""
    order |= {"status": plan.state.status, "raw_status": plan.state.raw_status}
    for line in dicts(order.get("line_items")):
        if "is_picked" in line:
            line["is_picked"] = plan.picked
    shipments = _shipments(rng, order, plan, merchant)
    if shipments:
        order["shipments"] = shipments


SMALL = 1
LEAVING = ("raw_status", "status", "shipped_date", "packages")


def _parts(order: Order, plan: Plan) -> list[Part]:
    known = [Part(packed(each, plan.lines), each) for each in dicts(order.get("shipments"))]
    waits = [part for part in known if part.shipment and part.shipment.get("status") == "open"]
    rest = left_of(plan.lines, [line for part in known for line in part.lines])
    # A unit may be missing from a shipment that is otherwise whole; it does not follow alone.
    if not rest or (waits and units(rest) <= SMALL):
        return waits
    return [*waits, Part(rest, None)]


def _shipments(
    rng: random.Random, order: Order, plan: Plan, merchant: Merchant
) -> list[dict[str, Any]]:
    shipments = dicts(order.get("shipments"))
    if plan.state.status == "cancelled" and shipments:
        return [_void(rng, each) for each in shipments]
    if shipments:
        return _sent(rng, order, plan)
    ship_to = _ship_to(order)
    draft = Draft(merchant, 0, plan.timeline.created, plan.state.updated, 0)
    parcels = make_parcels(rng, draft, plan) if plan.lines else []
    return [make_shipment(rng, parcel, ship_to) for parcel in parcels]


def _void(rng: random.Random, shipment: dict[str, Any]) -> dict[str, Any]:
    if shipment.get("status") != "open":
        return shipment
    return shipment | {
        "status": "cancelled",
        "raw_status": pick(rng, SHIPMENT_STATUSES["cancelled"]),
    }


def _sent(rng: random.Random, order: Order, plan: Plan) -> list[dict[str, Any]]:
    shipments, moments = dicts(order.get("shipments")), list(plan.state.shipped)
    parts = _parts(order, plan)
    if plan.state.status == "fulfilled":
        moments += moments[-1:] * len(parts)
    for part, moment in zip(parts, moments, strict=False):
        status = parcel_status(rng, moment)
        goods = contents(part.shipment, plan.lines) if part.shipment else part.lines
        parcel = Parcel(goods, plan.warehouse, plan.service, status, moment)
        made = make_shipment(rng, parcel, _ship_to(order))
        if part.shipment is None:
            shipments.append(made)
        else:
            part.shipment.pop("boxes", None)
            part.shipment.update({name: made[name] for name in LEAVING})
    return shipments


def _ship_to(order: Order) -> dict[str, Any]:
    address = order.get("ship_to_address")
    return address if isinstance(address, dict) else {}


def redate(rng: random.Random, order: Order, due: int) -> None:
    """Give `order` a few workdays more than its due date, at the same time of day."""
    later = after_workdays(due, 1 + draw(rng, 4)) + due % DAY
    order["required_ship_date"] = stamp(later)


def amend(rng: random.Random, order: Order) -> None:
    """Change `order` as may happen long after it left."""
    if not pick(rng, AMENDMENTS)(rng, order):
        tag(rng, order)


def tag(rng: random.Random, order: Order) -> bool:
    """Give `order` one more tag."""
    tags = order.get("tags")
    order["tags"] = [*(tags if isinstance(tags, list) else []), f"audit-{draw(rng, 10_000)}"]
    return True


def _trackstar_tag(rng: random.Random, order: Order) -> bool:
    tags = order.get("trackstar_tags")
    if not isinstance(tags, list):
        return False
    order["trackstar_tags"] = [*tags, {"claim": f"C-{draw(rng, 10_000)}"}]
    return True


def _refund(_rng: random.Random, order: Order) -> bool:
    price, discount = order.get("total_price"), order.get("total_discount") or 0.0
    if not (isinstance(price, float) and price > 1 and isinstance(discount, float)):
        return False
    refund = round(price * 0.1, 2)
    order["total_price"] = round(price - refund, 2)
    order["total_discount"] = round(discount + refund, 2)
    return True


def _return(rng: random.Random, order: Order) -> bool:
    gone = [each for each in dicts(order.get("shipments")) if each.get("status") == "shipped"]
    for shipment in gone[-1:]:
        shipment |= {"status": "other", "raw_status": pick(rng, SHIPMENT_STATUSES["other"])}
    return bool(gone)


AMENDMENTS: tuple[Callable[[random.Random, Order], bool], ...] = (
    tag,
    _trackstar_tag,
    _refund,
    _refund,
    _return,
)


class Changes(NamedTuple):
    """What a sandbox's `advance` did: lists of ids.

    Attributes
    ----------
    new
        The orders that were added.
    changed
        The old orders that changed, whatever of them did.
    cancelled, redated
        Those of `changed` that were cancelled, and whose required ship date was moved.
    late
        Those of `changed` and `new` that arrived late: the source's dates of them lie before the
        time at which the orders stood until then.

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


class Passage:
    """The passing of time over the orders of one connection.

    Parameters
    ----------
    rng
        What chance decides.
    span
        The time that passes.
    directory
        The world of the connection.
    late
        The share of what changes that arrives late.
    """

    def __init__(self, rng: random.Random, span: Span, directory: Directory, late: float) -> None:
        self._rng = rng
        self._span = span
        self._directory = directory
        self._late = late
        self.changes = Changes([], [], [], [], [])

    def go_on(self, row: Row, order: Order, timeline: Timeline) -> None:
        """Change an order that is under way to what `timeline` has come to."""
        plan = fitted(self._directory.plan(self._rng, order, timeline), order)
        late = self._late_after(row)
        state = self._next(plan)
        if state is not None:
            plan = plan._replace(state=state if late is None else _as_late(state, late))
            follow(self._rng, order, plan, self._directory.merchant)
            moment = plan.state.updated
        else:
            self._detail(row, order)
            moment = self._span.moment(self._rng) if late is None else late
        self._changed(row, order, moment)

    def amend(self, row: Row, order: Order) -> None:
        """Change an order that was done with."""
        late = self._late_after(row)
        amend(self._rng, order)
        self._changed(row, order, self._span.moment(self._rng) if late is None else late)

    def fresh(self, count: int, number: int, odd: float) -> list[Order]:
        """Return `count` new orders; their numbers begin with `number`."""
        rng, (before, now) = self._rng, self._span
        created = placed(rng, count, before + 1, now + 1)
        seen = [self._late_moment() if chance(rng, self._late) else now for _ in created]
        created = [
            moment if until == now else until - draw(rng, 12 * HOUR)
            for moment, until in zip(created, seen, strict=True)
        ]
        stories = zip(numbered(created, number), created, seen, strict=True)
        return [self._fresh(*story, odd) for story in stories]

    def _fresh(self, number: int, created: int, until: int, odd: float) -> Order:
        draft = Draft(self._directory.merchant, number, created, until, self._span.before + 1)
        order = make_order(self._rng, draft, odd)
        if until <= self._span.before:
            arrived = self._arrival(until)
            order |= {"trackstar_created_date": arrived, "trackstar_updated_date": arrived}
            self.changes.late.append(order["id"])
        self.changes.new.append(order["id"])
        return order

    def _next(self, plan: Plan) -> State | None:
        rng, now = self._rng, self._span.now
        if first_event(plan.timeline) <= now:
            return make_state(rng, plan.timeline, now)
        if chance(rng, DETAILS):
            return None
        left = min(plan.timeline.shipped, default=now + DAY) - now
        return make_move(rng, plan.state.status, left, self._span.moment(rng))

    def _detail(self, row: Row, order: Order) -> None:
        if row.due is not None and chance(self._rng, 0.7):
            redate(self._rng, order, row.due)
            self.changes.redated.append(row.id)
        else:
            tag(self._rng, order)

    def _changed(self, row: Row, order: Order, moment: int) -> None:
        order["updated_date"] = stamp(moment)
        order["trackstar_updated_date"] = self._arrival(moment)
        self.changes.changed.append(row.id)
        if order["status"] == "cancelled" != row.status:
            self.changes.cancelled.append(row.id)
        if moment <= self._span.before:
            self.changes.late.append(row.id)

    def _late_after(self, row: Row) -> int | None:
        if not chance(self._rng, self._late):
            return None
        moment = max(self._late_moment(), row.created + 1, row.updated + 1)
        # What has just changed cannot have changed again hours ago.
        return moment if moment <= self._span.before - HOUR else None

    def _late_moment(self) -> int:
        late = HOUR + int(self._rng.expovariate(1 / DAY))
        return self._span.before - min(late, 7 * DAY)

    def _arrival(self, moment: int) -> str:
        if moment <= self._span.before:
            moment = self._span.moment(self._rng)
        return stamp(min(synced(self._rng, self._directory.merchant, moment), self._span.now))


DETAILS = 0.12


def _as_late(state: State, late: int) -> State:
    return state._replace(updated=late, shipped=tuple(min(each, late) for each in state.shipped))
