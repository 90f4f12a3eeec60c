"""What the requests that a server received say."""

import re
from datetime import datetime
from urllib.parse import unquote

_BOUND = re.compile(r"(updated_date%5Bgte?%5D=)([^&]+)")


def most_within(times, seconds=0.5):
    """Count the requests of the busiest span of so many seconds.

    At a server that is half a second, unless said otherwise: all of a second's requests may
    leave at once, and the way there takes the first of them longest.
    """
    times = list(times)
    return max(sum(first <= time < first + seconds for time in times) for first in times)


def normalized_path(request):
    """Return the path of a request, with ``lately`` for the time since which it wants changes.

    A request that closes a listing asks for what has changed since then, by a lower bound on
    a stamp. No test asks for that itself.
    """

    def write(bound):
        moment = datetime.fromisoformat(unquote(bound[2])).timestamp()
        return bound[1] + "lately" if moment <= request.time else bound[0]

    return _BOUND.sub(write, request.path)


def split_requests(requests):
    """Return the paths of a listing's own requests, and of those that close it."""
    own, closing = [], []
    for request in requests:
        paths = own if normalized_path(request) == request.path else closing
        paths.append(request.path)
    return own, closing


def count_requests(requests):
    """Count a listing's own requests, and those that close it."""
    own, closing = split_requests(requests)
    return len(own), len(closing)
