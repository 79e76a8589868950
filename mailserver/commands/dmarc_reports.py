"""`mailserver report dmarc`: what came in the name of domains, in plain words."""

from __future__ import annotations

from collections.abc import Sequence

import click

from mailserver.commands import daily_reports
from mailserver.commands.daily_reports import Lines, Row, fate, plural, reported
from mailserver.commands.engine import perform
from mailserver.commands.options import config_option, json_option, printable, show

__all__ = ["describe", "dmarc"]

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


def describe(told: Row) -> Lines:
    """The answer of `dmarc_report.show` as lines."""
    return daily_reports.describe(
        told, received=_received(told.get("received", ())), sources=_sources(told.get("sources", ())),
        sent=_sent(told.get("sent", ())),
    )  # fmt: skip


def _received(rows: Sequence[Row]) -> Lines:
    for row in rows:
        doubt = "" if row["proved"] else " (nothing proves that it is from them)"
        yield f"{reported(row)}: {_totals(row)}{doubt}"
        yield from _lines(row["rows"])
        if row["unlisted"]:
            yield f"              {row['unlisted']} more of other kinds"


def _totals(row: Row) -> str:
    number = plural(row["messages"], "message")
    if not row["failed"]:
        return f"{number}, all proved"
    parts = [f"{row[key]} {words}" for key, words in (("refused", "refused"), ("quarantined", "junk")) if row[key]]
    return f"{number}, {row['failed']} NOT PROVED" + (f" ({', '.join(parts)})" if parts else "")


def _lines(rows: Sequence[Row]) -> Lines:
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


def _sources(rows: Sequence[Row]) -> Lines:
    for row in rows:
        failed = f"{row['failed']} NOT PROVED" if row["failed"] else "all proved"
        senders = f" (sent as {', '.join(row['senders'])})" if row["senders"] else ""
        yield f"  {row['domain']}  [{row['source']}]  {row['messages']}, {failed}{senders}"


def _sent(rows: Sequence[Row]) -> Lines:
    if not rows:
        yield "  nothing yet: no mail came from domains that ask for reports"
    for row in rows:
        yield f"  {row['day']}  {row['domain']}: {plural(row['messages'], 'message')}"
        for line in row["rows"][:_MOST_SHOWN]:
            yield f"              {line['count']} x {line['author']} from [{line['source']}]: {_outcome(line)}"
        yield fate(row)
