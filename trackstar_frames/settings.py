"""Every option of the client, once: name, default, environment variable, unit, meaning.

An option is the argument, else its environment variable, else its default. Nothing is
read at import.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import quote, urlsplit

from trackstar_frames.errors import CredentialsError, SettingsError, one_of

_ENDLESS = 1e9  # seconds
_SHORTEST_KEY = 16  # characters; a shorter key can be found by trying
_ODD_IN_URL = re.compile(r"[\x00-\x20\x7f?#\\]")

__all__ = [
    "FETCH_OPTIONS",
    "OPTIONS",
    "PII",
    "PII_KEY",
    "Credentials",
    "Masked",
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


class Masked(str):
    """A secret: its text is sent, and is never shown, formatted or pickled."""

    __slots__ = ()

    @classmethod
    def of(cls, text: Any) -> Any:
        """Mask a text, and let everything else pass."""
        return cls(str.strip(text)) if isinstance(text, str) else text

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
        for secret in sorted((self.access_token, self.api_key), key=len, reverse=True):
            for spelling in map(Masked, (secret, quote(secret, safe=""), json.dumps(secret)[1:-1])):
                text = text.replace(spelling, "***")
        return text

    def fingerprint(self, text: str) -> str:
        """Hash a text under both secrets: without them it is neither found nor made."""
        # In one expression: no variable of a frame holds the secrets in clear.
        key = hashlib.sha256(
            b"\0".join((self.api_key.encode(), self.access_token.encode()))
        ).digest()
        return hashlib.blake2b(text.encode(), key=key, digest_size=32).hexdigest()


def _secret(name: str, given: str | None) -> Masked:
    variable = OPTIONS[name].variable or ""
    text = Masked.of(os.environ.get(variable, "") if given is None else given)
    if not isinstance(text, Masked):
        raise CredentialsError(f"{name} must be a str, not {type(text).__name__}")
    if not text:
        raise CredentialsError(f"{name} is missing; pass {name}=... or set {variable}")
    if not (text.isascii() and text.isprintable()) or " " in text:
        raise CredentialsError(
            f"{name} holds a space or a character that a header cannot carry; "
            f"copy it again from where it was issued"
        )
    return text


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
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise SettingsError(f"base_url={url!r} is not a URL: {error}") from None
    if parts.scheme not in {"http", "https"} or not host or _ODD_IN_URL.search(url):
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


def pii_key(pii: object) -> Masked | None:
    """Check what is to become of personal data, and take the key that ``hash`` needs."""
    if not isinstance(pii, str) or pii not in PII:
        raise SettingsError(one_of("pii", pii, PII))
    if pii != "hash":
        return None
    key: Masked = Masked.of(os.environ.get(PII_KEY.variable or "", ""))
    if len(key) < _SHORTEST_KEY or not key.isprintable():
        raise SettingsError(
            f"pii='hash' needs a key in the environment variable {PII_KEY.variable}, which is "
            f"{'too short or holds control characters' if key else 'missing'}; give it at least "
            f"{_SHORTEST_KEY} characters, and keep it, as another key gives other hashes; to make "
            f'one: python -c "import secrets; print(secrets.token_hex(32))"'
        )
    return key


def check_source(*, refresh: object, offline: object, cache: bool) -> None:
    """Check that what is asked of the server and of the disk can be had together."""
    if flag("refresh", refresh) & flag("offline", offline):
        raise SettingsError("refresh=True asks the server, and offline=True forbids it; choose one")
    if offline and not cache:
        raise SettingsError("offline=True reads from disk, and this client has cache=False")
