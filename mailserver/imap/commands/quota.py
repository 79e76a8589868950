"""GETQUOTA, GETQUOTAROOT, SETQUOTA (RFC 9208). An account has one quota root, which holds everything of it.

    ""                      one's own
    #user/ben@example.test  Ben's, for the quota administrators (`imap.quota_administrators`); theirs have both names

For everybody else, nobody else's root exists, and one's own does only while it has a limit: QUOTA names one resource at
least (RFC 9208 §7). For an administrator each account has its root, as there must be one to set limits of; without
limits its list is empty (§4.2.1). Of another account these commands tell the limits, what is used of them, and nothing
else.
"""

from __future__ import annotations

import structlog

from mailserver.imap.replies import Responses, no
from mailserver.imap.session import Session
from mailserver.model.errors import InvalidInput, NotFound, NotPermitted
from mailserver.model.ids import AccountId
from mailserver.model.mailbox import QuotaUsage
from mailserver.model.rights import Right
from mailserver.net.quota import set_limits
from mailserver.wire.imap import commands, responses

__all__ = ["get_quota", "get_quota_root", "set_quota"]

_OWN = ""
_USER = "#user/"
#: In the units of each resource: below 2⁶² octets, and messages, as the command line has it too.
_MOST = {"STORAGE": (1 << 52) - 1, "MESSAGE": (1 << 62) - 1}
_NO_ROOT = no("there is no such quota root", "NONEXISTENT")

log = structlog.get_logger()


async def get_quota(session: Session, command: commands.GetQuota) -> Responses:
    """What the root uses and may use. No right is needed for one's own (RFC 9208 §6)."""
    account = _account(session, command.root)
    resources = [] if account is None else await _resources(session, account)
    if account is None or not (resources or _is_administered(session, account)):
        yield _NO_ROOT
        return
    yield responses.quota(command.root, resources)


async def get_quota_root(session: Session, command: commands.GetQuotaRoot) -> Responses:
    """The root of a mailbox (which need not exist, RFC 9208 §4.1.2), and its QUOTA."""
    account = await _owner(session, command.mailbox)
    own = account == session.owner
    resources = await _resources(session, account) if own or _is_administered(session, account) else []
    roots = []
    if resources or _is_administered(session, account):
        roots.append(_OWN if own else _USER + account)
    yield responses.quota_root(command.mailbox, roots, utf8=session.utf8)
    for root in roots:
        yield responses.quota(root, resources)


async def set_quota(session: Session, command: commands.SetQuota) -> Responses:
    """These limits, and no others (RFC 9208 §4.1.3): what the list leaves out is not limited any more.

    The table of §6 asks for the right `a`, which is about a mailbox; limits are about an account, and so it is the
    operator who says whose they are.
    """
    directory = session.services.directory
    if not session.administers_quotas:
        yield no("quotas are set by the administrator", "NOPERM")
        return
    account = _account(session, command.root)
    if account is None or directory is None:
        yield _NO_ROOT
        return
    storage, messages = _limits(command)
    usage = await set_limits(directory, session.services.store, account, storage * 1024, messages)
    log.info(
        "quota set", session=session.facts.session, account=session.owner, owner=account,
        octets_limit=usage.octets_limit, messages_limit=usage.messages_limit,
    )  # fmt: skip
    yield responses.quota(command.root, _shown(session, usage))


def _limits(command: commands.SetQuota) -> tuple[int, int]:
    """STORAGE and MESSAGE, 0 for one that is to be no more. Raises InvalidInput."""
    limits = dict.fromkeys(_MOST, 0)
    for resource, limit in command.limits:
        if resource not in _MOST:
            raise InvalidInput(f"{resource} cannot be limited here, only {' and '.join(_MOST)}")
        if limits[resource]:
            raise InvalidInput(f"{resource} stands in the list twice")
        if limit == 0:
            # It would prohibit any usage (§3.1.2); here 0 is no limit, which is the opposite.
            raise InvalidInput(f"a limit of {resource} is at least 1; leave it out of the list to have none")
        if limit > _MOST[resource]:
            raise InvalidInput(f"a limit of {resource} is at most {_MOST[resource]}; leave it out to have none")
        limits[resource] = limit
    return limits["STORAGE"], limits["MESSAGE"]


def _account(session: Session, root: str) -> AccountId | None:
    """Whose root this is, for this user; None: there is no such root."""
    if root == _OWN:
        return session.owner
    account = AccountId(root.removeprefix(_USER))
    return account if root != account and _is_administered(session, account) else None


def _is_administered(session: Session, account: AccountId) -> bool:
    """Whether this user sets the limits of an account: it is one of the directory, in a domain that is served."""
    directory = session.services.directory
    if directory is None or not session.administers_quotas:
        return False
    entry = directory.account(account)
    return entry is not None and directory.domain(entry.address.domain) is not None


async def _owner(session: Session, mailbox: str) -> AccountId:
    """In whose account a mailbox is, or would be. Raises NotFound, NotPermitted.

    Another user's must be readable (RFC 9208 §6). An administrator is answered for any name in an account, whether
    there is such a mailbox or not, as that would be more than the quota.
    """
    services = session.services
    path = services.namespaces.path(mailbox)
    if path is None:
        services.layout.to_store(mailbox)
        return session.owner
    try:
        return (await session.access(mailbox, Right.READ)).account
    except (NotFound, NotPermitted):
        named = services.namespaces.parse(path)
        if named is None or not _is_administered(session, named[0]):
            raise
        return named[0]


async def _resources(session: Session, account: AccountId) -> list[tuple[str, int, int]]:
    own = account == session.owner
    folders = session.folders if own else await session.services.store.open_account(account)
    return _shown(session, await folders.quota())


def _shown(session: Session, usage: QuotaUsage) -> list[tuple[str, int, int]]:
    """STORAGE in units of 1,024 octets, rounded up (RFC 9208 §5.1); resources without a limit are not shown."""
    found = []
    if usage.octets_limit and session.offers("QUOTA=RES-STORAGE"):
        found.append(("STORAGE", -(-usage.octets // 1024), usage.octets_limit // 1024))
    if usage.messages_limit and session.offers("QUOTA=RES-MESSAGE"):
        found.append(("MESSAGE", usage.messages, usage.messages_limit))
    return found
