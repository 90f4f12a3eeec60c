"""Faults on demand: which request goes wrong, and how."""

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from difflib import get_close_matches
from http import HTTPStatus
from typing import Any

from trackstar_frames.sandbox.kinds import KINDS, PARAMETERS, REQUIRED

Where = Callable[[Mapping[str, str]], bool]


@dataclass(frozen=True)
class Fault:
    """One rule of what goes wrong, and when.

    The requests that `first_page`, `token` and `where` let through are counted from 1, for each
    rule by itself; `nth`, `every` and `times` choose among them. Only requests with valid
    credentials and within the rate limit are counted. Of several rules that are due, the first of
    the list acts.

    Parameters
    ----------
    kind
        What happens: a name of the table below.
    nth
        Act on the request of this number, or of these numbers.
    every
        Act on every request whose number is a multiple of this.
    times
        Act at most so often; None is without end.
    first_page
        True: count only requests without a page token; False: only those with one.
    token
        Count only requests of the access token of this index.
    where
        Count only requests of whose query, a dict of strings, this is true.
    status, retry_after, origin, error, seconds, pieces, to, change
        What the table says.

    Raises
    ------
    ValueError
        If the kind is unknown, or a parameter means nothing to it.

    Notes
    -----
    Instead of a page:

    ============  ================================================================================
    kind          what happens
    ============  ================================================================================
    status        an error `status` (500) with the API's JSON body: `error` (the API's own words),
                  `origin` (``"trackstar"``; ``""`` leaves it out), header ``retry-after`` if
                  `retry_after` is given: seconds, 0 too, or any text
    error_in_200  the same body, `error` and `origin`, in a 200
    html          a proxy's error page in HTML, with `status` (502)
    not_json      200 with a body that is cut short JSON
    not_object    200 with a JSON list in place of the envelope
    echo_secret   an error `status` (500) whose body repeats the credentials that were sent
    redirect      a redirect, `status` (302), to the URL `to`
    reset         the connection is reset before a byte of the answer
    ============  ================================================================================

    The page comes, but late or broken:

    ============  ================================================================================
    kind          what happens
    ============  ================================================================================
    hang          nothing for `seconds` (5), then the page
    slow          the body drips in `pieces` (10) during `seconds` (1)
    cut           the connection closes in the middle of the body that Content-Length announced
    reset_mid     the connection is reset in the middle of the body
    bad_gzip      ``Content-Encoding: gzip``, and a body that is none
    cut_gzip      ``Content-Encoding: gzip``, and the first half of such a body
    ============  ================================================================================

    The page comes, but is not as documented, or tests what a client assumes (an answer that is
    no page, as a 422, stays as it is):

    =================  ===========================================================================
    kind               what happens
    =================  ===========================================================================
    no_data            ``data`` is absent
    null_data          ``data`` is null
    data_not_list      ``data`` is an object
    item_not_object    the first item of ``data`` is a string
    wrong_count        ``total_count`` is 0
    no_token           ``next_token`` is absent, whatever the page
    absent_token_mid   ``next_token`` is absent on a page that another follows
    absent_token_end   ``next_token`` is absent, not null, on a last page that is not full: a
                       legal end
    empty_token        ``next_token`` is ``""``
    bad_token_type     ``next_token`` is an integer
    repeat_token       ``next_token`` is the token that was sent; nothing on a first page
    loop_token         ``next_token`` leads back to the first page, by two tokens in turn
    empty_page         no orders, and a token that the page itself follows
    short_page         half the orders asked for, and a token that the others follow
    duplicate          the page begins with the last order of the page before, with the fields of
                       `change` (none) replaced; nothing on a first page
    same_orders        the orders of the first page, and a token never given before: no end
    ignores_dates      the page as though no parameter ``created_date`` had been sent
    =================  ===========================================================================

    Before the page is made, the orders themselves change, for later pages and `Sandbox.orders`
    too (what has no id neither changes nor goes):

    =============  ===============================================================================
    kind           what happens
    =============  ===============================================================================
    new_order      one more order: the first of this page with a new id, and with the fields of
                   `change` (none) replaced; nothing if the page holds none
    changed_order  the last order of the page before changes: ``updated_date`` is a second later,
                   and the fields of `change` (none) are replaced; nothing on a first page
    gone_order     the first order of this page is deleted
    =============  ===============================================================================

    Examples
    --------
    A burst of two, then all is well:

    >>> from trackstar_frames.sandbox import Sandbox
    >>> burst = Fault("status", status=503, nth=range(2, 4))
    >>> with Sandbox(orders=20, faults=[burst], rate_limit=None) as sandbox:
    ...     with sandbox.client(cache=False) as client:
    ...         pages = list(client.iter_pages(page_size=10))
    ...     [request.status for request in sandbox.requests]
    [200, 503, 503, 200]
    """

    kind: str
    _: KW_ONLY
    nth: int | Collection[int] | None = None
    every: int | None = None
    times: int | None = None
    first_page: bool | None = None
    token: int | None = None
    where: Where | None = None
    status: int | None = None
    retry_after: float | str | None = None
    origin: str | None = None
    error: str | None = None
    seconds: float | None = None
    pieces: int | None = None
    to: str | None = None
    change: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(_unknown(self.kind))
        given = {name for name in PARAMETERS if getattr(self, name) is not None}
        for name in sorted(given - {*KINDS[self.kind]}):
            raise ValueError(f"a fault {self.kind!r} takes no {name}: {_takes(self.kind)}")
        for name in sorted({*KINDS[self.kind]} & REQUIRED - given):
            raise ValueError(f"a fault {self.kind!r} needs {name}")
        self._check_numbers()

    def _check_numbers(self) -> None:
        numbers = {"every": self.every, "times": self.times, "pieces": self.pieces}
        for name, value in (numbers | {"nth": min(_numbers(self.nth), default=None)}).items():
            if value is not None and value < 1:
                raise ValueError(f"{name}={getattr(self, name)!r}: numbers begin with 1")
        if self.status is not None and self.status not in {*HTTPStatus}:
            raise ValueError(f"status={self.status!r} is no HTTP status")


class FaultPlan:
    """The rules of one sandbox, and how often each has counted and acted.

    Parameters
    ----------
    faults
        The rules, the first one first.
    """

    def __init__(self, faults: Sequence[Fault]) -> None:
        self._faults = tuple(faults)
        self._lock = threading.Lock()
        self._counted = [0] * len(self._faults)
        self._acted = [0] * len(self._faults)

    def next(self, token: int, query: Mapping[str, str]) -> Fault | None:
        """Count a request with the token of this index, and return the fault that acts on it."""
        with self._lock:
            due = [number for number in self._count(token, query) if self._due(number)]
            for number in due[:1]:
                self._acted[number] += 1
                return self._faults[number]
        return None

    def _count(self, token: int, query: Mapping[str, str]) -> list[int]:
        matching = [n for n, fault in enumerate(self._faults) if _matches(fault, token, query)]
        for number in matching:
            self._counted[number] += 1
        return matching

    def _due(self, number: int) -> bool:
        fault, count = self._faults[number], self._counted[number]
        if fault.times is not None and self._acted[number] >= fault.times:
            return False
        if fault.nth is not None and count not in _numbers(fault.nth):
            return False
        return fault.every is None or count % fault.every == 0


def _matches(fault: Fault, token: int, query: Mapping[str, str]) -> bool:
    first = "page_token" not in query
    return (
        fault.first_page in (None, first)
        and fault.token in (None, token)
        and (fault.where is None or fault.where(query))
    )


def _numbers(nth: int | Collection[int] | None) -> Collection[int]:
    if nth is None:
        return ()
    return (nth,) if isinstance(nth, int) else nth


def _unknown(kind: str) -> str:
    nearest = get_close_matches(str(kind), KINDS, n=1)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else "."
    return f"unknown kind of fault {kind!r}{hint} The kinds are: {', '.join(KINDS)}"


def _takes(kind: str) -> str:
    return f"it takes {', '.join(KINDS[kind]) or 'nothing'} beside the choice of requests"
