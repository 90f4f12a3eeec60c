"""All pages of a request: chains of pages, read in parallel and checked to be complete.

A request is one listing, or several where a list of values is too long for one URL. A listing is
a chain of pages, from cursor to cursor. If its `created_date` is bounded, it is divided into
windows, each a chain of its own: level by level, the first page of every window is read, and
crowded windows are divided further; then all chains are read to their ends. Each chain's count is
compared with the server's, and with `verify` it is read until two readings agree. Finally the
changes since the first page are requested.

The reason for the last two: if the server's cursors are keys, such as the id of the last order,
only an order that changes can be missed, by moving from an unread page to one that was read; the
request for changes finds it. If they are positions, an order that is added or removed before the
cursor shifts all later ones, and orders are missed that never changed; then only another reading
with the same pages shows that none was missed. A page, and a window of one page, as `created_date`
never changes, is of one moment: only chains of several pages are verified, or need the changes.

Which requests are made depends on the request and on the responses, not on timing.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import islice
from math import ceil
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

import msgspec

from trackstar_frames._text import counted
from trackstar_frames.dates import api_time, parse_time
from trackstar_frames.errors import ApiError, OfflineMissError, ResponseError, TrackstarError
from trackstar_frames.pagination.pages import Page, PageReader, order_id
from trackstar_frames.pagination.threads import ThreadGroup
from trackstar_frames.pagination.windows import Sample, Window

_log = logging.getLogger("trackstar_frames")

# A request is read in about so many windows: at ten requests a second and a second for each
# response, more chains bring nothing.
_WINDOWS = 8
# A window that may hold more than this share of all orders would be read long after the others.
_CROWDED = 1 / 4
_MIN_PAGES = 2  # a window of fewer pages costs more than it brings
_TELLING_SHARE = 0.02  # of a page; less may be chance
_MAX_READINGS = 5  # of one chain, of which two in a row must agree
_MAX_DEPTH = 12  # how often a chain of changes is divided, until each window is one page

# Statuses by which a server refuses a cursor that has expired, or a filter that it does not know;
# None is the disk's.
_CURSOR_EXPIRED = (400, 404, 410, 422)
_FILTER_UNKNOWN = (400, 422, None)

#: How far before the first page changes are requested, by stamp. A change is stamped a little
#: before it can be read; and `updated_date` is the source's stamp, of which Trackstar makes its
#: copy hourly.
_MARGINS = MappingProxyType(
    {"trackstar_updated_date": timedelta(minutes=5), "updated_date": timedelta(hours=2)}
)
_CLOCK_MARGIN = timedelta(minutes=10)  # more, where the server does not send its own time
_SECOND = timedelta(seconds=1)


class PageKey(NamedTuple):
    """Identifies a page; keys sort as the server's pages do."""

    path: tuple[int, ...]  # of its chain: the listing's number, then those of windows within
    number: int  # of the page in its chain


class PageObserver(Protocol):
    """Receives the pages of all listings."""

    def on_page(self, key: PageKey, page: Page) -> None:
        """Receive a page, on the thread that has read it."""

    def expect(self, pages: int) -> None:
        """Expect about so many more pages."""


class RequestListings:
    """All listings of a request, and how far each is read; after a failure, methods continue.

    With a limit, each listing is one chain, read in the server's order, and of a chain that is
    read again only the last reading counts. Changes are requested once for each of `queries`: by
    default these are the listings; a sync reads several listings in a row for each query.
    """

    def __init__(
        self,
        listings: list[dict[str, str]],
        *,
        queries: list[dict[str, str]] | None = None,
        page_size: int,
        limit: int | None = None,
        verify: bool = False,
    ) -> None:
        self._roots = [
            _Chain((n,), Window.of(params), keeps_digests=verify)
            for n, params in enumerate(listings)
        ]
        self._queries = queries or listings
        self._page_size = page_size
        self._limit = limit
        self._verify = verify
        self._divided: set[tuple[int, ...]] = set()
        self._repeats: set[PageKey] = set()
        self._changes: dict[tuple[int, str], _Chain] = {}
        #: Numbers of listings of which the server counts more orders than two readings have given.
        self._short: set[int] = set()
        self._latest: Mapping[str, datetime] = {}
        self._is_at_limit = False
        self._has_server_pages = False

    def open(self, reader: PageReader, threads: ThreadGroup, observer: PageObserver) -> None:
        """Set what reads pages, on which threads, and what receives them."""
        self._reader = reader
        self._threads = threads
        self._observer = observer

    def read(self) -> None:
        """Read all chains to their ends, or up to the limit."""
        if len(self._roots) > 1:
            self._observer.expect(sum(not root.has_ended for root in self._roots))
        self._threads.do(self._read_first_page, self._roots[:1])
        chains = self._divide_crowded() if self._limit is None else self._roots
        if all(chain.is_size_known for chain in chains):
            self._observer.expect(sum(chain.pages_left(self._page_size) for chain in chains))
        self._threads.do(self._read_chain, chains)
        if not self._is_at_limit:
            self._threads.do(self._check_chain, chains)
        if self._limit is None:
            self._threads.do(self._check_total, [root for root in self._roots if root.children])

    def read_changes(self, stamps: Sequence[Sequence[str]], latest: Mapping[str, datetime]) -> bool:
        """Read what has changed since the first page, so that no order that moved is missing.

        The first of `stamps` that the server supports are requested; if it supports none, the
        result is False. `latest` has the latest value of each stamp so far: changes are requested
        since then if clocks are ahead of the stamps. Raises ResponseError if orders are missing.
        """
        per_query = len(self._roots) // len(self._queries)
        incomplete = {  # an order may have moved past the reading of these
            n
            for n, root in enumerate(self._roots)
            if self._may_have_grown(root) and not all(leaf.is_one_page for leaf in root.leaves)
        }
        queries = sorted({number // per_query for number in incomplete | self._short})
        kind = len(_MARGINS)
        recounts = {n: self._new_chain(kind, n, self._roots[n].window) for n in sorted(self._short)}
        self._threads.do(self._read_first_page, recounts.values())
        self._latest = latest
        could_request = not queries or self._read_changes_by_any(queries, stamps)
        for n, recount in recounts.items():
            chains = [*self._roots[n].leaves, recount]
            chains += [
                each for (query, _), each in self._changes.items() if query == n // per_query
            ]
            given = len(set().union(*(chain.all_ids() for chain in chains)))
            if recount.total is None or recount.lacks(given):
                for leaf in self._roots[n].leaves:
                    self._start_over(leaf)
                self._changes.clear()
                raise _too_few(recount, given)
        return could_request

    def is_repeat(self, key: PageKey) -> bool:
        """Return whether the orders of a page are expected on others, and so are no duplicates."""
        # First pages of divided chains, other readings, and changes.
        return key.path in self._divided or key.path[0] >= len(self._roots) or key in self._repeats

    # Reading chains

    def _read_first_page(self, chain: _Chain) -> None:
        if not chain.pages:
            self._read_chain(chain, pages=1)

    def _read_chain(self, chain: _Chain, pages: int | None = None) -> None:
        """Read a chain to its end, or so many pages; start again once if its cursor has expired."""
        try:
            self._read_on(chain, pages)
        except ApiError as error:
            if error.status not in _CURSOR_EXPIRED or chain.token is None:
                raise
            _log.warning(
                "the server does not know the cursor of page %s any more (%s); this part of the "
                "listing is read again from its first page",
                f"{chain.pages + 1:,}",
                error,
            )
            self._start_over(chain)
            self._read_on(chain, None)

    def _read_on(self, chain: _Chain, pages: int | None) -> None:
        if chain.has_ended or self._is_at_limit:
            return
        first = self._roots[0]  # its first page sets the age of all
        unread = self._reader.read(
            chain.window.params,
            page_token=chain.token,
            orders_before=chain.orders,
            expires=first.expires,
            refresh=chain.refresh,
        )
        for page in islice(unread, pages):
            self._has_server_pages |= not page.from_cache
            if not chain.is_as_before(page):
                key = PageKey(chain.path, chain.pages)
                self._observer.on_page(key, self._up_to_limit(page))
            chain.add(page, first.fetched_at or page.fetched_at)
            if self._is_at_limit:
                return
            self._threads.wait(0)  # without a rate limit there may be no other wait to stop at

    def _up_to_limit(self, page: Page) -> Page:
        """Cut off the orders beyond the limit; the page that reaches it is the last one."""
        if self._limit is None:
            return page
        left = self._limit - sum(root.orders for root in self._roots)
        self._is_at_limit = len(page.raw_orders) >= left
        return replace(page, raw_orders=page.raw_orders[:left])

    def _read_again(self, chain: _Chain) -> None:
        """Read a chain once more from its first page, from the server; this reading counts."""
        self._start_over(chain)
        self._read_chain(chain)

    def _start_over(self, chain: _Chain) -> None:
        self._repeats |= {PageKey(chain.path, n) for n in range(chain.start, chain.pages)}
        chain.start_over()

    # Dividing listings into windows

    def _divide_crowded(self) -> list[_Chain]:
        """Divide crowded chains, level by level; return all chains, the largest first."""
        parents: list[_Chain] = []
        chains = level = self._roots
        while level:
            self._threads.do(self._read_first_page, level)
            for parent in parents:
                parent.compare_children()
            total = sum(chain.size for chain in chains)
            crowded = [chain for chain in chains if chain.size > total * _CROWDED]
            parents = [each for each in crowded if each.divide(_WINDOWS * each.size / total)]
            self._divided |= {parent.path for parent in parents}
            level = [child for parent in parents for child in parent.children]
            chains = [chain for chain in chains if chain not in parents] + level
        return sorted(chains, key=lambda chain: -chain.size)

    # Verifying that chains are whole

    def _check_chain(self, chain: _Chain) -> None:
        """Read a chain again if it has fewer orders than the server counts, or to verify it."""
        if chain.lacks(chain.orders):
            chain.keeps_ids = True
            self._read_again(chain)
            if chain.lacks(chain.orders):  # those that moved twice may be among the changes
                self._note_short(chain, chain.orders)
        if self._verify and not chain.is_one_page:
            self._read_until_two_agree(chain)

    def _read_until_two_agree(self, chain: _Chain) -> None:
        """Read a chain again until two readings in a row agree, page by page, or raise."""
        # An order that is missed was shifted by another one, added, changed or removed before it;
        # so the pages of the next reading differ. Unchanged pages are not taken twice.
        for _ in range(_MAX_READINGS - 1):
            chain.start_over()
            first = chain.pages
            self._read_chain(chain)
            self._repeats |= {PageKey(chain.path, n) for n in range(first, chain.pages)}
            if chain.agrees:
                return
        raise ResponseError(
            f"the listing changes faster than it can be read: no two of {_MAX_READINGS} readings "
            f"of {counted(chain.length, 'page')} agree; bound created_date more narrowly, as a "
            f"window of one page cannot change while it is read, or fetch without verify",
            retryable=True,
        )

    def _check_total(self, root: _Chain) -> None:
        """Compare the orders of a listing's windows with the server's count of the listing."""
        # If it counts more once again, `read_changes` decides by the ids of another reading of
        # each window, and of the changes: what is new since a window was read is in none of them.
        given = sum(leaf.orders for leaf in root.leaves)
        if root.lacks(given):
            root.start_over()
            self._read_on(root, pages=1)
            if root.lacks(given):
                self._note_short(root, given)
        if root.path[0] in self._short:
            for leaf in root.leaves:
                if not leaf.keeps_ids:
                    leaf.keeps_ids = True
                    self._read_again(leaf)

    def _note_short(self, chain: _Chain, given: int) -> None:
        """Note that orders are missing which may have moved, or be new; raise if none can be."""
        root = self._roots[chain.path[0]]
        if not self._may_have_grown(root):
            raise _too_few(chain, given)
        self._short.add(chain.path[0])
        self._changes.clear()  # after a resume, those of before this reading are not enough

    def _may_have_grown(self, root: _Chain) -> bool:
        """Return whether a listing may have more orders than when its pages were read."""
        is_one_page = root.is_one_page and not root.children
        return self._limit is None and "ids" not in root.window.params and not is_one_page

    # Reading what has changed

    def _read_changes_by_any(
        self, queries: Sequence[int], choices: Sequence[Sequence[str]]
    ) -> bool:
        """Read changes by the first choice of stamps that the server knows, if there is one."""
        offline_miss = None
        for stamps in choices:
            chains = [self._changes_of(query, stamp) for query in queries for stamp in stamps]
            self._threads.do(self._read_changed, chains)
            refusals = [chain.refusal for chain in chains if chain.refusal is not None]
            if not refusals:
                return True
            missing = (each for each in refusals if isinstance(each, OfflineMissError))
            offline_miss = next(missing, offline_miss)
        if offline_miss is not None:
            raise offline_miss
        return not choices

    def _changes_of(self, query: int, stamp: str) -> _Chain:
        """Return the chain of orders of a query that changed since the first page of all."""
        if (query, stamp) not in self._changes:
            since = self._changes_since(stamp)
            window = Window.of(_narrowed(self._queries[query], stamp, since))
            kind = list(_MARGINS).index(stamp)
            self._changes[query, stamp] = self._new_chain(kind, query, window, (stamp, since))
        return self._changes[query, stamp]

    def _new_chain(
        self, kind: int, number: int, window: Window, changed: tuple[str, datetime] | None = None
    ) -> _Chain:
        """Return a chain that is read after all others, whose path its kind keeps distinct."""
        path = (len(self._roots) * (1 + kind) + number,)
        # What is on disk is older than a page that the server gave just now.
        refresh = self._has_server_pages
        return _Chain(path, window, changed=changed, keeps_ids=True, refresh=refresh)

    def _changes_since(self, stamp: str) -> datetime:
        """Return since when changes by a stamp matter, by the clock that sets it."""
        # Pages that were read again are as old as that reading, also when they are read from disk.
        chains = [chain for root in self._roots for chain in (root, *root.leaves)]
        oldest = min((chain.oldest for chain in chains if chain.oldest), default=datetime.now(UTC))
        return min(oldest, self._latest.get(stamp, oldest)) - _MARGINS[stamp]

    def _read_changed(self, chain: _Chain) -> None:
        """Read changes in windows of one page each, so that no later change is missed."""
        chain.refusal = None
        try:
            self._read_first_page(chain)
        except (ApiError, OfflineMissError) as error:
            if error.status not in _FILTER_UNKNOWN:
                raise
            chain.refusal = error
            return
        if chain.is_one_page:
            return
        if chain.has_older:
            chain.refusal = ResponseError("the server ignores the filter")
            return
        is_divided = len(chain.path) < _MAX_DEPTH and chain.divide()
        # What has no `created_date` is in no window, so without bounds the chain is read, too.
        if not (is_divided and chain.window.is_bounded):
            self._read_chain(chain)
        if not is_divided:
            self._read_until_two_agree(chain)
        for child in chain.children:
            self._read_changed(child)
            if child.refusal is not None:
                raise child.refusal


def _too_few(chain: _Chain, given: int) -> ResponseError:
    return ResponseError(
        f"the server counts {counted(chain.total or 0, 'order')} in a listing (its total_count), "
        f"and gave {given:,} of them, twice; narrower filters, such as created_date, may show "
        f"which are missing",
        retryable=True,
    )


def _narrowed(params: dict[str, str], stamp: str, since: datetime) -> dict[str, str]:
    """Narrow a query to what is not before a moment, by a parameter that it did not have before."""
    # Otherwise the response could be the one on disk, from before.
    is_new = f"{stamp}[gte]" not in params
    text = api_time(since if is_new else since - _SECOND)
    name = f"{stamp}[{'gte' if is_new else 'gt'}]"
    return params | {name: max(params.get(name, text), text)}


@dataclass(eq=False)
class _Chain:
    """One chain of pages, and how far it has been read."""

    path: tuple[int, ...]  # the `PageKey.path` of its pages
    window: Window  # the query, and its bounds
    share: float = 0.0  # how much of its parent's first page it had
    #: Of a chain of changes, by which stamp and since when.
    changed: tuple[str, datetime] | None = None
    keeps_digests: bool = False  # whether its readings will be compared
    keeps_ids: bool = False  # whether to count the ids of its orders with those of others
    refresh: bool = False  # whether the server sends its pages, whatever is on disk

    expires: float | None = None  # cache expiry of its first page
    fetched_at: datetime | None = None  # when its first page was sent
    oldest: datetime | None = None  # when the first page of this reading was sent
    pages: int = 0  # that were taken
    start: int = 0  # pages that were taken before this reading
    length: int = 0  # pages of this reading
    orders: int = 0  # of this reading
    total: int | None = None  # orders, by the server's count
    token: str | None = None  # the cursor of the next page
    refusal: TrackstarError | None = None  # why changes could not be requested
    has_older: bool = False  # whether orders came that have not changed since
    size: float = 0.0  # orders that it may hold
    first: int = 0  # orders of its first page
    children: list[_Chain] = field(default_factory=list)
    _sample: Sample | None = None
    _ids: set[int] = field(default_factory=set)
    _digests: list[bytes] = field(default_factory=list)
    _earlier: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.changed is not None:
            self.keeps_digests = self.keeps_ids = True

    @property
    def has_ended(self) -> bool:
        return self.length > 0 and self.token is None

    @property
    def is_one_page(self) -> bool:
        """Whether it is one page, which is of one moment."""
        return self.has_ended and self.length == 1

    @property
    def agrees(self) -> bool:
        """Whether this reading is the same as the one before, page by page."""
        return self.has_ended and self._digests == self._earlier

    @property
    def is_size_known(self) -> bool:
        """Whether its size is an estimate, from a page spread over it, and not a lower bound."""
        return self.has_ended or (self._sample is not None and self._sample.is_sorted)

    @property
    def leaves(self) -> Iterator[_Chain]:
        """The chains that it was divided into; itself if it was not."""
        if not self.children:
            yield self
        for child in self.children:
            yield from child.leaves

    def lacks(self, orders: int) -> bool:
        """Return whether the server counts more orders in it than these."""
        return self.total is not None and self.total > orders

    def all_ids(self) -> set[int]:
        """Return the hashes of the ids of its orders, and of the chains it was divided into."""
        return self._ids.union(*(child.all_ids() for child in self.children))

    def pages_left(self, page_size: int) -> int:
        """Return about how many pages it still has."""
        return 0 if self.has_ended else max(1, ceil(self.size / page_size) - self.pages)

    def start_over(self) -> None:
        """Begin another reading."""
        self.start, self.token, self.refresh = self.pages, None, True
        self.length = self.orders = 0
        self.total = self.oldest = None
        self._earlier, self._digests = self._digests, []

    def is_as_before(self, page: Page) -> bool:
        """Return whether the reading before had the same page at this position."""
        position = len(self._digests)
        return position < len(self._earlier) and self._earlier[position] == _digest(page)

    def add(self, page: Page, listed_at: datetime) -> None:
        """Count a page; `listed_at` is when the first page of all was fetched."""
        if not self.pages:
            self._estimate(page, listed_at)
        self.pages += not self.is_as_before(page)
        self.length += 1
        self.orders += len(page.raw_orders)
        self.token = page.next_token
        sent = page.server_time or page.fetched_at - _CLOCK_MARGIN
        self.oldest = min(sent, self.oldest or sent)
        if page.total_count is not None:
            known = page.total_count if self.total is None else self.total
            self.total = min(known, page.total_count)
        if self.keeps_ids:
            self._ids.update(hash(order_id(order)) for order in page.raw_orders)
        if self.keeps_digests:
            self._digests.append(_digest(page))

    def divide(self, windows: float = _WINDOWS) -> bool:
        """Divide the chain, if that is possible and pays; for changes, it always does."""
        if self._sample is None or self.children:
            return bool(self.children)
        if self.changed and self._sample.has_others:
            return False  # the server ignores the window, and so any part of it
        worth = self.size / (_MIN_PAGES * self.first)
        if self.changed:
            windows = min(max(2.0, 4 * worth), windows)
        # The first page of all may be all over the window: then the size is unknown.
        elif len(self.path) > 1 or worth > 1:
            windows = min(windows, worth)
        divided = self._sample.divide(ceil(windows))
        if len(divided) > 1:
            options = (self.changed, self.keeps_digests)
            self.children = [
                _Chain((*self.path, n), window, share, *options, refresh=self.refresh)
                for n, (window, share) in enumerate(divided)
            ]
        return bool(self.children)

    def compare_children(self) -> None:
        """Estimate the children by their shares of this chain's page, unless it was sorted."""
        if self._sample is None or self._sample.is_sorted:
            return
        telling = [child for child in self.children if child.share > _TELLING_SHARE]
        total = max((child.first / child.share for child in telling), default=0.0)
        for child in telling:
            if not child.has_ended:
                child.size = total * child.share

    def _estimate(self, page: Page, listed_at: datetime) -> None:
        """Estimate by the first page how many orders there are, and note its age."""
        self.expires, self.fetched_at = page.expires, page.fetched_at
        self.first = len(page.raw_orders)
        self.size = float(self.first)
        is_dated = self.window.is_bounded or self.changed is not None
        if is_dated and page.next_token is not None:
            created = (each for each in _values(page, "created_date") if isinstance(each, str))
            self._sample = Sample(self.window, created, listed_at)
            self.size = max(self.size, self._sample.size)
        if self.changed:
            stamp, since = self.changed
            self.has_older = any(_is_before(since - _SECOND, each) for each in _values(page, stamp))


def _digest(page: Page) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for order in page.raw_orders:
        digest.update(b"%d:%b" % (len(bytes(order)), bytes(order)))
    return digest.digest()


def _is_before(moment: datetime, stamp: object) -> bool:
    """Return whether a stamp is before a moment, or missing: then the filter was ignored."""
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
