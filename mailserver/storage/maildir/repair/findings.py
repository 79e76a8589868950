"""What `mailbox verify` can find: each kind of problem, how bad it is, and what `mailbox rebuild` does about it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import Enum
from typing import Self

__all__ = ["Finding", "Findings", "Problem", "Severity"]

_MAX_OF_A_KIND = 100


class Severity(Enum):
    """`error`: mail is or may become wrong or unreachable. `warning`: something else is wrong. `notice`: a state that
    is allowed, and that the server itself ends at its next look."""

    ERROR = "error"
    WARNING = "warning"
    NOTICE = "notice"


_E, _W, _N = Severity.ERROR, Severity.WARNING, Severity.NOTICE
_ANEW = "the index is made anew from the files"
_SERVER = "nothing; the server does it when it looks next"


class Problem(Enum):
    """Name: severity, and what rebuild does."""

    severity: Severity
    remedy: str

    def __new__(cls, severity: Severity, remedy: str) -> Self:
        """Each is a problem of its own, also where severity and remedy are those of another."""
        member = object.__new__(cls)
        member._value_ = len(cls.__members__)
        member.severity, member.remedy = severity, remedy
        return member

    ACCOUNT_STATE_MISSING = (_W, "writes it; quota limits come from the account's entry")
    ACCOUNT_STATE_DAMAGED = (_E, "writes it anew; quota limits come from the account's entry")
    UIDVALIDITY_ABOVE_HIGHEST = (_W, "raises the account's highest UIDVALIDITY")
    QUOTA_WRONG = (_W, "counts again")
    SUBSCRIPTIONS_MISSING = (_W, "subscribes every mailbox")
    SUBSCRIPTIONS_DAMAGED = (_W, "keeps the names that can be read, or else subscribes every mailbox")
    METADATA_DAMAGED = (_W, "puts it aside, as a file that ends with .damaged")
    INTENT_LEFT = (_N, "finishes the renaming of folders")
    INTENT_DAMAGED = (_W, "removes it: nothing was renamed for it")
    LEFTOVER = (_N, "removes it")
    FOLDER_UNREACHABLE = (_E, "gives the directory a name that can be a mailbox")
    FOLDER_NAME_FOREIGN = (_N, "nothing; the folder is served under this name")
    DIRECTORY_MISSING = (_E, "makes it")
    MARKER_MISSING = (_W, "makes it")
    FOLDER_STATE_MISSING = (_E, "finds UIDVALIDITY and UIDs from the file names and the index")
    FOLDER_STATE_DAMAGED = (_E, "finds UIDVALIDITY and UIDs from the file names and the index")
    MAILBOXID_TWICE = (_E, "gives one of the folders a new one")
    UID_FLOOR_LOW = (_E, "raises it above every UID in use")
    MODSEQ_FLOOR_LOW = (_E, "raises it above every MODSEQ in use")
    UID_TWICE = (_E, "the lower name keeps the UID, the other message gets a new one")
    NAME_TWICE = (_W, "removes the second link, or gives the other message a new name and UID")
    UID_OF_ANOTHER_FOLDER = (_W, "gives the message a UID of this folder")
    UID_IMPOSSIBLE = (_E, "gives the message a new UID")
    UID_MISSING = (_N, "gives the message its UID")
    SIZE_WRONG = (_E, "the name gets the size of the file; the message stays as it is, with its UID")
    WIRE_SIZE_WRONG = (_W, "with --full the name gets the right size")
    NAME_UNSAFE = (_W, "gives the file another name; the message keeps its UID and flags")
    FILE_EMPTY = (_W, "puts it into mailserver-aside/")
    NOT_A_FILE = (_W, "puts it into mailserver-aside/")
    OPEN_TO_OTHERS = (_W, "takes the permissions away")
    OLD_TEMPORARY = (_N, "removes it")
    KEYWORDS_DAMAGED = (_W, "takes what the index knows, keeps what can be read")
    KEYWORD_UNKNOWN = (_W, "takes the keyword's name from the index, or names it unknown-N")
    KEYWORDS_JOURNAL_DAMAGED = (_W, "takes what the index knows, keeps what can be read")
    INDEX_DAMAGED = (_W, _ANEW)
    INDEX_FOLDER_UNKNOWN = (_N, _ANEW)
    INDEX_OTHER_UIDVALIDITY = (_W, _ANEW)
    ROW_WITHOUT_FILE = (_W, _ANEW)
    FILE_WITHOUT_ROW = (_W, _ANEW)
    ROW_MISPLACED = (_N, _SERVER)
    ROW_WRONG = (_W, _ANEW)
    FLAGS_DIFFER = (_W, "the name counts, but keywords that it cannot tell come from the index")
    UNLINK_OF_MESSAGE = (_E, "the file stays, and " + _ANEW)
    TOMBSTONE_OF_MESSAGE = (_W, _ANEW)
    RENDERED_WRONG = (_W, _ANEW)
    RENDERED_ORPHAN = (_N, _ANEW)
    MEMORY_DIFFERS = (_E, "the server reads the account again")

    @property
    def code(self) -> str:
        """Its name in output: `uid-twice`."""
        return self.name.lower().replace("_", "-")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be. `path` is relative to the account's directory."""

    problem: Problem
    path: str
    text: str

    @property
    def severity(self) -> Severity:
        """How bad it is."""
        return self.problem.severity

    def row(self) -> dict[str, str]:
        """For JSON: printable text only, whatever a file was called."""
        return {
            "problem": self.problem.code,
            "severity": self.severity.value,
            "path": _printable(self.path),
            "text": _printable(self.text),
            "rebuild": self.problem.remedy,
        }


class Findings:
    """Collects findings; of one kind in one folder the first hundred, and how many more there are."""

    def __init__(self) -> None:
        self._found: list[Finding] = []
        self._counts: Counter[tuple[Problem, str]] = Counter()

    def add(self, problem: Problem, folder: str, path: str, text: str) -> None:
        """Note one. `folder` is the folder's directory, "" for INBOX and the account itself; `path` is below it."""
        self._counts[problem, folder] += 1
        if self._counts[problem, folder] <= _MAX_OF_A_KIND:
            self._found.append(Finding(problem, f"{folder}/{path}".strip("/") or ".", text))

    def all(self) -> list[Finding]:
        """Everything, the worst first."""
        more = [
            Finding(problem, folder or ".", f"{count - _MAX_OF_A_KIND} more of this kind in this folder")
            for (problem, folder), count in self._counts.items()
            if count > _MAX_OF_A_KIND
        ]
        order = list(Severity)
        return sorted(self._found + more, key=lambda found: order.index(found.severity))


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
