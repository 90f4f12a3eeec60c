"""Every error of the package, in one tree.

::

    TrackstarError                     .status .request_id .retryable .retry_after
    ├── SettingsError                  an invalid option (also a ValueError)
    ├── CredentialsError               a missing or unusable key or token (also a ValueError)
    ├── FilterError                    an invalid filter (also a ValueError)
    ├── ApiError                       the API refused a request; .error .origin
    │   ├── AuthError                  401, 403
    │   ├── RateLimitError             429
    │   ├── NotSupportedError          501: this integration cannot list orders
    │   └── ServerError                every other 5xx
    ├── NetworkError                   no response, or one cut short
    ├── ResponseError                  a 200 that is not as documented
    ├── OfflineMissError               offline=True, and the page is not on disk
    ├── IncompleteFetchError           some pages were read; .frames .pages .resume()
    └── SnapshotError                  a snapshot that cannot be written or read

All errors can be pickled, and none shows a credential. `FilteredOrdersWarning` is a UserWarning.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from trackstar_frames._text import plain

if TYPE_CHECKING:
    from trackstar_frames.client import TrackstarClient
    from trackstar_frames.frames import OrderFrames
    from trackstar_frames.snapshots.snapshot import Snapshot


class TrackstarError(Exception):
    """Base of every error of this package.

    Attributes
    ----------
    status : int or None
        The HTTP status behind the error, if there was one.
    request_id : str or None
        The id to quote to Trackstar's support.
    retryable : bool
        Whether the same request may succeed later.
    retry_after : float or None
        Seconds that the server asked to wait.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        request_id: str | None = None,
        retryable: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(plain(message))  # it may quote a server, a file or a label
        self.status = status
        self.request_id = request_id
        self.retryable = retryable
        self.retry_after = retry_after

    def __reduce__(self) -> tuple[Any, ...]:
        # The default would call cls(*args), which keyword-only fields do not survive.
        return Exception.__new__, (type(self),), {"args": self.args, **self.__dict__}


class SettingsError(TrackstarError, ValueError):
    """Invalid option: unknown, of the wrong kind, or unsafe."""


class CredentialsError(TrackstarError, ValueError):
    """Missing or unusable API key or access token."""


class FilterError(TrackstarError, ValueError):
    """Invalid filter; raised before any request."""


class ApiError(TrackstarError):
    """The API refused the request.

    Attributes
    ----------
    error : str or None
        The API's own description.
    origin : str or None
        ``"trackstar"`` or ``"integration"``: where the fault is, if the API says so.
    """

    def __init__(
        self, message: str, *, error: str | None = None, origin: str | None = None, **fields: Any
    ) -> None:
        super().__init__(message, **fields)
        self.error = error
        self.origin = origin


class AuthError(ApiError):
    """401 or 403: the credentials are wrong, or not allowed to do this."""


class RateLimitError(ApiError):
    """429: too many requests for this access token."""


class NotSupportedError(ApiError):
    """501: the warehouse system of this connection cannot list orders."""


class ServerError(ApiError):
    """Fault of the server: any 5xx but 501."""


class NetworkError(TrackstarError):
    """No response, or one that was cut short."""


class ResponseError(TrackstarError):
    """A response with status 200 that is not as documented."""


class OfflineMissError(TrackstarError):
    """A page that is not on disk, with ``offline=True``."""


class SnapshotError(TrackstarError):
    """A snapshot that cannot be written, found or read."""


class IncompleteFetchError(TrackstarError):
    """A fetch that failed after its first page; the cause is chained.

    Attributes
    ----------
    frames : OrderFrames or None
        What was read before the failure. None after the error was pickled, and for an export or a
        sync, which keep nothing in memory.
    pages : int
        How many pages were read.
    failures : dict of str to TrackstarError
        With several connections, the errors of those that failed, by label. `frames` (for an export
        or a sync, `snapshot`) then has all orders of the other connections only.
    snapshot : Snapshot or None
        The snapshot that an export or a sync of several connections has written anyway.
    """

    def __init__(
        self,
        message: str,
        *,
        frames: OrderFrames | None,
        pages: int,
        resume: Callable[[TrackstarClient | None], Any] | None,
        failures: Mapping[str, TrackstarError] | None = None,
        snapshot: Snapshot | None = None,
        **fields: Any,
    ) -> None:
        super().__init__(message, **fields)
        self.frames: OrderFrames | None = frames
        self.pages = pages
        self.failures = dict(failures or {})
        self.snapshot = snapshot
        self._resume = resume

    def resume(self, client: TrackstarClient | None = None) -> Any:
        """Continue the fetch where it failed, and return the whole result.

        Parameters
        ----------
        client
            Client to use; by default that of the failed fetch. None for several connections.

        Returns
        -------
        OrderFrames or Snapshot
            What the failed call would have returned.

        Raises
        ------
        IncompleteFetchError
            If the fetch fails again; the new error has all that was read so far.
        SettingsError
            If the error was pickled, or is that of one of several connections.

        Examples
        --------
        Three pages, one of them requested twice, and two requests for what changed meanwhile:

        >>> from trackstar_frames import fetch_orders
        >>> from trackstar_frames.sandbox import Fault, Sandbox
        >>> with Sandbox(orders=50, faults=[Fault("status", nth=3, times=1)]) as sandbox:
        ...     client = sandbox.client(retries=0, cache=False)
        ...     try:
        ...         frames = fetch_orders(client=client, page_size=20)
        ...     except IncompleteFetchError as error:
        ...         broken, frames = error, error.resume()
        >>> len(broken.frames.orders), len(frames.orders), frames.info["requests"]
        (40, 50, 6)
        """
        if self._resume is None:
            raise SettingsError(
                "only the error of the whole call, in the process that raised it, can be resumed; "
                "make the same call again: pages that are in the client's cache are not requested "
                "again"
            )
        return self._resume(client)

    def __reduce__(self) -> tuple[Any, ...]:
        cls, args, state = super().__reduce__()
        return cls, args, {**state, "frames": None, "_resume": None}  # orders are personal data


class FilteredOrdersWarning(UserWarning):
    """The filters of a fetch left out orders that count in a figure, which is biased by that.

    The message names the filters, what they left out, and the fetch that has these orders.
    """


def one_of(name: str, value: object, allowed: Iterable[str]) -> str:
    """Return the message for a value that is not among those allowed, with the nearest of them."""
    choices = list(allowed)
    folded = {each.casefold(): each for each in choices}
    near = difflib.get_close_matches(str(value).casefold(), folded, n=1)
    listed = ", ".join(map(repr, choices))
    use = f"did you mean {folded[near[0]]!r}? Use" if near else "use"
    return f"{name}={value!r} is not allowed; {use} one of {listed}"
