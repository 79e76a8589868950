"""Trace fields: what a server puts on top of a message (RFC 5321 §4.4).

Nothing that a peer said can begin a line of its own: every octet outside printable ASCII becomes `?`, and comments lose
what could end them (ATTACKS A13).
"""

from __future__ import annotations

import re

from mailserver.mime.dates import format_date

__all__ = ["received", "return_path"]

_NOT_PRINTABLE = re.compile(r"[^\x20-\x7e]")
_NOT_IN_COMMENT = re.compile(r"[()\\]")
_NOT_IN_WORD = re.compile(r"[^A-Za-z0-9!#$%&'*+/=?^_`{|}~.:@\[\]<>\"-]")
_MAX_WORD = 255


def return_path(sender: str | None) -> bytes:
    """The Return-Path line; `sender` None is the null reverse-path (§4.5.5). UTF-8 as RFC 6532 §3.2 has it."""
    path = "" if sender is None else re.sub(r"[\x00-\x20\x7f<>]", "", sender)
    return f"Return-Path: <{path}>\r\n".encode("utf-8", "replace")


def received(
    *,
    helo: str,
    peer: str,
    peer_name: str = "",
    user: str = "",
    by: str,
    protocol: str,
    queue_id: str,
    recipient: str | None = None,
    tls: str = "",
    epoch: float,
) -> bytes:
    """The Received field, folded.

    Args:
        helo: What the client called itself.
        peer: Its address, `192.0.2.1` or `2001:db8::1`; "": of a user who logged in, and it is nobody's business.
        peer_name: The name that belongs to the address, where that is known.
        user: Of a program on this machine, who runs it; `peer` says the same as a number ("uid:33").
        by: Our own name.
        protocol: `ESMTPSA` and the like (RFC 3848, RFC 6531 §4.3).
        queue_id: Our id of the transaction.
        recipient: For mail with one recipient only: others must not learn of each other (RFC 5321 §7.2).
        tls: The protocol and cipher, where TLS is used.
        epoch: The time of arrival, seconds since 1970 UTC.
    """
    if user:
        source = f"user {user}, {peer}"
    elif not peer:
        source = "authenticated user"
    else:
        literal = f"[IPv6:{peer}]" if ":" in peer else f"[{peer}]"
        source = f"{peer_name} {literal}" if peer_name else literal
    lines = [f"Received: from {_word(helo)} ({_comment(source)})"]
    if tls:
        lines.append(f"\t(using {_comment(tls)})")
    lines.append(f"\tby {_word(by)} with {_word(protocol)} id {_word(queue_id)}")
    if recipient is not None:
        address = re.sub(r"[\x00-\x20\x7f<>]", "", recipient)
        lines.append(f"\tfor <{address[:_MAX_WORD * 2]}>")
    lines[-1] += ";"
    lines.append(f"\t{format_date(epoch)}")
    return ("\r\n".join(lines) + "\r\n").encode("utf-8", "replace")


def _word(text: str) -> str:
    return _NOT_IN_WORD.sub("?", text[:_MAX_WORD]) or "unknown"


def _comment(text: str) -> str:
    return _NOT_IN_COMMENT.sub("?", _NOT_PRINTABLE.sub("?", text[:_MAX_WORD]))
