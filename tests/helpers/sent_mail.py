"""What must be true of mail that was sent, however often the server was killed meanwhile (ATTACKS F09, G01)."""

from __future__ import annotations

import email
import email.policy
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.helpers.counting_receiver import CountingReceiver
from tests.helpers.daemon import DOMAIN
from tests.helpers.smtp import AsyncSmtp, Reply

__all__ = ["ANNA", "SentMail", "Submitted", "messages", "submit_one"]

ANNA = f"anna@{DOMAIN}"

_TOLD = re.compile(r"(?m)^Final-Recipient: rfc822; *(\S+)")
_ID, _COUNT = re.compile(r"\b([0-9a-z]{16})\b"), re.compile(r"recipients=(\d+)")
_FAILING = ("bad", "reject")
#: They are sent twice although nobody was killed.
_CUT = "cut"


@dataclass(frozen=True)
class Submitted:
    """A message by its Message-ID, and its recipients."""

    name: str
    recipients: tuple[str, ...]

    def __str__(self) -> str:
        return " ".join((self.name, *self.recipients))


def messages(number: object) -> list[Submitted]:
    """One of each kind; `number` makes their names and recipients differ from others'."""
    kinds = [("good", "bad"), ("later", "also"), ("cut",), ("reject",), ("tell",), ("busy",), ("drop",), ("bad", "bat")]
    return [
        Submitted(f"<{place}.{number}@t.test>", tuple(f"{kind}{place}.{number}@far.test" for kind in those))
        for place, those in enumerate(kinds)
    ]


async def submit_one(smtp: AsyncSmtp, name: str, recipients: Sequence[str]) -> Reply:
    """anna sends a message; the reply to its end, or to DATA."""
    await smtp.command(f"MAIL FROM:<{ANNA}>")
    for recipient in recipients:
        notify = " NOTIFY=SUCCESS,FAILURE" if recipient.startswith("tell") else ""
        await smtp.command(f"RCPT TO:<{recipient}>{notify}")
    reply = await smtp.command("DATA")
    if reply.code != 354:
        await smtp.command("RSET")
        return reply
    text = f"From: <{ANNA}>\r\nMessage-ID: {name}\r\nSubject: x\r\n\r\nHello.\r\n.\r\n"
    return await smtp.command(text.encode())


@dataclass
class SentMail:
    """The logs and promises of all lives of one server, and what the receiver got."""

    receiver: CountingReceiver
    submitted: list[Submitted] = field(default_factory=list)
    acked: set[str] = field(default_factory=set)
    logs: str = ""
    crashes: int = 0

    @property
    def again(self) -> int:
        """Recipients that got more than one copy because of a crash."""
        taken = self.receiver.taken
        return sum(
            taken[one.name, recipient] > 1 + recipient.startswith(_CUT)
            for one in self.submitted for recipient in one.recipients
        )  # fmt: skip

    def check(self, data: Path) -> None:
        """All of it; the server has nothing in its queue any more."""
        reports = _reports(data)
        told: dict[str, set[str]] = {}
        for name, texts in reports.items():
            for recipient in _TOLD.findall(texts[0]):
                told.setdefault(recipient, set()).add(name)
        for one in self.submitted:
            for recipient in one.recipients:
                self._check(one, recipient, len(told.get(recipient, ())))
        self._check_doubts(reports)

    def _check(self, one: Submitted, recipient: str, reports: int) -> None:
        copies = self.receiver.taken[one.name, recipient]
        wanted = recipient.startswith((*_FAILING, "tell"))
        if recipient.startswith(_FAILING):
            assert copies == 0
        elif one.name in self.acked:
            assert copies >= 1, f"{one} is lost for {recipient}"
        assert copies <= 1 + self.crashes + recipient.startswith(_CUT), f"{recipient} got {copies} copies"
        assert reports <= wanted, f"{recipient} is reported {reports} times"
        assert reports or not wanted or one.name not in self.acked, f"nobody was told of {recipient}"

    def _check_doubts(self, reports: Mapping[str, list[str]]) -> None:
        """Whatever came more than once was logged as a possible duplicate."""
        logged: Counter[str] = Counter()
        for line in self.logs.splitlines():
            if "possible_duplicate" in line:
                found, count = _ID.search(line), _COUNT.search(line)
                assert found is not None and count is not None, line
                logged[found[1]] += int(count[1])
        more: Counter[str] = Counter()
        for (name, _), copies in self.receiver.taken.items():
            more[self.receiver.queue_ids[name]] += copies - 1
        ours = {self.receiver.queue_ids.get(one.name) for one in self.submitted}
        for queue_id in ours - {None}:
            assert more[queue_id or ""] <= logged[queue_id or ""], f"{queue_id} came again, and the log does not say so"
        again = sum(len(texts) - 1 for texts in reports.values())
        known = sum(count for queue_id, count in logged.items() if queue_id not in ours)
        assert again <= known, "a report came again, and the log does not say so"


def _reports(data: Path) -> dict[str, list[str]]:
    """The reports in all mailboxes, by Message-ID: each copy's part for programs."""
    found: dict[str, list[str]] = {}
    for path in _files(data):
        report = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
        if report.get_content_type() == "multipart/report":
            found.setdefault(str(report["Message-ID"]), []).append(str(list(report.iter_parts())[1]))
    return found


def _files(data: Path) -> Iterable[Path]:
    for folder in ("new", "cur"):
        yield from data.glob(f"*/*/{folder}/*")
