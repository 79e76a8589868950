"""SEARCH and UID SEARCH (RFC 9051 §6.4.4; ESEARCH: RFC 4731; SEARCHRES: RFC 5182; MODSEQ: RFC 7162 §3.1.5)."""

from __future__ import annotations

from collections.abc import Sequence

from mailserver.imap import search as evaluation
from mailserver.imap.replies import Responses, no
from mailserver.imap.session import Session
from mailserver.model.numset import NumSet
from mailserver.wire.imap import commands, responses
from mailserver.wire.imap.commands import SearchReturn

__all__ = ["search"]


async def search(session: Session, command: commands.Search) -> Responses:
    """Find messages; IMAP4rev1 lists them, IMAP4rev2 and RETURN say what was asked of them."""
    view = session.view
    with_modseq = evaluation.asks_modseq(command.key)
    if with_modseq:
        yield session.enable_condstore()
    returns = command.returns
    if returns is None and session.rev2:
        returns = frozenset({SearchReturn.ALL})
    saves = returns is not None and SearchReturn.SAVE in returns
    if command.bad_charset:
        if saves:
            view.result = NumSet()
        yield no("search with CHARSET UTF-8", "BADCHARSET (US-ASCII UTF-8)")
        return
    try:
        found = await evaluation.find(view, command.key, session.services.workers)
    except BaseException:
        if saves:
            # RFC 5182 §2.1: a SEARCH that ends with NO leaves an empty result.
            view.result = NumSet()
        raise
    if saves and returns is not None:
        view.result = NumSet.from_numbers(_saved(found.uids, returns))
    numbers = found.uids if command.uid else found.numbers
    if returns is None:
        yield responses.search(numbers, max(found.modseqs) if with_modseq and numbers else None)
    elif returns != {SearchReturn.SAVE}:
        yield _esearch(session, command, returns, numbers, _modseq(found.modseqs, returns) if with_modseq else None)


def _esearch(
    session: Session, command: commands.Search, returns: frozenset[SearchReturn], numbers: Sequence[int],
    modseq: int | None,
) -> bytes:  # fmt: skip
    return responses.esearch(
        session.tag,
        uid=command.uid,
        minimum=numbers[0] if numbers and SearchReturn.MIN in returns else None,
        maximum=numbers[-1] if numbers and SearchReturn.MAX in returns else None,
        all_found=NumSet.from_numbers(numbers) if SearchReturn.ALL in returns else None,
        count=len(numbers) if SearchReturn.COUNT in returns else None,
        modseq=modseq,
    )


def _only_ends(returns: frozenset[SearchReturn]) -> bool:
    """Whether only MIN or MAX was asked for, so that nothing else is saved or counts for MODSEQ."""
    return bool(returns & {SearchReturn.MIN, SearchReturn.MAX}) and not returns & {SearchReturn.ALL, SearchReturn.COUNT}


def _ends(count: int, returns: frozenset[SearchReturn]) -> list[int]:
    ends = []
    if count and SearchReturn.MIN in returns:
        ends.append(0)
    if count and SearchReturn.MAX in returns:
        ends.append(count - 1)
    return ends


def _saved(uids: Sequence[int], returns: frozenset[SearchReturn]) -> Sequence[int]:
    """RFC 5182 §2.4: with MIN or MAX alone, just those; in every other case all that was found."""
    return [uids[at] for at in _ends(len(uids), returns)] if _only_ends(returns) else uids


def _modseq(modseqs: Sequence[int], returns: frozenset[SearchReturn]) -> int | None:
    """RFC 7162 §3.1.5, §3.1.10: the highest among the messages that the answer names."""
    places = _ends(len(modseqs), returns) if _only_ends(returns) else range(len(modseqs))
    return max((modseqs[at] for at in places), default=None)
