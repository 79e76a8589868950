"""`mailserver report`: what is measured every day, in plain words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import click

from mailserver.commands.dmarc_reports import dmarc
from mailserver.commands.engine import perform
from mailserver.commands.moments import moment
from mailserver.commands.options import config_option, json_option, printable, show

__all__ = ["command", "describe"]

Row = Mapping[str, Any]
_POLICIES = {"sts": "MTA-STS", "tlsa": "DANE", "no-policy-found": "no policy", "other": "another policy"}
#: RFC 8460 §4.3.
_REASONS = {
    "starttls-not-supported": "the server did not offer TLS",
    "certificate-host-mismatch": "the certificate is for another name",
    "certificate-expired": "the certificate has expired",
    "certificate-not-trusted": "the certificate is not of a known authority",
    "validation-failure": "TLS failed",
    "tlsa-invalid": "no TLSA record in DNS is usable, or none fits the certificate",
    "dnssec-invalid": "DNSSEC is broken: the records cannot be proved",
    "dane-required": "DANE is demanded, and there are no TLSA records",
    "sts-policy-fetch-error": "the MTA-STS policy could not be fetched",
    "sts-policy-invalid": "the MTA-STS policy has mistakes",
    "sts-webpki-invalid": "the web server of the MTA-STS policy has no good certificate",
}
_STATES = {
    "sent": "sent to {told}",
    "unwanted": "not sent: the domain does not ask for reports",
    "failed": "given up: {trouble}",
}


@click.group("report")
@config_option
def command() -> None:
    """What is measured every day: TLS with other servers, and mail in the name of domains."""


command.add_command(dmarc)


@command.command("tls")
@click.argument("domain", default="")
@click.option("--sent", is_flag=True, help="Only what we report about others.")
@click.option("--received", is_flag=True, help="Only what others report about us.")
@click.option("--send-now", is_flag=True, help="First send the reports whose time has come.")
@json_option
@config_option
def tls(domain: str, sent: bool, received: bool, send_now: bool, as_json: bool) -> None:
    """How TLS went between us and other servers, of DOMAIN or of all, by day (RFC 8460)."""
    if send_now:
        perform("tlsrpt.send", {})
    told = perform("tlsrpt.show", {"domain": domain})
    if sent != received:
        del told["received" if sent else "sent"]
    show(told, as_json=as_json, text="\n".join(printable(line) for line in describe(told)))


def describe(told: Row) -> Iterator[str]:
    """The answer of `tlsrpt.show` as lines."""
    if "received" in told:
        yield "What others report about us"
        yield from _received(told["received"])
        yield ""
        yield from _records(told["records"])
    if "sent" in told:
        if "received" in told:
            yield ""
        yield "What we report about others"
        yield from _sent(told["sent"])


def _received(rows: Sequence[Row]) -> Iterator[str]:
    if not rows:
        yield "  nothing yet"
    for row in rows:
        day = f"{datetime.fromtimestamp(row['begins'], UTC):%Y-%m-%d}"
        yield f"  {day}  {row['reporter'] or row['contact']} about {row['domain']}: {_sessions(row)}"
        yield from _failures(row)


def _sent(rows: Sequence[Row]) -> Iterator[str]:
    if not rows:
        yield "  nothing yet: there were no connections to other servers"
    for row in rows:
        for policy in row["policies"]:
            host = f" (its server {policy['domain']})" if policy["domain"] != row["domain"] else ""
            yield f"  {row['day']}  {row['domain']}{host}: {_sessions(policy)}"
            yield from _failures(policy)
        if row["state"] == "waiting":
            trouble = f"; last try: {row['trouble']}" if row["trouble"] else ""
            yield f"              to be sent {moment(row['next'])}{trouble}"
        else:
            words = _STATES[row["state"]].format(told=", ".join(row["told"]), trouble=row["trouble"])
            yield f"              {words}"


def _sessions(row: Row) -> str:
    kind = _POLICIES.get(row["type"], row["type"])
    if not row["bad"]:
        return f"{row['good']} connection{'' if row['good'] == 1 else 's'}, all good ({kind})"
    return f"{row['good']} good, {row['bad']} FAILED ({kind})"


def _failures(row: Row) -> Iterator[str]:
    for failure in row["failures"]:
        words = _REASONS.get(failure["result"], failure["result"])
        where = failure["host"] or failure["address"]
        if failure["host"] and failure["address"]:
            where = f"{failure['host']} [{failure['address']}]"
        reason = f" ({failure['reason']})" if failure["reason"] else ""
        yield f"              {failure['count']} x {words}{f', at {where}' if where else ''}{reason}"


def _records(rows: Sequence[Row]) -> Iterator[str]:
    for row in rows:
        if row["published"]:
            yield f"  {row['name']} asks for reports: {', '.join(row['published'])}"
        else:
            state = "is missing in DNS; publish" if row["published"] == [] else "cannot be looked up now; it should be"
            yield f"  {row['name']} {state}:"
            yield f'    {row["name"]}. IN TXT "{row["text"]}"'
