"""What the store's index keeps of a message: the bytes that FETCH sends, and what SORT, THREAD and SEARCH compare."""

from __future__ import annotations

from collections.abc import Callable, Collection

from mailserver.mime.bodystructure import body_structures
from mailserver.mime.envelope import EnvelopeFields, envelope_of, read_fields
from mailserver.mime.headers import LISTED_FIELDS, select
from mailserver.mime.identity import email_id, thread_id
from mailserver.mime.message_ids import read_ids
from mailserver.mime.preview import preview
from mailserver.mime.quote import string
from mailserver.mime.search import kept_headers, places_of
from mailserver.mime.sorting import sorting_of
from mailserver.mime.structure import Message, parse
from mailserver.model.mailbox import Rendered

__all__ = ["LISTED", "SEARCHED", "render", "renderer"]

#: What clients show of each message of a list, and what a search looks at: each can be made alone, in less than half
#: the time.
LISTED = frozenset({Rendered.ENVELOPE, Rendered.BODY, Rendered.BODYSTRUCTURE, Rendered.LISTED_HEADERS})
SEARCHED = frozenset({Rendered.SEARCH_HEADERS, Rendered.SEARCH_PLACES})


def render(message: bytes) -> dict[Rendered, bytes]:
    """Every piece of a message (as presented, with CRLF). Never raises."""
    root = parse(message)
    own = email_id(message)
    found = read_fields(message, root.fields)
    ids = read_ids(found.texts)
    return _listed(message, root, found) | _searched(message, root) | {
        Rendered.EMAILID: b"(%b)" % own,
        Rendered.THREADID: b"(%b)" % thread_id(ids, own),
        Rendered.SORTING: sorting_of(found, ids),
        Rendered.PREVIEW: string(preview(message, root).encode()),
    }


def renderer(fields: Collection[Rendered]) -> Callable[[bytes], dict[Rendered, bytes]]:
    """What makes these pieces of a message soonest, and perhaps others with them."""
    if LISTED.issuperset(fields):
        return _render_listed
    return _render_searched if SEARCHED.issuperset(fields) else render


def _render_listed(message: bytes) -> dict[Rendered, bytes]:
    root = parse(message)
    return _listed(message, root, read_fields(message, root.fields))


def _render_searched(message: bytes) -> dict[Rendered, bytes]:
    return _searched(message, parse(message))


def _listed(message: bytes, root: Message, found: EnvelopeFields) -> dict[Rendered, bytes]:
    body, extended = body_structures(message, root)
    return {
        Rendered.ENVELOPE: envelope_of(found),
        Rendered.BODY: body,
        Rendered.BODYSTRUCTURE: extended,
        Rendered.LISTED_HEADERS: select(message, root.fields, LISTED_FIELDS),
    }


def _searched(message: bytes, root: Message) -> dict[Rendered, bytes]:
    return {
        Rendered.SEARCH_HEADERS: kept_headers(message, root),
        Rendered.SEARCH_PLACES: places_of(message, root),
    }
