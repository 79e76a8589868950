"""RESETKEY, GENURLAUTH and URLFETCH (RFC 4467): URLs that let others read one message, or a part of it.

The token is a MAC of the URL as it is written, under a secret key of the owner and the mailbox (INTERNAL, §2.4.1). It
opens the owner's own mailboxes.
"""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

from mailserver.imap.message_urls import opened
from mailserver.imap.replies import Responses, bad, no, ok
from mailserver.imap.session import Session
from mailserver.model.errors import InvalidInput, MailError, NotFound, NotPermitted
from mailserver.model.ids import AccountId
from mailserver.wire.imap import responses
from mailserver.wire.imap.commands import GenUrlAuth, ResetKey, UrlFetch
from mailserver.wire.imap.urls import AuthorizedUrl, parse_authorized_url

__all__ = ["gen_url_auth", "reset_key", "url_fetch"]

_INTERNAL = "INTERNAL"


async def reset_key(session: Session, command: ResetKey) -> Responses:
    """Take back all URLs of a mailbox, or of all mailboxes."""
    if any(mechanism != _INTERNAL for mechanism in command.mechanisms):
        yield no("the only mechanism here is INTERNAL", "CANNOT")
        return
    if command.mailbox is None:
        await session.folders.reset_url_keys(None)
        yield ok("RESETKEY completed; all keys are removed")
        return
    access = await session.access(command.mailbox)
    if access.account != session.owner:
        raise NotPermitted("this mailbox is not yours; its URLs are its owner's")
    await session.folders.reset_url_keys(access.name)
    await session.folders.url_key(access.name, make=True)
    yield ok("RESETKEY completed", f"URLMECH {_INTERNAL}")


async def gen_url_auth(session: Session, command: GenUrlAuth) -> Responses:
    """Authorize URLs of one's own mail; what is wrong with one is BAD (§7), and none is authorized then."""
    authorized: list[bytes] = []
    for text, mechanism in command.urls:
        refused, key, url = None, b"", None
        try:
            url = parse_authorized_url(text)
            key = await _own_key(session, url)
        except (InvalidInput, NotFound) as error:
            refused = error.text
        if refused is None and mechanism != _INTERNAL:
            refused = "the only mechanism here is INTERNAL"
        if refused is not None or url is None or url.token:
            yield bad(refused or "the URL is authorized already")
            return
        authorized.append(f"{text}:internal:{_token(key, url.rump)}".encode("ascii"))
    yield b"* GENURLAUTH %b\r\n" % b" ".join(map(responses.astring, authorized))


async def _own_key(session: Session, url: AuthorizedUrl) -> bytes:
    if url.user.lower() != session.owner.lower():
        raise InvalidInput("the user of the URL is the one who is logged in")
    name = session.services.layout.to_store(url.message.mailbox or "")
    return await session.folders.url_key(name, make=True) or b""


def _token(key: bytes, rump: str) -> str:
    return hmac.digest(key, rump.encode("ascii"), "sha256").hex()


async def url_fetch(session: Session, command: UrlFetch) -> Responses:
    """What the URLs name; NIL for each that is not good, whatever is wrong with it."""
    failed = False
    yield b"* URLFETCH"
    for text in command.urls:
        yield b" " + responses.astring(text.encode("ascii")) + b" "
        async with AsyncExitStack() as stack:
            try:
                size, pieces = await _open(session, text, stack)
            except MailError as error:
                failed |= error.temporary
                yield b"NIL"
                continue
            yield b"{%d}\r\n" % size
            try:
                async for piece in pieces:
                    yield piece.replace(b"\0", b"\x80")
            except MailError as error:
                # The count was said already; only the end of the connection says that it is not kept.
                raise ConnectionResetError("a message went, or could not be read, while it was sent") from error
    yield b"\r\n"
    yield no("not everything can be read now", "UNAVAILABLE") if failed else ok("URLFETCH completed")


async def _open(session: Session, text: str, stack: AsyncExitStack) -> tuple[int, AsyncIterator[bytes]]:
    """The octets of an authorized URL. Raises InvalidInput, NotFound, NotPermitted, StorageFailure."""
    url = parse_authorized_url(text)
    owner, name = AccountId(url.user.lower()), session.services.layout.to_store(url.message.mailbox or "")
    key: bytes | None = None
    folders = None
    try:
        if session.reach.known(owner):
            folders = await session.services.store.existing_account(owner)
            key = await folders.url_key(name)
    except NotFound:
        pass
    # §6: also where there is no mailbox something is compared.
    expected = _token(key or secrets.token_bytes(32), url.rump)
    good = hmac.compare_digest(expected, url.token.lower()) and url.mechanism == _INTERNAL
    if key is None or folders is None or not good or not _may_use(session, url):
        raise NotPermitted("the URL is not good")
    box = await stack.enter_async_context(folders.open(name))
    return await opened(box, url.message, session.services.workers)


def _may_use(session: Session, url: AuthorizedUrl) -> bool:
    """Whether this session is one of those that the URL was given to (§3)."""
    if url.expires is not None and url.expires < time.time():
        return False
    kind, _, name = url.access.partition("+")
    if kind == "submit":
        return session.owner in session.services.settings.submission_accounts
    return kind in ("anonymous", "authuser") or name.lower() == session.owner.lower()
