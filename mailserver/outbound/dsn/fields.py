"""The part for programs: message/delivery-status (RFC 3464 §2), or its form in UTF-8 (RFC 6533 §4.1).

Whatever a peer, a client or a user wrote becomes printable text on lines of this field (ATTACKS F01, F02).
"""

from __future__ import annotations

import re

from mailserver.mime.dates import format_date
from mailserver.model.address import EmailAddress
from mailserver.model.delivery import Result
from mailserver.ports.reports import Action, ReportedRecipient, ReportRequest
from mailserver.wire.xtext import decode_unitext, decode_xtext, encode_unitext

__all__ = ["delivery_status", "printable", "remote_name", "status_of"]

# RFC 3464 §2.3.4: no leading zeros.
_STATUS = re.compile(r"[245]\.(?:0|[1-9][0-9]{0,2})\.(?:0|[1-9][0-9]{0,2})")
_KINDS = {Action.FAILED: "54", Action.DELAYED: "4", Action.DELIVERED: "2", Action.RELAYED: "2", Action.EXPANDED: "2"}
# Only answers are folded: all else is short enough, and its spaces must stay what they are.
_WIDTH = 76
_LONGEST_WORD = 900
# Of all answers together, so that a thousand recipients do not make a report that nobody can take.
_DIAGNOSTICS = 100_000
_NOT_PRINTABLE = re.compile(r"[^\x20-\x7e]")


def printable(text: str, most: int, *, utf8: bool = True) -> str:
    """One line of what a peer said, with `?` for everything that is not to be seen (controls, line ends of all kinds,
    marks that turn the direction of writing), and for all but ASCII without `utf8`."""
    cut = text if len(text) <= most else text[: most - 3] + "..."
    if cut.isascii() and cut.isprintable():
        return cut
    if not utf8:
        return _NOT_PRINTABLE.sub("?", cut)
    return "".join(character if character.isprintable() else "?" for character in cut)


def delivery_status(request: ReportRequest, told: tuple[ReportedRecipient, ...], hostname: str, *, utf8: bool) -> bytes:
    """The body of the part; `utf8` makes it one of message/global-delivery-status."""
    most = min(1000, max(100, _DIAGNOSTICS // len(told)))
    groups = [_message_fields(request, hostname)]
    groups += [_recipient_fields(one, request, most, utf8=utf8) for one in told]
    return "\r\n".join("".join(f"{line}\r\n" for line in group) for group in groups).encode()


def remote_name(result: Result) -> str:
    """The server that was asked, with its address behind it where that is not its name already."""
    known = not result.address or result.address in result.remote
    return result.remote if known else f"{result.remote} ({result.address})"


def status_of(one: ReportedRecipient) -> str:
    """The status that fits the action: x.0.0 when the result has none (RFC 3461 §6.3 (g))."""
    status, kinds = one.result.status, _KINDS[one.action]
    return status if _STATUS.fullmatch(status) and status[0] in kinds else f"{kinds[0]}.0.0"


def _message_fields(request: ReportRequest, hostname: str) -> list[str]:
    lines = []
    envelope_id = request.envelope.envelope_id
    if envelope_id is not None:
        # RFC 3461 §6.3 (a): decoded; but what does not stand for text stays as it is.
        lines.append(f"Original-Envelope-Id: {_safe(decode_xtext(envelope_id) or envelope_id)}")
    lines.append(f"Reporting-MTA: dns; {_safe(hostname)}")
    lines.append(f"Arrival-Date: {format_date(request.arrived)}")
    if request.envelope.hold_request is not None:
        # RFC 4865 §5.1.2.
        lines.append(f"Future-Release-Request: {_safe(request.envelope.hold_request)}")
    return lines


def _recipient_fields(one: ReportedRecipient, request: ReportRequest, most: int, *, utf8: bool) -> list[str]:
    lines = []
    original = one.recipient.original_recipient
    if original is not None:
        lines.append(f"Original-Recipient: {_original(original, utf8=utf8)}")
    lines.append(f"Final-Recipient: {_typed(one.recipient.address, utf8=utf8)}")
    lines.append(f"Action: {one.action.value}")
    lines.append(f"Status: {status_of(one)}")
    result = one.result
    if result.remote:
        lines.append(f"Remote-MTA: dns; {_safe(remote_name(result))}")
    if result.reply or result.code:
        lines.append(_folded(f"Diagnostic-Code: {_diagnostic(result, most, utf8=utf8)}"))
    lines.append(f"Last-Attempt-Date: {format_date(one.at)}")
    lines.append(f"Final-Log-ID: {_safe(request.queue_id)}")
    if one.action is Action.DELAYED and one.will_retry_until is not None:
        lines.append(f"Will-Retry-Until: {format_date(one.will_retry_until)}")
    return lines


def _original(value: str, *, utf8: bool) -> str:
    """ORCPT's value, decoded (RFC 3461 §6.3 (d), RFC 6533 §3)."""
    kind, _, address = value.partition(";")
    if kind.lower() == "utf-8":
        decoded = decode_unitext(address)
        if decoded is None:
            return f"{_safe(kind)}; {_safe(address)}"
        return f"{_safe(kind)}; {decoded if utf8 else encode_unitext(decoded)}"
    return f"{_safe(kind)}; {_safe(decode_xtext(address) or address)}"


def _typed(address: EmailAddress, *, utf8: bool) -> str:
    text = str(address)
    if text.isascii():
        return f"rfc822; {_safe(text)}"
    return f"utf-8; {printable(text, 2000) if utf8 else encode_unitext(text)}"


def _diagnostic(result: Result, most: int, *, utf8: bool) -> str:
    """RFC 3461 §9.2 for what a server said; our own words have a type of their own."""
    words = printable(result.reply, most, utf8=utf8)
    if not result.code:
        return f"X-Mailserver; {words}"
    return f"smtp; {words}" if words.startswith(f"{result.code}") else f"smtp; {result.code} {words}"


def _safe(text: str) -> str:
    return printable(text, 2000, utf8=False)


def _folded(line: str) -> str:
    """At spaces, after which the next line begins; a word that fits on no line is broken (RFC 5322 §2.1.1)."""
    if len(line) <= _WIDTH:
        return line
    words = [word[at : at + _LONGEST_WORD] for word in line.split() for at in range(0, len(word), _LONGEST_WORD)]
    # The name of the field and the type behind it stay together, so that no line is white space alone.
    lines = [" ".join(words[:2])]
    for word in words[2:]:
        if len(lines[-1]) + 1 + len(word) > _WIDTH:
            lines.append(word)
        else:
            lines[-1] += f" {word}"
    return "\r\n ".join(lines)
