"""A listing of orders that have an id, a `created_date` and nothing else, in plain Python.

Imports nothing of the package. It answers thousands of pages a second, where the sandbox would
take its time for whole orders.
"""

import random
import re
import threading
from datetime import UTC, datetime, timedelta
from functools import cache

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
COMPARE = {
    "created_date[gt]": lambda held, bound: held > bound,
    "created_date[gte]": lambda held, bound: held >= bound,
    "created_date[lt]": lambda held, bound: held < bound,
    "created_date[lte]": lambda held, bound: held <= bound,
}
ORDERS = {
    "inserted": list,
    "created_date": lambda orders: sorted(orders, key=lambda order: order["created_date"]),
    "created_date_desc": lambda orders: sorted(
        orders, key=lambda order: order["created_date"], reverse=True
    ),
}


class Made:
    """Orders of these seconds (Unix), listed in one of `ORDERS`; `.asked` lists the queries.

    `ignores` tells of a query whether the server forgets the dates in it.
    """

    def __init__(self, seconds, order="inserted", ignores=lambda query: False):  # noqa: ARG005
        seconds = sorted(seconds)
        random.Random(0).shuffle(seconds)
        made = [{"id": f"{n}", "created_date": write(each)} for n, each in enumerate(seconds)]
        self.orders = ORDERS[order](made)
        self.asked = []
        self._ignores = ignores
        self._found = {}
        self._lock = threading.Lock()

    def page(self, query):
        """Give the orders of one page, and the token of the next one."""
        with self._lock:
            self.asked.append(tuple(sorted(query.items())))
        orders = self.orders if self._ignores(query) else self.within(query)
        start, size = int(query.get("page_token", 0)), int(query["limit"])
        end = start + size
        return orders[start:end], str(end) if end < len(orders) else None

    def within(self, query):
        """Give all orders within the bounds of a query."""
        bounds = tuple(sorted((name, query[name]) for name in COMPARE.keys() & query.keys()))
        if bounds not in self._found:
            orders = self.orders
            for name, bound in bounds:
                compare, moment = COMPARE[name], read(bound)
                orders = [each for each in orders if compare(read(each["created_date"]), moment)]
            self._found[bounds] = orders
        return self._found[bounds]


def write(seconds):
    return (EPOCH + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


@cache
def read(stamp):
    if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", stamp):
        raise ValueError(stamp)
    return (datetime.fromisoformat(stamp) - EPOCH) / timedelta(seconds=1)


def chain_of(query):
    """Tell which chain a query belongs to: what it asks for but for the page."""
    return tuple(pair for pair in query if pair[0] not in ("limit", "page_token"))


def spread(count, first, last):
    """Draw so many seconds between two dates, the same ones each time."""
    start, end = (
        datetime.fromisoformat(each).replace(tzinfo=UTC).timestamp() for each in (first, last)
    )
    rng = random.Random(f"{count} {first} {last}")
    return [int(rng.uniform(start, end)) for _ in range(count)]
