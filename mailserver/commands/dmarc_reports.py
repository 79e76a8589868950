"""`mailserver report dmarc`: what came in the name of domains, in plain words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import click

from mailserver.commands.engine import perform
from mailserver.commands.moments import moment
from mailserver.commands.options import config_option, json_option, printable, show

__all__ = ["describe", "dmarc"]

Row = Mapping[str, Any]
_STATES = {
    "sent": "sent to {told}",
    "unwanted": "not sent: the domain does not ask for reports any more",
    "failed": "given up: {trouble}",
}
_DONE = {"quarantine": "taken for junk", "reject": "refused"}
_REASONS = {
    "local_policy": "by that server's own rules", "mailing_list": "came by a mailing list",
    "trusted_forwarder": "came by a trusted forwarder", "forwarded": "was forwarded",
    "policy_test_mode": "the policy is only tried out", "sampled_out": "the policy was not for all mail",
    "other": "for some other reason",
}  # fmt: skip
_MOST_SHOWN = 20


@click.command("dmarc")
@click.argument("domain", default="")
@click.option("--sent", is_flag=True, help="Only what we report about others.")
@click.option("--received", is_flag=True, help="Only what others report about us.")
@click.option("--sources", is_flag=True, help="What others report about us, added up by the server it came from.")
@click.option("--send-now", is_flag=True, help="First send the reports whose time has come.")
@json_option
@config_option
def dmarc(domain: str, sent: bool, received: bool, sources: bool, send_now: bool, as_json: bool) -> None:
    """What came in the name of DOMAIN, or of all, and whether it was proved, by day (RFC 9990)."""
    if send_now:
        perform("dmarc_report.send", {})
    told = perform("dmarc_report.show", {"domain": domain, "sources": sources})
    wanted = {name for name, asked in (("sent", sent), ("received", received), ("sources", sources)) if asked}
    wanted = wanted or {"sent", "received"}
    for name in {"sent", "received", "sources"} - wanted:
        del told[name]
    show(told, as_json=as_json, text="\n".join(printable(line) for line in describe(told)))


def describe(told: Row) -> Iterator[str]:
    """The answer of `dmarc_report.show` as lines."""
    if "received" in told:
        yield "What others report about us"
        yield from _received(told["received"])
        yield ""
        yield from _records(told["records"])
    if "sources" in told:
        yield "Who sends in our name, as others see it"
        yield from _sources(told["sources"])
    if "sent" in told:
        if "received" in told or "sources" in told:
            yield ""
        yield "What we report about others"
        yield from _sent(told["sent"])


def _received(rows: Sequence[Row]) -> Iterator[str]:
    if not rows:
        yield "  nothing yet"
    for row in rows:
        day = f"{datetime.fromtimestamp(row['begins'], UTC):%Y-%m-%d}"
        doubt = "" if row["proved"] else " (nothing proves that it is from them)"
        yield f"  {day}  {row['organisation'] or row['contact']} about {row['domain']}: {_totals(row)}{doubt}"
        yield from _lines(row["rows"])
        if row["unlisted"]:
            yield f"              {row['unlisted']} more of other kinds"


def _totals(row: Row) -> str:
    number = f"{row['messages']} message{'' if row['messages'] == 1 else 's'}"
    if not row["failed"]:
        return f"{number}, all proved"
    parts = [f"{row[key]} {words}" for key, words in (("refused", "refused"), ("quarantined", "junk")) if row[key]]
    return f"{number}, {row['failed']} NOT PROVED" + (f" ({', '.join(parts)})" if parts else "")


def _lines(rows: Sequence[Row]) -> Iterator[str]:
    for row in rows[:_MOST_SHOWN]:
        details = [_outcome(row), f"signed {', '.join(row['signers'])}" if row["signers"] else "not signed"]
        if row["sender"]:
            details.append(f"sent as {row['sender']}" + (f" (SPF {row['sender_spf']})" if row["sender_spf"] else ""))
        yield f"              {row['count']} x {row['author']} from [{row['source']}]: {'; '.join(details)}"
    if len(rows) > _MOST_SHOWN:
        yield f"              and {len(rows) - _MOST_SHOWN} more lines (--json shows them)"


def _outcome(row: Row) -> str:
    proved = [name for name, key in (("DKIM", "dkim"), ("SPF", "spf")) if row[key] in ("pass", True)]
    words = f"proved by {' and '.join(proved)}" if proved else "NOT PROVED"
    if row["disposition"] in _DONE:
        words += f", {_DONE[row['disposition']]}"
    # Ours have a comment beside the kind.
    kinds = [reason if isinstance(reason, str) else reason[0] for reason in row["reasons"]]
    return words + "".join(f", {_REASONS.get(kind, kind)}" for kind in kinds)


def _sources(rows: Sequence[Row]) -> Iterator[str]:
    if not rows:
        yield "  nothing yet"
    for row in rows:
        failed = f"{row['failed']} NOT PROVED" if row["failed"] else "all proved"
        senders = f" (sent as {', '.join(row['senders'])})" if row["senders"] else ""
        yield f"  {row['domain']}  [{row['source']}]  {row['messages']}, {failed}{senders}"


def _sent(rows: Sequence[Row]) -> Iterator[str]:
    if not rows:
        yield "  nothing yet: no mail came from domains that ask for reports"
    for row in rows:
        yield f"  {row['day']}  {row['domain']}: {row['messages']} message{'' if row['messages'] == 1 else 's'}"
        for line in row["rows"][:_MOST_SHOWN]:
            yield f"              {line['count']} x {line['author']} from [{line['source']}]: {_outcome(line)}"
        if row["state"] == "waiting":
            trouble = f"; last try: {row['trouble']}" if row["trouble"] else ""
            yield f"              to be sent {moment(row['next'])}{trouble}"
        else:
            words = _STATES[row["state"]].format(told=", ".join(row["told"]), trouble=row["trouble"])
            missing = f"; not to {row['trouble']}" if row["state"] == "sent" and row["trouble"] else ""
            yield f"              {words}{missing}"


def _records(rows: Sequence[Row]) -> Iterator[str]:
    for row in rows:
        if row["asks"]:
            yield f"  {row['name']} is right: {', '.join(row['published'])}"
        elif row["published"]:
            rua = row["text"].rpartition("; ")[2]
            yield f"  {row['name']} asks for no reports: {', '.join(row['published'])}; add {rua}"
        else:
            state = "is missing in DNS; publish" if row["published"] == [] else "cannot be looked up now; it should be"
            yield f"  {row['name']} {state}:"
            yield f'    {row["name"]}. IN TXT "{row["text"]}"'
