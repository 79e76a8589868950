"""Parsers of the commands about mailboxes."""

from __future__ import annotations

from typing import Final

from mailserver.model.mailbox import SpecialUse
from mailserver.model.numset import NumSet
from mailserver.wire.imap.commands import (
    Create,
    Delete,
    List,
    ListReturn,
    ListSelect,
    Lsub,
    QResync,
    Rename,
    Select,
    Status,
    StatusItem,
    Subscribe,
    Unsubscribe,
)
from mailserver.wire.imap.lexer import Lexer, ParseError
from mailserver.wire.imap.parse import metadata

__all__ = [
    "create", "delete", "examine", "list_mailboxes", "lsub", "rename", "select", "status",
    "subscribe", "unsubscribe",
]  # fmt: skip

_SPECIAL_USES: Final = {use.value.lower(): use for use in SpecialUse}
_STATUS_ITEMS: Final = {item.value: item for item in StatusItem}
_LIST_SELECTS: Final = {option.value: option for option in ListSelect}
_LIST_RETURNS: Final = {option.value: option for option in ListReturn}
# What a selection option asks to be shown too (RFC 5258 §3.1, RFC 6154 §2).
_IMPLIED: Final = {ListSelect.SUBSCRIBED: ListReturn.SUBSCRIBED, ListSelect.SPECIAL_USE: ListReturn.SPECIAL_USE}


def _name(lexer: Lexer) -> str:
    lexer.space()
    return lexer.mailbox()


def select(lexer: Lexer) -> Select:
    """RFC 9051 §6.3.2, with the parameters of RFC 7162 §3.1.8 and §3.2.5."""
    return _select(lexer, read_only=False)


def examine(lexer: Lexer) -> Select:
    """RFC 9051 §6.3.3."""
    return _select(lexer, read_only=True)


def _select(lexer: Lexer, *, read_only: bool) -> Select:
    try:
        name = _name(lexer)
    except ParseError as error:
        if error.status != "NO":
            raise
        # A SELECT that fails leaves nothing selected (RFC 9051 §6.3.2): the command has to run, on a name of nothing.
        lexer.at = len(lexer.data)
        return Select(mailbox="", read_only=read_only)
    condstore = False
    qresync: QResync | None = None

    def parameter() -> None:
        nonlocal condstore, qresync
        word = lexer.word("CONDSTORE or QRESYNC")
        if word == b"CONDSTORE":
            condstore = True
        elif word == b"QRESYNC" and qresync is None:
            lexer.space()
            qresync = _qresync(lexer)
        else:
            raise ParseError("SELECT and EXAMINE take the parameters CONDSTORE and QRESYNC, each once")

    if not lexer.at_end:
        lexer.space()
        lexer.items(parameter, 10)
    return Select(mailbox=name, read_only=read_only, condstore=condstore, qresync=qresync)


def _qresync(lexer: Lexer) -> QResync:
    """`(uidvalidity modseq [known-uids] [(sequence-numbers uids)])` (RFC 7162 §7)."""
    lexer.expect(b"(")
    uid_validity = lexer.number(1)
    lexer.space()
    modseq = lexer.number64()
    known: NumSet | None = None
    match: tuple[NumSet, NumSet] | None = None
    if lexer.skip(b" ") and not lexer.skip(b"("):
        known = lexer.number_set()
        if lexer.skip(b" "):
            lexer.expect(b"(")
            match = _sequence_match(lexer)
    elif lexer.data[lexer.at - 1 : lexer.at] == b"(":
        match = _sequence_match(lexer)
    lexer.expect(b")")
    return QResync(uid_validity=uid_validity, modseq=modseq, known_uids=known, match=match)


def _sequence_match(lexer: Lexer) -> tuple[NumSet, NumSet]:
    numbers = lexer.number_set()
    lexer.space()
    uids = lexer.number_set()
    lexer.expect(b")")
    if len(numbers) != len(uids):
        raise ParseError("QRESYNC needs as many UIDs as sequence numbers in its last parameter")
    return numbers, uids


def create(lexer: Lexer) -> Create:
    """RFC 9051 §6.3.4, with USE (RFC 6154 §3)."""
    name = _name(lexer)
    if lexer.at_end:
        return Create(name)

    def use() -> SpecialUse:
        lexer.expect(b"\\")
        known = _SPECIAL_USES.get("\\" + lexer.atom().lower())
        if known is None:
            raise ParseError("this special use is not known here", status="NO", code="USEATTR")
        return known

    lexer.space()
    lexer.expect(b"(")
    if lexer.word("USE") != b"USE":
        raise ParseError("CREATE takes the parameter USE only")
    lexer.space()
    uses = lexer.items_or_none(use, 20)
    lexer.expect(b")")
    return Create(name, frozenset(uses))


def delete(lexer: Lexer) -> Delete:
    """RFC 9051 §6.3.5."""
    return Delete(_name(lexer))


def rename(lexer: Lexer) -> Rename:
    """RFC 9051 §6.3.6."""
    old = _name(lexer)
    return Rename(old, _name(lexer))


def subscribe(lexer: Lexer) -> Subscribe:
    """RFC 9051 §6.3.7."""
    return Subscribe(_name(lexer))


def unsubscribe(lexer: Lexer) -> Unsubscribe:
    """RFC 9051 §6.3.8."""
    return Unsubscribe(_name(lexer))


def status(lexer: Lexer) -> Status:
    """RFC 9051 §6.3.11."""
    name = _name(lexer)
    lexer.space()
    return Status(name, _status_items(lexer))


def _status_items(lexer: Lexer) -> tuple[StatusItem, ...]:
    def item() -> StatusItem:
        known = _STATUS_ITEMS.get(lexer.word("a STATUS item"))
        if known is None:
            raise ParseError(f"STATUS knows {', '.join(item.value.decode('ascii') for item in StatusItem)}")
        return known

    return tuple(dict.fromkeys(lexer.items(item, 50)))


def lsub(lexer: Lexer) -> Lsub:
    """RFC 3501 §6.3.9."""
    lexer.space()
    reference = lexer.mailbox_name(lexer.astring())
    lexer.space()
    return Lsub(reference, lexer.mailbox_name(lexer.list_mailbox()))


def list_mailboxes(lexer: Lexer) -> List:
    """RFC 9051 §6.3.9 and §9 list; RFC 5258 for several patterns; RFC 5819, RFC 6154 for options."""

    def pattern() -> str | None:
        octets = lexer.list_mailbox()
        try:
            return lexer.mailbox_name(octets)
        except ParseError:
            # RFC 5258 §3: a pattern that is not accepted is ignored; nothing has such a name.
            return None

    lexer.space()
    selects: frozenset[ListSelect] | None = None
    if lexer.data.startswith(b"(", lexer.at):
        selects = _list_selects(lexer)
        lexer.space()
    reference = lexer.mailbox_name(lexer.astring())
    lexer.space()
    several = lexer.data.startswith(b"(", lexer.at)
    patterns = lexer.items(pattern, 100) if several else [pattern()]
    returns: set[ListReturn] = set()
    items: tuple[StatusItem, ...] = ()
    entries: tuple[str, ...] = ()
    extended = several or selects is not None or not lexer.at_end
    if not lexer.at_end:
        returns, items, entries = _list_returns(lexer)
    selects = selects or frozenset()
    returns |= {_IMPLIED[option] for option in selects if option in _IMPLIED}
    return List(
        reference=reference,
        patterns=tuple(pattern for pattern in patterns if pattern is not None),
        select=selects,
        returns=frozenset(returns),
        status=items,
        metadata=entries,
        extended=extended,
    )


def _list_selects(lexer: Lexer) -> frozenset[ListSelect]:
    def option() -> ListSelect:
        known = _LIST_SELECTS.get(lexer.word("a selection option"))
        if known is None:
            raise ParseError("LIST selects by SUBSCRIBED, REMOTE, RECURSIVEMATCH and SPECIAL-USE")
        return known

    selects = frozenset(lexer.items_or_none(option, 20))
    # RFC 9051 §9 list-select-opts: a modifier alone, or with independent options only, selects nothing.
    if ListSelect.RECURSIVEMATCH in selects and not selects & _IMPLIED.keys():
        raise ParseError("RECURSIVEMATCH needs SUBSCRIBED or SPECIAL-USE beside it")
    return selects


def _list_returns(lexer: Lexer) -> tuple[set[ListReturn], tuple[StatusItem, ...], tuple[str, ...]]:
    """The options without arguments, the items of STATUS, the entries of METADATA."""
    returns: set[ListReturn] = set()
    items: tuple[StatusItem, ...] = ()
    entries: tuple[str, ...] = ()

    def option() -> None:
        nonlocal items, entries
        word = lexer.word("a return option")
        if word == b"STATUS":
            lexer.space()
            items = _status_items(lexer)
        elif word == b"METADATA":
            lexer.space()
            entries = metadata.entries(lexer)
        elif word in _LIST_RETURNS:
            returns.add(_LIST_RETURNS[word])
        else:
            raise ParseError("LIST returns SUBSCRIBED, CHILDREN, SPECIAL-USE, MYRIGHTS, STATUS (...), METADATA (...)")

    lexer.space()
    if lexer.word("RETURN") != b"RETURN":
        raise ParseError("after its patterns LIST takes RETURN (...) only")
    lexer.space()
    lexer.items_or_none(option, 20)
    return returns, items, entries
