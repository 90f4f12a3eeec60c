"""A small shop behind a real HTTP server, whose orders change while they are listed.

Imports nothing of the package. What the sandbox leaves out is here: by what the listing is sorted,
whether its cursors are keys or positions, and changes between any two requests.
"""

import json
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

START = 1_767_225_600  # 2026-01-01
STAMPS = ("trackstar_updated_date", "updated_date")
COMPARE = {
    "gt": lambda held, bound: held > bound,
    "gte": lambda held, bound: held >= bound,
    "lt": lambda held, bound: held < bound,
    "lte": lambda held, bound: held <= bound,
}


def write(seconds):
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def order(number, created, stamps=STAMPS, **more):
    made = {"id": f"o{number:05}", "created_date": write(created), "status": "open"}
    return made | dict.fromkeys(stamps, write(created + 60)) | more


class Shop:
    """Orders, and how they are listed.

    Attributes
    ----------
    orders
        A list of dicts; may be changed at any time.
    sort, descending
        The field that the listing is sorted by, and then by id.
    keyset
        Whether a cursor is the last order's key; else it is a position.
    total
        Whether ``total_count`` counts the whole listing; else the page.
    unknown, ignored
        Fields that it does not know as a filter, and those that it passes over.
    before
        Called with the number of each request, from 1, before it is answered; may change the
        orders, and may give an answer: (status, JSON).
    asked
        The queries, as dicts.
    """

    def __init__(self, orders, sort="created_date", **options):
        self.orders = list(orders)
        self.sort, self.descending, self.keyset = sort, False, True
        self.total, self.absent_end = False, False
        self.unknown = self.ignored = ()
        self.before = lambda number: None  # noqa: ARG005
        self.asked = []
        self._lock = threading.Lock()
        for name, value in options.items():
            getattr(self, name)
            setattr(self, name, value)

    def touch(self, number, stamps=STAMPS, now=None, **change):
        """Change an order now."""
        now = write(time.time() if now is None else now)
        self.orders[number] = self.orders[number] | dict.fromkeys(stamps, now) | change

    def answer(self, query):
        with self._lock:
            self.asked.append(query)
            answer = self.before(len(self.asked))
            return answer or self._page(query)

    def _page(self, query):
        filters = {name: value for name, value in query.items() if "_date[" in name}
        if unknown := [name for name in filters if name.partition("[")[0] in self.unknown]:
            return 422, {"error": "unknown filter", "detail": {"query": {unknown[0]: ["?"]}}}
        heard = [one for one in filters.items() if one[0].partition("[")[0] not in self.ignored]
        found = [each for each in self.orders if all(_holds(each, *one) for one in heard)]
        found.sort(key=self._key, reverse=self.descending)
        size, token = int(query["limit"]), query.get("page_token")
        rest = found if token is None else self._after(found, json.loads(token))
        page, more = rest[:size], len(rest) > size
        end = self._key(page[-1]) if self.keyset and page else len(found) - len(rest) + size
        body = {"data": page, "total_count": len(found) if self.total else len(page)}
        if more or not self.absent_end:
            body["next_token"] = json.dumps(end) if more else None
        return 200, body

    def _after(self, found, cursor):
        if not self.keyset:
            return found[cursor:]
        if self.descending:
            return [each for each in found if self._key(each) < cursor]
        return [each for each in found if self._key(each) > cursor]

    def _key(self, each):
        return [each.get(self.sort) or "", each["id"]]


def _holds(each, name, bound):
    field, _, operator = name.removesuffix("]").partition("[")
    held = each.get(field)
    return held is not None and COMPARE[operator](held, bound)


@contextmanager
def serve(shop):
    """Serve a shop, and give its base URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            status, body = shop.answer(dict(parse_qsl(urlsplit(self.path).query)))
            text = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_):
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_):
            """Say nothing of a client that has gone."""

    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
