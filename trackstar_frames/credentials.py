"""What is never shown: the two credentials of a client, and the key of hashed personal data."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from html import unescape
from html.entities import html5
from typing import Any
from urllib.parse import unquote

from trackstar_frames.errors import CredentialsError, SettingsError, one_of
from trackstar_frames.settings import OPTIONS, PII, PII_KEY

__all__ = ["Credentials", "Masked", "pii_key"]

_SHORTEST_KEY = 16  # characters; a shorter key can be found by trying
_READINGS = 20  # of one text
# As JSON, code, URLs of JavaScript and mails (quoted-printable) have it.
_CODE = re.compile(
    r"(?:\\(?:U0{4}|u)|%u)([0-9a-f]{4})|(?:\\x|=)([0-9a-f]{2})"
    r"|\\[ux]\{0*([0-9a-f]{1,4})\}|\\([0-3][0-7]{2})",
    re.IGNORECASE,
)
# Bytes as Go and Java print them: [75 69 89], 0x4b, 0x45.
_NUMBERS = re.compile(r"(?:(?:0x[0-9a-f]{2}|[1-9][0-9]{1,2})[\s,]+){7,}[0-9a-fx]+", re.IGNORECASE)
_NUMBER = re.compile(r"(?:0x([0-9a-f]{2})|([0-9]{1,3}))[\s,]*", re.IGNORECASE)
_BASE64 = re.compile(r"[a-z0-9+/_-]{16,}", re.IGNORECASE)
_BYTES = re.compile(r"[\xc2-\xf4][\x80-\xbf]+")  # of UTF-8, each as a letter
_COLOURS = re.compile(r"\x1b\[[0-9;]*[a-z]", re.IGNORECASE)  # of a terminal
_TAGS = re.compile(r"<[^<>]*>")
# Zeros before the number of a character in HTML, or more digits than one has: Python reads no
# number of thousands.
_LONG_NUMBER = re.compile(r"(&#x?)0+(?=[0-9a-f])|&#x?[1-9a-f][0-9a-f]{20,}", re.IGNORECASE)
_LONGEST, _CUT = 20_000, 2_000  # characters of a text that is searched, and of its end
_LONG_ENOUGH = 12  # characters of a secret that is no part of a word
_SHORTEST_ENCODED = 8  # characters; fewer are found where they mean something else


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
        """Take the secrets out of a text that came from elsewhere, however it spells them.

        The end of a long one is left out: what is looked for takes time, and nobody reads it.
        """
        if len(text) > _LONGEST:  # what was cut in two stands at the end
            return self.scrub(text[:_LONGEST])[:-_CUT] + "..."
        for secret in sorted((self.access_token, self.api_key), key=len, reverse=True):
            spellings = _spellings(secret)
            text = re.sub(spellings, "***", text, flags=re.IGNORECASE)
            for each in _readings(text):
                if re.search(spellings, each, re.IGNORECASE) or _resembles(each, secret):
                    return "***"  # an escape is itself escaped: nothing of it is worth the risk
        return text

    def are_in(self, body: bytes) -> bool:
        """Tell whether a body of JSON repeats a secret; a short one may be in any word."""
        secrets = (self.access_token, self.api_key)
        return any(
            len(each) >= _LONG_ENOUGH and re.search(_in_json(each).encode(), body) is not None
            for each in secrets
        )

    def fingerprint(self, text: str) -> str:
        """Hash a text under both secrets: without them it is neither found nor made."""
        # In one expression: no variable of a frame holds the secrets in clear.
        key = hashlib.sha256(
            b"\0".join((self.api_key.encode(), self.access_token.encode()))
        ).digest()
        return hashlib.blake2b(text.encode(), key=key, digest_size=32).hexdigest()


def _readings(text: str) -> list[str]:
    """Undo what a text escapes, one way after the other, as far as it is worth the time."""
    readings = [text]
    for number in range(_READINGS):
        for undo in (_joined, _untagged, _from_html, unquote, _uncoded, _from_base64):
            plain = undo(readings[number])
            if plain not in readings:
                readings.append(plain)
        if len(readings) == number + 1:
            break
    return readings


def _joined(text: str) -> str:
    """Join what is cut up, even in the midst of an escape."""
    whole = _BYTES.sub(lambda found: found[0].encode("latin-1").decode(errors="replace"), text)
    return re.sub(rf"{_BLANK}|(?<!\\){_LINE_END}", "", whole, flags=re.IGNORECASE)


def _untagged(text: str) -> str:
    return _TAGS.sub("", text)


def _from_html(text: str) -> str:
    return unescape(_LONG_NUMBER.sub(r"\1", text))


def _uncoded(text: str) -> str:
    coded = _NUMBERS.sub(lambda found: _NUMBER.sub(_char, found[0]), text)
    return _CODE.sub(
        lambda found: chr(
            int(found[4], 8) if found[4] else int(found[1] or found[2] or found[3], 16)
        ),
        coded,
    )


def _char(found: re.Match[str]) -> str:
    return chr(int(found[1], 16) if found[1] else int(found[2]))


def _from_base64(text: str) -> str:
    """Decode what base64 may be; what it is not becomes letters that mean nothing."""

    def decode(found: re.Match[str]) -> str:
        whole = found[0][: len(found[0]) // 4 * 4]
        return base64.b64decode(whole, altchars="-_" if set("-_") & set(whole) else None).decode(
            errors="replace"
        )

    return _BASE64.sub(decode, text)


def _resembles(text: str, secret: Masked) -> bool:
    """Tell whether the letters and digits of a secret follow one another in a text.

    So it finds what is cut up by quotes, commas, accents or tags, and most of one that is cut
    short. Words may be so, by chance, as short ones are.
    """
    letters = _letters(secret)
    most = max(_LONG_ENOUGH, len(letters) * 3 // 4)
    shown = (_letters(text), _letters(_untagged(text)))
    parts = (letters[:most], letters[-most:], Masked.of(secret.encode().hex()))
    return any(len(each) >= _LONG_ENOUGH and each in text for each in parts for text in shown)


def _letters(text: str) -> Masked:
    """Give the letters and digits of a text alone, in lower case; masked, as it may be a secret."""
    # In one expression: no variable of a frame holds a secret in clear.
    return Masked(
        re.sub(r"[^a-z0-9]", "", unicodedata.normalize("NFKD", _COLOURS.sub("", text)).lower())
    )


def _in_json(secret: Masked) -> Masked:
    """Write a pattern that finds a secret in JSON, where all but words may be escaped."""
    return Masked(re.sub(r"\W", _escaped_for_json, secret))


def _escaped_for_json(found: re.Match[str]) -> str:
    code = f"{ord(found[0]):04x}"
    return rf"(?:\\?{re.escape(found[0])}|\\u(?i:{code}))"


def _spellings(secret: Masked) -> Masked:
    """Write a pattern that finds a secret in clear, escaped, in base64 and in hexadecimals.

    So it finds what is read where the secret itself looks escaped: ``a%2Fb+c`` as ``a/b c``. It is
    masked as the secret is: `re` keeps it, and tracebacks may show it.
    """
    words = [*_read(secret), *_encoded(secret)]
    return Masked("|".join(_escaped(word) for word in sorted(words, key=len, reverse=True)))


def _read(secret: Masked) -> set[Masked]:
    """Read a secret as it is, and as a server may that takes it for escaped."""
    spaced = Masked.of(secret.replace("+", " "))
    read = {Masked.of(each) for text in (secret, spaced) for each in _readings(text)}
    return read - {Masked()}


def _encoded(secret: Masked) -> Iterator[Masked]:
    """Encode a secret; of base64, what does not depend on the text around it."""
    words = {Masked(secret.encode().hex())}
    for shift, first in ((0, 0), (1, 2), (2, 3)):
        whole = slice(first, (shift + len(secret)) * 8 // 6)
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            words |= {Masked(encode(bytes(shift) + secret.encode())[whole].decode())}
    return (word for word in words if len(word) >= _SHORTEST_ENCODED)


def _escaped(word: Masked) -> str:
    """Write a pattern that finds a word escaped for JSON, URLs, HTML or code, in any mixture.

    Escapes may be escaped again, and lines be broken anywhere.
    """
    first, *others = re.findall(r"\\+|[^\\]", word)
    return _spelt(first) + "".join(f"{_GAP}{_slashes(each)}{_spelt(each)}" for each in others)


def _slashes(char: str) -> str:
    """Write a pattern of what may stand before a character; a backslash is one itself."""
    return "" if char[0] == "\\" else r"\\*+"


def _spelt(char: str) -> str:
    """Write a pattern of one character, or of some backslashes, as escapes double them."""
    code, hexa = ord(char[0]), f"{ord(char[0]):02x}"
    names = "".join(f"|{re.escape(name)}" for name in _ENTITIES.get(char[0], ()))
    entity = f"&(?:amp;)*(?:#0*{code};?|#x0*{hexa};?{names})"
    spellings = rf"{entity}|%(?:25)*{hexa}|u00{hexa}|x{hexa}|{re.escape(char[0])}"
    return rf"(?:(?:{spellings})\s*+)++" if char[0] == "\\" else f"(?:{spellings})"


#: Blanks, escaped or not, and what is not seen; ends of lines, escaped; tags, as ``<br>``.
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
