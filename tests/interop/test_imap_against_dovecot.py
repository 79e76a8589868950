"""Hundreds of IMAP commands to us and to real Dovecot: the same answers, or a reason in the table."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from mailserver.model.address import EmailAddress
from mailserver.model.ids import AccountId
from mailserver.net.passwords import Passwords
from mailserver.ports.directory import Account
from mailserver.storage.directory import SqliteDirectory
from mailserver.storage.directory_settings import DomainSettings
from tests.helpers.daemon import DOMAIN, PASSWORD, Daemon
from tests.interop.dovecot import Dovecot, needs_dovecot
from tests.interop.imap_dialogues import Answer, Player, dialogues

pytestmark = [pytest.mark.interop, needs_dovecot, pytest.mark.timeout(120)]

DIALOGUES = dialogues(Path(__file__).with_name("imap_dialogues.txt"))
_OWNER = 65534
_FOLDERS = ("Archive", "Drafts", "Junk", "Sent", "Trash")

_SYNTAX = "RFC 9051 §9 has no such argument; what a client meant by it is not for us to guess"
_READ_ONLY = "RFC 9051 §6.3.3: nothing can be changed; a client that is told OK believes that it was"

#: Where we differ from Dovecot 2.3: the dialogue, the step, and why ours is right.
EXPLAINED: dict[str, dict[str, str]] = {
    "more arguments that are missing": dict.fromkeys(("ENABLE", "ID", "NOOP x", "NAMESPACE x"), _SYNTAX),
    "message sets": {"FETCH 1, UID": _SYNTAX},
    "FETCH items": {
        "FETCH 3 BODY.PEEK[1.1]": "RFC 9051 §6.4.5.1: only multiparts and messages have parts; this is text",
        "FETCH 3 BINARY.PEEK[]": "RFC 3516 §4.2 decodes parts; without one it is the message as it is",
    },
    "FETCH items that are none": {"FETCH 1 BODY[]<0.0>": _SYNTAX, "FETCH 1 BODY[0]": _SYNTAX},
    "SEARCH": {
        "SEARCH NOT (SEEN FLAGGED)": "the first message is seen and not flagged; Dovecot looks at SEEN alone",
        "SEARCH SENTBEFORE 1-Jan-1990": "RFC 9051 §6.4.4: messages whose Date is earlier; these have none",
    },
    "EXAMINE changes nothing": dict.fromkeys(("STORE 1 +FLAGS (\\Deleted)", "EXPUNGE", "UID EXPUNGE 1"), _READ_ONLY),
    "others": {"NAMESPACE": "RFC 2342 §5: there are mailboxes of other users; this Dovecot has no namespace for them"},
    "QRESYNC": {"SELECT INBOX (QRESYNC)": "a command that could not be read has done nothing, and closed nothing"},
}


def _user(number: int) -> str:
    return f"user{number}@{DOMAIN}"


async def _add_accounts(path: Path) -> None:
    """An account for each dialogue; all share one hash, which is what takes time."""
    path.parent.mkdir(parents=True, mode=0o700)
    passwords, accounts = Passwords(), SqliteDirectory(path, {DOMAIN: DomainSettings()})
    hashed, scram = await passwords.hash(PASSWORD)
    for number in range(len(DIALOGUES)):
        address = EmailAddress.parse(_user(number))
        await accounts.add_account(
            Account(account=AccountId(address.key), address=address, password_hash=hashed, scram=scram)
        )
    accounts.close()
    passwords.close()


@dataclass(frozen=True, slots=True)
class Servers:
    """The ports of both."""

    ours: int
    dovecot: int


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    root = Path(tempfile.mkdtemp(prefix="mailserver-test-"))
    root.chmod(0o755)
    mail = root / "mail"
    mail.mkdir()
    os.chown(mail, _OWNER, _OWNER)
    daemon = Daemon(root / "ours")
    (root / "ours").chmod(0o700)
    asyncio.run(_add_accounts(daemon.data / ".server" / "accounts.db"))
    try:
        with daemon, Dovecot(root, mail, _OWNER, accounts=True, folders=_FOLDERS) as dovecot:
            yield Servers(daemon.ports["imap"], dovecot.port)
    finally:
        shutil.rmtree(root)


@pytest.mark.parametrize("name", DIALOGUES)
def test_the_same_answers(servers: Servers, name: str) -> None:
    user = _user(list(DIALOGUES).index(name))
    ours, theirs = Player(servers.ours, user, PASSWORD), Player(servers.dovecot, user, PASSWORD)
    explained = EXPLAINED.get(name, {})
    unexplained: dict[str, tuple[Answer, Answer]] = {}
    different = set()
    try:
        for step in DIALOGUES[name]:
            answers = ours.play(step), theirs.play(step)
            if answers[0] != answers[1]:
                different.add(step)
                if step not in explained:
                    unexplained[step] = answers
    finally:
        ours.close()
        theirs.close()
    assert not unexplained, "\n".join(f"{step}\n  we      {a}\n  Dovecot {b}" for step, (a, b) in unexplained.items())
    assert explained.keys() <= different, f"no longer different: {explained.keys() - different}"
