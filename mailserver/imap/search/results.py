"""What SEARCH and SORT answer and save of what was found.

RFC 9051 §6.4.4; ESEARCH: RFC 4731; SEARCHRES: RFC 5182; ESORT: RFC 5267 §3; PARTIAL: RFC 9394.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from mailserver.imap.replies import BadArguments, no
from mailserver.imap.search.evaluate import Found
from mailserver.imap.selected import Selected
from mailserver.model.numset import NumSet
from mailserver.wire.imap import responses
from mailserver.wire.imap.commands import Search, SearchReturn
from mailserver.wire.imap.sequence_set import PartialRange

__all__ = ["BAD_CHARSET", "Results", "saving"]

#: RFC 5256 §3, RFC 9051 §6.4.4.
BAD_CHARSET = no("search with CHARSET UTF-8", "BADCHARSET (US-ASCII UTF-8)")
#: What names some messages of those that were found, and what names all of them.
_SOME = frozenset((SearchReturn.MIN, SearchReturn.MAX, SearchReturn.PARTIAL))
_EVERY = frozenset((SearchReturn.ALL, SearchReturn.COUNT))


@contextmanager
def saving(view: Selected, search: Search) -> Iterator[None]:
    """For a command that may end with NO: then it leaves an empty `$`; BAD leaves it as it is (RFC 5182 §2.1)."""
    saves = search.returns is not None and SearchReturn.SAVE in search.returns
    if saves and search.bad_charset:
        view.result = NumSet()
    try:
        yield
    except BadArguments:
        raise
    except BaseException:
        if saves:
            view.result = NumSet()
        raise


class Results:
    """What was found, in the order that was asked for.

    Args:
        order: places among what was found; None is the order of the mailbox.
        returns: the result options, those of the command or what IMAP4rev2 means without any.
    """

    def __init__(
        self, found: Found, search: Search, returns: frozenset[SearchReturn], order: Sequence[int] | None = None
    ) -> None:
        self._found = found
        self._search = search
        self._returns = returns
        self._order = order

    @property
    def numbers(self) -> Sequence[int]:
        """UIDs or message sequence numbers, as the command wants them."""
        return self._in_order(self._found.uids if self._search.uid else self._found.numbers)

    def highest_modseq(self) -> int | None:
        """RFC 7162 §3.1.5, §3.1.10: the highest MODSEQ among the messages that the answer names; None without any."""
        return max(self._named(self._found.modseqs), default=None)

    def save(self, view: Selected) -> None:
        """Keep as `$` what is to be kept, if anything."""
        if SearchReturn.SAVE in self._returns:
            view.result = NumSet.from_numbers(self._named(self._found.uids))

    def esearch(
        self, tag: bytes, *, modseq: bool, mailbox: tuple[str, int] | None = None, utf8: bool = False
    ) -> bytes:
        """The ESEARCH response, with the name and UIDVALIDITY of a `mailbox`; SAVE alone has none (RFC 5182 §2.1)."""
        returns, numbers, partial = self._returns, self.numbers, self._search.partial
        if returns == {SearchReturn.SAVE}:
            return b""
        return responses.esearch(
            tag,
            mailbox_name=mailbox,
            utf8=utf8,
            uid=self._search.uid,
            minimum=numbers[0] if numbers and SearchReturn.MIN in returns else None,
            maximum=numbers[-1] if numbers and SearchReturn.MAX in returns else None,
            all_found=numbers if SearchReturn.ALL in returns else (),
            partial=None if partial is None else (partial, _part(numbers, partial)),
            count=len(numbers) if SearchReturn.COUNT in returns else None,
            modseq=self.highest_modseq() if modseq else None,
            relevancy=self._relevancy() if SearchReturn.RELEVANCY in returns else None,
        )

    def _relevancy(self) -> Sequence[int]:
        """RFC 6203 §4: the scores of what the answer names, in its order."""
        scores, partial = self._in_order(self._found.scores), self._search.partial
        return scores if partial is None else _part(scores, partial)

    def _in_order(self, column: Sequence[int]) -> Sequence[int]:
        return column if self._order is None else [column[at] for at in self._order]

    def _named(self, column: Sequence[int]) -> Sequence[int]:
        """MIN, MAX and PARTIAL name what they give (RFC 5182 §2.4, RFC 9394 §3.2); anything else all that was found."""
        if not self._returns & _SOME or self._returns & _EVERY or not column:
            return column
        ordered = self._in_order(column)
        ends = ((SearchReturn.MIN, ordered[0]), (SearchReturn.MAX, ordered[-1]))
        named = [value for end, value in ends if end in self._returns]
        return named if self._search.partial is None else [*named, *_part(ordered, self._search.partial)]


def _part(numbers: Sequence[int], partial: PartialRange) -> Sequence[int]:
    places = partial.of(len(numbers))
    return numbers[places.start : places.stop]
