"""`FetchInfo`: the metadata of a fetch, as frames, snapshots and Parquet footers carry it."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, NoReturn

from trackstar_frames._text import counted, plain, warn
from trackstar_frames.dates import parse_time

__all__ = ["FetchInfo", "join_infos", "rename_keys"]


#: Keys that earlier versions wrote under another name.
_RENAMED = MappingProxyType({"began": "started_at", "question": "request_hash"})

_SUMS = ("pages", "requests", "from_cache", "stale", "duplicates")

#: Keys that each of several connections has for itself; the others are the same for all.
_OF_EACH = (
    *("started_at", "fetched_at", "server_time", "request_hash", *_SUMS),
    *("complete", "verified", "sync"),
)

#: Labels in a line; more are counted.
_MAX_LABELS = 5


class FetchInfo(dict[str, Any]):
    """The metadata of a fetch: a read-only dict of JSON values, whose keys are attributes too.

    ``info["complete"]`` and ``info.complete`` are the same. It equals a dict of the same values,
    and `json.dumps` takes it.

    Parameters
    ----------
    values
        What is known; the rest has its default. Keys that earlier versions wrote (``began``,
        ``question``) get their names of today.

    Attributes
    ----------
    filters, extra_params : dict
        What was requested, as the caller wrote it; free-form values are ``"*"`` if `pii` is not
        ``"keep"``.
    limit : int or None
        At most so many orders were requested.
    pii : str
        What became of personal data: ``"keep"``, ``"drop"`` or ``"hash"``.
    request_hash : str or None
        Hash of all that decides which orders come and how they look; None of several
        connections, and of frames that were not fetched.
    connection : str or None
        Label of the connection; None if it has none, and of several.
    started_at, fetched_at, server_time : str or None
        When the fetch began, when the server gave the oldest page, and the same by the server's
        clock. ISO 8601, UTC.
    pages, requests, from_cache, stale : int
        Pages that were read, requests that were sent, pages that came from disk, and those of
        them that had expired.
    duplicates : int
        Orders that were dropped because the listing had their id twice.
    complete : bool
        Whether all requested orders are there.
    verified : bool
        Whether two readings of the listing agreed.
    sync : dict or None
        What a sync did, see `sync_orders`. Like the next two it is a key only where there is
        something to say; as an attribute, and in square brackets, it is always there.
    connections : dict of str to dict
        The metadata of each of several connections, by label; empty for one connection.
    failed : dict of str to str
        Connections that failed when this was written, and why.

    Examples
    --------
    >>> info = FetchInfo(limit=20, connection="acme")
    >>> info.limit, info["connection"], info.complete, info.connections
    (20, 'acme', True, {})
    """

    filters: dict[str, Any]
    extra_params: dict[str, Any]
    limit: int | None
    pii: str
    request_hash: str | None
    connection: str | None
    started_at: str | None
    fetched_at: str | None
    server_time: str | None
    pages: int
    requests: int
    from_cache: int
    stale: int
    duplicates: int
    complete: bool
    verified: bool
    sync: dict[str, Any] | None
    connections: dict[str, dict[str, Any]]
    failed: dict[str, str]

    def __init__(self, values: Mapping[str, Any] = MappingProxyType({}), **more: Any) -> None:
        super().__init__({**_defaults(), **rename_keys({**values, **more})})

    def __missing__(self, key: str) -> Any:
        if key == "sync":
            return None
        if key in ("connections", "failed"):
            return {}
        raise KeyError(key)

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"FetchInfo has no {name!r}; it has {', '.join(self)}") from None

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self})

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError("FetchInfo is read-only; dict(info) is a copy that can be changed")

    __setitem__ = __delitem__ = __setattr__ = __delattr__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> tuple[Any, ...]:
        return FetchInfo, (dict(self),)

    def __copy__(self) -> FetchInfo:
        return self

    def __deepcopy__(self, _: dict[int, Any]) -> FetchInfo:
        return FetchInfo(self)

    def __repr__(self) -> str:
        return f"FetchInfo({self.summary()}; complete={self.complete})"

    def replace(self, **values: Any) -> FetchInfo:
        """Return a copy with other values."""
        return FetchInfo(self, **values)

    def of_connection(self, label: str) -> FetchInfo:
        """Return what a fetch of this one of several connections alone would tell."""
        shared = {k: value for k, value in self.items() if k not in ("connections", "failed")}
        return FetchInfo({**shared, **self.connections[label], "connection": label})

    def by_connection(self) -> dict[str | None, Mapping[str, Any]]:
        """Return the metadata of each connection by its label; of one, that is its own."""
        several: dict[str | None, Mapping[str, Any]] = dict(self.connections.items())
        return several or {self.connection: self}

    def as_of_each(self, otherwise: str) -> dict[str | None, datetime]:
        """Return as of when the orders of each connection are.

        One may be older than the others; `otherwise` (ISO 8601) is for those that do not say.

        Examples
        --------
        >>> FetchInfo(fetched_at="2026-03-01T06:00:00Z").as_of_each("2026-03-02")
        {None: datetime.datetime(2026, 3, 1, 6, 0, tzinfo=datetime.timezone.utc)}
        """
        return {
            label: parse_time(each["fetched_at"] or otherwise).astimezone(UTC)
            for label, each in self.by_connection().items()
        }

    def brief(self) -> dict[str, Any]:
        """Return a small copy for the attrs of a frame, with the numbers of its connections.

        pandas copies attrs with every column that is taken, and Parquet stores them as JSON.

        Examples
        --------
        >>> FetchInfo(connections={"acme": {}, "beta": {}}).brief()["connections"]
        2
        """
        counts = {name: len(self[name]) for name in ("connections", "failed") if name in self}
        return copy.deepcopy({**self, **counts})

    def summary(self) -> str:
        """Return the most important values in a few words."""
        words = [f"fetched_at={self.fetched_at}"]
        if self.connections:
            words.append(counted(len(self.connections), "connection"))
        if self.failed:
            words.append(f"failed: {_first_labels(map(repr, self.failed))}")
        return plain("; ".join(words))

    def lines(self) -> list[str]:
        """Return a line for people on each thing they should know."""
        filters = ", ".join(f"{name}={value!r}" for name, value in self.filters.items())
        lines = [f"requested: {filters or 'all orders'}"]
        if self.limit is not None:
            lines.append(f"limit: the server's first {self.limit:,}")
        if self.connection:
            lines.append(f"connection: {self.connection}")
        if self.connections:
            several = counted(len(self.connections), "connection")
            lines.append(f"{several}: {_first_labels(self.connections)}")
        if self.fetched_at:
            lines.append(self._freshness())
        if self.duplicates:
            lines.append(f"{counted(self.duplicates, 'duplicate')} dropped")
        if self.pii != "keep":
            lines.append(f"personal data: pii={self.pii!r}")
        if self.failed:
            lines.append(f"FAILED, and missing or older: {self._failures()}")
        if not self.complete:
            lines.append("INCOMPLETE: the fetch broke before its end")
        return list(map(plain, lines))

    def warn_of_failed(self) -> None:
        """Warn the caller of this package if connections are missing from what was read."""
        if not self.failed:
            return
        failed, every = len(self.failed), len({*self.connections, *self.failed})
        warn(
            f"{failed:,} of {every:,} connections failed when this was written, and "
            f"{'is' if failed == 1 else 'are'} missing or older: {self._failures()}; "
            f"the same export or sync requests them again"
        )

    def _freshness(self) -> str:
        oldest = ", the oldest" if self.connections else ""
        return (
            f"fetched at {self.fetched_at}{oldest}: {counted(self.pages, 'page')}, "
            f"{self.from_cache:,} of them from disk, {counted(self.requests, 'request')}"
        )

    def _failures(self) -> str:
        return plain(", ".join(f"{label!r} ({words})" for label, words in self.failed.items()))


def rename_keys(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a deep copy in which keys of earlier versions have their names of today."""
    known = copy.deepcopy(dict(values))
    for each in (known, *known.get("connections", {}).values()):
        for old, new in _RENAMED.items():
            if old in each:
                each[new] = each.pop(old)
    return known


def join_infos(
    infos: Mapping[str, Mapping[str, Any]],
    *,
    requested: Collection[str] | None = None,
    failed: Mapping[str, str] = MappingProxyType({}),
) -> FetchInfo:
    """Join the metadata of several connections: as old as the oldest page of all.

    Parameters
    ----------
    infos
        Metadata by label.
    requested
        Connections whose counts are summed up; by default all.
    failed
        Connections of which nothing newer came, and why. They do not make the others older.
    """
    every = {label: FetchInfo(info) for label, info in infos.items()}
    first = next(iter(every.values()))  # has the whole limit; later ones what was left of it
    counts = [info for label, info in every.items() if requested is None or label in requested]
    fresh = [info for label, info in every.items() if label not in failed]
    return FetchInfo(
        {name: value for name, value in first.items() if name not in _OF_EACH},
        connection=None,
        **{
            name: min((info[name] for info in fresh if info[name]), default=None)
            for name in ("started_at", "fetched_at", "server_time")
        },
        **{name: sum(info[name] for info in counts) for name in _SUMS},
        complete=not failed and all(info.complete for info in every.values()),
        verified=not failed and all(info.verified for info in every.values()),
        connections={
            label: {name: info[name] for name in _OF_EACH if name in info}
            for label, info in every.items()
        },
        **({"failed": dict(failed)} if failed else {}),
    )


def _defaults() -> dict[str, Any]:
    return {
        "filters": {},
        "extra_params": {},
        "limit": None,
        "request_hash": None,
        "connection": None,
        "started_at": None,
        "fetched_at": None,
        "server_time": None,
        **dict.fromkeys(_SUMS, 0),
        "pii": "keep",
        "complete": True,
        "verified": False,
    }


def _first_labels(labels: Iterable[str]) -> str:
    """Name some labels, and count the others."""
    labels = list(labels)
    more = len(labels) - _MAX_LABELS
    return ", ".join(labels[:_MAX_LABELS]) + (f" and {more:,} more" if more > 0 else "")
