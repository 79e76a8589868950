"""Why a message that came in went where it went, in plain words: the score, its reasons, and what one can do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["judgements"]

Row = Mapping[str, Any]
#: Accounts and reasons that are told of one message.
_ACCOUNTS, _REASONS, _RESULTS = 50, 50, 20
_METHODS = {
    "spf": "SPF (may this server send for the domain of the envelope?)",
    "dkim": "DKIM (is it signed by this domain?)",
    "dmarc": "DMARC (is the domain in From proved by one of these?)",
    "arc": "ARC (what did those who passed it on see?)",
    "iprev": "reverse DNS (does the server's address have a name that leads back to it?)",
}


def judgements(rows: Sequence[Row]) -> list[str]:
    """Lines for all accounts that a message came to (`judged` of `why`). Accounts that found the same are told once."""
    lines: list[str] = []
    told: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        told.setdefault((_outcome(row), str(row["reasons"]), str(row["results"])), []).append(row)
    for (outcome, *_), members in list(told.items())[:_ACCOUNTS]:
        names = list(dict.fromkeys(_name(row) for row in members))
        more = f" and {len(names) - _ACCOUNTS} more" if len(names) > _ACCOUNTS else ""
        lines.append(f"{', '.join(names[:_ACCOUNTS])}{more}: {outcome}")
        lines += [f"  {line}" for line in (*_found(members[0]), *_advice(members[0]))]
    if len(told) > _ACCOUNTS:
        lines.append(f"… and {len(told) - _ACCOUNTS} more; see them all with --json")
    return lines


def _name(row: Row) -> str:
    account, recipient = str(row["account"]), str(row["recipient"])
    return account if account.lower() == recipient.lower() else f"{account} (as {recipient})"


def _outcome(row: Row) -> str:
    mailbox = row["mailbox"]
    if row["refused"]:
        kept = f"; a copy is in the mailbox {mailbox}" if mailbox else ""
        return f"refused with “{row['reply']}”{kept}"
    if row["reason"] and mailbox == "Rejects":
        return "not wanted here, while others took it: a copy is in the mailbox Rejects"
    if mailbox:
        return f"delivered into the mailbox {mailbox}"
    return "passed on" if not row["reason"] else "not wanted here, and not kept"


def _found(row: Row) -> list[str]:
    reasons, results = row["reasons"], row["results"]
    score = f"its score is {row['score']:.1f} points"
    lines = [f"{score}, the sum of these:" if reasons else f"{score}: nothing was held against it"]
    advised: set[str] = set()
    for reason in reasons[:_REASONS]:
        points = f"{reason['points']:+5.1f}" if reason["points"] else "     "
        lines.append(f"  {points}  {reason['text']} [{reason['check']}]")
        if reason["advice"] and reason["advice"] not in advised:
            advised.add(reason["advice"])
            lines.append(f"         {reason['advice']}")
    if results:
        lines.append("who sent it, as far as that can be proved:")
        lines += [f"  {_result(result)}" for result in results[:_RESULTS]]
    return lines


def _result(result: Row) -> str:
    properties = ", ".join(f"{name}={value}" for name, value in result["properties"].items())
    said = f"{_METHODS.get(result['method'], result['method'])}: {result['result']}"
    return said + (f" ({properties})" if properties else "") + (f" – {result['reason']}" if result["reason"] else "")


def _advice(row: Row) -> list[str]:
    """What the person who gets the mail can do, besides what the reasons say."""
    if row["mailbox"] == "Junk":
        return ["if you want it, move it out of Junk"]
    if row["mailbox"] == "Rejects":
        return ["if you want it, move it out of Rejects soon: what lies there is deleted after some days"]
    if row["mailbox"] and row["score"] > 0:
        return ["if you do not want it, move it to Junk"]
    return []
