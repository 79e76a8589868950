"""GETQUOTA, GETQUOTAROOT, SETQUOTA (RFC 9208). One quota root, "", holds everything of the account."""

from __future__ import annotations

from mailserver.imap.replies import Responses, no
from mailserver.imap.session import Session
from mailserver.model.mailbox import QuotaUsage
from mailserver.model.rights import Right
from mailserver.wire.imap import commands, responses

__all__ = ["get_quota", "get_quota_root", "set_quota"]

_ROOT = ""


async def get_quota(session: Session, command: commands.GetQuota) -> Responses:
    """What the root uses and may use."""
    resources = _resources(await session.folders.quota()) if command.root == _ROOT else []
    if not resources:
        yield no("there is no such quota root", "NONEXISTENT")
        return
    yield responses.quota(_ROOT, resources)


async def get_quota_root(session: Session, command: commands.GetQuotaRoot) -> Responses:
    """The root of a mailbox (which need not exist, RFC 9208 §4.1.2), and its QUOTA.

    Another user's mailbox must be readable (§6), and its limits are still nobody else's business: it has no root.
    """
    if session.services.namespaces.path(command.mailbox) is None:
        session.services.layout.to_store(command.mailbox)
        own = True
    else:
        own = (await session.access(command.mailbox, Right.READ)).account == session.owner
    resources = _resources(await session.folders.quota()) if own else []
    # QUOTA names one resource at least (RFC 9208 §7), so an account without limits has no root.
    yield responses.quota_root(command.mailbox, (_ROOT,) if resources else (), utf8=session.utf8)
    if resources:
        yield responses.quota(_ROOT, resources)


async def set_quota(session: Session, _: commands.SetQuota) -> Responses:
    """Limits are the administrator's."""
    yield no("quotas are set by the administrator", "NOPERM")


def _resources(usage: QuotaUsage) -> list[tuple[str, int, int]]:
    """STORAGE in units of 1,024 octets, rounded up (RFC 9208 §5.1); resources without a limit are not shown."""
    resources = []
    if usage.octets_limit:
        resources.append(("STORAGE", -(-usage.octets // 1024), usage.octets_limit // 1024))
    if usage.messages_limit:
        resources.append(("MESSAGE", usage.messages, usage.messages_limit))
    return resources
