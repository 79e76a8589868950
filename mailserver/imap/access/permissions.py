"""What one client may do in the mailbox that it has selected (RFC 4314 §4, §5).

The ACL is the live one, so a right that is given or taken counts from the next command on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from mailserver.imap.replies import READ_ONLY, Completion, no
from mailserver.model.rights import ALL_RIGHTS, Acl, Right, Rights, right_for_flag
from mailserver.ports.store import Mailbox

__all__ = ["Judge", "Permissions", "everything"]

#: The client's rights where there is such an ACL.
Judge = Callable[[Acl], Rights]

#: Without any of these a mailbox is open for reading only (RFC 4314 §5.2: all our flags are shared ones).
_WRITING = frozenset({Right.INSERT, Right.EXPUNGE, Right.SEEN, Right.WRITE, Right.MARK_DELETED})


def everything(_: Acl) -> Rights:
    """The owner's rights."""
    return ALL_RIGHTS


class Permissions:
    """The part of a selected mailbox that knows rights; `examined`: it was opened by EXAMINE."""

    __slots__ = ("_acl", "_acl_told", "_judge", "_rights", "_rights_told", "examined", "mailbox")

    def __init__(self, mailbox: Mailbox, judge: Judge, *, examined: bool) -> None:
        self.mailbox = mailbox
        self.examined = examined
        self._judge = judge
        self._acl = self._acl_told = mailbox.acl
        self._rights = self._rights_told = judge(mailbox.acl)

    @property
    def rights(self) -> Rights:
        """What the client may do at this moment (RFC 4314 §5.1.1 lets servers be slower; we are not)."""
        acl = self.mailbox.acl
        if acl is not self._acl:
            self._acl, self._rights = acl, self._judge(acl)
        return self._rights

    @property
    def rights_pending(self) -> bool:
        """The ACL was changed since the client heard of its rights; two comparisons."""
        return self.mailbox.acl is not self._acl_told

    def rights_told(self) -> bool:
        """The client hears of its rights now; whether they are others than before."""
        before, self._acl_told, self._rights_told = self._rights_told, self.mailbox.acl, self.rights
        return self._rights_told != before

    @property
    def read_only(self) -> bool:
        """No change is possible: opened by EXAMINE, or without any right to change anything (RFC 4314 §5.2)."""
        return self.examined or self.rights.isdisjoint(_WRITING)

    @property
    def revoked(self) -> bool:
        """The client may not read here any more: whatever it asks, it must get nothing (RFC 4314 §5.1.1)."""
        return Right.READ not in self.rights

    @property
    def lost(self) -> str:
        """Why the client cannot go on with it; "" while it can."""
        if self.mailbox.deleted:
            return "The selected mailbox was deleted"
        return "You may not read the selected mailbox any more" if self.revoked else ""

    def refusal(self, *need: Right) -> Completion | None:
        """None, or why the client cannot change what needs all of these rights."""
        if self.examined:
            return READ_ONLY
        lacking = "".join(right.value for right in need if right not in self.rights)
        return no(f"you lack rights on this mailbox: {lacking}", "NOPERM") if lacking else None

    def permanent(self, flags: Iterable[str]) -> Iterator[str]:
        r"""PERMANENTFLAGS: those of these flags that the client can change for good, and `\*`."""
        if not self.examined:
            rights = self.rights
            yield from (flag for flag in (*flags, "\\*") if right_for_flag(flag) in rights)
