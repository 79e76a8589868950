"""APPEND, MULTIAPPEND and CATENATE (RFC 9051 §6.3.12, RFC 3502, RFC 4469): messages stream to the store.

APPENDUID is UIDPLUS's (RFC 9051 §7.1); MESSAGELIMIT and SAVELIMIT: RFC 9738 §3.1.
"""

from __future__ import annotations

import re
from contextlib import AsyncExitStack, aclosing

from mailserver.imap.access.reach import Access
from mailserver.imap.capabilities.needs import needed_by_message
from mailserver.imap.message_limit import Reached, save_limit, too_many
from mailserver.imap.message_urls import BadUrl, octets_of
from mailserver.imap.replies import Completion, Responses, bad, from_error, no, ok, try_create
from mailserver.imap.session import Session
from mailserver.model.errors import InvalidInput, MailError, NotFound, OverQuota
from mailserver.model.events import Appended
from mailserver.model.numset import NumSet
from mailserver.model.rights import Right, allowed_flags
from mailserver.ports.store import Content, Target
from mailserver.wire.imap.events import (
    AppendContinued,
    AppendStarted,
    BadCommand,
    CatenateEnd,
    CatenateText,
    CatenateUrl,
    LiteralChunk,
)

#: What can stand in a response code (RFC 4469 §5 url-resp-text), and is no longer than a line should be.
_SAYABLE = re.compile(r'[^\x00-\x1f\x7f-\U0010ffff"\\\]]{1,1000}')

__all__ = ["Refused", "append", "receive", "refusal"]


class Refused(Exception):
    """This APPEND fails; nothing of it is left on the wire."""

    def __init__(self, completion: Completion) -> None:
        super().__init__(completion.text)
        self.completion = completion


async def append(session: Session, command: AppendStarted) -> Responses:
    """Take in one or more messages, and put all of them into the mailbox, or none."""
    async with AsyncExitStack() as stack:
        try:
            items = await receive(session, command, stack)
        except Refused as refused:
            yield refused.completion
            return
        told = await session.tells_uids(command.mailbox)
        try:
            stored = await session.services.store.commit_all(items[0][1].account, items)
        except MailError as error:
            yield refusal(session, command, error)
            return
        uids = NumSet.from_numbers(one.uid for one in stored)
        target = items[0][1]
        session.brought(target.account, target.mailbox, uids)
        octets = sum(content.size for content, _ in items)
        session.services.hooks.emit(
            Appended(account=target.account, mailbox=target.mailbox, uids=uids, octets=octets)
        )
        yield ok("APPEND completed", f"APPENDUID {stored[0].uid_validity} {uids}" if told else "")


async def receive(
    session: Session, command: AppendStarted, stack: AsyncExitStack, *, grows: bool = True
) -> list[tuple[Content, Target]]:
    """All messages of the command, written and not committed. `grows`: the account must have room for them.

    Raises Refused; the wire is in step again then.
    """
    talk = session.conversation
    message, items, octets = command.message, list[tuple[Content, Target]](), 0
    while True:
        octets += message.size
        try:
            access = await session.access(command.mailbox, Right.INSERT)
            if grows:
                await _check_quota(access, len(items) + 1, octets)
            content = await stack.enter_async_context(session.services.store.begin(message.size))
        except MailError as error:
            talk.refuse_literal()
            raise Refused(refusal(session, command, error)) from error
        talk.accept_literal()
        failed = await (_put_together if message.catenate else _write)(session, content)
        event = await talk.next_event()
        if isinstance(event, BadCommand):
            raise Refused(Completion(event.status, event.text, event.code))
        if failed is not None:
            if isinstance(event, AppendContinued):
                talk.refuse_literal()
            raise Refused(from_error(failed))
        flags = allowed_flags(message.flags, access.rights)
        target = Target(account=access.account, mailbox=access.name, flags=flags, date=message.date, into_new=False)
        items.append((content, target))
        if not isinstance(event, AppendContinued):
            try:
                # A message may be long in coming, and the right gone meanwhile.
                await session.access(command.mailbox, Right.INSERT)
            except MailError as error:
                raise Refused(refusal(session, command, error)) from error
            return items
        message = event.message
        for capability in ("MULTIAPPEND", *needed_by_message(message)):
            if not session.offers(capability):
                talk.refuse_literal()
                raise Refused(bad(f"{capability} is not offered here"))
        if len(items) == (limit := save_limit(session)):
            talk.refuse_literal()
            raise Refused(too_many(Reached(limit)))


async def _check_quota(access: Access, messages: int, octets: int) -> None:
    """A client that waits need not send what cannot be kept. Raises OverQuota."""
    usage = await access.folders.quota()
    if 0 < usage.octets_limit < usage.octets + octets or 0 < usage.messages_limit < usage.messages + messages:
        raise OverQuota("the account is over its quota")


def refusal(session: Session, command: AppendStarted, error: MailError) -> Completion:
    """What a client is told of this error of the mailbox it appends to."""
    if isinstance(error, NotFound):
        return try_create(error, command.mailbox, session.services.namespaces)
    return from_error(error)


async def _put_together(session: Session, content: Content) -> MailError | None:
    """The parts of one message, from the client and from messages that are there already (RFC 4469 §3)."""
    talk, most = session.conversation, session.services.max_message_size
    while True:
        event = await talk.next_event()
        if isinstance(event, BadCommand):
            raise Refused(Completion(event.status, event.text, event.code))
        if isinstance(event, CatenateEnd):
            return None if content.size else InvalidInput("a message of no octets cannot be appended")
        refused: Completion | None = None
        if isinstance(event, CatenateUrl):
            refused = await _copy(session, content, event.url, most)
        elif not isinstance(event, CatenateText):
            raise TypeError(f"{event!r} among the parts of a message")
        elif content.size + event.message.size > most:
            refused = _too_big(most)
        else:
            talk.accept_literal()
            failed = await _write(session, content)
            refused = None if failed is None else from_error(failed)
        if refused is not None:
            talk.refuse_literal()
            raise Refused(refused)


async def _copy(session: Session, content: Content, url: str, most: int) -> Completion | None:
    try:
        async with aclosing(octets_of(session, url)) as pieces:
            async for piece in pieces:
                if content.size + len(piece) > most:
                    return _too_big(most)
                await content.write(piece)
    except BadUrl as error:
        return no(error.text, f'BADURL "{url}"' if _SAYABLE.fullmatch(url) else "BADURL -")
    except MailError as error:
        return from_error(error)
    return None


def _too_big(most: int) -> Completion:
    return no(f"a message has at most {most} octets", "TOOBIG")


async def _write(session: Session, content: Content) -> MailError | None:
    """Write the octets of one message; why they could not be kept. All of them are read in any case."""
    failed: MailError | None = None
    while True:
        event = await session.conversation.next_event()
        if isinstance(event, BadCommand):
            raise Refused(Completion(event.status, event.text, event.code))
        if not isinstance(event, LiteralChunk):
            raise TypeError(f"{event!r} in a literal")
        if failed is None:
            try:
                await content.write(event.data)
            except MailError as error:
                failed = error
        if event.last:
            return failed
