"""The pages that the benchmarks work on: made-up orders, asked over HTTP once."""

import math
import re
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import count
from pathlib import Path

from _server import Server

import trackstar_frames as tf

#: How many orders are on a page, and how many pages are made up before they are repeated.
PAGE = 1000
MADE_UP = 20


def fetch(server: Server, pages: int) -> list[bytes]:
    """Ask for all orders, and give as many bodies as wanted: beyond the last, copies of them."""
    with tf.TrackstarClient(
        api_key=server.api_key,
        access_token=server.access_token,
        base_url=server.base_url,
        cache=False,
        rate_limit=None,
    ) as client:
        bodies = [page.body for page in client.iter_pages(page_size=PAGE)]
    copies = (_copy(body, number) for number in count(1) for body in bodies)
    return bodies[:pages] + [next(copies) for _ in range(pages - len(bodies))]


def make_odd(bodies: Sequence[bytes], share: float) -> list[bytes]:
    """Add an unknown field to every order, and to one order of some pages a mistyped price.

    Parameters
    ----------
    bodies
        As the server gave them.
    share
        The share of pages with a mistyped price.
    """
    odd = [body.replace(b'"id":"', b'"risk_level":"low","id":"') for body in bodies]
    mistyped = count_mistyped(bodies, share)
    for number in range(mistyped):
        place = number * len(bodies) // mistyped
        odd[place] = re.sub(
            rb'"total_price":[\d.]+', b'"total_price":"12,50 EUR"', odd[place], count=1
        )
    return odd


def count_mistyped(bodies: Sequence[bytes], share: float) -> int:
    """Count the pages that `make_odd` gives a mistyped price: rounded up, so at least one."""
    return math.ceil(share * len(bodies))


def write(folder: Path, bodies: Iterable[bytes]) -> Path:
    """Put bodies where another process can read them, and give the folder back."""
    folder.mkdir()
    for number, body in enumerate(bodies):
        (folder / f"{number:06}.json").write_bytes(body)
    return folder


@cache
def read(folder: Path) -> list[bytes]:
    """Read what `write` wrote: once in each process, where all share it."""
    return [path.read_bytes() for path in sorted(folder.iterdir())]


def _copy(body: bytes, number: int) -> bytes:
    """Give every order another id: a copy that kept its id would be dropped as a duplicate."""
    return body.replace(b'"id":"', b'"id":"%d-' % number)
