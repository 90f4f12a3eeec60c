"""What was asked of the server, in order."""

import threading
from typing import NamedTuple


class Request(NamedTuple):
    """One request that arrived.

    Attributes
    ----------
    time
        When it arrived, in seconds since the epoch.
    token
        The access token it carried, or None.
    path
        Its path with the query, as sent.
    status
        The status it was answered with; None while it waits, and if it never got one.

    Examples
    --------
    >>> from trackstar_frames.sandbox import Sandbox
    >>> with Sandbox(orders=5) as sandbox, sandbox.client(cache=False) as client:
    ...     _ = list(client.iter_pages(status="open"))
    ...     [(request.path, request.status) for request in sandbox.requests]
    [('/wms/orders?status=open&limit=1000', 200)]
    """

    time: float
    token: str | None
    path: str
    status: int | None


class RequestLog:
    """Requests in the order of their arrival, written by many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: list[Request] = []

    def arrive(self, request: Request) -> int:
        """Note a request, and return its number."""
        with self._lock:
            self._requests.append(request)
            return len(self._requests) - 1

    def answer(self, number: int, status: int | None) -> None:
        """Note how the request of that number was answered."""
        with self._lock:
            self._requests[number] = self._requests[number]._replace(status=status)

    def all(self) -> list[Request]:
        """Return a copy of what has been noted."""
        with self._lock:
            return list(self._requests)
