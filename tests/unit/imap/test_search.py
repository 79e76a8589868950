"""SEARCH over columns finds what a plain walk over the messages finds."""

from __future__ import annotations

import asyncio
import calendar
import datetime
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailserver.imap.search.evaluate import find
from mailserver.imap.selected import Selected
from mailserver.model.flags import FlagChange
from mailserver.model.ids import AccountId
from mailserver.model.numset import NumSet
from mailserver.ports.store import Target
from mailserver.storage.memory import MemoryStore
from mailserver.storage.memory_mailbox import MemoryMailbox
from mailserver.wire.imap.search_keys import (
    All,
    And,
    BodyText,
    DateField,
    DateKey,
    DateRelation,
    HasFlag,
    Header,
    Larger,
    ModSeq,
    Not,
    Or,
    Recent,
    SearchKey,
    Sequence,
    Smaller,
    Text,
    Uids,
)
from mailserver.wire.imap.sequence_set import SAVED_RESULT, SequenceSet

ANNA = AccountId("anna@example.test")
DAY = datetime.date(2024, 2, 2)
WORDS = ("apple", "pear", "Grüße")
FLAGS = ("\\Seen", "\\Flagged", "kw")


def _message(subject: str, word: str) -> bytes:
    return f"Subject: {subject}\r\nX-Word: {word}\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{word}\r\n".encode()


UTF_8 = b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
PART = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: a/b; name=a.bin\r\n\r\nx\r\n--b--\r\n"

_MESSAGES = st.lists(
    st.tuples(
        st.sampled_from(WORDS), st.sampled_from(WORDS), st.frozensets(st.sampled_from(FLAGS)), st.integers(-2, 2)
    ),
    max_size=8,
)
_SETS = st.builds(
    lambda pairs, star: SequenceSet(NumSet.from_ranges(pairs), star),
    st.lists(st.tuples(st.integers(1, 10), st.integers(1, 10)), max_size=3),
    st.none() | st.integers(1, 12),
)
_LEAVES: st.SearchStrategy[SearchKey] = st.one_of(
    st.just(All()),
    st.just(Recent()),
    st.builds(HasFlag, st.sampled_from([*FLAGS, "KW", "other"])),
    st.builds(Sequence, _SETS),
    st.builds(Uids, _SETS | st.just(SAVED_RESULT)),
    st.builds(Header, st.sampled_from(["subject", "x-word", "x-none"]), st.sampled_from(["", "APPLE", "ea", "grü"])),
    st.builds(BodyText, st.sampled_from(["apple", "GRÜSSE", "subject"])),
    st.builds(Text, st.sampled_from(["Pear", "subject", "nothing"])),
    st.builds(
        DateKey, st.just(DateField.INTERNAL), st.sampled_from(DateRelation),
        st.sampled_from([DAY - datetime.timedelta(1), DAY, DAY + datetime.timedelta(1)]),
    ),
    st.builds(Larger, st.integers(60, 90)),
    st.builds(Smaller, st.integers(60, 90)),
    st.builds(ModSeq, st.integers(0, 9)),
)  # fmt: skip
_KEYS = st.recursive(
    _LEAVES,
    lambda keys: st.one_of(
        st.builds(Not, keys),
        st.builds(Or, keys, keys),
        st.builds(And, st.lists(keys, min_size=2, max_size=3).map(tuple)),
    ),
    max_leaves=6,
)  # fmt: skip

_Spec = list[tuple[str, str, frozenset[str], int]]


def _plain(key: SearchKey, number: int, view: Selected, spec: _Spec) -> bool:
    """RFC 9051 §6.4.4, read literally."""
    at = number - 1
    subject, word, flags, days = spec[view.table.uids[at] - 1]
    table = view.table
    uid = table.uids[at]
    match key:
        case And():
            return all(_plain(k, number, view, spec) for k in key.keys)
        case Or():
            return _plain(key.left, number, view, spec) or _plain(key.right, number, view, spec)
        case Not():
            return not _plain(key.key, number, view, spec)
        case All():
            return True
        case HasFlag():
            return key.flag.lower() in {flag.lower() for flag in flags}
        case Sequence(messages=SequenceSet() as named):
            return number in named.resolve(view.count)
        case Uids():
            return uid in (view.result if key.uids is SAVED_RESULT else key.uids.resolve(view.last_uid))
        case Header():
            values = {"subject": subject, "x-word": word}
            return key.name in values and key.text.casefold() in values[key.name].casefold()
        case BodyText():
            return key.text.casefold() in word.casefold()
        case Text():
            return key.text.casefold() in _message(subject, word).decode().casefold()
        case DateKey():
            day = DAY + datetime.timedelta(days)
            before, same = day < key.day, day == key.day
            return {DateRelation.BEFORE: before, DateRelation.ON: same, DateRelation.SINCE: not before}[key.relation]
        case Larger():
            return table.sizes[at] > key.octets
        case Smaller():
            return table.sizes[at] < key.octets
        case ModSeq():
            return table.modseqs[at] >= key.at_least
    return False


@given(_MESSAGES, _KEYS, st.frozensets(st.integers(0, 7), max_size=2))
@settings(max_examples=250)
def test_against_a_plain_walk(spec: _Spec, key: SearchKey, gone: frozenset[int]) -> None:
    asyncio.run(_compare(spec, key, gone))


async def _compare(spec: _Spec, key: SearchKey, gone: frozenset[int]) -> None:
    with ThreadPoolExecutor(1) as workers:
        async with MemoryStore() as store:
            account = await store.open_account(ANNA)
            for subject, word, flags, days in spec:
                date = calendar.timegm(DAY.timetuple()) + days * 86_400 + 3600
                async with store.begin() as content:
                    await content.write(_message(subject, word))
                    await store.commit(content, [Target(account=ANNA, flags=flags, date=date)])
            async with account.open("INBOX") as box:
                view = Selected(box, AsyncExitStack(), read_only=False)
                view.result = NumSet.from_numbers([2, 3, 5])
                await box.expunge([place + 1 for place in gone])
                rows = await find(view, key, workers)
                alive = [n for n in range(1, view.count + 1) if box.table.find(view.table.uids[n - 1]) >= 0]
                assert list(rows.numbers) == [n for n in alive if _plain(key, n, view, spec)]


@pytest.mark.parametrize("key", [Sequence(SequenceSet(NumSet(), 2)), Uids(SequenceSet(NumSet(), 2))])
def test_star_is_the_last_message_that_the_client_knows(key: SearchKey) -> None:
    """`2:*` finds nothing when 2 was the last and is gone, though the client was not told yet."""
    asyncio.run(_compare([("apple", "apple", frozenset(), 0)] * 2, key, frozenset({1})))


@pytest.mark.parametrize(
    ("key", "message", "found"),
    [
        (Header("subject", "grüße"), b"Subject: =?utf-8?q?Gr=C3=BC?=\r\n =?utf-8?q?=C3=9Fe?=\r\n\r\n", True),
        (Header("subject", "two words"), b"Subject: two\r\n words\r\n\r\n", True),
        (Header("subject", "x"), b"X-Subject: x\r\n\r\n", False),
        (Header("subject", ""), b"Subject:\r\n\r\n", True),
        (Header("subject", ""), b"To: subject\r\n\r\n", False),
        (BodyText("naïve"), b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=latin1\r\n\r\nna\xefve", True),
        (BodyText("hello"), b"MIME-Version: 1.0\r\nContent-Transfer-Encoding: base64\r\n\r\naGVsbG8=\r\n", True),
        (BodyText("aGVs"), b"MIME-Version: 1.0\r\nContent-Transfer-Encoding: base64\r\n\r\naGVsbG8=\r\n", False),
        (BodyText("soft"), b"MIME-Version: 1.0\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nso=\r\nft", True),
        (BodyText("hi"), b"Content-Type: application/pdf\r\n\r\nhi", False),
        # RFC 9051 §6.4.4: BODY matches no header fields, TEXT those of parts as well.
        (BodyText("inner"), b"Content-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\nx", False),
        (BodyText("x"), b"Content-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\nx", True),
        (Text("inner"), b"Content-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\nx", True),
        (Text("in ner"), b"Content-Type: message/rfc822\r\n\r\nSubject: in\r\n\tner\r\n\r\nx", True),
        (Text("grün"), b"Content-Type: message/rfc822\r\n\r\nSubject: =?utf-8?q?gr=C3=BCn?=\r\n\r\nx", True),
        (Text("green"), b"Content-Type: message/rfc822\r\n\r\nSubject: =?utf-8?q?gre=65n?=\r\n\r\nx", True),
        (Text("a.bin"), PART, True),
        (BodyText("a.bin"), PART, False),
        (Header("subject", "two words"), b"Subject: two\r\n\twords\r\n\r\n", True),
        (BodyText("日本"), "Content-Type: text/plain; charset=iso-2022-jp\r\n\r\n日本".encode("iso-2022-jp"), True),
        (BodyText("B$"), "Content-Type: text/plain; charset=iso-2022-jp\r\n\r\n日本".encode("iso-2022-jp"), False),
        # One letter, or a letter and what stands above it, as macOS writes names of files.
        (Header("subject", "gr\u00fcn"), "Subject: GRU\u0308N\r\n\r\n".encode(), True),
        (Header("subject", "gru\u0308n"), b"Subject: =?utf-8?q?gr=C3=BCn?=\r\n\r\n", True),
        (BodyText("gr\u00fcn"), UTF_8 + "gru\u0308n".encode(), True),
        (BodyText("Gru\u0308n"), UTF_8 + "gr\u00fcn".encode(), True),
        (BodyText("gr\u00fcn"), UTF_8 + b"grun", False),
        (Text("gr\u00fcn"), b"Content-Type: message/rfc822\r\n\r\nSubject: =?utf-8?q?gru=CC=88n?=\r\n\r\nx", True),
        (Text("subject"), b"Subject: x\r\n\r\ny", True),
        (Text("y"), b"\r\ny", True),
        (Text("z"), b"", False),
    ],
)  # fmt: skip
async def test_text(key: Header | BodyText | Text, message: bytes, found: bool) -> None:
    assert await _finds(key, message) is found


async def _finds(key: SearchKey, message: bytes) -> bool:
    async with MemoryStore() as store:
        account = await store.open_account(ANNA)
        async with store.begin() as content:
            await content.write(message)
            await store.commit(content, [Target(account=ANNA)])
        async with account.open("INBOX") as box:
            with ThreadPoolExecutor(1) as workers:
                return len(await find(Selected(box, AsyncExitStack(), read_only=False), key, workers)) == 1


@pytest.mark.parametrize(
    ("date", "day"),
    [
        (b"Date: Fri, 2 Feb 2024 23:59:59 -1200", DAY),
        (b"date: 2 February 2024", DAY),
        (b"Date: 02 feb 24 10:00", DAY),
        (b"Date: 2 Feb 124", DAY),
        (b"Date:\r\n Fri,\r\n\t2\r\n Feb 2024 10:00", DAY),
        (b"Date: nonsense", None),
        (b"Date: 31 Feb 2024", None),
        (b"X: y", None),
    ],
)
async def test_sent(date: bytes, day: datetime.date | None) -> None:
    """The day as it is written, whatever the zone (RFC 9051 §6.4.4)."""
    key = DateKey(DateField.SENT, DateRelation.ON, DAY)
    assert await _finds(key, date + b"\r\n\r\n") is (day == DAY)


async def test_text_is_read_only_for_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys that need messages come last, wherever they stand, and see only the rows that the others left."""
    read: list[int] = []
    real = MemoryMailbox.sift

    def counting(self: MemoryMailbox, sizes: dict[int, int], test: Callable[[int, bytes], bool]) -> object:
        read.extend(sizes)
        return real(self, sizes, test)

    monkeypatch.setattr(MemoryMailbox, "sift", counting)
    store = MemoryStore()
    account = await store.open_account(ANNA)
    for _ in range(10):
        async with store.begin() as content:
            await content.write(_message("x", "apple"))
            await store.commit(content, [Target(account=ANNA)])
    async with account.open("INBOX") as box:
        await box.set_flags([4], FlagChange.ADD, frozenset({"\\Seen"}))
        view = Selected(box, AsyncExitStack(), read_only=False)
        with ThreadPoolExecutor(1) as workers:
            key = And((Or(BodyText("apple"), All()), Not(Text("none")), HasFlag("\\Seen")))
            assert list((await find(view, key, workers)).uids) == [4]
    assert read == [4]
