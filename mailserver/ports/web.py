"""Documents of other people's web servers. `net/web.py` asks real servers; tests give answers of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from mailserver.model.errors import MailError

__all__ = ["WebAnswer", "WebClient", "WebFailed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WebAnswer:
    """`media_type` is in lower case and without parameters: text/plain."""

    status: int
    media_type: str
    body: bytes


class WebFailed(MailError):
    """There is no answer; the text says why. `untrusted`: it is the server's certificate."""

    temporary = True
    status = "4.4.1"

    def __init__(self, text: str, *, untrusted: bool = False) -> None:
        super().__init__(text)
        self.untrusted = untrusted


class WebClient(Protocol):
    """HTTPS on a stranger's word: every part of an answer is bounded, and redirects are answers like others."""

    async def get(self, url: str, *, most: int, within: float, ca_file: str = "") -> WebAnswer:
        """The document at an https URL.

        Args:
            url: With a name of a host, or a literal of a public address.
            most: Octets of its body; a larger one is a failure.
            within: Seconds for all of it, name resolution and TLS included.
            ca_file: Authorities (PEM) to believe instead of the system's.

        Raises:
            WebFailed.
        """
        ...

    async def post(
        self, url: str, body: bytes, media_type: str, *, most: int, within: float, ca_file: str = ""
    ) -> WebAnswer:
        """Give a document to an https URL; the rest is as with `get`.

        Raises:
            WebFailed.
        """
        ...
