"""`mailserver report tls`: how TLS went with other servers, in plain words."""

from __future__ import annotations

from collections.abc import Sequence

import click

from mailserver.commands import daily_reports
from mailserver.commands.daily_reports import Lines, Row, fate, plural, reported
from mailserver.commands.engine import perform
from mailserver.commands.options import config_option, json_option, printable, show

__all__ = ["describe", "tls"]

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


@click.command("tls")
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


def describe(told: Row) -> Lines:
    """The answer of `tlsrpt.show` as lines."""
    return daily_reports.describe(told, received=_received(told.get("received", ())), sent=_sent(told.get("sent", ())))


def _received(rows: Sequence[Row]) -> Lines:
    for row in rows:
        yield f"{reported(row)}: {_sessions(row)}"
        yield from _failures(row)


def _sent(rows: Sequence[Row]) -> Lines:
    if not rows:
        yield "  nothing yet: there were no connections to other servers"
    for row in rows:
        for policy in row["policies"]:
            host = f" (its server {policy['domain']})" if policy["domain"] != row["domain"] else ""
            yield f"  {row['day']}  {row['domain']}{host}: {_sessions(policy)}"
            yield from _failures(policy)
        yield fate(row)


def _sessions(row: Row) -> str:
    kind = _POLICIES.get(row["type"], row["type"])
    if not row["bad"]:
        return f"{plural(row['good'], 'connection')}, all good ({kind})"
    return f"{row['good']} good, {row['bad']} FAILED ({kind})"


def _failures(row: Row) -> Lines:
    for failure in row["failures"]:
        words = _REASONS.get(failure["result"], failure["result"])
        where = failure["host"] or failure["address"]
        if failure["host"] and failure["address"]:
            where = f"{failure['host']} [{failure['address']}]"
        reason = f" ({failure['reason']})" if failure["reason"] else ""
        yield f"              {failure['count']} x {words}{f', at {where}' if where else ''}{reason}"
