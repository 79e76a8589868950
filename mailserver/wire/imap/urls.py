"""IMAP URLs that name a message of this server, or a part of one (RFC 5092 §3, §11): relative ones, without a host.

    /INBOX;UIDVALIDITY=785799047/;UID=113330/;SECTION=1.5.9/;PARTIAL=0.1024
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_to_bytes

from mailserver.model.errors import InvalidInput
from mailserver.model.numset import MAX_NUMBER
from mailserver.wire.imap.fetch_items import BodySection
from mailserver.wire.imap.lexer import ParseError
from mailserver.wire.imap.parse_fetch import body_section

__all__ = ["MessageUrl", "parse_message_url"]

_MAX_LENGTH: Final = 8_192
# RFC 3986 §2; what else there is must be percent-encoded.
_CHARACTERS = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})+")
_NUMBER = re.compile(r"[0-9]{1,19}")


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


def _mailbox(path: str) -> str | None:
    name = path.removeprefix("/").removesuffix("/")
    if not name and not path.startswith("//"):
        return None
    try:
        return unquote_to_bytes(name).decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidInput("the mailbox of the URL is not UTF-8") from None


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
