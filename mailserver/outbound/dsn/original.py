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
    return make_part(media_type, "Header of the message", _bounded(header), eight_bit=eight_bit)


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
