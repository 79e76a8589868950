"""The whole configuration: every package's settings under the name of its section (DESIGN §9)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from mailserver.hooks.settings import Settings
from mailserver.http.settings import HttpSettings
from mailserver.imap.settings import ImapSettings
from mailserver.model.address import normalize_domain
from mailserver.model.errors import InvalidInput
from mailserver.net.settings import AuthSettings, DnsSettings, LimitsSettings, TlsSettings
from mailserver.outbound.settings import SendingSettings, SmarthostSettings
from mailserver.queue.settings import QueueSettings
from mailserver.smtp.settings import SendmailSettings, SmtpSettings, SubmissionSettings
from mailserver.storage.directory_settings import DomainSettings
from mailserver.storage.settings import StorageSettings

__all__ = ["DEFAULT_PLUGIN_ORDER", "Config", "LogSettings"]

#: The built-in chain; plugins that it does not name follow in order of appearance.
DEFAULT_PLUGIN_ORDER = [
    "bans", "rate_limit", "dnsbl", "iprev", "spf", "suppression", "srs", "vacation", "addresses", "accounts",
    "aliases", "dkim_verify", "arc", "dmarc_report", "dmarc", "clamd", "milter", "rspamd", "dkim", "dane", "mta_sts",
    "tlsrpt", "phishing", "greylist", "reputation", "bayes", "junk", "quota_warning", "history",
]  # fmt: skip


def _host_name(text: str) -> str:
    if not text:
        return text
    try:
        return normalize_domain(text)
    except InvalidInput:
        raise ValueError('not a host name, such as "mail.example.org"') from None


class LogSettings(Settings):
    """What is written to standard error, one line per fact."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="debug, info, warning or error: the least that is written."
    )
    format: Literal["text", "json"] = Field("text", description="text for people, json for programs.")


class Config(Settings):
    """Everything that can be set. Nothing needs to be set to start."""

    hostname: Annotated[str, AfterValidator(_host_name)] = Field(
        "",
        description="Our name in EHLO, in Received fields and in certificates; reverse DNS should give the same."
        " Empty: this machine's name.",
    )
    data_dir: str = Field(
        "maildir", min_length=1, description="Where all mail and state is kept, relative to this file."
    )
    event_loop: Literal["uvloop", "asyncio"] = Field(
        "uvloop", description="uvloop is the fast one; asyncio is the way back should it ever misbehave."
    )
    plugin_order: list[str] = Field(
        DEFAULT_PLUGIN_ORDER,
        description="The order in which plugins are asked; enabled ones that it does not name follow as they appear.",
    )
    domains: dict[str, DomainSettings] = Field(
        {}, description='Domains we serve: [domains."example.org"]; `domain add` adds more without this file.'
    )
    smtp: SmtpSettings = Field(SmtpSettings(), description="Mail from other servers.")
    submission: SubmissionSettings = Field(SubmissionSettings(), description="Mail from our own users.")
    sendmail: SendmailSettings = Field(SendmailSettings(), description="Mail from programs on this machine.")
    imap: ImapSettings = Field(ImapSettings(), description="Mailboxes for mail programs.")
    http: HttpSettings = Field(HttpSettings(), description="Health, metrics, administration.")
    tls: TlsSettings = Field(TlsSettings(), description="Certificates.")
    auth: AuthSettings = Field(AuthSettings(), description="How users prove who they are.")
    dns: DnsSettings = Field(DnsSettings(), description="Name resolution.")
    queue: QueueSettings = Field(QueueSettings(), description="Mail that waits to be sent.")
    sending: SendingSettings = Field(SendingSettings(), description="How mail is given to other servers.")
    smarthosts: dict[str, SmarthostSettings] = Field(
        {}, description="Servers that take mail of ours for everybody, each in a section [smarthosts.<name>]."
    )
    limits: LimitsSettings = Field(LimitsSettings(), description="Bounds of every resource.")
    storage: StorageSettings = Field(StorageSettings(), description="How mail is kept on disk.")
    log: LogSettings = Field(LogSettings(), description="The log on standard error.")
    plugins: dict[str, dict[str, Any]] = Field({}, description="One section per plugin.")
