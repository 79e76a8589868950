"""FETCH and UID FETCH (RFC 9051 §6.4.5; CHANGEDSINCE and VANISHED: RFC 7162 §3.1.4.1, §3.2.6;
PARTIAL: RFC 9394 §3.3; MESSAGELIMIT: RFC 9738)."""

from __future__ import annotations

from mailserver.imap.commands.select import vanished_among
from mailserver.imap.fetch.answers import Tally, fetch_rows
from mailserver.imap.fetch.plan import make_plan
from mailserver.imap.fetch.sections import UnknownEncoding
from mailserver.imap.message_limit import Reached, completed, highest, message_limit, too_many
from mailserver.imap.replies import GONE, Responses, bad, no, ok
from mailserver.imap.rows import cut
from mailserver.imap.session import Session
from mailserver.model.numset import NumSet
from mailserver.wire.imap import commands
from mailserver.wire.imap.fetch_items import FetchAttribute
from mailserver.wire.imap.responses import vanished
from mailserver.wire.imap.sequence_set import SavedResult

__all__ = ["fetch"]


async def fetch(session: Session, command: commands.Fetch) -> Responses:
    """What the client asks of messages, in their order."""
    view = session.view
    if command.vanished and not session.qresync:
        yield bad("VANISHED needs QRESYNC, which was not enabled")
        return
    spans = view.spans(command.messages, uid=command.uid)
    if command.partial is not None:
        spans = cut(spans, command.partial.of(sum(map(len, spans))))
    spans, reached = highest(view, spans, message_limit(session))
    if reached is not None and command.partial is not None:
        # RFC 9738 §3.1: a client that asks for pages gets whole ones.
        yield too_many(Reached(reached.limit))
        return
    if FetchAttribute.MODSEQ in command.items:
        yield session.enable_condstore()
    if command.vanished and command.changed_since is not None:
        named = _named_uids(session, command)
        yield vanished(await vanished_among(view, named, command.changed_since), earlier=True)
    session.progress.begin(sum(map(len, spans)))
    plan, tally = make_plan(command.items, uid_only=session.uid_only), Tally()
    try:
        for rows in view.batches(spans, plan.batch):
            if command.changed_since is not None:
                there = len(rows)
                rows = rows.take([at for at, modseq in enumerate(rows.modseqs) if modseq > command.changed_since])
                tally.count += there - len(rows)
            if rows:
                async for piece in fetch_rows(session, plan, command.items, rows, tally):
                    yield piece
    except UnknownEncoding as error:
        yield no(error.text, "UNKNOWN-CTE")
        return
    # RFC 2180 §4.1.2: what is left was answered; the client hears of the EXPUNGE with its next NOOP.
    completion = GONE if view.lacks(command, spans, tally.count) else ok("FETCH completed")
    for line in completed(completion, reached):
        yield line


def _named_uids(session: Session, command: commands.Fetch) -> NumSet:
    if isinstance(command.messages, SavedResult):
        return session.view.result
    return command.messages.resolve(max(1, session.view.mailbox.uid_next - 1))
