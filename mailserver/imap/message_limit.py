"""MESSAGELIMIT and SAVELIMIT (RFC 9738): how many messages one command takes; none unless the operator sets one.

Where a client names more, those of the highest UIDs are worked on, and it is told the lowest of them, so that it can
go on below. What must be done whole (COPY, APPEND), and what says nothing in parts (SORT, THREAD), is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mailserver.imap.replies import Completion, Output, no
from mailserver.imap.rows import Rows, cut
from mailserver.imap.selected import Selected
from mailserver.imap.session import Session
from mailserver.imap.settings import ImapSettings
from mailserver.model.numset import NumSet
from mailserver.wire.imap import search_keys
from mailserver.wire.imap.responses import status_line
from mailserver.wire.imap.search_keys import And, SearchKey, Uids
from mailserver.wire.imap.sequence_set import SavedResult, SequenceSet

__all__ = ["Reached", "among", "announced", "completed", "highest", "message_limit", "save_limit", "too_many"]


def announced(settings: ImapSettings) -> Iterator[str]:
    """The capability, if there is a limit; the settings have at most one of the two."""
    if settings.message_limit:
        yield f"MESSAGELIMIT={settings.message_limit}"
    if settings.save_limit:
        yield f"SAVELIMIT={settings.save_limit}"


def message_limit(session: Session) -> int:
    """Messages that one command works on; 0: any number."""
    return session.services.settings.message_limit if session.offers("MESSAGELIMIT") else 0


def save_limit(session: Session) -> int:
    """Messages that one command puts into a mailbox; 0: any number."""
    return message_limit(session) or (session.services.settings.save_limit if session.offers("SAVELIMIT") else 0)


@dataclass(frozen=True, slots=True)
class Reached:
    """A command named more messages than the limit; `lowest` is the lowest UID that it worked on, 0 if none is to be
    told."""

    limit: int
    lowest: int = 0

    @property
    def code(self) -> str:
        """The response code (§3.1)."""
        return f"MESSAGELIMIT {self.limit} {self.lowest}" if self.lowest else f"MESSAGELIMIT {self.limit}"


def highest(view: Selected, spans: list[range], limit: int) -> tuple[list[range], Reached | None]:
    """Of the messages at these positions those that one command works on, and whether these are fewer."""
    count = sum(map(len, spans))
    if not limit or count <= limit:
        return spans, None
    kept = cut(spans, range(count - limit, count))
    return kept, Reached(limit, view.table.uids[kept[0].start])


def among(view: Selected, key: SearchKey, limit: int) -> tuple[Rows | None, Reached | None]:
    """Among which messages a SEARCH looks (None: all). It is those looked at that count, not those found (§3.1)."""
    if not limit or view.count <= limit:
        return None, None
    named = _named(view, key)
    spans = [range(view.count)] if named is None else view.spans_of_numbers(named)
    kept, reached = highest(view, spans, limit)
    return view.rows_in(kept) if reached is not None else None, reached


def _named(view: Selected, key: SearchKey) -> NumSet | None:
    """The message numbers that the key leaves at most, by what it says of numbers and UIDs; None: it says nothing."""
    match key:
        case And():
            found: NumSet | None = None
            for one in key.keys:
                named = _named(view, one)
                if named is not None:
                    found = named if found is None else found & named
            return found
        case search_keys.Sequence(messages=SavedResult()) | Uids(uids=SavedResult()):
            return _numbers(view.spans_of_uids(view.result))
        case search_keys.Sequence(messages=SequenceSet() as messages):
            return _numbers(view.spans_of_numbers(messages.resolve(view.count)))
        case Uids(uids=SequenceSet() as uids):
            return _numbers(view.spans_of_uids(uids.resolve(view.last_uid)))
    return None


def _numbers(spans: Sequence[range]) -> NumSet:
    return NumSet.from_ranges([(span.start + 1, span.stop) for span in spans])


def too_many(reached: Reached) -> Completion:
    """Nothing was done."""
    return no(f"one command takes at most {reached.limit} messages", reached.code)


def completed(completion: Completion, reached: Reached | None) -> Iterator[Output]:
    """The end of a command that worked on a part. A completion that has a code keeps it: this one is told before (§3.1,
    as it is with EXPUNGEISSUED)."""
    if reached is None:
        yield completion
    elif completion.code:
        yield status_line(b"*", "NO", f"Done for {reached.limit} messages only", reached.code)
        yield completion
    else:
        yield Completion(completion.status, f"{completion.text} for {reached.limit} messages", reached.code)
