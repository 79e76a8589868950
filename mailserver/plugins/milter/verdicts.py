"""A filter's answers and changes in the words of this server."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from mailserver import api

__all__ = ["changed", "junk_field", "quarantined", "refusal"]

_log = structlog.get_logger()


def refusal(answer: api.MilterAnswer, shown: str) -> api.Reject | api.Defer | None:
    """What the client is told; None when the filter lets it pass."""
    text = f"The filter {shown} refused it"
    finding = api.Findings((), (api.Reason("milter", 0.0, text),))
    reply = api.milter.reply_of(answer.text) if answer.kind == "reply" else None
    if reply is None:
        kind = answer.kind if answer.kind != "reply" else ("tempfail" if answer.text[:1] == b"4" else "reject")
        if kind in ("reject", "discard"):
            reply = api.Reply(550, "5.7.1", f"This mail is not taken: {shown} refuses it")
        elif kind in ("tempfail", "shutdown"):
            reply = api.Reply(451, "4.7.1", f"{shown} does not take this mail now, try again later")
        else:
            return None
    close = answer.kind == "shutdown" or reply.code == 421
    if reply.code < 500:
        return api.Defer(reply, reason=text, close=close, findings=finding)
    return api.Reject(reply, reason=text, close=close, findings=finding)


def quarantined(why: str, shown: str, accepted: api.Accept, ctx: api.MessageContext) -> api.Verdict:
    """Into Junk; what does not stay here, or is of a user of ours, has no Junk to go to and is refused."""
    why = f": {why}" if why else ""
    words = f"The filter {shown} wants this kept out of the inbox{why}"
    finding = api.Findings((), (api.Reason("milter", 0.0, words),))
    if ctx.session.account is not None or ctx.forwarded:
        reply = api.Reply(550, "5.7.1", f"This mail is not sent on: {shown} holds it back{why}")
        return api.Reject(reply, reason=words, findings=finding)
    return api.Quarantine(words, findings=finding, changes=accepted.changes, body=accepted.body)


def changed(edits: Sequence[api.MilterEdit], shown: str) -> tuple[api.Accept, str | None]:
    """What changes, and the reason of a quarantine, if the filter wants one."""
    changes: list[api.HeaderChange] = []
    why: str | None = None
    body: list[bytes] = []
    replaced = False
    for edit in edits:
        if edit.kind == "quarantine":
            why = edit.value.decode("utf-8", "replace")[:500]
        elif edit.kind == "body":
            replaced = True
            body.append(edit.value)
        elif edit.kind in ("add", "insert", "change"):
            change = _change(edit)
            if change is None:
                _log.warning("a filter's change of a header field was left out: it is none", milter=shown)
            else:
                changes.append(change)
        else:
            _log.warning("a filter wants what was not agreed on; it is not done", milter=shown, wanted=edit.kind)
    return api.Accept(changes=tuple(changes), body=b"".join(body) if replaced else None), why


def junk_field(accepted: api.Accept, fields: Sequence[str]) -> str:
    """The field, of those that say so, by which a filter marks junk; "" when it does not. Those that the message came
    with do not count: anybody can write them."""
    marks = {_plain(*text.partition(":")[::2]) for text in fields}
    for change in accepted.changes:
        if change.value is not None and _plain(change.name, change.value) in marks:
            return f"{change.name}: {change.value.strip()}"
    return ""


def _plain(name: str, value: str) -> tuple[str, str]:
    return name.strip().lower(), value.strip().lower()


def _change(edit: api.MilterEdit) -> api.HeaderChange | None:
    name = edit.name.decode("ascii", "replace")
    value = _folded(edit.value)
    try:
        if edit.kind == "change":
            return api.HeaderChange(name, value or None, max(1, edit.index))
        # 0 is above, and 1 below, the Received of the server, which comes on top of what the filter sees.
        return api.HeaderChange(name, value, 0, None if edit.kind == "add" else max(0, edit.index - 1))
    except ValueError:
        return None


def _folded(value: bytes) -> str:
    """A value with its folds as they must be; lines with nothing on them go."""
    text = value.decode("utf-8", "surrogateescape").replace("\0", "").replace("\r\n", "\n").replace("\r", "\n")
    first, *rest = text.split("\n")
    lines = [line if line[0] in " \t" else "\t" + line for line in rest if line.strip(" \t")]
    return "\r\n".join((first, *lines))
