"""`serve --demo`: a domain, an account and a first message, so that a new user can look around at once."""

from __future__ import annotations

import secrets
import sys
from datetime import datetime
from email.utils import format_datetime

from mailserver.app.application import Application
from mailserver.model.address import EmailAddress
from mailserver.model.errors import MailError
from mailserver.model.ids import AccountId
from mailserver.ports.directory import Account, Domain
from mailserver.ports.store import Target

__all__ = ["ADDRESS", "announce_demo", "prepare_demo"]

ADDRESS = EmailAddress("demo", "demo.test")

_WELCOME = """\
Date: {date}\r
From: mailserver <postmaster@{domain}>\r
To: {address}\r
Subject: Welcome to your mail server\r
Message-ID: <welcome.{random}@{domain}>\r
MIME-Version: 1.0\r
Content-Type: text/plain; charset=utf-8\r
Content-Transfer-Encoding: 8bit\r
\r
Hello,\r
\r
this message is a file: look into {path}.\r
\r
Some things to try:\r
\r
* Read this mailbox with your mail program, by IMAP at {imap}.\r
* Send mail to yourself: mailserver send, or SMTP submission at {submission}.\r
* Serve your own domain: mailserver domain add, mailserver account add.\r
* Change anything between the socket and the mailbox with ten lines of Python: docs/plugins.md.\r
\r
On this machine you can log in without encryption; from elsewhere TLS is needed.\r
"""


async def prepare_demo(app: Application) -> str | None:
    """Make what is missing. The password, when the account is new; None when it was there already.

    Raises:
        MailError: the demo's names are taken by something else, or the disk failed.
    """
    if app.directory.domain(ADDRESS.domain) is None:
        await app.directory.add_domain(Domain(name=ADDRESS.domain))
    if app.directory.account(ADDRESS.key) is not None:
        return None
    password = secrets.token_urlsafe(9)
    stored, scram = await app.passwords.hash(password)
    account = Account(account=AccountId(ADDRESS.key), address=ADDRESS, password_hash=stored, scram=scram)
    await app.directory.add_account(account)
    await app.store.open_account(account.account)
    await _welcome(app, account.account)
    return password


async def _welcome(app: Application, account: AccountId) -> None:
    config = app.loaded.config
    text = _WELCOME.format(
        date=format_datetime(datetime.fromtimestamp(app.clock.time()).astimezone()),
        domain=ADDRESS.domain,
        address=ADDRESS,
        random=secrets.token_hex(8),
        path=app.account_path(account),
        imap=", ".join(config.imap.listen) or "no address",
        submission=", ".join(config.submission.listen) or "no address",
    ).encode()
    async with app.store.begin(len(text)) as content:
        await content.write(text)
        (result,) = await app.store.commit(content, [Target(account=account)])
    if isinstance(result, MailError):
        raise result


def announce_demo(app: Application, password: str | None) -> None:
    """Tell on standard output how to reach the server; the password only this once."""
    bound = {name: ", ".join(f"{host} port {port}" for host, port in at) for name, at in app.addresses().items() if at}
    lines = ["", "mailserver runs. Reach it with any mail program:", ""]
    rows = {
        "address": str(ADDRESS),
        "user name": str(ADDRESS),
        "password": password
        or f"the one you were told first (a new one: .venv/bin/python cli.py account password {ADDRESS})",
        "IMAP": bound.get("imap", ""),
        "IMAP, TLS": bound.get("imaps", ""),
        "submission": bound.get("submission", ""),
        "submission, TLS": bound.get("submissions", ""),
        "SMTP (mail in)": bound.get("smtp", ""),
        "HTTP": bound.get("http", "") and f"{bound['http']} (/health/ready, /metrics)",
        "mail on disk": str(app.account_path(AccountId(ADDRESS.key))),
    }
    lines += [f"  {name:16} {value}" for name, value in rows.items() if value]
    lines += ["", "The certificate is self-signed, for trying out. Ctrl-C stops the server; your mail stays.", ""]
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()
