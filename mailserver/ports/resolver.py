"""DNS, as mail needs it. `net/dns/` asks real servers; tests give answers of their own."""

from __future__ import annotations

from typing import Protocol

from mailserver.model.dns import Answer, MailExchanger, Tlsa
from mailserver.model.errors import MailError

__all__ = ["LookupFailed", "Resolver"]


class LookupFailed(MailError):
    """Nobody knows at the moment: timeouts, SERVFAIL, nonsense. `bogus`: the resolver said that DNSSEC failed."""

    temporary = True
    status = "4.4.3"

    def __init__(self, text: str, *, detail: str = "", bogus: bool = False) -> None:
        super().__init__(text, detail=detail)
        self.bogus = bogus


class Resolver(Protocol):
    """Names are given in A-labels or U-labels, without a last dot. Every method may raise LookupFailed.

    CNAMEs are followed, at most eight. Answers are kept for their TTL; equal questions under way are asked once.
    """

    async def mx(self, domain: str) -> Answer[MailExchanger]:
        """In no special order."""
        ...

    async def addresses(self, host: str) -> Answer[str]:
        """IPv6 and IPv4 addresses, in the order to try them."""
        ...

    async def tlsa(self, name: str) -> Answer[Tlsa]:
        """`name` has its prefix already: _25._tcp.mx.example.test."""
        ...

    async def txt(self, name: str) -> Answer[bytes]:
        """The strings of each record joined."""
        ...

    async def ptr(self, address: str) -> Answer[str]:
        """The names of an IP literal, in lower case; nobody has proved that they lead back to it.

        Raises:
            InvalidInput: not an IP literal.
        """
        ...

    async def query(self, name: str, kind: str) -> Answer[str]:
        """Records of any type (CAA, SOA, NS, TYPE65280, …) as a zone file would have them (RFC 1035 §5.1, RFC 3597).

        Raises:
            InvalidInput: no such type.
        """
        ...

    async def exists(self, name: str) -> bool:
        """Is there such a name at all, whatever records it has (an alias is there, wherever it leads: RFC 6604 §3)?

        A server that signs as it answers denies names without an error (RFC 9824); that is seen if the name servers
        hand on its proof.
        """
        ...
