"""Rights on a mailbox (RFC 4314), and the list that says who has which.

A list maps identifiers to rights. An identifier is the key of an account's address, `@domain` for all accounts of a
domain, or `anyone` for all accounts of this server; with `-` before it, its rights are taken away (§2). Who is meant by
several entries has the rights of all of them together, without those that any entry takes away. The owner of a mailbox
has every right, whatever the list says, and so is not in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from mailserver.model.address import EmailAddress, normalize_domain
from mailserver.model.errors import InvalidInput, LimitReached
from mailserver.model.flags import DELETED, SEEN, FlagChange, FlagTable

__all__ = [
    "ALL_RIGHTS", "ANYONE", "FLAG_RIGHTS", "NO_RIGHTS", "Acl", "Right", "Rights", "RightsChange", "allowed_flags",
    "change_within", "changed_acl", "granted", "identifiers_of", "parse_identifier", "parse_rights", "render_rights",
    "right_for_flag", "shared_with",
]  # fmt: skip


class Right(Enum):
    """RFC 4314 §2.1; the order is the one in which they are shown."""

    LOOKUP = "l"
    READ = "r"
    SEEN = "s"
    WRITE = "w"
    INSERT = "i"
    POST = "p"
    CREATE = "k"
    DELETE = "x"
    MARK_DELETED = "t"
    EXPUNGE = "e"
    ADMINISTER = "a"


Rights = frozenset[Right]
#: Never changed in place: whoever remembers one sees by identity that there is another.
Acl = Mapping[str, Rights]

ALL_RIGHTS: Rights = frozenset(Right)
NO_RIGHTS: Rights = frozenset()
#: The rights to change flags: of any message there is none without one of them.
FLAG_RIGHTS: Rights = frozenset({Right.SEEN, Right.WRITE, Right.MARK_DELETED})
ANYONE = "anyone"

MAX_ENTRIES = 100
#: Characters of all identifiers of a list together.
MAX_SIZE = 16_384

_LETTERS = {right.value: frozenset({right}) for right in Right}
#: §2.1.1: what RFC 2086 had instead of `k`, `x`, `t` and `e`; here `x` goes with `c`.
_OBSOLETE = {
    "c": frozenset({Right.CREATE, Right.DELETE}),
    "d": frozenset({Right.MARK_DELETED, Right.EXPUNGE}),
}
_MEANING = _LETTERS | _OBSOLETE
_FOR_FLAG = {SEEN: Right.SEEN, DELETED: Right.MARK_DELETED}


class RightsChange(Enum):
    """How SETACL treats the rights that are there (RFC 4314 §3.1)."""

    REPLACE = ""
    ADD = "+"
    REMOVE = "-"


def parse_rights(text: str) -> Rights:
    """Rights from their letters, the obsolete ones too. Raises InvalidInput (§3.1: none is silently ignored)."""
    rights: set[Right] = set()
    for letter in text:
        meant = _MEANING.get(letter)
        if meant is None:
            raise InvalidInput("a right is one of the letters lrswipkxteacd, in lower case")
        rights |= meant
    return frozenset(rights)


def render_rights(rights: Rights) -> str:
    """The letters, with `c` and `d` for clients of RFC 2086 (§2.1.1)."""
    letters = [right.value for right in Right if right in rights]
    return "".join(letters + [letter for letter, members in _OBSOLETE.items() if members & rights])


def right_for_flag(flag: str) -> Right:
    """The right to set or clear a (normalized) flag (§4)."""
    return _FOR_FLAG.get(flag, Right.WRITE)


def allowed_flags(flags: frozenset[str], rights: Rights) -> frozenset[str]:
    """Those of these (normalized) flags that somebody with these rights may set or clear."""
    if rights is ALL_RIGHTS:
        return flags
    return frozenset(flag for flag in flags if right_for_flag(flag) in rights)


def change_within(table: FlagTable, number: int, how: FlagChange, flags: frozenset[str], rights: Rights) -> int:
    """As `FlagTable.change`, by somebody with these rights: flags that they do not cover stay as they are."""
    if rights is not ALL_RIGHTS:
        flags = allowed_flags(flags, rights)
        if how is FlagChange.REPLACE:
            old = table.sets[number]
            flags |= old - allowed_flags(old, rights)
    return table.change(number, how, flags)


def parse_identifier(text: str) -> str:
    """An identifier in its one spelling.

    Raises:
        InvalidInput: it is none; the text says what one looks like. Nothing is mapped to something that it is not, as
            SASLprep (§3) would do: an address that is not in its normal form is refused.
    """
    bare = text.removeprefix("-")
    if bare.lower() == ANYONE and bare.isascii():
        known = ANYONE
    elif bare.startswith("@"):
        known = "@" + normalize_domain(bare[1:])
    elif "@" in bare:
        known = EmailAddress.parse(bare).key
    else:
        raise InvalidInput("an identifier is an address, @domain, or anyone; with - before it, it takes rights away")
    return "-" + known if bare != text else known


def identifiers_of(account: str) -> tuple[str, str, str]:
    """The identifiers that mean this account."""
    return account, account[account.rindex("@") :] if "@" in account else account, ANYONE


def granted(acl: Acl, account: str) -> Rights:
    """What the list gives to an account that is not the owner."""
    if not acl:
        return NO_RIGHTS
    given: set[Right] = set()
    taken: set[Right] = set()
    for identifier in identifiers_of(account):
        given |= acl.get(identifier, NO_RIGHTS)
        taken |= acl.get("-" + identifier, NO_RIGHTS)
    return frozenset(given - taken)


def changed_acl(acl: Acl, identifier: str, how: RightsChange, rights: Rights) -> Acl:
    """The list after SETACL; an entry without rights is none, so REPLACE by nothing is DELETEACL.

    Raises:
        LimitReached: the list would be too long.
    """
    old = acl.get(identifier, NO_RIGHTS)
    new = {RightsChange.REPLACE: rights, RightsChange.ADD: old | rights, RightsChange.REMOVE: old - rights}[how]
    changed = {known: value for known, value in acl.items() if known != identifier or new}
    if new:
        changed[identifier] = new
        if len(changed) > MAX_ENTRIES or sum(map(len, changed)) > MAX_SIZE:
            raise LimitReached(f"a mailbox has rights for at most {MAX_ENTRIES} identifiers")
    return changed


def shared_with(acl: Acl) -> frozenset[str]:
    """The identifiers that stand in the list in any way."""
    return frozenset(identifier.removeprefix("-") for identifier in acl)
