"""Options of the client, and the credentials that are never shown."""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import os
import re
import unicodedata
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from html import unescape
from html.entities import html5
from numbers import Integral, Real
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from urllib3.exceptions import LocationParseError
from urllib3.util import parse_url

from trackstar_frames.errors import CredentialsError, SettingsError, one_of

_MAX_SECONDS = 1e9
_PORTS = {"http": 80, "https": 443}
_INVALID_IN_URL = re.compile(r"[\x00-\x20\x7f?#\\]")

# A scheme has two letters at least: one alone is a drive of Windows.
_SCHEMES = "s3[an]?|gc?s|az|adl|abfss?|wasbs?|(?:web)?hdfs|file|dbfs|https?|s?ftp|ssh|smb|oss"
_URL = re.compile(
    r"\s*([a-z][a-z0-9+.:-]+):(?:[/\\]|\s*$)"  # pathlib writes "s3://bucket" as "s3:/bucket"
    rf"|\s*({_SCHEMES}):"
    rf"|.*[/\\]({_SCHEMES}):(?:[/\\]|$)"  # os.path.abspath, as "/where/ever/s3:/bucket"
    r"|.*?([a-z0-9+.-]{2,})://",
    re.IGNORECASE | re.DOTALL,
)

_BASE_URL = "https://production.trackstarhq.com"

#: The options of the fetch functions, whose other arguments are filters.
FETCH_OPTIONS = (
    *("client", "connections", "page_size", "limit", "max_workers", "refresh", "offline"),
    *("verify", "progress", "pii", "extra_params", "snapshot", "dtype_backend"),
)

#: The values of the option `pii`.
PII = ("keep", "drop", "hash")

#: Never an argument: it would be kept in notebooks and in the shell's history.
PII_VARIABLE = "TRACKSTAR_PII_KEY"


@dataclass(frozen=True, slots=True)
class Settings:
    """The options of one client, resolved and checked; holds no secret."""

    base_url: str
    connection: str | None
    cache: bool
    cache_dir: Path | None  # None without a cache, which needs no home folder
    expire_after: float
    rate_limit: int | None
    timeout: float
    retries: int
    max_wait: float

    @classmethod
    def resolve(cls, **given: Any) -> Settings:
        """Fill in the environment and the defaults, and check every value."""
        connection = given["connection"]
        if not (connection is None or (isinstance(connection, str) and connection)):
            raise SettingsError(f"connection={connection!r} must be a label (str), or None")
        if connection is not None and not _is_utf8(connection):
            raise SettingsError(f"connection={connection!r} is not UTF-8; give another label")
        rate_limit = given["rate_limit"]
        if rate_limit is not None:
            rate_limit = check_int("rate_limit", rate_limit, low=1, high=1000)
        has_cache, folder = check_bool("cache", given["cache"]), given["cache_dir"]
        if has_cache or folder is not None:
            folder = cache_dir(folder)
        return cls(
            base_url=_base_url(_or_environment("base_url", given["base_url"], _BASE_URL)),
            connection=connection,
            cache=has_cache,
            cache_dir=folder if has_cache else None,
            expire_after=_seconds("expire_after", given["expire_after"]),
            rate_limit=rate_limit,
            timeout=_seconds("timeout", given["timeout"]),
            retries=check_int("retries", given["retries"], low=0),
            max_wait=_seconds("max_wait", given["max_wait"], may_be_zero=True),
        )


def cache_dir(given: str | os.PathLike[str] | None = None) -> Path:
    """Return the folder of the cache: argument, else environment, else the user's own."""
    chosen = _or_environment("cache_dir", given)
    if chosen is not None:
        return local_folder(chosen, "cache_dir")
    import platformdirs  # noqa: PLC0415  (slow, and not always needed)

    with suppress(RuntimeError):  # older platformdirs give a folder named "~" instead
        own = platformdirs.user_cache_path("trackstar_frames", appauthor=False)
        if own.is_absolute():
            return own
    raise SettingsError(
        "this user has no home folder, and so no cache folder; set TRACKSTAR_CACHE_DIR, or pass "
        "cache_dir=... or cache=False"
    )


def local_folder(given: object, name: str) -> Path:
    """Return the absolute path of a local folder, which need not exist; expands ``~``."""
    text = os.fspath(given) if isinstance(given, (str, os.PathLike)) else None
    if not isinstance(text, str) or not text.strip() or "\0" in text:
        raise SettingsError(f"{name}={given!r} must be the path of a folder")
    # A folder with the name of the URL would be made instead.
    _refuse_url(text, name, "local folder, such as 'snapshots' or '/data/snapshots'")
    try:
        folder = Path(text).expanduser().absolute()
    except (RuntimeError, OSError) as error:  # no such user, or the current folder is gone
        raise SettingsError(f"{name}={text!r} cannot be found: {error}") from None
    if not _is_utf8(str(folder)):
        raise SettingsError(
            f"{name}={str(folder)!r} is not UTF-8, so that neither Parquet nor JSON can name it; "
            f"use a folder with another name"
        )
    return folder


def local_file(given: os.PathLike[Any], name: str) -> Path:
    """Expand the ``~`` of a file's path; SettingsError if it is a URL: it may hold a password."""
    text = os.fsdecode(given)
    _refuse_url(text, name, "local file")
    try:
        return Path(text).expanduser()
    except RuntimeError as error:  # no such user
        raise SettingsError(f"{name}={text!r} cannot be found: {error}") from None


def _refuse_url(text: str, name: str, instead: str) -> None:
    """Refuse a URL, or one that pathlib has made a path."""
    if found := _URL.match(text):
        scheme = found[found.lastindex or 0]  # the URL may hold a password, or a signature
        raise SettingsError(f"{name} is a URL ({scheme}:), and must be the path of a {instead}")


def _is_utf8(text: str) -> bool:
    """Return whether a text has no lone surrogates, which stand for bytes that are not UTF-8."""
    return not re.search("[\ud800-\udfff]", text)


def _variable(name: str) -> str:
    """Return the environment variable of an option, such as TRACKSTAR_API_KEY."""
    return f"TRACKSTAR_{name.upper()}"


def _or_environment(name: str, given: Any, default: str | None = None) -> Any:
    return given if given is not None else os.environ.get(_variable(name)) or default


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
    if parts.scheme not in {"http", "https"} or not host or _INVALID_IN_URL.search(url):
        raise SettingsError(
            f"base_url={shown!r} must look like 'https://host' or 'https://host/path'"
        )
    if parts.scheme == "http" and not _is_loopback(host):
        raise SettingsError(
            f"base_url={shown!r} would send the credentials in clear; use https "
            f"(plain http is for loopback only)"
        )
    try:  # spelt as it is sent, so that one server has one name as a key
        sent = parse_url(url)
    except LocationParseError:
        raise SettingsError(
            f"base_url={url!r} is not a URL: its host cannot be looked up"
        ) from None
    port = None if sent.port == _PORTS[parts.scheme] else sent.port
    return sent._replace(port=port).url.rstrip("/")


def _is_loopback(host: str) -> bool:
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def _seconds(name: str, value: object, *, may_be_zero: bool = False) -> float:
    good = isinstance(value, Real) and not isinstance(value, bool)
    if good and (0 < value < _MAX_SECONDS or (may_be_zero and value == 0)):  # type: ignore[operator]
        return float(value)  # type: ignore[arg-type]
    least = "of at least 0" if may_be_zero else "above 0"
    raise SettingsError(f"{name}={value!r} must be a finite number of seconds {least}")


def check_int(name: str, value: object, *, low: int, high: int | None = None) -> int:
    """Check that an option is a whole number within its bounds."""
    good = isinstance(value, Integral) and not isinstance(value, bool)
    if not good or value < low or (high is not None and value > high):  # type: ignore[operator]
        span = f"of at least {low}" if high is None else f"from {low} to {high}"
        raise SettingsError(f"{name}={value!r} must be a whole number {span}")
    return int(value)  # type: ignore[call-overload,no-any-return]


def check_bool(name: str, value: object) -> bool:
    """Check that an option is True or False, and not another value that is true."""
    if not isinstance(value, bool):
        raise SettingsError(f"{name}={value!r} must be True or False")
    return value


def check_source(*, refresh: object, offline: object, cache: bool) -> None:
    """Check that `refresh` and `offline` agree with each other and with the cache."""
    if check_bool("refresh", refresh) & check_bool("offline", offline):
        raise SettingsError(
            "refresh=True requests every page again, and offline=True forbids it; choose one"
        )
    if offline and not cache:
        raise SettingsError("offline=True reads from disk, and this client has cache=False")


_MIN_KEY = 16  # characters; a shorter key can be found by trying
_MAX_DECODINGS = 20  # of one text
# Escapes of JSON, code, JavaScript's URLs and mails (quoted-printable).
_CODE = re.compile(
    r"(?:\\(?:U0{4}|u)|%u)([0-9a-f]{4})|(?:\\x|=)([0-9a-f]{2})"
    r"|\\[ux]\{0*([0-9a-f]{1,4})\}|\\([0-3][0-7]{2})",
    re.IGNORECASE,
)
# Bytes as Go and Java print them: [75 69 89], 0x4b, 0x45.
_NUMBERS = re.compile(r"(?:(?:0x[0-9a-f]{2}|[1-9][0-9]{1,2})[\s,]+){7,}[0-9a-fx]+", re.IGNORECASE)
_NUMBER = re.compile(r"(?:0x([0-9a-f]{2})|([0-9]{1,3}))[\s,]*", re.IGNORECASE)
_BASE64 = re.compile(r"[a-z0-9+/_-]{16,}", re.IGNORECASE)
_BYTES = re.compile(r"[\xc2-\xf4][\x80-\xbf]+")  # of UTF-8, each decoded as one letter
_COLOURS = re.compile(r"\x1b\[[0-9;]*[a-z]", re.IGNORECASE)  # of a terminal
_untagged = partial(re.compile(r"<[^<>]*>").sub, "")  # without tags
# Leading zeros of a character's number in HTML, or more digits than one has: Python refuses to
# read thousands.
_LONG_NUMBER = re.compile(r"(&#x?)0+(?=[0-9a-f])|&#x?[1-9a-f][0-9a-f]{20,}", re.IGNORECASE)
_MAX_TEXT, _CUT_END = 20_000, 2_000  # characters of a text that is searched, and of its cut end
_MIN_SECRET = 12  # characters of a secret that is not part of a word by chance
_MIN_ENCODED = 8  # characters; fewer are found where they mean something else


class Masked(str):
    """A secret: its text is sent, and is never shown, formatted or pickled."""

    __slots__ = ()

    @classmethod
    def of(cls, text: Any) -> Any:
        """Mask a text, and return anything else as it is."""
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
        """Take the arguments, else the environment."""
        return cls(_secret("api_key", api_key), _secret("access_token", access_token))

    def scrub(self, text: str) -> str:
        """Remove the secrets from a text, however they are spelt or encoded."""
        if len(text) > _MAX_TEXT:  # searching takes time; a secret cut in two stands at the end
            return self.scrub(text[:_MAX_TEXT])[:-_CUT_END] + "..."
        for secret in sorted((self.access_token, self.api_key), key=len, reverse=True):
            spellings = _spellings(secret)
            text = re.sub(spellings, "***", text, flags=re.IGNORECASE)
            for each in _decodings(text):
                if re.search(spellings, each, re.IGNORECASE) or _resembles(each, secret):
                    return "***"  # escaped more than once: show none of it
        return text

    def are_in(self, body: bytes) -> bool:
        """Return whether a JSON body repeats a secret; a short one may be part of any word."""
        secrets = (self.access_token, self.api_key)
        return any(
            len(each) >= _MIN_SECRET and re.search(_in_json(each).encode(), body) is not None
            for each in secrets
        )

    def fingerprint(self, text: str) -> str:
        """Hash a text with both secrets as the key."""
        # In one expression: no variable of a frame holds the secrets in clear.
        key = hashlib.sha256(
            b"\0".join((self.api_key.encode(), self.access_token.encode()))
        ).digest()
        return hashlib.blake2b(text.encode(), key=key, digest_size=32).hexdigest()


def _decodings(text: str) -> list[str]:
    """Return a text and what it decodes to, by one encoding after the other, up to a limit."""
    decodings = [text]
    for number in range(_MAX_DECODINGS):
        for undo in (_joined, _untagged, _from_html, unquote, _uncoded, _from_base64):
            plain = undo(decodings[number])
            if plain not in decodings:
                decodings.append(plain)
        if len(decodings) == number + 1:
            break
    return decodings


def _joined(text: str) -> str:
    """Join what blanks and line ends cut up, even within an escape."""
    text = _BYTES.sub(lambda found: found[0].encode("latin-1").decode(errors="replace"), text)
    return re.sub(rf"{_BLANK}|(?<!\\){_LINE_END}", "", text, flags=re.IGNORECASE)


def _from_html(text: str) -> str:
    return unescape(_LONG_NUMBER.sub(r"\1", text))


def _uncoded(text: str) -> str:
    """Decode the escapes of code, and lists of bytes as numbers."""

    def decoded(found: re.Match[str]) -> str:
        octal, hexadecimal = found[4], found[1] or found[2] or found[3]
        return chr(int(octal, 8) if octal else int(hexadecimal, 16))

    def character(found: re.Match[str]) -> str:
        return chr(int(found[1], 16) if found[1] else int(found[2]))

    return _CODE.sub(decoded, _NUMBERS.sub(lambda found: _NUMBER.sub(character, found[0]), text))


def _from_base64(text: str) -> str:
    """Decode whatever may be base64; what is not becomes meaningless letters."""

    def decode(found: re.Match[str]) -> str:
        text = found[0][: len(found[0]) // 4 * 4]
        url_safe = "-_" if set("-_") & set(text) else None
        return base64.b64decode(text, altchars=url_safe).decode(errors="replace")

    return _BASE64.sub(decode, text)


def _resembles(text: str, secret: Masked) -> bool:
    """Return whether a text has a secret cut up by quotes, commas, accents or tags, or cut short.

    Short secrets are not looked for: words may resemble them by chance.
    """
    letters = _letters(secret)
    most = max(_MIN_SECRET, len(letters) * 3 // 4)
    shown = (_letters(text), _letters(_untagged(text)))
    parts = (letters[:most], letters[-most:], Masked.of(secret.encode().hex()))
    return any(len(each) >= _MIN_SECRET and each in text for each in parts for text in shown)


def _letters(text: str) -> Masked:
    """Return the letters and digits of a text, in lower case; masked, as it may be a secret."""
    # In one expression: no variable of a frame holds a secret in clear.
    return Masked(
        re.sub(r"[^a-z0-9]", "", unicodedata.normalize("NFKD", _COLOURS.sub("", text)).lower())
    )


def _in_json(secret: Masked) -> Masked:
    """Return a pattern that finds a secret in JSON, where all but letters may be escaped."""

    def escaped(found: re.Match[str]) -> str:
        return rf"(?:\\?{re.escape(found[0])}|\\u(?i:{ord(found[0]):04x}))"

    return Masked(re.sub(r"\W", escaped, secret))


def _spellings(secret: Masked) -> Masked:
    """Return a pattern that finds a secret in clear, escaped, in base64 and in hexadecimals."""
    # Masked as the secret is: `re` keeps the pattern, and tracebacks may show it.
    spaced = Masked.of(secret.replace("+", " "))
    # As it is, and as it is read if taken for escaped: ``a%2Fb`` as ``a/b``.
    decoded = {Masked.of(each) for text in (secret, spaced) for each in _decodings(text)}
    words = (decoded - {Masked()}) | _encoded(secret)
    return Masked("|".join(_escaped(word) for word in sorted(words, key=len, reverse=True)))


def _encoded(secret: Masked) -> set[Masked]:
    """Encode a secret; of base64, the part that does not depend on the text around it."""
    words = {Masked(secret.encode().hex())}
    for shift, first in ((0, 0), (1, 2), (2, 3)):
        part = slice(first, (shift + len(secret)) * 8 // 6)
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            words |= {Masked(encode(bytes(shift) + secret.encode())[part].decode())}
    return {word for word in words if len(word) >= _MIN_ENCODED}


def _escaped(word: Masked) -> str:
    """Return a pattern that finds a word escaped for JSON, URLs, HTML or code, in any mixture."""
    first, *others = re.findall(r"\\+|[^\\]", word)
    return _spelt(first) + "".join(
        # Escapes may be escaped again, by backslashes before any character but a backslash.
        f"{_GAP}{_spelt(each)}" if each[0] == "\\" else rf"{_GAP}\\*+{_spelt(each)}"
        for each in others
    )


def _spelt(char: str) -> str:
    """Return a pattern of one character, or of some backslashes, as escapes double them."""
    code, hexa = ord(char[0]), f"{ord(char[0]):02x}"
    names = "".join(f"|{re.escape(name)}" for name in _ENTITIES.get(char[0], ()))
    entity = f"&(?:amp;)*(?:#0*{code};?|#x0*{hexa};?{names})"
    spellings = rf"{entity}|%(?:25)*{hexa}|u00{hexa}|x{hexa}|{re.escape(char[0])}"
    return rf"(?:(?:{spellings})\s*+)++" if char[0] == "\\" else f"(?:{spellings})"


#: Blanks, escaped or not, and invisible characters; escaped line ends; tags such as ``<br>``.
_BLANK = (
    r"[\s\x00-\x1f\x7f-\x9f\xad\u200b-\u200f\u2060\ufeff]|=(?=[\r\n])"
    r"|%(?:25)*(?:20|09|0a|0d)"
)
_LINE_END = r"\\++[nrt]"
_GAP = rf"(?:{_BLANK}|{_LINE_END}|<(?:\\*/)?[a-z]{{1,8}} ?(?:\\*/)?>)*"
#: The names of characters in HTML.
_ENTITIES: dict[str, list[str]] = {}
for _name, _text in html5.items():
    if _name.endswith(";"):
        _ENTITIES.setdefault(_text, []).append(_name)


def _secret(name: str, given: str | None) -> Masked:
    variable = _variable(name)
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


def pii_key(pii: object) -> Masked | None:
    """Check the option `pii`, and return the key that ``hash`` needs."""
    if not isinstance(pii, str) or pii not in PII:
        raise SettingsError(one_of("pii", pii, PII))
    if pii != "hash":
        return None
    key: Masked = Masked.of(os.environ.get(PII_VARIABLE, ""))
    if len(key) < _MIN_KEY or not key.isprintable():
        raise SettingsError(
            f"pii='hash' needs a key in the environment variable {PII_VARIABLE}, which is "
            f"{'too short or holds control characters' if key else 'missing'}; give it at least "
            f"{_MIN_KEY} characters, and keep it, as another key gives other hashes; to make "
            f'one: python -c "import secrets; print(secrets.token_hex(32))"'
        )
    return key
