"""Every option of the client, once: name, default, environment variable, unit, meaning.

An option is the argument, else its environment variable, else its default. Nothing is
read at import.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

import platformdirs

from trackstar_frames.errors import CredentialsError, SettingsError

_ENDLESS = 1e9  # seconds

__all__ = ["FETCH_OPTIONS", "OPTIONS", "Credentials", "Masked", "Option", "Settings"]


@dataclass(frozen=True, slots=True)
class Option:
    """One option of `TrackstarClient`."""

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
            Option("page_size", 1000, "Orders of one request, 1 to 1000."),
            Option("limit", None, "At most this many orders in all, as the server lists them."),
            Option("refresh", False, "Ask the server again, whatever is on disk."),
            Option("offline", False, "Read from disk only; what is not there raises."),
            Option("progress", None, "A bar; None shows one in terminals and notebooks only."),
            Option("extra_params", {}, "Query parameters that the filters do not know."),
            Option("snapshot", None, "A root folder to write a snapshot under as well."),
        )
    }
)


class Masked(str):
    """A secret: its text is sent, and is never shown, formatted or pickled."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"

    def __str__(self) -> str:
        return "***"

    def __format__(self, spec: str) -> str:
        return format("***", spec)

    def __reduce_ex__(self, protocol: object) -> Any:
        raise CredentialsError(
            "credentials are not pickled; build the client where it is used, from the environment"
        )


@dataclass(frozen=True, slots=True)
class Credentials:
    """The two headers that every request needs."""

    api_key: Masked
    access_token: Masked

    @classmethod
    def resolve(cls, api_key: str | None, access_token: str | None) -> Credentials:
        """Take what is given, else the environment."""
        return cls(_secret("api_key", api_key), _secret("access_token", access_token))

    def scrub(self, text: str) -> str:
        """Take the secrets out of a text that came from elsewhere."""
        for secret in (self.access_token, self.api_key):
            text = text.replace(secret, "***")
        return text


def _secret(name: str, given: str | None) -> Masked:
    variable = OPTIONS[name].variable or ""
    text = os.environ.get(variable, "") if given is None else given
    if not isinstance(text, str):
        raise CredentialsError(f"{name} must be a str, not {type(text).__name__}")
    text = str.strip(text)
    if not text:
        raise CredentialsError(f"{name} is missing; pass {name}=... or set {variable}")
    if not (text.isascii() and text.isprintable()) or " " in text:
        raise CredentialsError(
            f"{name} holds a space or a character that a header cannot carry; "
            f"copy it again from where it was issued"
        )
    return Masked(text)


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
        if not isinstance(given["cache"], bool):
            raise SettingsError(f"cache={given['cache']!r} must be True or False")
        rate_limit = given["rate_limit"]
        return cls(
            base_url=_base_url(_or_environment("base_url", given["base_url"])),
            connection=connection,
            cache=given["cache"],
            cache_dir=cache_dir(given["cache_dir"]),
            expire_after=_number("expire_after", given["expire_after"], above=0),
            rate_limit=None if rate_limit is None else whole("rate_limit", rate_limit, low=1),
            timeout=_number("timeout", given["timeout"], above=0),
            retries=whole("retries", given["retries"], low=0),
            max_wait=_number("max_wait", given["max_wait"], above=-1),
        )


def cache_dir(given: str | os.PathLike[str] | None = None) -> Path:
    """Tell the folder of the cache: argument, else environment, else the user's own."""
    chosen = _or_environment("cache_dir", given)
    if chosen is None:
        return platformdirs.user_cache_path("trackstar_frames", appauthor=False)
    if not isinstance(chosen, (str, os.PathLike)):
        raise SettingsError(f"cache_dir={chosen!r} must be a path")
    return Path(chosen).expanduser().absolute()


def _or_environment(name: str, given: Any) -> Any:
    option = OPTIONS[name]
    if given is not None:
        return given
    return os.environ.get(option.variable or "") or option.default


def _base_url(url: object) -> str:
    if not isinstance(url, str):
        raise SettingsError(f"base_url={url!r} must be a str")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise SettingsError(f"base_url={url!r} is not a URL: {error}") from None
    if "@" in parts.netloc:
        raise SettingsError("base_url holds a user or password; pass credentials as api_key=...")
    if parts.scheme not in {"http", "https"} or not host or parts.query or parts.fragment:
        raise SettingsError(
            f"base_url={url!r} must look like 'https://host' or 'https://host/path'"
        )
    if parts.scheme == "http" and not _is_loopback(host):
        raise SettingsError(
            f"base_url={url!r} would send the credentials in clear; use https "
            f"(plain http is for loopback only)"
        )
    return url.rstrip("/")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _number(name: str, value: object, *, above: float) -> float:
    good = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not good or not above < value < _ENDLESS:  # type: ignore[operator]
        unit = OPTIONS[name].unit
        raise SettingsError(f"{name}={value!r} must be a finite number of {unit} above {above}")
    return float(value)  # type: ignore[arg-type]


def whole(name: str, value: object, *, low: int, high: int | None = None) -> int:
    """Check that an option is a whole number within its bounds."""
    good = isinstance(value, int) and not isinstance(value, bool)
    if not good or value < low or (high is not None and value > high):  # type: ignore[operator]
        span = f"of at least {low}" if high is None else f"from {low} to {high}"
        raise SettingsError(f"{name}={value!r} must be a whole number {span}")
    return value  # type: ignore[return-value]
