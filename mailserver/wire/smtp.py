"""Arguments of SMTP commands (RFC 5321 §4.1.1, §4.1.2) with the parameters of the extensions that we announce.

Strict: an address stands in angle brackets and is a Path of RFC 5321; a parameter is known, well-formed and given once.
Tolerated, because RFC 5321 asks for it or everyone does it: spaces after the colon and at the end of the line, and a
source route, which is dropped (§3.3, §4.1.1.3, appendix C).

SIZE is RFC 1870, BODY RFC 6152, RET, ENVID, NOTIFY and ORCPT RFC 3461, AUTH RFC 4954 §5, SMTPUTF8 RFC 6531,
REQUIRETLS RFC 8689, HOLDFOR and HOLDUNTIL RFC 4865.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

from mailserver.model.address import EmailAddress
from mailserver.model.envelope import Body, DsnReturn, Notify
from mailserver.model.errors import InvalidInput
from mailserver.model.reply import Reply
from mailserver.wire.future_release import Hold, HoldLimit, parse_hold

__all__ = ["BadArgument", "MailArguments", "RcptArguments", "parse_bdat", "parse_helo", "parse_mail", "parse_rcpt"]

# A quoted string may hold ">" and spaces; outside of one, neither they nor control characters can be in a path.
_PATH = re.compile(r'<((?:"(?:[^"\\\x00-\x1f\x7f]|\\[\x20-\x7e])*"|[^"<>\x00-\x20\x7f])*)>(?: +(.*))?', re.DOTALL)
_ROUTE = re.compile(r"@[A-Za-z0-9.:\[\]-]+(?:,@[A-Za-z0-9.:\[\]-]+)*:")
_PARAMETER = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([\x21-\x3c\x3e-\x7e\x80-\U0010ffff]+))?")
_XTEXT = re.compile(r"(?:[\x21-\x2a\x2c-\x3c\x3e-\x7e]|\+[0-9A-F]{2})+")
# RFC 6533 §3: utf-8-addr-xtext has \x{...} where xtext has +XX; utf-8-addr-unitext has the characters themselves.
_UTF8_ORCPT = re.compile(r"(?:[\x21-\x2a\x2c-\x3c\x3e-\x7e\x80-\U0010ffff]|\+[0-9A-F]{2})+")
_ADDRESS_TYPE = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+")
_SIZE = re.compile(r"[0-9]{1,20}")  # RFC 1870 §3: at most 20 digits
_CHUNK = re.compile(rb"([0-9]{1,20})(?: +([Ll][Aa][Ss][Tt]))?")
_HELO = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?\.?|\[[A-Za-z0-9.:-]{1,100}\]")
_LONGEST_HELO, _LONGEST_ENVID, _LONGEST_ORCPT, _LONGEST_AUTH = 255, 100, 500, 500
_MOST_PARAMETERS = 16
_OF_DSN = frozenset(("RET", "ENVID", "NOTIFY", "ORCPT"))

_E = TypeVar("_E", Body, DsnReturn)


class BadArgument(Exception):
    """The argument cannot be obeyed; `reply` says why."""

    def __init__(self, code: int, status: str, text: str) -> None:
        super().__init__(text)
        self.reply = Reply(code, status, text)


@dataclass(frozen=True, slots=True)
class MailArguments:
    """MAIL FROM. `sender` is None for `<>`; `envelope_id` and `auth` are still in xtext."""

    sender: EmailAddress | None
    size: int | None = None
    body: Body = Body.SEVEN_BIT
    smtputf8: bool = False
    require_tls: bool = False
    dsn_return: DsnReturn | None = None
    envelope_id: str | None = None
    auth: str | None = None
    hold: Hold | None = None


@dataclass(frozen=True, slots=True)
class RcptArguments:
    """RCPT TO. `address` is None for `<postmaster>` without a domain (RFC 5321 §4.5.1)."""

    address: EmailAddress | None
    notify: frozenset[Notify] = frozenset()
    original_recipient: str | None = None


def parse_mail(
    argument: bytes, *, require_tls: bool = False, auth: bool = False, hold: HoldLimit | None = None, dsn: bool = False
) -> MailArguments:
    """Read what follows MAIL. `require_tls`, `auth`, `hold`, `dsn`: these extensions were announced on this connection.

    Raises:
        BadArgument: 501, 553 (RFC 6531 §3.5: an address that needs SMTPUTF8) or 555 with the reason.
    """
    path, parameters = _split(argument, "FROM:")
    sender = None if path == "" else _sender(path)
    if parameters is None:
        if not path.isascii():
            raise BadArgument(553, "5.6.7", "The address needs SMTPUTF8")
        return MailArguments(sender)
    given = _parameters(parameters)
    size = body = dsn_return = envelope_id = auth_value = None
    smtputf8 = tls = False
    held = None if hold is None else _take_hold(given, hold)
    for name, value in given.items():
        if name == "SIZE":
            size = _size(value)
        elif name == "BODY":
            body = _enum(Body, name, value)
        elif name == "SMTPUTF8":
            smtputf8 = _no_value(name, value)
        elif name == "RET" and dsn:
            dsn_return = _enum(DsnReturn, name, value)
        elif name == "ENVID" and dsn:
            envelope_id = _xtext(name, value, _LONGEST_ENVID)
        elif name == "AUTH" and auth:
            auth_value = "<>" if value == "<>" else _xtext(name, value, _LONGEST_AUTH)
        elif name == "REQUIRETLS" and require_tls:
            tls = _no_value(name, value)
        else:
            raise _unknown("MAIL", name)
    if not smtputf8 and not path.isascii():
        raise BadArgument(553, "5.6.7", "The address needs SMTPUTF8")
    return MailArguments(
        sender, size, body or Body.SEVEN_BIT, smtputf8, tls, dsn_return, envelope_id, auth_value, held
    )


def parse_rcpt(argument: bytes, *, smtputf8: bool = False, dsn: bool = False) -> RcptArguments:
    """Read what follows RCPT. `smtputf8`: the transaction has it; `dsn`: that extension was announced.

    Raises:
        BadArgument: 501, 553 or 555 with the reason.
    """
    path, parameters = _split(argument, "TO:")
    if path == "":
        raise BadArgument(501, "5.1.3", "A recipient cannot be empty")
    address = None if path.lower() == "postmaster" else _recipient(path)
    if not smtputf8 and not path.isascii():
        raise BadArgument(553, "5.6.7", "The address needs SMTPUTF8")
    if parameters is None:
        return RcptArguments(address)
    notify: frozenset[Notify] = frozenset()
    original = None
    for name, value in _parameters(parameters).items():
        if name == "NOTIFY" and dsn:
            notify = _notify(value)
        elif name == "ORCPT" and dsn:
            original = _original_recipient(value, smtputf8)
        else:
            raise _unknown("RCPT", name)
    return RcptArguments(address, notify, original)


def parse_bdat(argument: bytes) -> tuple[int, bool]:
    """The size of a chunk in octets, and whether it is the last (RFC 3030 §2). Raises BadArgument."""
    match = _CHUNK.fullmatch(argument)
    if match is None:
        raise BadArgument(501, "5.5.4", "Syntax: BDAT size [LAST]")
    return int(match[1]), match[2] is not None


def parse_helo(argument: bytes) -> str:
    """The name or address literal that a client gives itself, safe for headers and logs. Raises BadArgument.

    Underscores are tolerated (many machines are called so); anything that is no host name is refused (ATTACKS B13).
    """
    text = argument.decode("latin-1").strip(" ")
    if not 0 < len(text) <= _LONGEST_HELO or not _HELO.fullmatch(text):
        raise BadArgument(501, "5.5.4", "Syntax: EHLO your.host.name")
    return text


def _split(argument: bytes, word: str) -> tuple[str, str | None]:
    """The path without its brackets, and the text of the parameters (None: there are none)."""
    try:
        text = argument.decode()
    except UnicodeDecodeError:
        raise BadArgument(501, "5.5.2", "The argument is not UTF-8") from None
    if text[: len(word)].upper() != word:
        raise BadArgument(501, "5.5.4", f"Syntax: {'MAIL FROM' if word == 'FROM:' else 'RCPT TO'}:<address>")
    match = _PATH.fullmatch(text[len(word) :].strip(" "))
    if match is None:
        raise BadArgument(501, "5.1.7" if word == "FROM:" else "5.1.3", "An address stands in angle brackets: <a@b.c>")
    return match[1], match[2] or None


@lru_cache(maxsize=2048)
def _sender(path: str) -> EmailAddress:
    try:
        return _address(path)
    except InvalidInput as error:
        raise BadArgument(501, "5.1.7", f"Bad sender: {error.text}") from None


@lru_cache(maxsize=2048)
def _recipient(path: str) -> EmailAddress:
    try:
        return _address(path)
    except InvalidInput as error:
        raise BadArgument(501, error.status, f"Bad recipient: {error.text}") from None


def _address(path: str) -> EmailAddress:
    route = _ROUTE.match(path) if path.startswith("@") else None
    return EmailAddress.parse(path[route.end() :] if route else path)


def _parameters(text: str) -> dict[str, str | None]:
    words = text.split(" ")
    found: dict[str, str | None] = {}
    if len(words) > _MOST_PARAMETERS:
        raise BadArgument(501, "5.5.4", "Too many parameters")
    for word in words:
        if not word:
            continue
        match = _PARAMETER.fullmatch(word)
        if match is None:
            raise BadArgument(501, "5.5.4", "A parameter is NAME or NAME=value")
        name = match[1].upper()
        if name in found:
            raise BadArgument(501, "5.5.4", f"{name} is given twice")
        found[name] = match[2]
    return found


def _unknown(verb: str, name: str) -> BadArgument:
    """RFC 5321 §4.1.1.11."""
    if name in _OF_DSN:
        return BadArgument(555, "5.5.4", f"{name} is a parameter of DSN, which this server does not offer you")
    return BadArgument(555, "5.5.4", f"{verb} has no parameter {name}")


def _no_value(name: str, value: str | None) -> bool:
    if value is not None:
        raise BadArgument(501, "5.5.4", f"{name} takes no value")
    return True


def _size(value: str | None) -> int:
    if value is None or not _SIZE.fullmatch(value):
        raise BadArgument(501, "5.5.4", "SIZE is a number of at most 20 digits")
    return int(value)


def _enum(kind: type[_E], name: str, value: str | None) -> _E:
    try:
        return kind((value or "").upper())
    except ValueError:
        raise BadArgument(501, "5.5.4", f"{name} is one of {', '.join(member.value for member in kind)}") from None


def _xtext(name: str, value: str | None, longest: int) -> str:
    if value is None or len(value) > longest or not _XTEXT.fullmatch(value):
        raise BadArgument(501, "5.5.4", f"{name} is xtext of at most {longest} characters")
    return value


def _take_hold(given: dict[str, str | None], limit: HoldLimit) -> Hold | None:
    """One of its two forms, taken out of the parameters (RFC 4865 §4.2)."""
    names = [name for name in ("HOLDFOR", "HOLDUNTIL") if name in given]
    if len(names) > 1:
        raise BadArgument(501, "5.5.4", "HOLDFOR and HOLDUNTIL exclude each other")
    try:
        return parse_hold(names[0], given.pop(names[0]), limit) if names else None
    except ValueError as error:
        raise BadArgument(501, "5.5.4", str(error)) from None


def _notify(value: str | None) -> frozenset[Notify]:
    try:
        words = [Notify(word) for word in (value or "").upper().split(",")]
    except ValueError:
        raise BadArgument(501, "5.5.4", "NOTIFY is NEVER, or a list of SUCCESS, FAILURE, DELAY") from None
    if len(set(words)) != len(words) or (Notify.NEVER in words and len(words) > 1):
        raise BadArgument(501, "5.5.4", "NOTIFY is NEVER, or a list of SUCCESS, FAILURE, DELAY")
    return frozenset(words)


def _original_recipient(value: str | None, smtputf8: bool) -> str:
    kind, semicolon, address = (value or "").partition(";")
    pattern = _UTF8_ORCPT if smtputf8 and kind.lower() == "utf-8" else _XTEXT
    well_formed = semicolon and _ADDRESS_TYPE.fullmatch(kind) and pattern.fullmatch(address)
    if not well_formed or len(value or "") > _LONGEST_ORCPT:
        raise BadArgument(501, "5.5.4", "ORCPT is address-type;xtext of at most 500 characters")
    return value or ""
