"""The endpoint: from a request to its answer, with no network in between."""

import gzip
import itertools
import json
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit

from trackstar_frames.sandbox import broken, broken_pages
from trackstar_frames.sandbox.answers import Answer, error_answer, json_answer
from trackstar_frames.sandbox.database import Database, Page
from trackstar_frames.sandbox.faults import Fault, FaultPlan
from trackstar_frames.sandbox.limits import Budget, RateLimit, rate_headers
from trackstar_frames.sandbox.query import InvalidQueryError, Query, parse
from trackstar_frames.sandbox.tokens import encode

PATH = "/wms/orders"


class Call(NamedTuple):
    """One request: its method, its path with the query, and its headers in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Connection:
    """What belongs to one access token: its place, its orders, its budget (None: no limit)."""

    index: int
    database: Database
    rate: RateLimit | None


@dataclass(frozen=True)
class Manners:
    """What the documentation leaves open, or old answers spell otherwise.

    Attributes
    ----------
    total_count
        ``"page"``: the orders of this page; ``"total"``: those of all pages.
    rate_headers
        What the names of the rate headers begin with; None sends none, nor ``retry-after``.
    gzip
        Whether bodies are compressed for clients that accept it.
    unknown
        Fields that cannot be filtered on, though the documentation says so.
    """

    total_count: str = "page"
    rate_headers: str | None = "x-ratelimit"
    gzip: bool = False
    unknown: Collection[str] = ()


class Endpoint:
    """Answers calls.

    Parameters
    ----------
    api_key
        The key that every call must carry.
    connections
        What each access token opens.
    faults
        What goes wrong.
    manners
        What the documentation leaves open.
    """

    def __init__(
        self,
        api_key: str,
        connections: Mapping[str, Connection],
        faults: FaultPlan,
        manners: Manners,
    ) -> None:
        self._api_key = api_key
        self._connections = connections
        self._faults = faults
        self._manners = manners
        self._numbers = itertools.count(1)

    def answer(self, call: Call) -> Answer:
        """Return the answer to `call`."""
        common = {"X-Request-Id": f"req_{next(self._numbers):08d}"}
        connection = self._connection(call)
        if connection is not None and connection.rate is not None:
            budget = connection.rate.take(time.time())
            common |= rate_headers(connection.rate.limit, budget, self._manners.rate_headers)
            answer = self._limited(call, connection, budget)
        else:
            answer = self._route(call, connection)
        return self._compress(call, replace(answer, headers=common | dict(answer.headers)))

    def _connection(self, call: Call) -> Connection | None:
        if call.headers.get("x-trackstar-api-key") != self._api_key:
            return None
        return self._connections.get(call.headers.get("x-trackstar-access-token", ""))

    def _limited(self, call: Call, connection: Connection, budget: Budget) -> Answer:
        return self._route(call, connection) if budget.allowed else error_answer(429)

    def _route(self, call: Call, connection: Connection | None) -> Answer:
        if urlsplit(call.path).path != PATH:
            return error_answer(404)
        if call.method != "GET":
            return error_answer(405, headers={"Allow": "GET"})
        return error_answer(401) if connection is None else self._orders(call, connection)

    def _orders(self, call: Call, connection: Connection) -> Answer:
        pairs = parse_qsl(urlsplit(call.path).query, keep_blank_values=True)
        fault = self._faults.next(connection.index, dict(pairs))
        if fault is not None and fault.kind in broken.INSTEAD:
            return broken.INSTEAD[fault.kind](fault, call.headers)
        if fault is not None and fault.kind in broken_pages.ON_QUERY:
            pairs = [*broken_pages.ON_QUERY[fault.kind](pairs)]
        try:
            answer = self._page(connection.database, parse(pairs, self._manners.unknown), fault)
        except InvalidQueryError as error:
            detail = {"query": {error.parameter: [error.message]}}
            answer = error_answer(422, detail=detail)
        if fault is not None and fault.kind in broken.ON_THE_WAY:
            answer = broken.ON_THE_WAY[fault.kind](fault, answer)
        return answer

    def _page(self, database: Database, query: Query, fault: Fault | None) -> Answer:
        if fault is not None and fault.kind in broken_pages.ON_ORDERS:
            page = broken_pages.ON_ORDERS[fault.kind](fault, query, database)
        else:
            page = database.page(query)
        envelope = self._envelope(database, query, page)
        if fault is not None and fault.kind in broken.ON_ENVELOPE:
            broken.ON_ENVELOPE[fault.kind](envelope, query)
        members = b",".join(b'"%b":%b' % (name.encode(), text) for name, text in envelope.items())
        return json_answer(200, b"{%b}" % members)

    def _envelope(self, database: Database, query: Query, page: Page) -> dict[str, bytes]:
        whole = self._manners.total_count == "total"
        return {
            "data": b"[%b]" % b",".join(page.orders),
            "next_token": json.dumps(page.end and encode(page.end)).encode(),
            "total_count": b"%d" % (database.count(query) if whole else len(page.orders)),
        }

    def _compress(self, call: Call, answer: Answer) -> Answer:
        accepted = "gzip" in call.headers.get("accept-encoding", "")
        if not self._manners.gzip or not accepted or "Content-Encoding" in answer.headers:
            return answer
        headers = {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
        body = gzip.compress(answer.body, compresslevel=1)
        return replace(answer, body=body, headers=dict(answer.headers) | headers)
