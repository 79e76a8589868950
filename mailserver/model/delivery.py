"""What became of a recipient in one attempt to deliver, and what that says of the way there."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

__all__ = ["Destination", "Feedback", "Outcome", "Result", "Success"]


class Outcome(Enum):
    """The three ends of an attempt."""

    DELIVERED = "delivered"
    DEFERRED = "deferred"
    FAILED = "failed"


class Success(Enum):
    """Who answers for a delivered message from now on (RFC 3461 §5.2, RFC 3464 §2.3.3)."""

    #: The next server knows DSN, and has our NOTIFY, RET, ENVID and ORCPT: it will report.
    PASSED_ON = "passed on"
    #: It does not: what we know ends here.
    RELAYED = "relayed"
    #: It is in a mailbox of ours.
    DELIVERED = "delivered"
    #: It went to several or to other addresses.
    EXPANDED = "expanded"


class Feedback(Enum):
    """What an attempt says about its destination as a whole, beside its recipients."""

    FINE = "fine"
    #: It took the connection, and asks for less: 421, or 4xx before a recipient was named.
    BUSY = "busy"
    #: No server of it could be reached: DNS, refused connections, timeouts, TLS that its policy demands.
    UNREACHABLE = "unreachable"
    #: It does not want our address: a block list. Others are not concerned.
    BLOCKED = "blocked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """Where recipients go together: equal destinations share a lane of the queue, connections and limits.

    `name` is what the operator sees: a domain (its MX is asked), "host:port" of a smarthost or route, or "local" for
    mailboxes of ours. With `hosts` (name or IP literal without brackets, port) MX is not asked. `smarthost` names the
    section of the configuration that has the credentials; `source` are our own addresses to send from.
    """

    name: str
    hosts: tuple[tuple[str, int], ...] = ()
    local: bool = False
    smarthost: str = ""
    source: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of one recipient in one attempt.

    `status` is RFC 3463's x.y.z and begins with 2, 4 or 5 as the outcome demands. `reply` is one printable line of at
    most 1,000 characters: the remote server's words, with `code` its reply code, or our own with `code` 0. `remote` is
    the name of the server that was asked and `address` its IP address ("" when none was reached); `tls` is version and
    cipher ("" in the clear), `policy` why it was so protected (dane, sts, configuration, require-tls, opportunistic).
    """

    outcome: Outcome
    status: str
    reply: str
    code: int = 0
    remote: str = ""
    address: str = ""
    tls: str = ""
    policy: str = ""
    success: Success = Success.RELAYED
