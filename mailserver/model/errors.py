"""What can go wrong, as the peer and the operator are told it.

    MailError                       knows: temporary?, an enhanced status code, words for the peer, detail for the log
    ├── InvalidInput                the peer's fault: syntax, a name that cannot be          (permanent)
    ├── NotPermitted                understood, and refused                                   (permanent)
    ├── NotFound                    no such mailbox, account, message                         (permanent)
    ├── AlreadyExists               the name is taken                                         (permanent)
    ├── OverQuota                   bytes or messages of the account                          (temporary, 4.2.2)
    ├── LimitReached                a bound of ours                                           (permanent unless said)
    └── StorageFailure              the disk said no; nothing was acknowledged                (temporary)

The text of a MailError may be shown to a peer; `detail` never is.
"""

from __future__ import annotations


class MailError(Exception):
    """An expected failure. `temporary` tells whether trying again may help; `status` is RFC 3463's x.y.z."""

    temporary = False
    status = "5.0.0"

    def __init__(
        self, text: str, *, detail: str = "", status: str | None = None, temporary: bool | None = None
    ) -> None:
        super().__init__(text)
        self.text = text
        self.detail = detail
        if status is not None:
            self.status = status
        if temporary is not None:
            self.temporary = temporary

    @property
    def for_operator(self) -> str:
        """The text with its detail: for those who run the server, never for a peer."""
        return f"{self.text} ({self.detail})" if self.detail else self.text


class InvalidInput(MailError):
    """The peer's input cannot mean anything to us."""

    status = "5.5.2"


class NotPermitted(MailError):
    """Understood and refused."""

    status = "5.7.1"


class NotFound(MailError):
    """There is no such account, mailbox or message."""

    status = "5.1.1"


class AlreadyExists(MailError):
    """The name is taken."""

    status = "5.5.0"


class OverQuota(MailError):
    """The account holds all that it may hold; the user can delete mail, so the sender may try again."""

    temporary = True
    status = "4.2.2"


class LimitReached(MailError):
    """A bound of ours was reached; the text says which and how to stay below it."""

    status = "5.3.4"


class StorageFailure(MailError):
    """The disk failed us; whatever was being kept was not acknowledged."""

    temporary = True
    status = "4.3.0"
