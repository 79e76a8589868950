"""FETCH while others change the mailbox, reading ahead, and what is not copied (imap/fetch/, connection/output.py)."""

from __future__ import annotations

import asyncio
import itertools
import zlib
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.imap.connection.output import CHUNK, Output
from mailserver.imap.fetch.ahead import one_ahead
from mailserver.imap.fetch.listed import listed_literals
from mailserver.imap.fetch.plan import Plan
from mailserver.imap.fetch.sections import field_filter
from mailserver.imap.rows import Rows
from mailserver.mime.headers import LISTED_FIELDS, fields, select
from mailserver.model.flags import FlagChange
from mailserver.ports.clock import SystemClock
from mailserver.storage.maildir import reading
from mailserver.storage.maildir.mailbox import MaildirMailbox
from mailserver.storage.maildir.store import MaildirStore
from mailserver.storage.memory import MemoryStore
from mailserver.storage.memory_mailbox import MemoryMailbox
from mailserver.storage.settings import StorageSettings
from tests.helpers.imap_service import ANNA, ImapHarness

COUNT = 9


@pytest.fixture(params=["memory", "maildir"])
async def store(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[MemoryStore | MaildirStore]:
    """Both stores, with batches of two or three messages."""
    monkeypatch.setattr("mailserver.storage.memory_mailbox.BATCH_MESSAGES", 2)
    monkeypatch.setattr("mailserver.storage.memory_mailbox.BATCH_SIZE", 60)
    monkeypatch.setattr(reading, "_SENT_PIECES", 100)
    monkeypatch.setattr(reading, "_SENT_OCTETS", 60)
    monkeypatch.setattr("mailserver.storage.maildir.keys._SOME", 2)
    if request.param == "memory":
        yield MemoryStore()
        return
    settings = StorageSettings(fill_delay=3600)
    async with MaildirStore(tmp_path, settings, "mail.example.test", SystemClock()) as kept:
        yield kept


def changed_after_a_batch(name: str, server: ImapHarness, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """After the first batch 5 is expunged and 8 is seen; how many messages the batches had."""
    sizes: list[int] = []
    for kind in (MemoryMailbox, MaildirMailbox):
        whole = getattr(kind, name)

        async def interrupted(*arguments: Any, whole: Any = whole, **options: Any) -> AsyncGenerator[Any, None]:
            async for batch in whole(*arguments, **options):
                sizes.append(len(batch[0] if name == "pieces" else batch))
                if len(sizes) == 2:
                    await server.expunge(5)
                    await server.flag("8", FlagChange.ADD, "\\Seen")
                yield batch

        monkeypatch.setattr(kind, name, interrupted)
    return sizes


@pytest.mark.parametrize(
    ("name", "item", "shown"),
    [
        ("pieces", "ENVELOPE", b'ENVELOPE (NIL "number %d" NIL NIL NIL NIL NIL NIL NIL NIL)'),
        ("read_many", "BODY.PEEK[]", b"BODY[] {21}\r\nSubject: number %d\r\n\r\n"),
        ("read_many", "BODY.PEEK[TEXT]", b"BODY[TEXT] {0}\r\n"),
    ],
)
async def test_every_answer_is_of_its_own_message_whatever_others_do(
    store: Any, monkeypatch: pytest.MonkeyPatch, name: str, item: str, shown: bytes
) -> None:
    async with ImapHarness(store=store) as server, server.client() as imap:
        await server.deliver(*(b"Subject: number %d\r\n\r\n" % n for n in range(1, COUNT + 1)))
        await imap.ok("SELECT INBOX")
        before = (await imap.ok(f"FETCH 1:* (UID FLAGS {item})")).untagged
        sizes = changed_after_a_batch(name, server, monkeypatch)
        answer = await imap.command(f"FETCH 1:* (UID FLAGS {item})")
        assert len(sizes) > 2
        assert (answer.status, answer.code("EXPUNGEISSUED") is not None) == ("NO", True)
        expected = []
        for n in range(1, COUNT + 1):
            flags = b"\\Seen" if n == 8 else b""
            expected.append(b"* %d FETCH (UID %d FLAGS (%b) %b)" % (n, n, flags, shown.replace(b"%d", b"%d" % n)))
        # Behind them comes what is pending: that 8 was seen.
        assert list(answer.untagged)[: COUNT - 1] == expected[:4] + expected[5:]
        assert list(before) == [line.replace(b"\\Seen", b"") for line in expected]


async def test_flags_are_those_of_the_moment_they_are_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailserver.imap.fetch.answers._LINES", 2)
    async with ImapHarness() as server, server.client() as imap:
        await server.deliver(*[b"Subject: x\r\n\r\n"] * 6)
        await imap.ok("SELECT INBOX")
        account = await server.store.open_account(ANNA)
        async with account.open("INBOX") as box:
            lines = Plan.lines

            def seen_meanwhile(self: Plan, rows: Rows, pieces: Any, flags: Any) -> bytes:
                box.table.flags[5] = box.flag_table.intern(frozenset({"\\Seen"}))
                box.highest_modseq += 1
                return lines(self, rows, pieces, flags)

            monkeypatch.setattr(Plan, "lines", seen_meanwhile)
            assert (await imap.ok("FETCH 1:* FLAGS")).untagged[-1] == b"* 6 FETCH (FLAGS (\\Seen))"


async def test_one_batch_is_read_ahead_and_no_more() -> None:
    begun: list[int] = []
    closed: list[bool] = []

    async def batches() -> AsyncGenerator[int, None]:
        try:
            for number in range(1, 5):
                begun.append(number)
                await asyncio.sleep(0)
                yield number
        finally:
            closed.append(True)

    got = []
    async for number in one_ahead(batches()):
        for _ in range(5):
            await asyncio.sleep(0)
        got.append(number)
        assert begun == list(range(1, min(number + 1, 4) + 1))
    assert (got, closed) == ([1, 2, 3, 4], [True])


async def test_the_next_is_begun_before_one_is_handed_out() -> None:
    begun: list[int] = []

    async def batches() -> AsyncGenerator[int, None]:
        for number in range(1, 4):
            begun.append(number)
            await asyncio.sleep(0)
            yield number

    async for number in one_ahead(batches()):
        assert begun[-1] == min(number + 1, 3)


class Wire:
    """A transport that notes what it is given."""

    def __init__(self, *, tls: bool) -> None:
        self.tls = tls
        self.calls: list[tuple[str, list[bytes]]] = []

    def get_extra_info(self, name: str) -> object:
        return object() if self.tls and name == "ssl_object" else None

    def set_write_buffer_limits(self, high: int) -> None:
        assert high == CHUNK

    def write(self, data: bytes) -> None:
        self.calls.append(("write", [data]))

    def writelines(self, parts: list[bytes]) -> None:
        self.calls.append(("writelines", list(parts)))


LARGE = b"x" * 9000


@pytest.mark.parametrize(
    ("tls", "parts", "calls"),
    [
        (False, [b"a", LARGE, b"b"], [("writelines", [b"a", LARGE, b"b"])]),
        (False, [b"a", b"b", b"c"], [("write", [b"abc"])]),
        (False, [LARGE], [("write", [LARGE])]),
        (True, [b"a", LARGE, b"b"], [("write", [b"a" + LARGE + b"b"])]),
    ],
)
async def test_large_parts_go_out_uncopied_and_small_ones_together(
    tls: bool, parts: list[bytes], calls: list[tuple[str, list[bytes]]]
) -> None:
    output, wire = Output(asyncio.get_running_loop()), Wire(tls=tls)
    output.attach(cast(asyncio.WriteTransport, wire))
    output.put(parts)
    assert (output.waits, output.full) == (True, False)
    output.write_out()
    assert wire.calls == calls
    output.put([LARGE] * 8)
    assert output.full
    output.put([])
    output.deflate(1)
    output.put([LARGE, LARGE])
    output.write_out()
    assert [name for name, _ in wire.calls[1:]] == ["write" if tls else "writelines", "write"]
    assert len(wire.calls[-1][1][0]) < 1000


async def test_what_is_compressed_goes_out_some_at_a_time_and_in_order() -> None:
    output, wire = Output(asyncio.get_running_loop()), Wire(tls=False)
    output.attach(cast(asyncio.WriteTransport, wire))
    output.deflate(1)
    parts = [b"%d" % n * 9000 for n in range(40)]
    output.put(parts)
    await output.flush()
    assert not output.waits
    assert len(wire.calls) > 3
    sent = b"".join(data for _, (data,) in wire.calls)
    assert zlib.decompressobj(-zlib.MAX_WBITS).decompress(sent) == b"".join(parts)


SECTIONS = {
    b"BODY.PEEK[]": b"BODY[] {%d}\r\n%b",
    b"BODY.PEEK[2]": b"BODY[2] NIL",
    b"BODY.PEEK[]<3.4>": b"BODY[]<3> {4}\r\nject",
    b"BINARY.SIZE[1]": b"BINARY.SIZE[1] 8",
    b"BINARY.PEEK[1]": b"BINARY[1] ~{8}\r\nte\0xt\0\r\n",
    b"UID": b"UID 1",
    b"BODY.PEEK[1]": b"BODY[1] {8}\r\nte\x80xt\x80\r\n",
}


async def test_sections_in_any_order_and_number(store: MemoryStore | MaildirStore) -> None:
    message = b"Subject: x\r\n\r\nte\0xt\0\r\n"
    whole = message.replace(b"\0", b"\x80")
    answers = {**SECTIONS, b"BODY.PEEK[]": SECTIONS[b"BODY.PEEK[]"] % (len(message), whole)}
    async with ImapHarness(store=store) as server, server.client() as imap:
        await server.deliver(message)
        await imap.ok("SELECT INBOX")
        for order in itertools.islice(itertools.permutations(SECTIONS), 0, None, 97):
            (line,) = (await imap.ok("FETCH 1 (" + b" ".join(order).decode() + ")")).untagged
            assert line == b"* 1 FETCH (" + b" ".join(answers[item] for item in order) + b")"


async def test_who_stops_early_leaves_nothing_running() -> None:
    waiting = asyncio.Event()
    ended: list[str] = []

    async def batches() -> AsyncGenerator[int, None]:
        yield 1
        try:
            await waiting.wait()
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise
        yield 2

    reader = one_ahead(batches())
    assert await anext(reader) == 1
    await asyncio.sleep(0)
    await reader.aclose()
    assert ended == ["cancelled"]
    assert len(asyncio.all_tasks()) == 1


async def test_what_goes_wrong_ahead_is_told_in_its_turn() -> None:
    async def batches() -> AsyncGenerator[int, None]:
        yield 1
        raise OSError("gone")

    got = []
    with pytest.raises(OSError, match="gone"):
        async for number in one_ahead(batches()):
            got.append(number)
    assert got == [1]


@pytest.mark.parametrize(
    ("block", "chosen"),
    [
        (b"Subject: a\r\nX: from: no\r\nFROM : b\r\n\tc\r\nTo: d\r\n\r\n", b"Subject: a\r\nFROM : b\r\n\tc\r\n\r\n"),
        (b"To: d\r\n\r\n", b"\r\n"),
        (b"", b"\r\n"),
        (b"Subject: no end", b"Subject: no end\r\n"),
        (b"To: d\nfrom: bare\nX", b"from: bare\n\r\n"),
        (b"Subject:\n folded to the end", b"Subject:\n folded to the end\r\n"),
        (b"x:from:\n\nfrom:", b"from:\r\n"),
    ],
)
def test_header_fields_are_chosen_with_their_line_ends(block: bytes, chosen: bytes) -> None:
    assert field_filter(("subject", "from"))(block) == chosen


#: What mail programs ask of every message to show a list of them.
LISTS = {
    "Thunderbird": "From To Cc Bcc Subject Date Message-ID Priority X-Priority References Newsgroups In-Reply-To "
    "Content-Type Reply-To",
    "Apple Mail": "date subject from to cc message-id in-reply-to references content-type x-priority "
    "x-uniform-type-identifier x-universally-unique-identifier list-id list-unsubscribe bimi-indicator bimi-location "
    "x-bimi-indicator-hash authentication-results dkim-signature",
    "mutt": "DATE FROM SENDER SUBJECT TO CC MESSAGE-ID REFERENCES CONTENT-TYPE CONTENT-DESCRIPTION IN-REPLY-TO "
    "REPLY-TO LINES LIST-POST LIST-SUBSCRIBE LIST-UNSUBSCRIBE X-LABEL X-ORIGINAL-TO",
    "K-9": "date subject from content-type to cc reply-to message-id references in-reply-to list-unsubscribe "
    "x-k9mail-identity",
    "Roundcube": "DATE FROM TO SUBJECT CONTENT-TYPE CC REPLY-TO LIST-POST DISPOSITION-NOTIFICATION-TO X-PRIORITY BCC "
    "IN-REPLY-TO SENDER MESSAGE-ID CONTENT-TRANSFER-ENCODING REFERENCES X-DRAFT-INFO MAIL-FOLLOWUP-TO MAIL-REPLY-TO "
    "RETURN-PATH",
}


_NAMES = st.sampled_from(["subject", "from", "to", "date", "x-priority", "lines", "list-id", "message-id"]).flatmap(
    lambda name: st.sampled_from([name, name.upper(), name.title(), f"{name} \t", f"{name}x", f"x{name}"])
)
_VALUES = st.text(st.sampled_from("ab: \t\r"), max_size=6).map(str.encode)
_FOLDS = st.lists(st.tuples(st.sampled_from([b"\r\n ", b"\n\t"]), _VALUES).map(b"".join), max_size=2).map(b"".join)
_FIELDS = st.tuples(_NAMES.map(str.encode), st.just(b":"), _VALUES, _FOLDS, st.sampled_from([b"\r\n", b"\n"]))
_ODD = st.sampled_from([b":\r\n", b" x\r\n", b"\0\n", b"no field\r\n"]).map(lambda line: (line,))
_HEADERS = st.lists(st.one_of(_FIELDS, _FIELDS, _FIELDS, _ODD).map(b"".join), max_size=8).map(b"".join)
_MESSAGES = st.tuples(_HEADERS, st.sampled_from([b"", b"\r\n", b"\r\ntext"])).map(b"".join)
#: With these each message of a batch is looked at alone.
_UNUSUAL = st.sampled_from(
    [b"Subject: no end", b"Lines: no end", b"Subject: \0\r\n", b"Lines: \0\r\nDate:", b"To:\r\n\t\0\r\n"]
)


@given(st.lists(_MESSAGES, max_size=8), st.lists(_UNUSUAL, max_size=2), st.sampled_from([*LISTS, "few"]))
def test_fields_of_many_messages_are_those_of_each(messages: list[bytes], unusual: list[bytes], client: str) -> None:
    messages = [*messages, *unusual, *messages[:1]]
    names = tuple(dict.fromkeys(LISTS.get(client, "subject from").lower().split()))
    pieces = [select(message, fields(message), LISTED_FIELDS) for message in messages]
    headers = [field_filter(names)(piece).replace(b"\0", b"\x80") for piece in pieces]
    assert listed_literals(names)(pieces) == [b"{%d}\r\n%b" % (len(header), header) for header in headers]


async def test_no_literal_has_a_nul(store: MemoryStore | MaildirStore) -> None:
    async with ImapHarness(store=store) as server, server.client() as imap:
        await server.deliver(*[b"Subject: a\0b\r\nFrom: x\r\n\r\n"] * 3)
        await imap.ok("SELECT INBOX")
        for names in (LISTS["Thunderbird"], "SUBJECT"):
            for line in (await imap.ok(f"FETCH 1:* (BODY.PEEK[HEADER.FIELDS ({names})])")).untagged:
                assert b"Subject: a\x80b\r\n" in line and b"\0" not in line


@pytest.mark.parametrize("client", LISTS)
async def test_lists_of_messages_are_shown_without_reading_them(client: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def reads(*arguments: Any, **options: Any) -> None:
        raise AssertionError("a message is read")

    monkeypatch.setattr(MemoryMailbox, "read_many", reads)
    async with ImapHarness() as server, server.client() as imap:
        await server.deliver(b"Subject: a\r\nX-Other: b\r\n\r\n")
        await imap.ok("SELECT INBOX")
        listed = f"BODY.PEEK[HEADER.FIELDS ({LISTS[client]})]"
        (line,) = (await imap.ok(f"UID FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE {listed})")).untagged
        assert line.endswith(b"{14}\r\nSubject: a\r\n\r\n)")
