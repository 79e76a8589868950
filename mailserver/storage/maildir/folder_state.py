"""`mailserver-folder`: what a folder is, apart from its messages.

    uidvalidity   UIDVALIDITY
    uid_floor     no UID at or above it was ever given here
    modseq_floor  no MODSEQ at or above it was ever told to anyone
    mailbox_id    MAILBOXID (RFC 8474)
    special_use   RFC 6154 attributes, separated by spaces
    acl           RFC 4314: identifier=rights, separated by spaces; identifiers are percent-encoded

The floors are raised in blocks, durably, before the first number of a block is used; a clean stop writes them exactly.
So after a crash numbers continue at the floor: some are skipped, none is given twice. Keys of later versions are kept.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from urllib.parse import quote, unquote

from mailserver.model.mailbox import SpecialUse
from mailserver.model.rights import Acl, Right
from mailserver.storage.maildir.checked import Damaged, read_checked, write_checked

__all__ = ["STATE_FILE", "FolderState", "new_mailbox_id"]

STATE_FILE = "mailserver-folder"
_KIND = "mailserver-folder"
_OWN = ("uidvalidity", "uid_floor", "modseq_floor", "mailbox_id", "special_use", "acl")
MAX_UID = 0xFFFFFFFF
MAX_MODSEQ = (1 << 63) - 1
_ID_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def new_mailbox_id() -> str:
    """RFC 8474's objectid: 100 random bits behind a letter, so that it never looks like a number (§8.1)."""
    return "F" + "".join(secrets.choice(_ID_ALPHABET) for _ in range(20))


@dataclass(slots=True)
class FolderState:
    """The content of the file."""

    uid_validity: int
    uid_floor: int = 1
    modseq_floor: int = 2
    mailbox_id: str = field(default_factory=new_mailbox_id)
    special_use: frozenset[SpecialUse] = frozenset()
    acl: Acl = field(default_factory=dict)
    others: dict[str, str] = field(default_factory=dict)

    def save(self, folder: str) -> None:
        """Write it durably into the folder at this path."""
        fields = {
            "uidvalidity": str(self.uid_validity),
            "uid_floor": str(self.uid_floor),
            "modseq_floor": str(self.modseq_floor),
            "mailbox_id": self.mailbox_id,
            "special_use": " ".join(sorted(use.value for use in self.special_use)),
        }
        if self.acl:
            fields["acl"] = _acl_text(self.acl)
        write_checked(f"{folder}/{STATE_FILE}", _KIND, fields | self.others)

    @classmethod
    def load(cls, folder: str) -> FolderState:
        """Read it. Raises FileNotFoundError, Damaged."""
        fields = read_checked(f"{folder}/{STATE_FILE}", _KIND)
        try:
            known = {use.value: use for use in SpecialUse}
            state = cls(
                uid_validity=int(fields["uidvalidity"]),
                uid_floor=int(fields["uid_floor"]),
                modseq_floor=int(fields["modseq_floor"]),
                mailbox_id=fields["mailbox_id"],
                special_use=frozenset(known[word] for word in fields["special_use"].split() if word in known),
                acl=_read_acl(fields.get("acl", "")),
                others={key: value for key, value in fields.items() if key not in _OWN},
            )
        except (KeyError, ValueError) as error:
            raise Damaged(f"a field of {folder}/{STATE_FILE} is wrong: {error}") from error
        if not (
            0 < state.uid_validity <= MAX_UID
            and 0 < state.uid_floor <= MAX_UID + 1
            and 0 < state.modseq_floor <= MAX_MODSEQ
            and state.mailbox_id
        ):
            raise Damaged(f"a number of {folder}/{STATE_FILE} is out of range")
        return state


def _acl_text(acl: Acl) -> str:
    letters = {name: "".join(right.value for right in Right if right in rights) for name, rights in acl.items()}
    return " ".join(f"{quote(name, safe='@')}={rights}" for name, rights in letters.items())


def _read_acl(text: str) -> Acl:
    """Letters of later versions mean nothing here. Raises ValueError."""
    known = {right.value: right for right in Right}
    acl = {}
    for entry in text.split():
        identifier, letters = entry.split("=")
        acl[unquote(identifier, errors="strict")] = frozenset(known[letter] for letter in letters if letter in known)
    return acl
