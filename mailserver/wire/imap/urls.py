"""IMAP URLs that name a message of this server or a part of one (RFC 5092 §3, §11, RFC 5550 §5.7.1, RFC 4467).

    /INBOX;UIDVALIDITY=785799047/;UID=113330/;SECTION=1.5.9/;PARTIAL=0.1024
"""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote_to_bytes

from mailserver.model.errors import InvalidInput
from mailserver.model.numset import MAX_NUMBER
from mailserver.wire.imap.fetch_items import BodySection
from mailserver.wire.imap.lexer import ParseError
from mailserver.wire.imap.parse.fetch import body_section

__all__ = ["AuthorizedUrl", "MessageUrl", "parse_authorized_url", "parse_message_url"]

_MAX_LENGTH: Final = 8_192
# RFC 3986 §2; what else there is must be percent-encoded.
_CHARACTERS = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})+")
_NUMBER = re.compile(r"[0-9]{1,19}")
# RFC 4467 §9; each part ends where the next one's first character stands.
_AUTHORIZED = re.compile(
    r"imap://([^/@]+)@[^/@]+/(.*);URLAUTH=([^:;/]+)(?::([A-Za-z0-9.-]{1,64}):([0-9A-Fa-f]{32,256}))?",
    re.IGNORECASE | re.ASCII,
)
_EXPIRES = re.compile(r"(.*);EXPIRE=([0-9TtZz:.+-]{1,40})", re.IGNORECASE | re.ASCII)
_ACCESS = {("anonymous", False), ("authuser", False), ("user", True), ("submit", True)}


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageUrl:
    """`mailbox` is the client's name of it, None for the selected one. `partial`: first octet, count or None."""

    mailbox: str | None
    uid: int
    uid_validity: int | None = None
    section: BodySection
    partial: tuple[int, int | None] | None = None


def parse_message_url(text: str) -> MessageUrl:
    """A relative URL of a message or a part of it.

    Raises:
        InvalidInput: it is none, or one of another server, or one that carries an authorization.
    """
    if len(text) > _MAX_LENGTH or not _CHARACTERS.fullmatch(text) or text.startswith("//") or ":" in text.split("/")[0]:
        raise InvalidInput("the URL names no message of this server, as /mailbox/;UID=1 does")
    path, *parameters = text.split(";")
    values: dict[str, str] = {}
    order = ["UIDVALIDITY", "UID", "SECTION", "PARTIAL"]
    for parameter in parameters:
        name, _, value = parameter.removesuffix("/").partition("=")
        name = name.upper()
        if name not in order:
            raise InvalidInput("the parameters of the URL are UIDVALIDITY, UID, SECTION and PARTIAL, in this order")
        del order[: order.index(name) + 1]
        values[name] = value
    if "UID" not in values:
        raise InvalidInput("the URL names no message: ;UID= is missing")
    return MessageUrl(
        mailbox=_mailbox(path),
        uid=_number(values["UID"], MAX_NUMBER),
        uid_validity=_number(values["UIDVALIDITY"], MAX_NUMBER) if "UIDVALIDITY" in values else None,
        section=_section(values.get("SECTION", "")),
        partial=_partial(values["PARTIAL"]) if "PARTIAL" in values else None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizedUrl:
    """A URL that carries an authorization (RFC 4467 §3), or is to get one: then there is no `token`.

    `rump` is all of it but mechanism and token, octet by octet; `user` whose mail it is; `access` who may use it:
    `anonymous`, `authuser`, `user+NAME`, `submit+NAME` with the name decoded; `expires` in seconds since 1970.
    """

    rump: str
    user: str
    message: MessageUrl
    access: str
    expires: float | None = None
    mechanism: str = ""
    token: str = field(default="", repr=False)


def parse_authorized_url(text: str) -> AuthorizedUrl:
    """An absolute URL that ends with its authorization.

    Raises:
        InvalidInput: it is none; the text says what is missing.
    """
    found = _AUTHORIZED.fullmatch(text) if len(text) <= _MAX_LENGTH else None
    if found is None:
        raise InvalidInput("the URL is like imap://user@host/mailbox/;UID=1;URLAUTH=user+somebody")
    user, rest, access, mechanism, token = found.groups()
    expires: float | None = None
    if dated := _EXPIRES.fullmatch(rest):
        rest, expires = dated[1], _timestamp(dated[2])
    kind, plus, name = access.partition("+")
    kind, name = kind.lower(), _decoded(name)
    if (kind, bool(plus)) not in _ACCESS or bool(name) != bool(plus):
        raise InvalidInput("URLAUTH allows anonymous, authuser, user+NAME or submit+NAME")
    return AuthorizedUrl(
        rump=text[: found.end(3)], user=_decoded(user.partition(";")[0]), message=parse_message_url("/" + rest),
        access=kind + plus + name, expires=expires, mechanism=(mechanism or "").upper(), token=token or "",
    )  # fmt: skip


def _timestamp(text: str) -> float:
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise InvalidInput("EXPIRE is like 2030-01-31T12:00:00Z")
    return moment.timestamp()


def _decoded(text: str) -> str:
    try:
        return unquote_to_bytes(text).decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidInput("a name in the URL is not UTF-8") from None


def _mailbox(path: str) -> str | None:
    name = path.removeprefix("/").removesuffix("/")
    if not name and not path.startswith("//"):
        return None
    return _decoded(name)


def _number(text: str, highest: int, lowest: int = 1) -> int:
    value = int(text) if _NUMBER.fullmatch(text) else -1
    if not lowest <= value <= highest:
        raise InvalidInput("a number of the URL is none")
    return value


def _section(text: str) -> BodySection:
    try:
        return body_section(unquote_to_bytes(text))
    except ParseError:
        raise InvalidInput("the section of the URL is none that FETCH knows") from None


def _partial(text: str) -> tuple[int, int | None]:
    first, dot, count = text.partition(".")
    highest = (1 << 63) - 1
    return _number(first, highest, 0), (_number(count, highest) if dot else None)
