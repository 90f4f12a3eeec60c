"""Every option of the client, once: name, default, environment variable, unit, meaning.

An option is the argument, else its environment variable, else its default. Nothing is
read at import.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from urllib3.exceptions import LocationParseError
from urllib3.util import parse_url

from trackstar_frames.errors import SettingsError

_ENDLESS = 1e9  # seconds
_PORTS = {"http": 80, "https": 443}
_ODD_IN_URL = re.compile(r"[\x00-\x20\x7f?#\\]")

# A scheme has two letters at least: one alone is a drive of Windows.
_SCHEMES = "s3[an]?|gc?s|az|adl|abfss?|wasbs?|(?:web)?hdfs|file|dbfs|https?|s?ftp|ssh|smb|oss"
_URL = re.compile(
    r"\s*([a-z][a-z0-9+.:-]+):(?:[/\\]|\s*$)"  # pathlib writes "s3://bucket" as "s3:/bucket"
    rf"|\s*({_SCHEMES}):"
    rf"|.*[/\\]({_SCHEMES}):(?:[/\\]|$)"  # os.path.abspath, as "/where/ever/s3:/bucket"
    r"|.*?([a-z0-9+.-]{2,})://",
    re.IGNORECASE | re.DOTALL,
)

__all__ = [
    "FETCH_OPTIONS",
    "OPTIONS",
    "PII",
    "PII_KEY",
    "Option",
    "Settings",
    "local_file",
    "local_folder",
]


@dataclass(frozen=True, slots=True)
class Option:
    """One option of `TrackstarClient` or of the fetch functions."""

    name: str
    default: object
    meaning: str
    unit: str = ""
    variable: str | None = None


#: All options of `TrackstarClient`, in the order of its signature.
OPTIONS: Mapping[str, Option] = MappingProxyType(
    {
        option.name: option
        for option in (
            Option("api_key", None, "The organisation's key.", variable="TRACKSTAR_API_KEY"),
            Option(
                "access_token", None, "One connection's token.", variable="TRACKSTAR_ACCESS_TOKEN"
            ),
            Option(
                "base_url",
                "https://production.trackstarhq.com",
                "Where the API is; https, or http on loopback.",
                variable="TRACKSTAR_BASE_URL",
            ),
            Option("connection", None, "A label for the data; never a secret."),
            Option("cache", True, "Whether answers are kept on disk."),
            Option(
                "cache_dir",
                None,
                "The folder of the cache; by default the user's cache folder.",
                variable="TRACKSTAR_CACHE_DIR",
            ),
            Option("expire_after", 3600, "How long an answer stays on disk.", "seconds"),
            Option("rate_limit", 10, "Requests a second; None is no limit.", "1/second"),
            Option("timeout", 30, "How long to wait for one answer.", "seconds"),
            Option("retries", 5, "How often one request is tried again."),
            Option("max_wait", 30, "Waiting in all, between the tries of one page.", "seconds"),
        )
    }
)


#: What the fetch functions take beside filters.
FETCH_OPTIONS: Mapping[str, Option] = MappingProxyType(
    {
        option.name: option
        for option in (
            Option("client", None, "Whom to ask; by default a client of the environment."),
            Option("connections", None, "Several instead: label and source of each token."),
            Option("page_size", 1000, "Orders of one request, 1 to 1000."),
            Option("limit", None, "At most this many orders in all, as the server lists them."),
            Option("workers", 8, "Cursor chains that are read side by side, 1 to 32."),
            Option("refresh", False, "Ask the server again, whatever is on disk."),
            Option("offline", False, "Read from disk only; what is not there raises."),
            Option("verify", False, "Read until two readings agree, or raise."),
            Option("progress", None, "A bar; None shows one in terminals and notebooks only."),
            Option("pii", "keep", "What becomes of personal data: keep, drop or hash."),
            Option("extra_params", {}, "Query parameters that the filters do not know."),
            Option("snapshot", None, "A root folder to write a snapshot under as well."),
            Option("dtype_backend", None, "Types of the frames: None for pandas', or 'pyarrow'."),
        )
    }
)

#: What `pii` may be.
PII = ("keep", "drop", "hash")

#: Never an argument: it would stand in notebooks and in the shell's history.
PII_KEY = Option(
    "pii_key", None, "The key of pii='hash'; a long random text.", variable="TRACKSTAR_PII_KEY"
)


@dataclass(frozen=True, slots=True)
class Settings:
    """The options of one client, resolved and checked; holds no secret."""

    base_url: str
    connection: str | None
    cache: bool
    cache_dir: Path | None  # None without a cache: it needs no home
    expire_after: float
    rate_limit: int | None
    timeout: float
    retries: int
    max_wait: float

    @classmethod
    def resolve(cls, **given: Any) -> Settings:
        """Fill in the environment and the defaults, and check every value.

        Raises
        ------
        SettingsError
            If a value is of the wrong kind, out of range or unsafe.
        """
        connection = given["connection"]
        if not (connection is None or (isinstance(connection, str) and connection)):
            raise SettingsError(f"connection={connection!r} must be a label (str), or None")
        if connection is not None and _is_broken(connection):
            raise SettingsError(f"connection={connection!r} is not UTF-8; give another label")
        rate_limit = given["rate_limit"]
        has_cache, folder = flag("cache", given["cache"]), given["cache_dir"]
        if has_cache or folder is not None:
            folder = cache_dir(folder)
        return cls(
            base_url=_base_url(_or_environment("base_url", given["base_url"])),
            connection=connection,
            cache=has_cache,
            cache_dir=folder if has_cache else None,
            expire_after=_seconds("expire_after", given["expire_after"]),
            rate_limit=None
            if rate_limit is None
            else whole("rate_limit", rate_limit, low=1, high=1000),
            timeout=_seconds("timeout", given["timeout"]),
            retries=whole("retries", given["retries"], low=0),
            max_wait=_seconds("max_wait", given["max_wait"], may_be_zero=True),
        )


def cache_dir(given: str | os.PathLike[str] | None = None) -> Path:
    """Tell the folder of the cache: argument, else environment, else the user's own."""
    chosen = _or_environment("cache_dir", given)
    if chosen is not None:
        return local_folder(chosen, "cache_dir")
    import platformdirs  # noqa: PLC0415  (only where nobody says which)

    with suppress(RuntimeError):  # older platformdirs give a folder named "~" instead
        own = platformdirs.user_cache_path("trackstar_frames", appauthor=False)
        if own.is_absolute():
            return own
    raise SettingsError(
        "this user has no home folder, and so no cache folder; set TRACKSTAR_CACHE_DIR, or pass "
        "cache_dir=... or cache=False"
    )


def local_folder(given: object, name: str) -> Path:
    """Make the path of a folder absolute, and ``~`` the user's home; nothing need be there.

    Parameters
    ----------
    given
        What a user passes as a path.
    name
        What the user calls it.

    Raises
    ------
    SettingsError
        If it is no path, or a URL: a folder of that name would be made in its stead.

    Examples
    --------
    >>> local_folder("s3://bucket/orders", "root")
    Traceback (most recent call last):
    trackstar_frames.errors.SettingsError: root is a URL (s3:), and must be the path of a local \
folder, such as 'snapshots' or '/data/snapshots'
    """
    text = os.fspath(given) if isinstance(given, (str, os.PathLike)) else None
    if not isinstance(text, str) or not text.strip() or "\0" in text:
        raise SettingsError(f"{name}={given!r} must be the path of a folder")
    _refuse_url(text, name, "local folder, such as 'snapshots' or '/data/snapshots'")
    try:
        folder = Path(text).expanduser().absolute()
    except (RuntimeError, OSError) as error:  # no such user, or the current folder is gone
        raise SettingsError(f"{name}={text!r} cannot be found: {error}") from None
    if _is_broken(str(folder)):
        raise SettingsError(
            f"{name}={str(folder)!r} is not UTF-8, so that neither Parquet nor JSON can name it; "
            f"use a folder with another name"
        )
    return folder


def local_file(given: os.PathLike[Any], name: str) -> Path:
    """Make the ``~`` of a file's path the user's home.

    Raises
    ------
    SettingsError
        If it is a URL: no file has that name, and the fault would show a password in it.
    """
    text = os.fsdecode(given)
    _refuse_url(text, name, "local file")
    try:
        return Path(text).expanduser()
    except RuntimeError as error:  # no such user
        raise SettingsError(f"{name}={text!r} cannot be found: {error}") from None


def _refuse_url(text: str, name: str, instead: str) -> None:
    if scheme := _scheme(text):
        # Never the whole of it: a URL may hold a password, or a signature.
        raise SettingsError(f"{name} is a URL ({scheme}:), and must be the path of a {instead}")


def _is_broken(text: str) -> bool:
    """Tell whether a text has halves of characters, as what is not UTF-8 comes to have."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _scheme(text: str) -> str | None:
    """Find the scheme of a URL, or of one that pathlib has made a path of; None of a path."""
    found = _URL.match(text)
    return None if found is None else found[found.lastindex or 0]


def _or_environment(name: str, given: Any) -> Any:
    option = OPTIONS[name]
    if given is not None:
        return given
    return os.environ.get(option.variable or "") or option.default


def _base_url(url: object) -> str:
    if not isinstance(url, str):
        raise SettingsError(f"base_url={url!r} must be a str")
    if "@" in url:
        raise SettingsError("base_url holds a user or password; pass credentials as api_key=...")
    shown = re.sub(r"[?#].+", "?...", url, flags=re.DOTALL)  # some write keys there
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise SettingsError(f"base_url={shown!r} is not a URL: {error}") from None
    if parts.scheme not in {"http", "https"} or not host or _ODD_IN_URL.search(url):
        raise SettingsError(
            f"base_url={shown!r} must look like 'https://host' or 'https://host/path'"
        )
    if parts.scheme == "http" and not _is_loopback(host):
        raise SettingsError(
            f"base_url={shown!r} would send the credentials in clear; use https "
            f"(plain http is for loopback only)"
        )
    return _canonical(url)


def _canonical(url: str) -> str:
    """Spell a URL as it is sent: one server has one name, whatever is looked up by it."""
    try:
        parts = parse_url(url)
    except LocationParseError:
        raise SettingsError(
            f"base_url={url!r} is not a URL: its host is no name that can be looked up"
        ) from None
    port = None if parts.port == _PORTS[parts.scheme or ""] else parts.port
    return parts._replace(port=port).url.rstrip("/")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _seconds(name: str, value: object, *, may_be_zero: bool = False) -> float:
    good = isinstance(value, Real) and not isinstance(value, bool)
    if good and (0 < value < _ENDLESS or (may_be_zero and value == 0)):  # type: ignore[operator]
        return float(value)  # type: ignore[arg-type]
    least = "of at least 0" if may_be_zero else "above 0"
    raise SettingsError(f"{name}={value!r} must be a finite number of seconds {least}")


def whole(name: str, value: object, *, low: int, high: int | None = None) -> int:
    """Check that an option is a whole number within its bounds."""
    good = isinstance(value, Integral) and not isinstance(value, bool)
    if not good or value < low or (high is not None and value > high):  # type: ignore[operator]
        span = f"of at least {low}" if high is None else f"from {low} to {high}"
        raise SettingsError(f"{name}={value!r} must be a whole number {span}")
    return int(value)  # type: ignore[call-overload,no-any-return]


def flag(name: str, value: object) -> bool:
    """Check that an option is a truth value, and not a word that happens to be true."""
    if not isinstance(value, bool):
        raise SettingsError(f"{name}={value!r} must be True or False")
    return value


def check_source(*, refresh: object, offline: object, cache: bool) -> None:
    """Check that what is asked of the server and of the disk can be had together."""
    if flag("refresh", refresh) & flag("offline", offline):
        raise SettingsError("refresh=True asks the server, and offline=True forbids it; choose one")
    if offline and not cache:
        raise SettingsError("offline=True reads from disk, and this client has cache=False")
