"""What accounts say of messages, by moving and by flagging them."""

from __future__ import annotations

import pytest

from mailserver.hooks.opinions import opinion_of_move, opinions_of_flags
from mailserver.model.events import FlagsChanged, Moved
from mailserver.model.flags import FlagChange
from mailserver.model.ids import AccountId
from mailserver.model.numset import NumSet
from mailserver.storage.memory import MemoryStore

ANNA = AccountId("anna@example.test")
ONE = NumSet.from_numbers([1])


@pytest.mark.parametrize(
    ("source", "target", "opinion"),
    [
        ("INBOX", "Junk", "junk"), ("Lists", "Junk", "junk"), ("Trash", "Junk", ""), ("Junk", "Junk", ""),
        ("Junk", "INBOX", "wanted"), ("Rejects", "Lists", "wanted"), ("Junk", "Trash", ""), ("Junk", "Rejects", ""),
        ("INBOX", "Trash", "unread"), ("Lists", "Trash", "unread"), ("Trash", "Trash", ""),
        ("INBOX", "Archive", "kept"), ("INBOX", "Lists", "kept"), ("Lists", "Archive", ""), ("INBOX", "Drafts", ""),
        ("INBOX", "Rejects", ""),
    ],
)  # fmt: skip
async def test_moves(source: str, target: str, opinion: str) -> None:
    account = await MemoryStore().open_account(ANNA)
    for name in ("Lists", "Rejects"):
        await account.create(name)
    event = Moved(account=ANNA, mailbox=target, uids=ONE, source_account=ANNA, source=source)
    assert await opinion_of_move(event, account) == opinion


@pytest.mark.parametrize(
    ("flags", "opinions"),
    [
        (["$Junk"], {"junk"}), (["Junk", "\\Seen"], {"junk"}), (["$NotJunk"], {"wanted"}), (["NotJunk"], {"wanted"}),
        (["NonJunk", "\\Answered"], {"wanted", "answered"}), (["\\Flagged", "$Phishing"], set()), ([], set()),
    ],
)
def test_flags(flags: list[str], opinions: set[str]) -> None:
    def said(how: FlagChange, account: str = ANNA) -> set[str]:
        return opinions_of_flags(FlagsChanged(
            account=AccountId(account), mailbox="INBOX", uids=ONE, how=how, flags=frozenset(flags),
        ))  # fmt: skip

    assert said(FlagChange.ADD) == opinions
    assert said(FlagChange.REMOVE) == said(FlagChange.ADD, "") == set()
