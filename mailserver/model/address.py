"""Mail addresses (RFC 5321 §4.1.2, RFC 6531 §3.3)."""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from dataclasses import dataclass

from mailserver.model.errors import InvalidInput

__all__ = ["EmailAddress", "normalize_domain"]

_ATEXT = r"A-Za-z0-9!#$%&'*+/=?^_`{|}~\x80-\U0010ffff-"
_DOT_STRING = re.compile(rf"[{_ATEXT}]+(?:\.[{_ATEXT}]+)*")
# RFC 5321 §4.1.2 Quoted-string: printable ASCII, with backslash before `"` and `\`; RFC 6531 adds UTF-8.
_QUOTED = re.compile(r'"((?:[\x20\x21\x23-\x5b\x5d-\x7e\x80-\U0010ffff]|\\[\x20-\x7e])*)"')
_ASCII_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9_-]*[a-z0-9])?")
_MAX_LOCAL, _MAX_DOMAIN, _MAX_LABEL = 64, 255, 63


def normalize_domain(domain: str) -> str:
    """The one form in which a domain is compared: A-labels in lower case, or an address literal.

    Raises:
        InvalidInput: not a domain (RFC 5321 §4.1.2 Domain, §4.1.3 address-literal; U-labels per RFC 5890).
    """
    if domain.isascii() and len(domain) <= _MAX_DOMAIN:
        lowered = domain.lower()
        if all(len(label) <= _MAX_LABEL and _ASCII_LABEL.fullmatch(label) for label in lowered.split(".")):
            return _check_a_labels(lowered) if "xn--" in lowered else lowered
    if domain.startswith("[") and domain.endswith("]") and len(domain) <= _MAX_DOMAIN:
        return _normalize_literal(domain)
    # A bound before any IDNA work: the codec is quadratic in a label's length (CVE-2024-3651's class).
    if not domain or len(domain) > _MAX_DOMAIN or domain.isascii():
        raise InvalidInput("the domain is not valid", status="5.1.2")
    return ".".join(_to_a_label(label) for label in domain.split("."))


def _normalize_literal(domain: str) -> str:
    inner = domain[1:-1]
    try:
        if inner[:5].lower() == "ipv6:":
            return f"[IPv6:{ipaddress.IPv6Address(inner[5:])}]"
        return f"[{ipaddress.IPv4Address(inner)}]"
    except ValueError:
        raise InvalidInput("the address literal is not valid", status="5.1.2") from None


def _to_a_label(label: str) -> str:
    if not label or len(label) > _MAX_LABEL:
        raise InvalidInput("the domain is not valid", status="5.1.2")
    try:
        # Fullwidth dots and the like are folded by nameprep into "."; a label must stay one label.
        encoded = label.encode("idna").decode("ascii").lower()
    except UnicodeError:
        raise InvalidInput("the domain is not valid", status="5.1.2") from None
    # What nameprep makes ASCII (Kelvin sign, full-width letters, sharp s) IDNA 2008 forbids, or takes for another name
    # (RFC 5892): taking it would give our domains look-alikes, and others' mail to a wrong domain (ATTACKS E06).
    if not label.isascii() and not encoded.startswith("xn--"):
        raise InvalidInput("the domain is not valid", status="5.1.2")
    if len(encoded) > _MAX_LABEL or not _ASCII_LABEL.fullmatch(encoded):
        raise InvalidInput("the domain is not valid", status="5.1.2")
    return encoded


def _check_a_labels(domain: str) -> str:
    for label in domain.split("."):
        if label.startswith("xn--"):
            try:
                canonical = label.encode("ascii").decode("idna").encode("idna").decode("ascii")
            except UnicodeError:
                raise InvalidInput("the domain is not valid", status="5.1.2") from None
            if canonical.lower() != label:
                raise InvalidInput("the domain is not valid", status="5.1.2")
    return domain


@dataclass(frozen=True, slots=True)
class EmailAddress:
    """One mailbox address. `local` is unquoted and in NFC; `domain` is as `normalize_domain` gives it."""

    local: str
    domain: str

    @classmethod
    def parse(cls, text: str) -> EmailAddress:
        """Read `local@domain` in the strict form that SMTP uses: no comments, no route, no white space.

        Raises:
            InvalidInput: not an address; the text says what is wrong with it.
        """
        if text.startswith('"'):
            match = _QUOTED.match(text)
            if match is None or text[match.end() : match.end() + 1] != "@":
                raise InvalidInput("the quoted local part is not valid", status="5.1.3")
            local, domain = re.sub(r"\\(.)", r"\1", match[1]), text[match.end() + 1 :]
        else:
            local, at, domain = text.partition("@")
            if not at:
                raise InvalidInput("the address has no domain", status="5.1.3")
            if not _DOT_STRING.fullmatch(local):
                raise InvalidInput("the local part is not valid", status="5.1.3")
        if not local.isascii():
            if len(local) > 4 * _MAX_LOCAL:
                # However it is composed; and normalizing is quadratic.
                raise InvalidInput("the local part must have 1 to 64 octets", status="5.1.3")
            # U+212A (Kelvin sign) is K in NFC: a character that normalization replaces by another would let two
            # different inputs reach one account (ATTACKS E06).
            if any(unicodedata.normalize("NFC", c) != c for c in local):
                raise InvalidInput("the local part has characters that are not in NFC", status="5.1.3")
            local = unicodedata.normalize("NFC", local)
            try:
                length = len(local.encode())
            except UnicodeEncodeError:
                raise InvalidInput("the local part is not valid UTF-8", status="5.1.3") from None
        else:
            length = len(local)
        if not 0 < length <= _MAX_LOCAL:
            raise InvalidInput("the local part must have 1 to 64 octets", status="5.1.3")
        return cls(local, normalize_domain(domain))

    @property
    def key(self) -> str:
        """What two spellings of one of our mailboxes have in common: ASCII letters of the local part in lower case.

        Only ASCII is folded: U+212A (Kelvin sign) and U+0130 must not reach the account of `k` or `i` (ATTACKS E06).
        """
        return f"{self.local.translate(_FOLD)}@{self.domain}"

    def __str__(self) -> str:
        if _DOT_STRING.fullmatch(self.local):
            return f"{self.local}@{self.domain}"
        escaped = self.local.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"@{self.domain}'


_FOLD = {c: c + 32 for c in range(ord("A"), ord("Z") + 1)}
