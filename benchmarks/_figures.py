"""What the model of capacity rests on: what was measured, and what a connection holds. Pure."""

import math
from dataclasses import dataclass

from trackstar_frames.snapshots.parquet import PART


@dataclass(frozen=True)
class Figures:
    """What was measured, and where; two cores, CPython 3.11, made-up orders of the sandbox.

    Attributes
    ----------
    requests_per_second
        That the API allows each token: its documentation.
    page_orders
        Orders of a full answer: its documentation.
    answer_seconds
        How long one answer takes: a choice; ask yours.
    rate_share
        How much of the allowed rate an export comes to, from its begin to its end:
        `exporting.py`, 100,000 orders: 0.84 to 0.88; less where others take the cores.
    window_requests
        Beyond one for each full page: the first, and eight last ones that are not full.
        `exporting.py`: 107 requests for 100 pages, 209 for 200, 306 for 300; and two that
        ask for what has changed meanwhile.
    json_bytes
        Of an order in an answer that is not compressed: `flattening.py`, 3,634.
    export_cpu_seconds
        Of an order, from the answer to the Parquet file: `exporting.py`, 83 to 87 us.
    export_disk_bytes
        Of an order, written by an export with a cache: 2,100 by Linux' own count
        (`/proc/self/io`), of which the snapshot is a sixth; the rest waits, or is the cache.
    sync_cpu_seconds, rewrite_cpu_seconds
        Of a sync without its answers, and of each order in a part that it writes anew: fitted
        to 10,000 (0.3 s), 50,000 (0.9 s), 100,000 (1.5 s) and 200,000 orders (2.7 s).
    parquet_bytes
        Of an order in a snapshot: 312 to 317, and 358 of 10,000 orders.
    older_share
        Of the bytes of parts but the newest, how much an hourly sync writes anew, as it takes
        over tables without a change: 0.4 to 0.7. With the newest part, 0.61 to 0.76 of 100,000
        orders, 0.58 to 0.72 of 200,000, and all of 50,000, which are one part.
    serial_share
        Of the CPU's work, what one process does on one core at a time: before this package was
        whole, its flattening was 1.4 to 1.7 times as fast on two threads as on one, both beside
        `orjson.loads` on a quiet machine. More than two were not measured: the weakest figure.
    process_bytes, order_bytes
        Of a process, and of each order of a part that a connection at work holds: peaks of 310
        MB (10,000 orders), 555 MB (50,000) and 690 MB (from 100,000 on), rounded up.
    """

    requests_per_second: float = 10
    page_orders: float = 1000
    answer_seconds: float = 0.3
    rate_share: float = 0.85
    window_requests: float = 11
    json_bytes: float = 3600
    export_cpu_seconds: float = 85e-6
    export_disk_bytes: float = 2100
    sync_cpu_seconds: float = 0.2
    rewrite_cpu_seconds: float = 17e-6
    parquet_bytes: float = 320
    older_share: float = 0.6
    serial_share: float = 0.3
    process_bytes: float = 200e6
    order_bytes: float = 8000

    def requests(self, orders: float) -> float:
        """Count the requests for so many orders of one connection."""
        more = self.window_requests if orders > self.page_orders else 0
        return max(1, math.ceil(orders / self.page_orders)) + more

    def wait_seconds(self, orders: float) -> float:
        """Tell how long one token's requests for so many orders take at least."""
        allowed = self.requests_per_second * self.rate_share
        return max(self.answer_seconds, self.requests(orders) / allowed)

    def rewritten_orders(self, orders: float) -> float:
        """Count the orders that a sync writes anew: the newest part, and much of the others.

        Of several parts, the newest one is half full on the average.
        """
        newest = orders if orders <= PART else PART / 2
        return newest + self.older_share * (orders - newest)


@dataclass(frozen=True)
class Connection:
    """What one connection holds: choices, to be replaced by yours.

    Attributes
    ----------
    orders
        How many.
    hourly_share
        How many of them an hour makes or changes. An order that comes once, changes six times
        and is kept for half a year makes 0.0016; the sandbox 0.0016 to 0.0027.
    overlap_hours
        How far a sync looks back beyond the last one: the default of `sync_orders`.
    """

    orders: float = 100_000
    hourly_share: float = 0.003
    overlap_hours: float = 2

    @property
    def asked_orders(self) -> float:
        """How many orders an hourly sync is given."""
        return self.orders * min(1, self.hourly_share * (1 + self.overlap_hours))
