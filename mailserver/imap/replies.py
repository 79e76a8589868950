"""What a command answers: pieces of untagged data, and one completion at the end (RFC 9051 §7.1, RFC 5530)."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from enum import Enum

from mailserver.imap.access.namespaces import Namespaces
from mailserver.model.errors import (
    AlreadyExists,
    InvalidInput,
    LimitReached,
    MailError,
    NotFound,
    NotPermitted,
    OverQuota,
    StorageFailure,
)
from mailserver.model.mailbox import check_mailbox_name
from mailserver.wire.imap.responses import status_line

__all__ = [
    "GONE", "READ_ONLY", "After", "BadArguments", "Completion", "Output", "Refused", "Responses", "Untagged", "bad",
    "from_error", "no", "ok", "try_create",
]  # fmt: skip


class After(Enum):
    """What the connection does once a completion was written. IDLE: it is written when the client says DONE."""

    GO_ON = "go on"
    CLOSE = "close"
    START_TLS = "start TLS"
    COMPRESS = "compress"
    START_AGAIN = "start again"
    IDLE = "idle"


class BadArguments(Exception):
    """The arguments do not fit the state of the session: a message number that does not exist. Answered with BAD."""

    def __init__(self, text: str, code: str = "") -> None:
        super().__init__(text)
        self.code = code


class Refused(Exception):
    """The command ends with this completion."""

    def __init__(self, completion: Completion) -> None:
        super().__init__(completion.text)
        self.completion = completion


@dataclass(frozen=True, slots=True)
class Completion:
    """The tagged response: `status` is OK, NO or BAD; `code` stands in brackets."""

    status: str
    text: str
    code: str = ""
    after: After = After.GO_ON

    def encode(self, tag: bytes) -> bytes:
        """The line as it goes out."""
        return status_line(tag, self.status, self.text, self.code)


#: Untagged responses: any number of lines, or parts of a long one; or a list of such, which need not be joined.
Untagged = bytes | list[bytes]
#: Untagged responses in order, then at most one Completion.
Output = Untagged | Completion
#: What a command handler is; without a Completion at its end the command completed with OK.
Responses = AsyncGenerator[Output, None]


def ok(text: str, code: str = "") -> Completion:
    """Tagged OK."""
    return Completion("OK", text, code)


def no(text: str, code: str = "") -> Completion:
    """Tagged NO."""
    return Completion("NO", text, code)


def bad(text: str, code: str = "") -> Completion:
    """Tagged BAD."""
    return Completion("BAD", text, code)


#: Messages that the client named by number were expunged by others (RFC 5530, RFC 2180).
GONE = no("some of these messages are gone", "EXPUNGEISSUED")
#: A change of a mailbox that was opened with EXAMINE.
READ_ONLY = no("the mailbox is open for reading only", "READ-ONLY")

_CODES: tuple[tuple[type[MailError], str], ...] = (
    (NotFound, "NONEXISTENT"),
    (AlreadyExists, "ALREADYEXISTS"),
    (OverQuota, "OVERQUOTA"),
    (NotPermitted, "NOPERM"),
    (LimitReached, "LIMIT"),
    (InvalidInput, "CANNOT"),
    (StorageFailure, "UNAVAILABLE"),
)


def from_error(error: MailError) -> Completion:
    """NO with the response code of RFC 5530 for what went wrong; the detail stays in the log."""
    other = "UNAVAILABLE" if error.temporary else "CANNOT"
    return no(error.text, next((code for kind, code in _CODES if isinstance(error, kind)), other))


def try_create(error: NotFound, mailbox: str, namespaces: Namespaces) -> Completion:
    """The mailbox to copy or append to is not there: TRYCREATE, unless no such mailbox can be made (RFC 9051 §7.1).

    Of other users' mailboxes nothing is said but that it is not there.
    """
    if namespaces.path(mailbox) is not None:
        return from_error(error)
    try:
        check_mailbox_name(namespaces.layout.to_store(mailbox))
    except MailError as impossible:
        return from_error(impossible)
    return no(error.text, "TRYCREATE")
