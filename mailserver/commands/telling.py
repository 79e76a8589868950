"""What happened to a message, in plain words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from mailserver.commands.moments import ago, moment

__all__ = ["answered", "protected", "story", "waiting_recipient"]

Row = Mapping[str, Any]
#: Events that are the same for all recipients as a rule, and how they are told.
_TOGETHER = {"accepted": "accepted (250)", "queued": "put into the queue"}
#: What people did.
_BY_HAND = {
    "dropped": "dropped", "held": "held", "released": "released", "retried": "tried at once",
    "rescheduled": "given another time",
}  # fmt: skip
#: Recipients that are named of many.
_NAMED = 10
#: `Result.policy`, as the reason why the connection was protected as it was.
_POLICIES = {
    "dane": "as its DNSSEC-signed DNS demands (DANE)",
    "sts": "as its published policy demands (MTA-STS)",
    "configuration": "as the configuration demands",
    "require-tls": "as the sender demanded (REQUIRETLS)",
    "opportunistic": "because the server offers it",
}
_DOUBTFUL = {
    "delivered": "there may be two: an earlier attempt was cut off after all was sent, before the answer",
    "deferred": "it may have arrived already: the connection was lost after all was sent",
}
_REPORTS = {
    "failed": "that it failed", "delayed": "that it is late", "delivered": "that it was delivered",
    "relayed": "that it was passed on", "expanded": "that it went to several addresses",
}  # fmt: skip


def waiting_recipient(row: Row) -> list[str]:
    """One recipient of a waiting message (`queue.show`)."""
    lines = [f"{row['address']}: {_state(row)}"]
    last = row["last"]
    if last is not None:
        lines.append(f"    last attempt {ago(last['at'])}: {last['outcome']}; {answered(last)}")
        if way := protected(last):
            lines.append(f"    {way}")
    if row["possible_duplicate"]:
        lines.append("    it may have arrived already: the connection was lost after all was sent")
    if row["paused_until"]:
        because = f": {row['paused_because']}" if row["paused_because"] else ""
        lines.append(f"    {row['destination']} is left alone until {ago(row['paused_until'])}{because}")
    lines += [
        f"    the sender was told {_REPORTS[told['action']]} (report {told['report']})"
        for told in row["reports"] if told["report"]
    ]  # fmt: skip
    return lines


def _state(row: Row) -> str:
    tries = f"{row['attempts']} attempt{'' if row['attempts'] == 1 else 's'} so far"
    if row["state"] == "waiting":
        return f"waiting, {tries}, next attempt " + (ago(row["next_attempt"]) if row["next_attempt"] else "now")
    return f"{ {'active': 'being sent now', 'held': 'held'}.get(row['state'], row['state']) }, {tries}"


def answered(result: Row) -> str:
    """Who said what (a result of `queue.show`, or an event of the history)."""
    text = str(result["reply"]) or "nothing was said"
    if result["code"]:
        code = str(result["code"])
        text = text if text.startswith(code) else f"{code} {text}"
    elif status := result.get("enhanced", result["status"]):
        text = f"{text} ({status})"
    remote, address = str(result["remote"]), str(result["address"])
    where = remote if not address or address in remote else f"{remote} [{address}]".strip()
    return f"{where} said: {text}" if where and result["code"] else text


def protected(result: Row) -> str:
    """How the connection was protected, and on whose word; "" when there was none."""
    if not result["address"] and not result["tls"]:
        return ""
    why = _POLICIES.get(result["policy"], "")
    if not result["tls"]:
        return "without TLS" + (f" ({result['policy']})" if result["policy"] else "")
    return f"over {result['tls']}" + (f", {why}" if why else "")


def story(events: Sequence[Row]) -> list[str]:
    """Events of one message, in their order; what is the same for several recipients is told once."""
    lines: list[str] = []
    for status, group in groupby(events, lambda event: event["status"]):
        if status in _TOGETHER:
            lines.append(_together(list(group), _TOGETHER[status]))
        elif status in _BY_HAND:
            # What somebody did twice are two events.
            for _, same in groupby(group, lambda event: (event["at"], event["report"], event["next_attempt"])):
                members = list(same)
                lines.append(_together(members, _by_hand(members[0])))
        else:
            lines += [line for event in group for line in _event_lines(event)]
    return lines


def _together(events: Sequence[Row], words: str) -> str:
    names = [event["recipient"] for event in events]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{moment(events[0]['at'])}  {', '.join(names[:_NAMED])}{more}: {words}"


def _by_hand(event: Row) -> str:
    """What somebody did, who, and until when."""
    words = f"{_BY_HAND[event['status']]} by {event['report'] or 'hand'}"
    if event["status"] == "held":
        return words + (f" until {ago(event['next_attempt'])}" if event["next_attempt"] else ", until it is released")
    return words + (f", {ago(event['next_attempt'])}" if event["status"] == "rescheduled" else "")


def _event_lines(event: Row) -> list[str]:
    head = f"{moment(event['at'])}  {event['recipient']}: "
    status = event["status"]
    if status in ("delivered", "deferred", "failed"):
        return [head + _attempt(event), *_details(event)]
    if status == "refused":
        return [f"{moment(event['at'])}  {event['recipient'] or 'the sender'}: refused with {answered(event)}"]
    if status == "reported":
        what = _REPORTS.get(event["reply"], event["reply"])
        return [f"{head}{event['destination']} was told {what} (report {event['report']})"]
    return [f"{head}it came back later, says {event['report']}: {event['reply']} ({event['enhanced']})"]


def _attempt(event: Row) -> str:
    if event["destination"] == "local" and not event["attempt"]:
        return f"delivered into the mailbox {event['reply']}"
    words = {"delivered": "taken by", "deferred": "not yet taken by", "failed": "refused by"}[event["status"]]
    return f"attempt {event['attempt']}: {words} {event['destination'] or 'nobody'}"


def _details(event: Row) -> list[str]:
    if event["destination"] == "local" and not event["attempt"]:
        return []
    lines = [f"    {answered(event)}"]
    if event["doubtful"]:
        lines.append(f"    {_DOUBTFUL.get(event['status'], _DOUBTFUL['delivered'])}")
    if way := protected(event):
        lines.append(f"    {way}")
    if event["status"] == "deferred" and event["next_attempt"]:
        lines.append(f"    next attempt {ago(event['next_attempt'])}")
    return lines
