"""L7: the plugins that come with the server. They use `mailserver.api` and nothing else of it, as any other plugin."""

from __future__ import annotations

from collections.abc import Mapping

from mailserver.api import Plugin, Settings
from mailserver.plugins import (
    accounts,
    addresses,
    aliases,
    arc,
    bans,
    bayes,
    clamd,
    dane,
    dkim,
    dkim_verify,
    dmarc,
    dnsbl,
    greylist,
    history,
    iprev,
    junk,
    milter,
    mta_sts,
    phishing,
    quota_warning,
    rate_limit,
    reputation,
    rspamd,
    spf,
    srs,
    suppression,
    vacation,
)
from mailserver.plugins.aggregate_reports import dmarc_report, tlsrpt

__all__ = ["BUILT_IN", "SETTINGS"]

#: By name, in the default order.
BUILT_IN: Mapping[str, Plugin] = {
    plugin.name: plugin
    for plugin in (
        bans.plugin,
        rate_limit.plugin,
        dnsbl.plugin,
        iprev.plugin,
        spf.plugin,
        suppression.plugin,
        srs.plugin,
        # Before those that say where a message goes: after an answer nobody else is asked.
        vacation.plugin,
        addresses.plugin,
        accounts.plugin,
        aliases.plugin,
        dkim_verify.plugin,
        arc.plugin,
        dmarc_report.plugin,
        dmarc.plugin,
        clamd.plugin,
        milter.plugin,
        rspamd.plugin,
        dkim.plugin,
        dane.plugin,
        mta_sts.plugin,
        tlsrpt.plugin,
        phishing.plugin,
        greylist.plugin,
        reputation.plugin,
        bayes.plugin,
        junk.plugin,
        quota_warning.plugin,
        history.plugin,
    )
}
#: Their settings, for the commented configuration file.
SETTINGS: Mapping[str, type[Settings]] = {name: plugin.settings for name, plugin in BUILT_IN.items()}
