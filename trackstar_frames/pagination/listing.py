"""Many cursor chains side by side: a whole question, part by part, and how far each was read.

What a listing promises depends on the server's cursors. Where they are keys, an order that is
there all the time is met, unless it changes and so moves from a page that is still to be read to
one that was read: a closing request for what has changed since the first page finds it. Where
cursors are positions, what comes or goes before the cursor shifts all that follow it, and the
orders that are lost were never changed; then only another reading with the same pages shows
that nothing was lost.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from itertools import islice
from math import ceil
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

import msgspec

from trackstar_frames._text import counted
from trackstar_frames.dates import api_time, parse_time
from trackstar_frames.errors import ApiError, OfflineMissError, ResponseError, TrackstarError
from trackstar_frames.pagination.pages import Page, order_id
from trackstar_frames.pagination.threads import ThreadGroup
from trackstar_frames.pagination.windows import Sample, Window

__all__ = ["Listing", "Place", "Reader", "Walk"]


_log = logging.getLogger("trackstar_frames")

#: Where a page is: its chain's way down from the whole question, and its number in the chain.
Place = tuple[tuple[int, ...], int]

# A question is read in so many parts, more or less: at ten requests a second and a second
# for each answer, more chains bring nothing.
_PARTS = 8

# A part that may hold more than this share of all orders would be read long after the others.
_CROWDED = 1 / 4

_WORTH = 2  # pages; a part for less costs more than it brings
_TELLING = 0.02  # a share of a page that is no chance

#: How a server answers a cursor that it does not know any more.
_DEAD = (400, 404, 410, 422)

#: The answers to a filter that the server does not know; None is that of the disk.
_REFUSED = (400, 422, None)

#: Readings of one chain of which two in a row must agree.
_READINGS = 5

#: Times that a chain of changes is divided, until each part is one page.
_DEEPEST = 12

#: How far before the first page changes are asked for, by stamp. A change is stamped a little
#: before it can be read; and `updated_date` is the source's stamp, of which Trackstar makes its
#: copy hourly.
_MARGIN = MappingProxyType(
    {"trackstar_updated_date": timedelta(minutes=5), "updated_date": timedelta(hours=2)}
)

#: How much farther, where the server does not tell its own time.
_UNSURE = timedelta(minutes=10)

_SECOND = timedelta(seconds=1)


class Walk(Protocol):
    """`pages.walk`, all but settled."""

    def __call__(
        self,
        params: dict[str, str],
        *,
        page_token: str | None,
        before: int | None,
        chain: float | None,
        anew: bool,
    ) -> Iterator[Page]:
        """Read one chain from a token on."""


class Reader(NamedTuple):
    """What reads the chains of a listing, and takes their pages.

    Attributes
    ----------
    walk : Walk
        Reads one chain.
    take : callable
        Is given every page, on the thread that has read it; tells whether more are wanted.
    threads : Crew
        Does the work.
    """

    walk: Walk
    take: Callable[[Place, Page], bool]
    threads: ThreadGroup


class Listing:
    """All chains of a question.

    Parameters
    ----------
    queries
        The parameters of each listing that the question needs.
    asked
        What the caller asked for, if each of these is read by the same number of listings, one
        after the other: what has changed is asked for once for them.
    divides
        Whether listings that are bounded in `created_date` are read in parts.
    page_size
        Orders of one page.
    is_whole
        Whether all orders are wanted. Else nothing is made sure of beyond the last one, and of
        a chain that is read again, only the last reading counts.
    verifies
        Whether chains of several pages are read until two readings agree.

    Notes
    -----
    The first page of all sets the age of all, see `Session.get`. Then, level by level, the
    first page of every part is read, and parts that are crowded are divided; what their first
    pages held comes again in their parts. At last every part is read to its end. So the
    requests depend on the question and on the answers alone, not on who is faster.

    One page is of one moment. So is a window of one page, as `created_date` never changes: an
    order belongs to one window whatever else of it changes. Only chains of several pages can
    lose an order, and only those are closed and verified.
    """

    def __init__(
        self,
        queries: list[dict[str, str]],
        *,
        asked: list[dict[str, str]] | None = None,
        divides: bool,
        page_size: int,
        is_whole: bool = True,
        verifies: bool = False,
    ) -> None:
        self._roots = [
            _Chain((n,), Window.of(query), keeps_digests=verifies)
            for n, query in enumerate(queries)
        ]
        self._asked = asked or queries
        self._divides = divides
        self._page_size = page_size
        self._is_whole = is_whole
        self._verifies = verifies
        self._divided: set[tuple[int, ...]] = set()
        self._again: set[Place] = set()
        self._changes: dict[tuple[int, str], _Chain] = {}
        # Roots of which the server counts more orders than two readings have given.
        self._doubtful: set[int] = set()
        self._latest: Mapping[str, datetime] = {}
        self._is_enough = False
        self._has_asked = False

    def read(
        self,
        reader: Reader,
        tell: Callable[[int], object] = bool,
    ) -> None:
        """Read what is left.

        Parameters
        ----------
        reader
            Reads and takes pages.
        tell
            Is told about how many pages are to come, as soon and as far as that is known.
        """
        do, begin = reader.threads.do, partial(self._begin, reader)
        if len(self._roots) > 1:
            tell(sum(not root.has_ended for root in self._roots))
        do(begin, self._roots[:1])
        parts = self._plan(partial(do, begin)) if self._divides else self._roots
        if all(part.is_known for part in parts):
            tell(sum(part.left(self._page_size) for part in parts))
        do(partial(self._follow, reader), parts)
        if not self._is_enough:
            do(partial(self._make_sure, reader), parts)
        if self._is_whole:
            do(partial(self._recount, reader), [root for root in self._roots if root.children])

    def close(
        self,
        reader: Reader,
        ways: Sequence[Sequence[str]],
        latest: Mapping[str, datetime] = MappingProxyType({}),
    ) -> bool:
        """Read what has changed since the first page, so that no order that moved is missing.

        Parameters
        ----------
        reader
            Reads and takes pages.
        ways
            By which stamps, the best way first: a server may not know one of them.
        latest
            The latest of each stamp that came: where the clocks are ahead of what sets the
            stamps, it is asked for what has changed since then.

        Returns
        -------
        bool
            Whether it could be asked for; False if the server knows no such filter.

        Raises
        ------
        ResponseError
            If the server counts more orders than have come, with those that changed.
        """
        each = len(self._roots) // len(self._asked)
        may_have_lost = {n for n, root in enumerate(self._roots) if self._may_have_lost(root)}
        numbers = sorted({number // each for number in may_have_lost | self._doubtful})
        counts = {n: self._first_page_again(n) for n in sorted(self._doubtful)}
        reader.threads.do(partial(self._begin, reader), counts.values())
        self._latest = latest
        is_closed = not numbers or self._read_all_changes(reader, numbers, ways)
        changes = list(self._changes.items())
        for n, count in counts.items():
            found = [*self._roots[n].leaves, count]
            found += [chain for (number, _), chain in changes if number == n // each]
            given = len(set().union(*(chain.all_ids() for chain in found)))
            if count.total is None or count.lacks(given):
                for leaf in self._roots[n].leaves:
                    self._start_over(leaf)
                self._changes.clear()
                raise _too_few(count, given)
        return is_closed

    def _read_all_changes(
        self, reader: Reader, numbers: Sequence[int], ways: Sequence[Sequence[str]]
    ) -> bool:
        """Read the changes by the first way that the server knows; tell if there is one."""
        missed = None
        for stamps in ways:
            changes = [self._since(number, stamp) for number in numbers for stamp in stamps]
            reader.threads.do(partial(self._read_changes, reader), changes)
            refusals = [each.refusal for each in changes if each.refusal is not None]
            if not refusals:
                return True
            missed = next((each for each in refusals if isinstance(each, OfflineMissError)), missed)
        if missed is not None:
            raise missed
        return not ways

    def _first_page_again(self, number: int) -> _Chain:
        """Give a chain whose first page tells how many orders a listing has now."""
        places = len(self._roots) * (1 + len(_MARGIN))
        chain = _Chain((places + number,), self._roots[number].window, keeps_ids=True)
        chain.is_anew = self._has_asked
        return chain

    def comes_again(self, place: Place) -> bool:
        """Tell whether a page is beside the one reading of every part.

        It is the first one of a chain that was divided, of another reading, or of the changes:
        what it holds counts, but is expected to be elsewhere too.
        """
        path, _ = place
        return path in self._divided or path[0] >= len(self._roots) or place in self._again

    def _begin(self, reader: Reader, chain: _Chain) -> None:
        if not chain.pages:
            self._follow(reader, chain, pages=1)

    def _follow(
        self,
        reader: Reader,
        chain: _Chain,
        pages: int | None = None,
    ) -> None:
        """Read a chain to its end, or so many pages of it; once more if its cursor has died."""
        try:
            self._go_on(reader, chain, pages)
        except ApiError as error:
            if error.status not in _DEAD or chain.token is None:
                raise
            _log.warning(
                "the server does not know the cursor of page %s any more (%s); this part of the "
                "listing is read anew from its first page",
                f"{chain.pages + 1:,}",
                error,
            )
            self._start_over(chain)
            self._go_on(reader, chain, None)

    def _read_again(self, reader: Reader, chain: _Chain) -> None:
        """Read a chain once more from its first page, past the disk; it is this that counts."""
        self._start_over(chain)
        self._follow(reader, chain)

    def _start_over(self, chain: _Chain) -> None:
        self._again |= {(chain.path, number) for number in range(chain.start, chain.pages)}
        chain.start_over()

    def _compare(self, reader: Reader, chain: _Chain) -> None:
        """Read a chain again until two readings in a row agree, page by page.

        What is lost by one reading was shifted by an order before it that came, changed or went,
        and that the next reading cannot find where it was. Pages that are as before are not taken
        twice.

        Raises
        ------
        ResponseError
            If no two readings agree.
        """
        for _ in range(_READINGS - 1):
            chain.start_over()
            first = chain.pages
            self._follow(reader, chain)
            self._again |= {(chain.path, number) for number in range(first, chain.pages)}
            if chain.agrees:
                return
        raise ResponseError(
            f"the listing changes faster than it can be read: no two of {_READINGS} readings of "
            f"{counted(chain.length, 'page')} agree; bound created_date more narrowly, as a window "
            f"of one page cannot change while it is read, or ask without verify",
            retryable=True,
        )

    def _go_on(
        self,
        reader: Reader,
        chain: _Chain,
        pages: int | None,
    ) -> None:
        if chain.has_ended or self._is_enough:
            return
        head = self._roots[0]
        rest = reader.walk(
            chain.window.params,
            page_token=chain.token,
            before=chain.orders,
            chain=head.expires,
            anew=chain.is_anew,
        )
        for page in islice(rest, pages):
            self._has_asked |= not page.from_cache
            if not chain.has_had(page):
                self._is_enough = not reader.take((chain.path, chain.pages), page)
            chain.has_read(page, head.answered or page.fetched_at)
            if self._is_enough:
                return
            reader.threads.wait(0)  # without a rate limit there may be no other wait to stop at

    def _make_sure(self, reader: Reader, chain: _Chain) -> None:
        """Read a chain again until it is sure, as far as it should be, that it is whole.

        Orders that moved twice while it was read may be among the changes: then `close` decides.

        Raises
        ------
        ResponseError
            If that does not come.
        """
        if chain.lacks(chain.orders):
            chain.keeps_ids = True
            self._read_again(reader, chain)
            if chain.lacks(chain.orders):
                self._doubt(chain, chain.orders)
        if self._verifies and not chain.is_one_page:
            self._compare(reader, chain)

    def _recount(self, reader: Reader, root: _Chain) -> None:
        """Make sure that the parts of a listing have as many orders as the server counts in it.

        If it still counts more when it is asked again (some may have gone meanwhile), `close`
        decides: it counts the ids of one more reading of each part, and of what has changed. What
        is new since a part was read, for one, is in none of them.

        Raises
        ------
        ResponseError
            If it was asked for by id, so that nothing can be new.
        """
        given = sum(leaf.orders for leaf in root.leaves)
        if root.lacks(given):
            root.start_over()
            self._go_on(reader, root, pages=1)
            if root.lacks(given):
                self._doubt(root, given)
        if root.path[0] in self._doubtful:
            for leaf in root.leaves:
                if not leaf.keeps_ids:
                    leaf.keeps_ids = True
                    self._read_again(reader, leaf)

    def _doubt(self, chain: _Chain, given: int) -> None:
        """Note that orders are missing which may have moved, or be new; raise where none can."""
        root = self._roots[chain.path[0]]
        if not self._may_have_grown(root):
            raise _too_few(chain, given)
        self._doubtful.add(chain.path[0])
        self._changes.clear()  # if it is resumed, those of before this reading are not enough

    def _may_have_lost(self, root: _Chain) -> bool:
        """Tell whether an order may have moved past the reading of a listing."""
        return self._may_have_grown(root) and not all(leaf.is_one_page for leaf in root.leaves)

    def _may_have_grown(self, root: _Chain) -> bool:
        """Tell whether a listing may have more orders than when its pages were read."""
        is_one_page = root.is_one_page and not root.children
        return self._is_whole and "ids" not in root.window.params and not is_one_page

    def _since(self, number: int, stamp: str) -> _Chain:
        """Give the chain of what has changed in a listing since the first page of all."""
        if (number, stamp) not in self._changes:
            place = len(self._roots) * (1 + list(_MARGIN).index(stamp)) + number
            since = self._began(stamp)
            params = _narrowed(self._asked[number], stamp, since)
            chain = _Chain((place,), Window.of(params), changed=(stamp, since))
            # What is on disk is older than a page that the server gave just now.
            chain.is_anew = self._has_asked
            self._changes[number, stamp] = chain
        return self._changes[number, stamp]

    def _began(self, stamp: str) -> datetime:
        """Tell since when changes by a stamp matter, by the clock that sets it.

        What was read anew is as old as that reading, now and when it is read from disk.
        """
        chains = [chain for root in self._roots for chain in (root, *root.leaves)]
        oldest = min((chain.oldest for chain in chains if chain.oldest), default=datetime.now(UTC))
        return min(oldest, self._latest.get(stamp, oldest)) - _MARGIN[stamp]

    def _read_changes(self, reader: Reader, chain: _Chain) -> None:
        """Read changes in windows of one page each: an order that changes again cannot escape.

        What has no `created_date` is in no window; so without bounds the chain itself is read to
        its end, too.
        """
        chain.refusal = None
        try:
            self._begin(reader, chain)
        except (ApiError, OfflineMissError) as error:
            if error.status not in _REFUSED:
                raise
            chain.refusal = error
            return
        if chain.is_one_page:
            return
        if chain.has_older:
            chain.refusal = ResponseError("the server passes over the filter")
            return
        is_divided = len(chain.path) < _DEEPEST and chain.divide()
        if not (is_divided and chain.window.is_bounded):
            self._follow(reader, chain)
        if not is_divided:
            self._compare(reader, chain)
        for child in chain.children:
            self._read_changes(reader, child)
            if child.refusal is not None:
                raise child.refusal

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


def _too_few(chain: _Chain, given: int) -> ResponseError:
    return ResponseError(
        f"the server counts {counted(chain.total or 0, 'order')} in a listing (its total_count), "
        f"and gave {given:,} of them, twice; narrower filters, such as created_date, may show "
        f"which are missing",
        retryable=True,
    )


def _narrowed(params: dict[str, str], stamp: str, since: datetime) -> dict[str, str]:
    """Ask for what a listing has since a moment, by a parameter that it did not have before.

    Else the answer could be the one on disk, from before.
    """
    is_new = f"{stamp}[gte]" not in params
    bound = since if is_new else since - _SECOND
    text = api_time(bound)
    name = f"{stamp}[{'gte' if is_new else 'gt'}]"
    return params | {name: max(params.get(name, text), text)}


class _Chain:
    """One cursor chain, and how far it has been read.

    Parameters
    ----------
    path
        Its way down from the whole question.
    window
        What it asks for.
    share
        How much of its parent's first page it had.
    changed
        By which stamp and since when it is of what has changed: then it is divided until each
        part is one page.
    keeps_digests
        Whether its readings will be compared.
    keeps_ids
        Whether the ids of its orders are kept, to count them with those of others.
    """

    def __init__(
        self,
        path: tuple[int, ...],
        window: Window,
        share: float = 0.0,
        *,
        changed: tuple[str, datetime] | None = None,
        keeps_digests: bool = False,
        keeps_ids: bool = False,
    ) -> None:
        self.path = path
        self.window = window
        self.share = share
        self.expires: float | None = None
        self.answered: datetime | None = None
        #: When the first page of this reading was given, by the server's clock if it told it.
        self.oldest: datetime | None = None
        #: How many pages were taken, and how many of them before this reading.
        self.pages = self.start = 0
        #: How many pages and orders this reading has had, and how many the server counts.
        self.length = self.orders = 0
        self.total: int | None = None
        self.token: str | None = None
        self.is_anew = False
        #: Why changes could not be asked for.
        self.refusal: TrackstarError | None = None
        #: Whether orders came that have not changed since.
        self.has_older = False
        #: How many orders it may hold.
        self.size = 0.0
        self.children: list[_Chain] = []
        #: How many orders its first page had.
        self.first = 0
        self._changed = changed
        self._sample: Sample | None = None
        self.keeps_ids = keeps_ids or changed is not None
        self._ids: set[int] = set()
        self._keeps_digests = keeps_digests or changed is not None
        self._digests: list[bytes] = []
        self._earlier: list[bytes] = []

    @property
    def has_ended(self) -> bool:
        return self.length > 0 and self.token is None

    @property
    def is_one_page(self) -> bool:
        """Whether one page holds all of it, so that it is of one moment."""
        return self.has_ended and self.length == 1

    def lacks(self, orders: int) -> bool:
        """Tell whether the server counts more orders in it than these."""
        return self.total is not None and self.total > orders

    @property
    def agrees(self) -> bool:
        """Whether this reading is the same as the one before, page by page."""
        return self.has_ended and self._digests == self._earlier

    @property
    def leaves(self) -> Iterator[_Chain]:
        """The chains that it was divided into; itself if it was not."""
        if not self.children:
            yield self
        for child in self.children:
            yield from child.leaves

    @property
    def is_known(self) -> bool:
        """Whether its size is more than a least one: a page from all over tells no more."""
        return self.has_ended or (self._sample is not None and self._sample.is_sorted)

    def all_ids(self) -> set[int]:
        """Give the hashes of the ids of its orders, and of the chains that it was divided into."""
        return self._ids.union(*(child.all_ids() for child in self.children))

    def left(self, page_size: int) -> int:
        """Tell about how many pages it still has."""
        return 0 if self.has_ended else max(1, ceil(self.size / page_size) - self.pages)

    def start_over(self) -> None:
        """Begin another reading."""
        self.start, self.token, self.is_anew = self.pages, None, True
        self.length = self.orders = 0
        self.total = self.oldest = None
        self._earlier, self._digests = self._digests, []

    def has_had(self, page: Page) -> bool:
        """Tell whether the reading before had the same page at this place."""
        place = len(self._digests)
        return place < len(self._earlier) and self._earlier[place] == _digest(page)

    def has_read(self, page: Page, answered: datetime) -> None:
        if not self.pages:
            self._look_at(page, answered)
        self.pages += not self.has_had(page)
        self.length += 1
        self.orders += len(page.raw_orders)
        self.token = page.next_token
        given = page.server_time or page.fetched_at - _UNSURE
        self.oldest = min(given, self.oldest or given)
        if page.total_count is not None:
            known = page.total_count if self.total is None else self.total
            self.total = min(known, page.total_count)
        if self.keeps_ids:
            self._ids.update(hash(order_id(order)) for order in page.raw_orders)
        if self._keeps_digests:
            self._digests.append(_digest(page))

    def divide(self, parts: float = _PARTS) -> bool:
        """Divide the chain, if that can be and is worth it; for changes it always is."""
        if self._sample is None or self.children:
            return bool(self.children)
        if self._changed and self._sample.has_others:
            return False  # the server passes over the window, and so over any part of it
        worth = self.size / (_WORTH * self.first)
        if self._changed:
            parts = min(max(2.0, 4 * worth), parts)
        # The first page of all may be all over the window: then the size is unknown.
        elif len(self.path) > 1 or worth > 1:
            parts = min(parts, worth)
        divided = self._sample.divide(ceil(parts))
        if len(divided) > 1:
            self.children = [
                _Chain(
                    (*self.path, n),
                    window,
                    share,
                    changed=self._changed,
                    keeps_digests=self._keeps_digests,
                )
                for n, (window, share) in enumerate(divided)
            ]
            for child in self.children:
                child.is_anew = self.is_anew
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

    def _look_at(self, page: Page, answered: datetime) -> None:
        """Tell by the first page how old all are, and how many orders there may be."""
        self.expires, self.answered = page.expires, page.fetched_at
        self.first = len(page.raw_orders)
        self.size = float(self.first)
        is_dated = self.window.is_bounded or self._changed is not None
        if is_dated and page.next_token is not None:
            self._sample = Sample(self.window, _texts(page, "created_date"), answered)
            self.size = max(self.size, self._sample.size)
        if self._changed:
            stamp, since = self._changed
            self.has_older = any(map(partial(_is_before, since - _SECOND), _values(page, stamp)))


def _digest(page: Page) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for order in page.raw_orders:
        digest.update(b"%d:%b" % (len(bytes(order)), bytes(order)))
    return digest.digest()


def _is_before(moment: datetime, stamp: object) -> bool:
    """Tell whether a stamp is before a moment, or is none: it is not what was asked for."""
    if not isinstance(stamp, str) or not stamp:
        return not stamp
    try:
        return parse_time(stamp) < moment
    except ValueError:
        return False


@cache
def _decoder(field: str) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(msgspec.defstruct("Dated", [(field, Any, "")]))


def _values(page: Page, field: str) -> Iterator[object]:
    """Read a member of the orders; where it is absent, it is an empty text."""
    for order in page.raw_orders:
        try:
            yield getattr(_decoder(field).decode(order), field)
        except msgspec.DecodeError:
            continue


def _texts(page: Page, field: str) -> Iterator[str]:
    """Read a date of the orders, as far as it is text."""
    return (value for value in _values(page, field) if isinstance(value, str))
