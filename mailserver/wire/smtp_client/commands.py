"""MAIL and RCPT as they go out, with those parameters that the server knows.

What a server does not know is left out where that loses nothing but comfort (SIZE, DSN: RFC 3461 §5.2.2 says what
becomes of it), and is an obstacle where it changes what arrives or who may read it (`obstacle`): 8BITMIME, because a
conversion breaks signatures; SMTPUTF8 (RFC 6531 §3.2); REQUIRETLS (RFC 8689 §4.2.1); a size that it will not take.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mailserver.model.address import EmailAddress
from mailserver.model.envelope import DsnReturn, Envelope, Notify, Recipient
from mailserver.model.errors import InvalidInput
from mailserver.wire.smtp_client.features import Features
from mailserver.wire.xtext import ascii_unitext

__all__ = ["Demands", "Obstacle", "mail_command", "obstacle", "rcpt_command"]

_NO_REQUIRETLS = (
    "REQUIRETLS is needed: the message may only go where encryption is kept up all the way, and this server does not"
    " promise that"
)
_NO_SMTPUTF8 = (
    "The message has an internationalized address or header, and this server does not take such messages (SMTPUTF8)"
)
_NO_8BITMIME = (
    "The message has 8-bit characters, this server takes 7-bit messages only, and conversion would break signatures;"
    " send it again encoded as quoted-printable or base64"
)
_TOO_LARGE = (
    "The message has {} octets, and this server takes {} at most; send it in smaller pieces, or put what is large"
    " somewhere else"
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
#: The order of RFC 3461 §4.1, so that equal recipients give equal octets.
_NOTIFY = (Notify.NEVER, Notify.SUCCESS, Notify.FAILURE, Notify.DELAY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Demands:
    """What a message asks of a server. `size` in octets; `utf8_header`: the header block is not ASCII."""

    size: int
    eight_bit: bool = False
    utf8_header: bool = False
    smtputf8: bool = False
    require_tls: bool = False


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why a message cannot go to this server, for good: RFC 3463's status and words for the sender."""

    status: str
    text: str


def obstacle(demands: Demands, features: Features) -> Obstacle | None:
    """What keeps this message from this server, before anything is sent."""
    if demands.require_tls and not features.require_tls:
        return Obstacle("5.7.30", _NO_REQUIRETLS)
    if demands.smtputf8 and not features.smtputf8:
        return Obstacle("5.6.7", _NO_SMTPUTF8)
    if demands.eight_bit and not features.eight_bit:
        return Obstacle("5.6.3", _NO_8BITMIME)
    if features.size and demands.size > features.size:
        return Obstacle("5.3.4", _TOO_LARGE.format(demands.size, features.size))
    return None


def mail_command(envelope: Envelope, demands: Demands, features: Features, *, encrypted: bool = False) -> bytes:
    """MAIL with its CRLF; `encrypted`: over TLS. Raises InvalidInput: a control character in it."""
    words = [f"MAIL FROM:<{'' if envelope.sender is None else _path(envelope.sender)}>"]
    if features.size_known:
        words.append(f"SIZE={demands.size}")  # RFC 1870 §3
    if features.eight_bit and demands.eight_bit:
        words.append("BODY=8BITMIME")
    if features.smtputf8 and (demands.smtputf8 or demands.utf8_header):
        words.append("SMTPUTF8")
    if demands.require_tls or (envelope.require_tls and features.require_tls and encrypted):
        words.append("REQUIRETLS")  # RFC 8689 §5: reports too, though they go out without it as well.
    if features.dsn:
        if envelope.dsn_return is not None:
            words.append("RET=FULL" if envelope.dsn_return is DsnReturn.FULL else "RET=HDRS")
        if envelope.envelope_id:
            words.append(f"ENVID={envelope.envelope_id}")
    return _line(words)


def rcpt_command(recipient: Recipient, features: Features, *, smtputf8: bool = False) -> bytes:
    """RCPT with its CRLF; `smtputf8`: MAIL has it. Raises InvalidInput: a control character in it."""
    words = [f"RCPT TO:<{_path(recipient.address)}>"]
    if features.dsn:
        if recipient.notify:
            words.append("NOTIFY=" + ",".join(word.value for word in _NOTIFY if word in recipient.notify))
        original = recipient.original_recipient
        if original:
            words.append(f"ORCPT={original if smtputf8 else ascii_unitext(original)}")
    return _line(words)


def _path(address: EmailAddress) -> str:
    return str(address)


def _line(words: list[str]) -> bytes:
    line = " ".join(words)
    if not line.isprintable() and _CONTROL.search(line):
        raise InvalidInput("an address or a parameter has control characters", status="5.1.3")
    return f"{line}\r\n".encode()
