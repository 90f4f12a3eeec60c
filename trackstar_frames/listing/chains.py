"""Many cursor chains side by side: a whole question, part by part, and how far each was read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from itertools import islice
from math import ceil
from typing import Protocol

import msgspec

from trackstar_frames.listing.crew import Crew
from trackstar_frames.listing.pages import Page
from trackstar_frames.listing.windows import Sample, Window

__all__ = ["Listing", "Place", "Walk"]

#: Where a page is: its chain's way down from the whole question, and its number in the chain.
Place = tuple[tuple[int, ...], int]

# A question is read in so many parts, more or less: at ten requests a second and a second
# for each answer, more chains bring nothing.
_PARTS = 8

# A part that may hold more than this share of all orders would be read long after the others.
_CROWDED = 1 / 4

_WORTH = 2  # pages; a part for less costs more than it brings
_TELLING = 0.02  # a share of a page that is no chance


class Walk(Protocol):
    """`pages.walk`, all but settled."""

    def __call__(
        self, params: dict[str, str], *, page_token: str | None, chain: float | None
    ) -> Iterator[Page]:
        """Read one chain from a token on."""


class Listing:
    """All chains of a question.

    Parameters
    ----------
    queries
        The parameters of each listing that the question needs.
    divides
        Whether listings that are bounded in `created_date` are read in parts.
    page_size
        Orders of one page.

    Notes
    -----
    The first page of all sets the age of all, see `Session.get`. Then, level by level, the
    first page of every part is read, and parts that are crowded are divided; what their first
    pages held comes again in their parts. At last every part is read to its end. So the
    requests depend on the question and on the answers alone, not on who is faster.
    """

    def __init__(self, queries: list[dict[str, str]], *, divides: bool, page_size: int) -> None:
        self._roots = [_Chain((n,), Window.of(query)) for n, query in enumerate(queries)]
        self._divides = divides
        self._page_size = page_size
        self._divided: set[tuple[int, ...]] = set()
        self._is_enough = False

    def read(
        self,
        walk: Walk,
        take: Callable[[Place, Page], bool],
        crew: Crew,
        tell: Callable[[int], object] = bool,
    ) -> None:
        """Read what is left.

        Parameters
        ----------
        walk
            Reads one chain.
        take
            Is given every page, on the thread that has read it; tells whether more are wanted.
        crew
            Does the work.
        tell
            Is told about how many pages are to come, as soon and as far as that is known.
        """

        def follow(chain: _Chain, pages: int | None = None) -> None:
            if not (chain.has_ended or self._is_enough):
                head = self._roots[0]
                rest = walk(chain.window.params, page_token=chain.token, chain=head.expires)
                for page in islice(rest, pages):
                    self._is_enough = not take((chain.path, chain.pages), page)
                    chain.has_read(page, head.answered or page.fetched_at)
                    if self._is_enough:
                        return
                    crew.wait(0)  # without a rate limit there may be no other wait to stop at

        def begin(chain: _Chain) -> None:
            if not chain.pages:
                follow(chain, pages=1)

        if len(self._roots) > 1:
            tell(sum(not root.has_ended for root in self._roots))
        crew.do(begin, self._roots[:1])
        parts = self._plan(partial(crew.do, begin)) if self._divides else self._roots
        if all(part.is_known for part in parts):
            tell(sum(part.left(self._page_size) for part in parts))
        crew.do(follow, parts)

    def comes_again(self, place: Place) -> bool:
        """Tell whether the orders of a page come again, in the parts of its chain."""
        return place[0] in self._divided

    def _plan(self, begin: Callable[[list[_Chain]], None]) -> list[_Chain]:
        """Divide what is crowded, level by level, and give all parts, the largest first."""
        parents: list[_Chain] = []
        parts = level = self._roots
        while level:
            begin(level)
            for parent in parents:
                parent.compare_children()
            total = sum(part.size for part in parts)
            crowded = [part for part in parts if part.size > total * _CROWDED]
            parents = [part for part in crowded if part.divide(_PARTS * part.size / total)]
            self._divided |= {parent.path for parent in parents}
            level = [child for parent in parents for child in parent.children]
            parts = [part for part in parts if part not in parents] + level
        return sorted(parts, key=lambda part: -part.size)


class _Chain:
    """One cursor chain, and how far it has been read."""

    def __init__(self, path: tuple[int, ...], window: Window, share: float = 0.0) -> None:
        self.path = path
        self.window = window
        self.pages = 0
        self.token: str | None = None
        self.expires: float | None = None
        self.answered: datetime | None = None
        #: How many orders it may hold.
        self.size = 0.0
        self.children: list[_Chain] = []
        #: How much of its parent's first page it had.
        self.share = share
        #: How many orders its first page had.
        self.first = 0
        self._sample: Sample | None = None

    @property
    def has_ended(self) -> bool:
        return self.pages > 0 and self.token is None

    @property
    def is_known(self) -> bool:
        """Whether its size is more than a least one: a page from all over tells no more."""
        return self.has_ended or (self._sample is not None and self._sample.is_sorted)

    def left(self, page_size: int) -> int:
        """Tell about how many pages it still has."""
        return 0 if self.has_ended else max(1, ceil(self.size / page_size) - self.pages)

    def has_read(self, page: Page, answered: datetime) -> None:
        if not self.pages:
            self.expires, self.answered = page.expires, page.fetched_at
            self.first = len(page.raw_orders)
            self.size = float(self.first)
            if self.window.is_bounded and page.next_token is not None:
                self._sample = Sample(self.window, _created(page), answered)
                self.size = max(self.size, self._sample.size)
        self.pages += 1
        self.token = page.next_token

    def divide(self, parts: float) -> bool:
        """Divide the chain, if that can be and is worth it."""
        if self._sample is not None and not self.children:
            worth = self.size / (_WORTH * self.first)
            # The first page of all may be all over the window: then the size is unknown.
            if len(self.path) > 1 or worth > 1:
                parts = min(parts, worth)
            divided = self._sample.divide(ceil(parts))
            if len(divided) > 1:
                self.children = [
                    _Chain((*self.path, n), window, share)
                    for n, (window, share) in enumerate(divided)
                ]
        return bool(self.children)

    def compare_children(self) -> None:
        """Value the children by what they had of this chain's page, unless that was sorted."""
        if self._sample is None or self._sample.is_sorted:
            return
        telling = [child for child in self.children if child.share > _TELLING]
        total = max((child.first / child.share for child in telling), default=0.0)
        for child in telling:
            if not child.has_ended:
                child.size = total * child.share


class _Dated(msgspec.Struct):
    created_date: str = ""


_DATED = msgspec.json.Decoder(_Dated)


def _created(page: Page) -> Iterator[str]:
    """Read when the orders were created, as far as they say so in text."""
    for order in page.raw_orders:
        try:
            yield _DATED.decode(order).created_date
        except msgspec.DecodeError:
            continue
