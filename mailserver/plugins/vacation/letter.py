"""The answer itself (RFC 3834 §3)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mailserver import api

__all__ = ["Asked", "compose", "read"]

_MOST_REFERENCES = 20
_SOUND = re.compile(rb"[\x21-\x3b\x3d\x3f-\x7e]{3,250}")
_LONGEST_SUBJECT = 200


@dataclass(frozen=True, slots=True)
class Asked:
    """What the answer needs of the message that it answers; `address` is the one that the sender wrote to."""

    sender: api.EmailAddress
    address: api.EmailAddress
    subject: str
    message_id: str
    references: tuple[str, ...]


def read(sender: api.EmailAddress, address: api.EmailAddress, head: bytes) -> Asked:
    """Take it from the message that begins with `head`."""
    header = head[: api.header_block_end(head)]
    subject = api.decode_words((api.header_value(header, b"subject") or b"")[:2000])
    named = api.header_value(header, b"references") or api.header_value(header, b"in-reply-to") or b""
    references = [one.decode("ascii") for one in api.message_ids(named) if _SOUND.fullmatch(one)]
    # The first one is the thread, the last ones are where in it.
    kept = references if len(references) <= _MOST_REFERENCES else [references[0], *references[1 - _MOST_REFERENCES :]]
    return Asked(sender, address, subject[:_LONGEST_SUBJECT], api.own_message_id(header), tuple(kept))


def compose(asked: Asked, text: str, subject: str, *, epoch: float, message_id: str) -> bytes:
    """`subject` is "" for the one that RFC 3834 §3.1.5 gives as an example: "Auto: " and that of the message."""
    return api.compose_message(
        sender=str(asked.address), to=str(asked.sender), subject=subject or f"Auto: {asked.subject}".rstrip(),
        text=text, epoch=epoch, message_id=message_id, auto_submitted="auto-replied", answers=asked.message_id,
        references=asked.references,
    )  # fmt: skip
