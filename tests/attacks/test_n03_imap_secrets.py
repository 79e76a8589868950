"""ATTACKS N03: nothing that a client says of its mail, and no secret of it, is in a log line or an event."""

from __future__ import annotations

import base64

from structlog.testing import capture_logs

from mailserver.hooks.contexts import AuthenticateContext, Authenticated, Denied
from tests.helpers.imap import AsyncImap
from tests.helpers.imap_service import ANNA, PASSWORD, ImapHarness

#: Stands for a secret wherever it occurs.
SECRET = "qXzzySecretqXz"
URL = f"imap://anna%40example.test@x/INBOX/;UID=1/;SECTION={SECRET};URLAUTH=authuser"
COMMANDS = (
    f'SETMETADATA "" (/private/filters/values/mine "SUBJECT {SECRET}")',
    f'SETMETADATA INBOX (/private/comment "{SECRET}" /shared/{SECRET} "x")',
    f"GETMETADATA INBOX /private/{SECRET}",
    f"SEARCH RETURN (UPDATE) OR TEXT {SECRET} HEADER {SECRET} x",
    f"SEARCH FILTER {SECRET}",
    "SEARCH FILTER mine",
    f"SORT (SUBJECT) UTF-8 BODY {SECRET}",
    f"ESEARCH IN (mailboxes {SECRET}) SUBJECT {SECRET}",
    f"NOTIFY SET STATUS (subtree {SECRET} (MessageNew MessageExpunge))",
    f"URLFETCH {URL}:internal:{'0' * 64} {SECRET}",
    f'GENURLAUTH "{URL}" INTERNAL',
    f"APPEND INBOX CATENATE (URL /{SECRET}/;UID=1 TEXT {{14+}}\r\n{SECRET})",
    f"APPEND INBOX ({SECRET}) {{14+}}\r\n{SECRET}",
    f"REPLACE 1 {SECRET} {{14+}}\r\n{SECRET}",
    f"STORE 1 +FLAGS ({SECRET})",
    f"SELECT {SECRET}",
    f'STATUS "Other Users/ben@example.test/{SECRET}" (MESSAGES)',
    f"{SECRET} {SECRET}",
    "FETCH 1 BODY[]",
)


def _mechanisms(user: str, secret: str) -> tuple[str, ...]:
    def encoded(text: str) -> str:
        return base64.b64encode(text.encode()).decode()

    return (
        f"LOGIN {user} {secret}",
        f"AUTHENTICATE PLAIN {encoded(f'{chr(0)}{user}{chr(0)}{secret}')}",
        f"AUTHENTICATE OAUTHBEARER {encoded(f'n,a={user},{chr(1)}auth=Bearer {secret}{chr(1)}{chr(1)}')}",
        f"AUTHENTICATE XOAUTH2 {encoded(f'user={user}{chr(1)}auth=Bearer {secret}{chr(1)}{chr(1)}')}",
    )


async def _answered(imap: AsyncImap, command: str) -> None:
    imap.writer.write(f"n {command}\r\n".encode())
    while not (line := await imap.response_line()).startswith((b"n ", b"+ ")):
        pass
    if line.startswith(b"+ "):
        imap.writer.write(b"\r\n")
        await _answered(imap, "NOOP")


async def test_n03_logs_and_events() -> None:
    server, shown = ImapHarness(), list[str]()

    def judge(ctx: AuthenticateContext) -> Authenticated | Denied:
        shown.append(repr(ctx))
        return Authenticated(account=ANNA) if ctx.token == SECRET else Denied(reason="expired", scope="mail")

    server.registry.authenticate(judge, mechanisms=("OAUTHBEARER", "XOAUTH2"))
    with capture_logs() as lines:
        async with server:
            await server.deliver(f"Subject: {SECRET}\r\n\r\n{SECRET}".encode())
            for secret in (SECRET, f"{SECRET}x"):
                for command in _mechanisms("anna@example.test", secret):
                    async with server.client(None) as imap:
                        await _answered(imap, command)
            async with server.client(select="INBOX") as imap:
                for command in COMMANDS:
                    await _answered(imap, command)
                    await _answered(imap, "SELECT INBOX")
                await imap.ok("UNAUTHENTICATE")
                await imap.ok(f'LOGIN anna "{PASSWORD}"')
    assert len(shown) == 4 and SECRET not in repr(shown)
    assert SECRET not in repr(lines) and PASSWORD not in repr(lines)
    assert SECRET not in repr(server.events) and len(server.events) > 8
