"""STATUS (RFC 9051 §6.3.11)."""

from __future__ import annotations

from collections.abc import Sequence

from mailserver.imap.access.reach import Access
from mailserver.imap.replies import Responses
from mailserver.imap.session import Session
from mailserver.model.flags import DELETED
from mailserver.model.mailbox import MailboxStatus
from mailserver.model.rights import Right
from mailserver.wire.imap import commands, responses
from mailserver.wire.imap.commands import StatusItem

__all__ = ["status", "status_response"]


async def status(session: Session, command: commands.Status) -> Responses:
    """Numbers of a mailbox that need not be selected."""
    access = await session.access(command.mailbox, Right.READ)
    if StatusItem.HIGHESTMODSEQ in command.items:
        yield session.enable_condstore()
    yield await status_response(session, access, command.mailbox, command.items)


async def status_response(session: Session, access: Access, shown_name: str, items: Sequence[StatusItem]) -> bytes:
    """The response for a mailbox that the client calls `shown_name`. Raises NotFound."""
    found = await access.folders.status(access.name)
    values: list[tuple[StatusItem, int | str | None]] = []
    for item in items:
        if item is StatusItem.APPENDLIMIT:
            values.append((item, session.services.max_message_size))
        elif item is StatusItem.DELETED_STORAGE:
            values.append((item, await _deleted_storage(access)))
        else:
            values.append((item, _value(found, item)))
    return responses.status(shown_name, values, utf8=session.utf8)


def _value(found: MailboxStatus, item: StatusItem) -> int | str:
    values: dict[StatusItem, int | str] = {
        StatusItem.MESSAGES: found.messages,
        StatusItem.RECENT: 0,  # see select.py
        StatusItem.UIDNEXT: found.uid_next,
        StatusItem.UIDVALIDITY: found.uid_validity,
        StatusItem.UNSEEN: found.unseen,
        StatusItem.DELETED: found.deleted,
        StatusItem.SIZE: found.size,
        StatusItem.HIGHESTMODSEQ: found.highest_modseq,
        StatusItem.MAILBOXID: found.mailbox_id,
    }
    return values[item]


async def _deleted_storage(access: Access) -> int:
    async with access.folders.open(access.name) as box:
        deleted = box.flag_table.having(DELETED)
        return sum(size for size, flags in zip(box.table.sizes, box.table.flags, strict=True) if flags in deleted)
