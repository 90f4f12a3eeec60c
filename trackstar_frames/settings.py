"""Every option of the client, once: name, default, environment variable, unit, meaning.

An option is the argument, else its environment variable, else its default. Nothing is
read at import.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
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

__all__ = [
    "FETCH_OPTIONS",
    "OPTIONS",
    "PII",
    "PII_KEY",
    "Option",
    "Settings",
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
    cache_dir: Path
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
        rate_limit = given["rate_limit"]
        return cls(
            base_url=_base_url(_or_environment("base_url", given["base_url"])),
            connection=connection,
            cache=flag("cache", given["cache"]),
            cache_dir=cache_dir(given["cache_dir"]),
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
    if chosen is None:
        import platformdirs  # noqa: PLC0415  (only where nobody says which)

        return platformdirs.user_cache_path("trackstar_frames", appauthor=False)
    if not isinstance(chosen, (str, os.PathLike)) or str(chosen) == "" or "\0" in str(chosen):
        raise SettingsError(f"cache_dir={chosen!r} must be the path of a folder")
    try:
        return Path(chosen).expanduser().absolute()
    except RuntimeError as error:
        raise SettingsError(f"cache_dir={chosen!r} is nobody's folder: {error}") from None


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
