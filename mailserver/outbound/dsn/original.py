"""The part with the original: its header, or all of it where that was asked for and it is small (RFC 3461 §6.2)."""

from __future__ import annotations

from mailserver.mime.headers import fields, header_block_end, value
from mailserver.mime.message_ids import own_message_id
from mailserver.mime.multipart import BodyPart, crlf_lines, encoded, make_part
from mailserver.mime.words import decode_words
from mailserver.model.envelope import Body, DsnReturn
from mailserver.outbound.dsn.fields import printable
from mailserver.ports.reports import Action, ReportRequest

__all__ = ["MOST", "message_id", "original_part", "subject"]

#: Octets of the original in a report (ATTACKS F05).
MOST = 50_000
_LONGEST_FIELD = 4_000
_LONGEST_SUBJECT = 200
# What a sender, and whoever looks for the reason, must find even when the header is too long.
_NEEDED = frozenset(
    b"from sender to cc subject date message-id in-reply-to references reply-to list-id mime-version content-type "
    b"return-path received x-sent-token auto-submitted".split()
)
#: What a report in answer to a stranger returns: by what its reader knows the message, and who really sent it. The
#: reader may never have written it, so there is as little as possible in which somebody else could speak to him.
_RECOGNISED = frozenset(b"from to subject date message-id list-id received x-sent-token auto-submitted".split())
_LONGEST_OF_STRANGER = {b"received": 1000}
_LONGEST_OTHER_OF_STRANGER, _MOST_OF_STRANGER = 300, 8_000


def original_part(request: ReportRequest, *, eight_bit: bool) -> BodyPart:
    """`eight_bit`: the way to the sender takes 8-bit octets for sure; it will where the message had them."""
    header = crlf_lines(request.head[: header_block_end(request.head)])
    utf8 = request.envelope.smtputf8 and not header.isascii() and _is_utf8(header)
    if _whole_is_wanted(request):
        encoding, body = encoded(crlf_lines(request.head), eight_bit=True)
        # RFC 2046 §5.2.1: message/rfc822 cannot be in quoted-printable; and 8-bit needs a way that takes it.
        taken = ("7bit", "8bit") if eight_bit or request.envelope.body is Body.EIGHT_BIT_MIME else ("7bit",)
        if encoding in taken:
            return BodyPart("message/global" if utf8 else "message/rfc822", "Undelivered message", encoding, body)
    media_type = "message/global-headers" if utf8 else "text/rfc822-headers"
    kept = _of_stranger(header) if request.envelope.of_stranger else _bounded(header)
    return make_part(media_type, "Header of the message", kept, eight_bit=eight_bit)


def _whole_is_wanted(request: ReportRequest) -> bool:
    envelope = request.envelope
    # RFC 8689 §5: RET=FULL is disregarded for messages with REQUIRETLS.
    return (
        envelope.dsn_return is DsnReturn.FULL
        and not envelope.require_tls
        and any(one.action is Action.FAILED for one in request.recipients)
        and request.size <= MOST
        and len(request.head) >= request.size
    )


def _bounded(header: bytes) -> bytes:
    if len(header) <= MOST:
        return header
    kept, left = [], MOST
    for name, start, end in fields(header):
        length = end - start
        if name in _NEEDED and length <= min(left, _LONGEST_FIELD):
            kept.append(header[start:end])
            left -= length
    return b"".join(kept)


def _of_stranger(header: bytes) -> bytes:
    """The first field of each kind, and all Received, within bounds."""
    kept, left, seen = [], _MOST_OF_STRANGER, set()
    for name, start, end in fields(header):
        most = min(left, _LONGEST_OF_STRANGER.get(name, _LONGEST_OTHER_OF_STRANGER))
        if name not in _RECOGNISED or name in seen or end - start > most:
            continue
        if name != b"received":
            seen.add(name)
        kept.append(header[start:end])
        left -= end - start
    return b"".join(kept)


def _is_utf8(octets: bytes) -> bool:
    try:
        octets.decode()
    except UnicodeDecodeError:
        return False
    return True


def message_id(head: bytes) -> str:
    """The original's Message-ID with its brackets, "" when there is none that can be named."""
    found = own_message_id(head)
    return f"<{found}>" if found else ""


def subject(head: bytes) -> str:
    """The original's subject, as people read it."""
    return printable(decode_words((value(head, b"subject") or b"")[:2000]), _LONGEST_SUBJECT).strip()
