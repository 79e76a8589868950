"""SETACL, DELETEACL, GETACL, LISTRIGHTS and MYRIGHTS (RFC 4314 §3)."""

from __future__ import annotations

import structlog

from mailserver.imap.access.reach import Access
from mailserver.imap.replies import Completion, Responses, no, ok
from mailserver.imap.session import Session
from mailserver.model.rights import ALL_RIGHTS, NO_RIGHTS, Right, Rights, RightsChange, render_rights
from mailserver.wire.imap import commands, responses

__all__ = ["delete_acl", "get_acl", "list_rights", "my_rights", "set_acl"]

log = structlog.get_logger()


async def set_acl(session: Session, command: commands.SetAcl) -> Responses:
    """Change what an identifier may do; the owner's rights cannot be."""
    access = await session.access(command.mailbox, Right.ADMINISTER)
    if command.identifier.removeprefix("-") == access.account:
        change = (command.how, command.rights)
        harmless = command.how is RightsChange.ADD or change == (RightsChange.REPLACE, ALL_RIGHTS)
        yield ok("SETACL completed") if harmless and command.identifier == access.account else _OWNER
        return
    if command.rights and command.how is not RightsChange.REMOVE:
        session.reach.grantable(command.identifier)
    yield await _change(session, access, command.identifier, command.how, command.rights, "SETACL")


async def delete_acl(session: Session, command: commands.DeleteAcl) -> Responses:
    """Take away what an identifier was given; what others give to the same user stays."""
    access = await session.access(command.mailbox, Right.ADMINISTER)
    if command.identifier == access.account:
        yield _OWNER
        return
    yield await _change(session, access, command.identifier, RightsChange.REPLACE, NO_RIGHTS, "DELETEACL")


_OWNER = no("the owner of a mailbox always has all rights", "CANNOT")


async def _change(
    session: Session, access: Access, identifier: str, how: RightsChange, rights: Rights, name: str
) -> Completion:
    await access.folders.grant(access.name, identifier, how, rights)
    log.info(
        "rights changed", session=session.facts.session, account=session.owner, owner=access.account,
        mailbox=access.name, identifier=identifier, change=how.value + render_rights(rights),
    )  # fmt: skip
    return ok(f"{name} completed")


async def get_acl(session: Session, command: commands.GetAcl) -> Responses:
    """The whole list, with the owner before all others."""
    access = await session.access(command.mailbox, Right.ADMINISTER)
    acl = (await access.folders.find(access.name)).acl
    entries = [(access.account, ALL_RIGHTS), *sorted(acl.items())]
    yield responses.acl(command.mailbox, entries, utf8=session.utf8)


async def list_rights(session: Session, command: commands.ListRights) -> Responses:
    """Every right can be given by itself, to everybody but the owner, who has them all."""
    access = await session.access(command.mailbox, Right.ADMINISTER)
    letters = render_rights(ALL_RIGHTS)
    always, possible = (letters, "") if command.identifier == access.account else ("", letters)
    yield responses.list_rights(command.mailbox, command.typed, always, possible, utf8=session.utf8)


async def my_rights(session: Session, command: commands.MyRights) -> Responses:
    """The user's own rights; any of them is enough to ask (§4)."""
    access = await session.access(command.mailbox)
    yield responses.my_rights(command.mailbox, access.rights, utf8=session.utf8)
