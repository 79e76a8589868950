"""What a kind of aggregate report says of itself, and the values that it says it with."""

from __future__ import annotations

import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from mailserver import api
from mailserver.plugins.aggregate_reports.document import Form, Heading
from mailserver.plugins.aggregate_reports.settings import AggregateReportSettings
from mailserver.plugins.aggregate_reports.targets import Target

__all__ = ["Counted", "Found", "Kind", "Limits", "Received", "ReceivedPart"]


@dataclass(frozen=True, slots=True)
class Counted:
    """One message or session. `facts` (a JSON object) make several one row; `about` is told once for the whole report,
    and of several within a day the last one counts."""

    domain: str
    facts: str
    about: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """A domain's day: facts with their `count`, those with most first, and how many are in no row."""

    about: str
    lost: int
    rows: list[dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedPart:
    """What a report says of one domain; `failed` is for the log, `facts` is what is kept and shown."""

    domain: str
    failed: int
    facts: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A report of others. Times are epoch seconds; texts are short and printable. `contact` is an address, or what
    stood for one; `doubtful`: nothing proves who sent it."""

    organisation: str
    contact: str
    id: str
    begins: float
    ends: float
    parts: tuple[ReceivedPart, ...]
    doubtful: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What somebody could make us write, of one kind: `rows` of a domain's day; parts of reports of others in a `day`
    (of those that nothing proves, a quarter) and in all (`kept`); `shown` is how much of each a command tells."""

    rows: int
    day: int
    kept: int
    shown: int


class Kind(ABC):
    """Made anew with the plugin. `name` is the plugin's, and that of its database, its log lines and its operations."""

    name: ClassVar[str]
    form: ClassVar[Form]
    limits: ClassVar[Limits]
    #: Of several places that a record names, one that has the report is enough.
    one_is_enough: ClassVar[bool] = False
    #: Nothing ever comes back about a report; otherwise to the address that it is from.
    null_return_path: ClassVar[bool] = False

    def __init__(self, host: api.Host, settings: AggregateReportSettings) -> None:
        self.host = host
        self.settings = settings

    # What we tell others.

    @abstractmethod
    def counted(self, event: api.Event) -> Counted | None:
        """None: it is in no report."""

    def coarser(self, facts: str) -> str:
        """What is left of facts where there are too many kinds of them; "": they are only counted as lost."""
        return ""

    @abstractmethod
    async def targets(self, domain: str) -> tuple[Target, ...]:
        """Where the domain wants its reports now. Raises LookupFailed."""

    async def places(self, domain: str, target: Target) -> tuple[Target, ...]:
        """Where a report goes instead of to one of its targets. Raises Unwanted, LookupFailed."""
        return (target,)

    @abstractmethod
    def write(self, heading: Heading, found: Found) -> tuple[bytes, list[str]]:
        """The file for programs, not packed, and lines for people. Runs in a thread."""

    @abstractmethod
    def told(self, found: Found) -> Mapping[str, Any]:
        """The same for who runs this server."""

    # What others tell us.

    @abstractmethod
    def recognise(self, ctx: api.MessageContext, *, listed: bool) -> bool:
        """Whether a message is to be read as a report; `listed`: it came to an address for reports."""

    def proved(self, queue_id: api.QueueId) -> bool:
        """Whether it is known who sent a message that was accepted; asked once."""
        return True

    @abstractmethod
    async def read(self, message: bytes, thread: api.DatabaseThread, *, proved: bool) -> Received:
        """Raises BadFile, ConfinedFailed."""

    def is_ours(self, domain: str) -> bool:
        """Whether what is told of a domain concerns us."""
        return self.host.directory.domain(domain) is not None

    def summed_up(self, db: sqlite3.Connection, domain: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """More that is shown of all this, of one domain or ("") of all."""
        return {}

    # The records by which they know that they should.

    @abstractmethod
    def own_records(self, domain: str, address: api.EmailAddress) -> Sequence[tuple[str, str]]:
        """Names and texts of the TXT records with which reports about a domain of ours come to an address."""

    @abstractmethod
    def is_record(self, text: bytes) -> bool:
        """Whether a TXT record at one of these names is of this kind."""

    @abstractmethod
    def is_enough(self, published: Sequence[bytes], text: str) -> bool:
        """Whether what is published does what our own `text` would."""
