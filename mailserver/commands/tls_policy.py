"""`mailserver tls-policy`: how connections to other mail servers are protected."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import click

from mailserver.commands.engine import perform
from mailserver.commands.options import config_option, json_option, show, show_rows

__all__ = ["LEVELS", "command", "describe"]

#: `TlsLevel` in words.
LEVELS = {
    "none": "no TLS",
    "opportunistic": "TLS where it is offered, with any certificate; otherwise in the clear",
    "encrypted": "TLS, with any certificate",
    "verified": "TLS, with a certificate of a known authority for {names}",
    "dane": "TLS, with a certificate that DNS pins (TLSA)",
}


@click.group("tls-policy")
@config_option
def command() -> None:
    """How connections to other mail servers are protected: DANE, MTA-STS."""


@command.command("show")
@click.argument("domain")
@json_option
@config_option
def show_one(domain: str, as_json: bool) -> None:
    """Show how mail to DOMAIN would be protected now, and why. Nothing is sent."""
    told = perform("tls_policy.show", {"domain": domain})
    show(told, as_json=as_json, text="\n".join(_safe(line) for line in describe(told)))


@command.command("list")
@json_option
@config_option
def show_all(as_json: bool) -> None:
    """List the MTA-STS policies of other domains that are known here."""
    rows = perform("mta_sts.list", {})
    if not as_json:
        rows = [{**row, "fetched": _time(row["fetched"]), "expires": _time(row["expires"])} for row in rows]
    columns = {
        "domain": "DOMAIN", "mode": "MODE", "fetched": "FETCHED", "expires": "EXPIRES", "mx": "MX",
        "trouble": "LAST TROUBLE",
    }  # fmt: skip
    show_rows(rows, columns, as_json=as_json, none="no policies yet; they come with mail to domains that have one")


@command.command("refresh")
@click.argument("domain")
@json_option
@config_option
def refresh(domain: str, as_json: bool) -> None:
    """Fetch the MTA-STS policy of DOMAIN now."""
    row = perform("mta_sts.refresh", {"domain": domain})
    show(row, as_json=as_json, text=_safe(f"{row['domain']}: {row['mode']}, until {_time(row['expires'])}"))


def describe(told: dict[str, Any]) -> Iterator[str]:
    """The answer of `tls_policy.show` as lines."""
    if told["destination"] and not told["hosts"] and not told["error"]:
        yield f"{told['domain']}: its mailboxes are here"
        return
    where = "" if told["destination"] in ("", told["domain"]) else f" (by way of {told['destination']})"
    yield f"{told['domain']}{where}"
    if told["mta_sts"] is not None:
        yield from _mta_sts(told["mta_sts"])
    for host in told["hosts"]:
        yield from _host(host)
    if told["error"]:
        yield f"  no host:  {told['error']}"


def _mta_sts(told: dict[str, Any]) -> Iterator[str]:
    policy = told["policy"]
    if policy is None:
        yield f"  MTA-STS:  none ({told['error'] or told['remark']})"
        return
    yield f"  MTA-STS:  {policy['mode']}, id {policy['id'] or '-'}, until {_time(policy['expires'])}"
    if policy["mx"]:
        yield f"            mail servers: {', '.join(policy['mx'])}"
    if trouble := told["error"] or policy["trouble"]:
        yield f"            no newer one: {trouble}"


def _host(row: dict[str, Any]) -> Iterator[str]:
    yield f"{row['host']}, port {row['port']} ({', '.join(row['addresses'])})"
    if row["error"]:
        yield f"  not used: {row['error']}"
        return
    if row["refused"] and row["enforced"]:
        yield f"  not used: {row['refused']}"
    else:
        yield f"  needs:    {LEVELS[row['level']].format(names=' or '.join(row['names']))}"
    yield f"  because:  {_reason(row)}"
    if not row["enforced"]:
        yield f"  testing:  mail goes all the same{': ' + row['refused'] if row['refused'] else ''}"
    if row["failure"] and row["detail"] != row["refused"]:
        yield f"  trouble:  {row['detail']} ({row['failure']})"
    if row["source"] == "dane":
        yield from (f"  TLSA:     {line}" for line in row["text"])


def _reason(row: dict[str, Any]) -> str:
    if row["source"] == "dane":
        return "DANE: DNSSEC proves its TLSA records"
    if row["source"] == "sts":
        return "the MTA-STS policy of the domain"
    if row["source"] != "opportunistic":
        return str(row["source"]) or "a plugin says so"
    if not row["mx_authentic"]:
        return "DNSSEC does not prove that this is its mail server, so there is no DANE; no MTA-STS policy holds"
    return "DNSSEC proves no TLSA records of this host; no MTA-STS policy holds"


def _safe(line: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in line)


def _time(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%MZ}"
