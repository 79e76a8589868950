"""SPF records and their macros (RFC 7208): from the octets of a TXT record to typed terms. Who evaluates them asks DNS.

Syntax is checked as a whole before anything is evaluated (§4.6). Records, macros and what they expand to are bounded.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote

__all__ = [
    "MAX_NAME", "BadSpf", "Directive", "MacroString", "SpfRecord", "is_spf", "parse_explanation", "parse_spf",
    "target_name",
]  # fmt: skip

MAX_NAME = 253
_MAX_RECORD = 16_384
_MAX_MACROS = 64
#: §4.6.2.
_RESULTS = {"": "pass", "+": "pass", "-": "fail", "~": "softfail", "?": "neutral"}

_VERSION = re.compile(rb"v=spf1(?: |\Z)", re.IGNORECASE)
# §4.6.1: a name and an equals sign make a modifier, all else is a mechanism.
_MODIFIER = re.compile(r"([A-Za-z][A-Za-z0-9_.-]*)=(.*)")
_MECHANISM = re.compile(r"([+?~-]?)([A-Za-z][A-Za-z0-9_.-]*)(.*)")
_CIDR = r"/(0|[1-9][0-9]{0,2})"
_DUAL_CIDR = re.compile(rf"(.*?)(?:{_CIDR})?(?:/{_CIDR})?")
_NETWORK = re.compile(rf":([0-9A-Fa-f:.]{{2,45}})(?:{_CIDR})?")
# §7.1.
_MACRO = re.compile(r"\{([slodiphcrtvSLODIPHCRTV])([0-9]*)([rR]?)([.+,/_=-]*)\}|([%_-])")
_LITERALS = re.compile(r"[\x21-\x24\x26-\x7e]+")
_EXPLAINED_LITERALS = re.compile(r"[\x20-\x24\x26-\x7e]+")
_ESCAPES = {"%": "%", "_": " ", "-": "%20"}
_LDH = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?")
_UNRESERVED = "-._~"


class BadSpf(Exception):
    """The record is not what §4.6.1 says; the text says what is wrong, and has nothing of the record in it."""


@dataclass(frozen=True, slots=True)
class _Macro:
    """One macro-expand (§7.1) with its transformers; `parts` 0 is all of them."""

    letter: str
    parts: int
    backwards: bool
    delimiters: str
    escaped: bool

    def expand(self, value: str) -> str:
        """§7.3."""
        pieces = re.split(f"[{re.escape(self.delimiters)}]", value) if self.delimiters else value.split(".")
        if self.backwards:
            pieces.reverse()
        joined = ".".join(pieces[-self.parts :])
        return quote(joined, safe=_UNRESERVED) if self.escaped else joined


@dataclass(frozen=True, slots=True)
class MacroString:
    """A macro-string (§7.1). `letters` are those whose values it needs, in lower case."""

    parts: tuple[str | _Macro, ...]
    letters: frozenset[str]

    def expand(self, values: Mapping[str, str]) -> str:
        """With a value for each of `letters`."""
        return "".join([
            part if isinstance(part, str) else part.expand(values[part.letter]) for part in self.parts
        ])  # fmt: skip


@dataclass(frozen=True, slots=True)
class Directive:
    """A mechanism and the result of its match. `network` is that of ip4 and ip6, `prefix4` and `prefix6` belong to
    what the addresses of a name are compared with; `domain` None is the current one."""

    result: str
    name: str
    domain: MacroString | None = None
    network: ipaddress.IPv4Network | ipaddress.IPv6Network | None = None
    prefix4: int = 32
    prefix6: int = 128


@dataclass(frozen=True, slots=True)
class SpfRecord:
    """The terms of a record (§4.6.1) that have a meaning."""

    directives: tuple[Directive, ...]
    redirect: MacroString | None = None
    explanation: MacroString | None = None


def is_spf(record: bytes) -> bool:
    """Is this TXT record one of SPF (§4.5)?"""
    return _VERSION.match(record) is not None


@lru_cache(maxsize=1024)
def parse_spf(record: bytes) -> SpfRecord:
    """Read a record that `is_spf`. Raises BadSpf."""
    if len(record) > _MAX_RECORD:
        raise BadSpf("the record is too long")
    try:
        words = record[6:].decode("ascii").split(" ")
    except UnicodeDecodeError:
        raise BadSpf("the record has characters that are not ASCII") from None
    directives: list[Directive] = []
    modifiers: dict[str, MacroString] = {}
    for word in filter(None, words):
        modifier = _MODIFIER.fullmatch(word)
        if modifier is None:
            directives.append(_directive(word))
            continue
        name, value = modifier[1].lower(), modifier[2]
        if name not in ("redirect", "exp"):
            _macro_string(value)
        elif name in modifiers:
            # §6: not more than once each.
            raise BadSpf(f"{name} is given twice")
        else:
            modifiers[name] = _domain_spec(value)
    return SpfRecord(tuple(directives), modifiers.get("redirect"), modifiers.get("exp"))


def parse_explanation(text: bytes) -> MacroString:
    """An explain-string (§6.2), the text for a person. Raises BadSpf."""
    try:
        return _macro_string(text.decode("ascii"), explained=True)
    except UnicodeDecodeError:
        raise BadSpf("the explanation has characters that are not ASCII") from None


def target_name(name: str) -> str | None:
    """A name that was given, or expanded, in the form to ask DNS for it; None: it cannot be one (§4.3, §4.8).

    What is too long loses labels on its left side (§7.3)."""
    name = name.removesuffix(".")
    while len(name) > MAX_NAME:
        _, dot, name = name[-2 * MAX_NAME :].partition(".")
        if not dot:
            return None
    good = name and all(0 < len(label) <= 63 for label in name.split("."))
    return name.lower() if good else None


def _directive(word: str) -> Directive:
    match = _MECHANISM.fullmatch(word)
    if match is None:
        raise BadSpf("a term is neither a mechanism nor a modifier")
    result, name, rest = _RESULTS[match[1]], match[2].lower(), match[3]
    if name == "all" and not rest:
        return Directive(result, name)
    if name in ("ip4", "ip6"):
        return Directive(result, name, network=_network(name, rest))
    if name in ("include", "exists") and rest.startswith(":"):
        return Directive(result, name, _domain_spec(rest[1:]))
    if name == "ptr" and (not rest or rest.startswith(":")):
        return Directive(result, name, _domain_spec(rest[1:]) if rest else None)
    if name in ("a", "mx"):
        parts = _DUAL_CIDR.fullmatch(rest)
        spec = parts[1] if parts is not None else "/"
        if parts is not None and (not spec or spec.startswith(":")):
            prefix4, prefix6 = int(parts[2] or 32), int(parts[3] or 128)
            if prefix4 > 32 or prefix6 > 128:
                raise BadSpf(f"a prefix length of {name} is out of range")
            domain = _domain_spec(spec[1:]) if spec else None
            return Directive(result, name, domain, prefix4=prefix4, prefix6=prefix6)
    if name in ("all", "include", "exists", "ptr", "a", "mx"):
        raise BadSpf(f"what follows {name} is not valid")
    raise BadSpf("a mechanism is unknown")


def _network(name: str, rest: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """§5.6."""
    match = _NETWORK.fullmatch(rest)
    try:
        if match is None:
            raise ValueError
        if name == "ip4":
            return ipaddress.IPv4Network((match[1], int(match[2] or 32)), strict=False)
        return ipaddress.IPv6Network((match[1], int(match[2] or 128)), strict=False)
    except ValueError:
        raise BadSpf(f"the network of {name} is not valid") from None


def _domain_spec(text: str) -> MacroString:
    """§7.1: a macro-string that ends in a top-level domain or in a macro."""
    parsed = _macro_string(text)
    if not parsed.parts:
        raise BadSpf("a domain is missing")
    last = parsed.parts[-1]
    if parsed.letters & {"c", "r", "t"}:
        raise BadSpf("a macro is used that explanations alone may have")
    if isinstance(last, str) and not text.endswith(("%%", "%_", "%-")) and not _has_toplabel(last):
        raise BadSpf("a domain does not end in a name of the top level")
    return parsed


def _has_toplabel(literal: str) -> bool:
    _, dot, label = literal.removesuffix(".").rpartition(".")
    return bool(dot) and _LDH.fullmatch(label) is not None and not label.isdigit()


def _macro_string(text: str, *, explained: bool = False) -> MacroString:
    literals = _EXPLAINED_LITERALS if explained else _LITERALS
    parts: list[str | _Macro] = []
    macros = pos = 0
    while pos < len(text):
        if text[pos] == "%":
            match = _MACRO.match(text, pos + 1)
            macros += 1
            if match is None or macros > _MAX_MACROS:
                raise BadSpf("a macro is not valid" if match is None else "there are too many macros")
            parts.append(_ESCAPES[match[5]] if match[5] else _macro(match))
        else:
            match = literals.match(text, pos)
            if match is None:
                raise BadSpf("a character is not valid")
            parts.append(match[0])
        pos = match.end()
    return MacroString(tuple(parts), frozenset(part.letter for part in parts if isinstance(part, _Macro)))


def _macro(match: re.Match[str]) -> _Macro:
    digits = match[2].lstrip("0")
    if match[2] and not digits:
        raise BadSpf("a macro has no parts")
    parts = int(digits[:4]) if digits else 0
    return _Macro(match[1].lower(), parts, bool(match[3]), match[4], match[1].isupper())
