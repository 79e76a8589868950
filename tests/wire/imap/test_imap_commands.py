"""wire/imap/parse*.py: each command as its RFC writes it, whole, octet by octet and with more behind it."""

from __future__ import annotations

import pytest

from mailserver.model.flags import FlagChange
from mailserver.model.mailbox import SpecialUse
from mailserver.model.numset import NumSet
from mailserver.model.rights import RightsChange, parse_rights
from mailserver.wire.imap import commands as c
from mailserver.wire.imap.commands import (
    Compress,
    EventGroup,
    GetJmapAccess,
    Language,
    Notify,
    NotifyEvent,
    Unauthenticate,
    Watched,
)
from mailserver.wire.imap.events import BadCommand, CommandReceived, ContinuationNeeded
from mailserver.wire.imap.parse import PARSERS
from mailserver.wire.imap.sequence_set import SAVED_RESULT, SequenceSet
from tests.helpers.wire_imap import command, every_way, feed

ONE = SequenceSet(NumSet(((1, 1),)))
LIST = c.List
INFO = c.StatusItem

CASES: list[tuple[bytes, object]] = [
    (b"CAPABILITY", c.Capability()),
    (b"noop", c.Noop()),
    (b"LOGOUT", c.Logout()),
    (b"ID NIL", c.Id(None)),
    (b"ID ()", c.Id(())),
    (b'ID ("name" "sodr" "version" NIL)', c.Id((("name", "sodr"), ("version", None)))),
    (b'ID ("name" {4+}\r\nso"d)', c.Id((("name", 'so"d'),))),
    (b"STARTTLS", c.StartTls()),
    (b"AUTHENTICATE PLAIN", c.Authenticate("PLAIN")),
    (b"AUTHENTICATE plain =", c.Authenticate("PLAIN", b"")),
    (b"AUTHENTICATE SCRAM-SHA-256 biwsbj11c2Vy", c.Authenticate("SCRAM-SHA-256", b"n,,n=user")),
    (b"LOGIN SMITH SESAME", c.Login("SMITH", "SESAME")),
    (b'LOGIN "a b" "x\\"\\\\y"', c.Login("a b", 'x"\\y')),
    (b"LOGIN {11}\r\nFRED FOOBAR {7}\r\nfat man", c.Login("FRED FOOBAR", "fat man")),
    (b"LOGIN {29+}\r\nsomebody@mail.example.test.xy {2+}\r\n\xc3\xa4", c.Login("somebody@mail.example.test.xy", "ä")),
    (b"ENABLE condstore X-GOOD-IDEA", c.Enable(("CONDSTORE", "X-GOOD-IDEA"))),
    (b"ENABLE UTF8=ACCEPT", c.Enable(("UTF8=ACCEPT",))),
    (b"SELECT inBOX", c.Select(mailbox="INBOX")),
    (b"EXAMINE blurdybloop", c.Select(mailbox="blurdybloop", read_only=True)),
    (b"SELECT {5+}\r\na b/c", c.Select(mailbox="a b/c")),
    (b"SELECT &U,BTFw-", c.Select(mailbox="台北")),
    (b"SELECT INBOX (CONDSTORE)", c.Select(mailbox="INBOX", condstore=True)),
    (
        b"SELECT INBOX (QRESYNC (67890007 20050715194045000 41,43:211,214:541))",
        c.Select(
            mailbox="INBOX",
            qresync=c.QResync(
                uid_validity=67890007,
                modseq=20050715194045000,
                known_uids=NumSet(((41, 41), (43, 211), (214, 541))),
            ),
        ),
    ),
    (
        b"EXAMINE x (QRESYNC (1 2 1:9 (1,3,5 2,4,6)) CONDSTORE)",
        c.Select(
            mailbox="x",
            read_only=True,
            condstore=True,
            qresync=c.QResync(
                uid_validity=1,
                modseq=2,
                known_uids=NumSet(((1, 9),)),
                match=(NumSet.from_numbers([1, 3, 5]), NumSet.from_numbers([2, 4, 6])),
            ),
        ),
    ),
    (b"SELECT x (QRESYNC (1 2))", c.Select(mailbox="x", qresync=c.QResync(uid_validity=1, modseq=2))),
    (
        b"SELECT x (QRESYNC (1 2 (1 7)))",
        c.Select(
            mailbox="x", qresync=c.QResync(uid_validity=1, modseq=2, match=(NumSet(((1, 1),)), NumSet(((7, 7),))))
        ),
    ),
    (b"CREATE owatagusiam/", c.Create("owatagusiam/")),
    (
        b"CREATE MySpecial (USE (\\Drafts \\sent))",
        c.Create("MySpecial", frozenset({SpecialUse.DRAFTS, SpecialUse.SENT})),
    ),
    (b"CREATE x (USE ())", c.Create("x")),
    (b"DELETE foo", c.Delete("foo")),
    (b'RENAME "a b" &AOk-', c.Rename("a b", "é")),
    (b"SUBSCRIBE #news.comp.mail.mime", c.Subscribe("#news.comp.mail.mime")),
    (b"UNSUBSCRIBE x]y", c.Unsubscribe("x]y")),
    (b'LIST "" ""', LIST(reference="", patterns=("",))),
    (b'LIST "" %', LIST(reference="", patterns=("%",))),
    (b"LIST ~/Mail/ *&AOk-%", LIST(reference="~/Mail/", patterns=("*é%",))),
    (
        b'LIST (SUBSCRIBED RECURSIVEMATCH) "" "*"',
        LIST(
            reference="",
            patterns=("*",),
            select=frozenset({c.ListSelect.SUBSCRIBED, c.ListSelect.RECURSIVEMATCH}),
            returns=frozenset({c.ListReturn.SUBSCRIBED}),
            extended=True,
        ),
    ),
    (b'LIST () "" %', LIST(reference="", patterns=("%",), extended=True)),
    (
        b'LIST (SPECIAL-USE REMOTE) "" ("INBOX" "Drafts/%") RETURN (CHILDREN SPECIAL-USE)',
        LIST(
            reference="",
            patterns=("INBOX", "Drafts/%"),
            select=frozenset({c.ListSelect.SPECIAL_USE, c.ListSelect.REMOTE}),
            returns=frozenset({c.ListReturn.CHILDREN, c.ListReturn.SPECIAL_USE}),
            extended=True,
        ),
    ),
    (
        b'LIST "" % RETURN (STATUS (MESSAGES UNSEEN) SUBSCRIBED)',
        LIST(
            reference="",
            patterns=("%",),
            returns=frozenset({c.ListReturn.SUBSCRIBED}),
            status=(INFO.MESSAGES, INFO.UNSEEN),
            extended=True,
        ),
    ),
    (b'LIST "" % RETURN ()', LIST(reference="", patterns=("%",), extended=True)),
    (b'LSUB "#news." "comp.mail.*"', c.Lsub("#news.", "comp.mail.*")),
    (b"NAMESPACE", c.Namespace()),
    (b"COMPRESS deflate", Compress()),
    (b"STATUS blurdybloop (UIDNEXT MESSAGES uidnext)", c.Status("blurdybloop", (INFO.UIDNEXT, INFO.MESSAGES))),
    (
        b"STATUS x (RECENT UIDVALIDITY UNSEEN DELETED SIZE HIGHESTMODSEQ APPENDLIMIT DELETED-STORAGE)",
        c.Status(
            "x",
            (
                INFO.RECENT,
                INFO.UIDVALIDITY,
                INFO.UNSEEN,
                INFO.DELETED,
                INFO.SIZE,
                INFO.HIGHESTMODSEQ,
                INFO.APPENDLIMIT,
                INFO.DELETED_STORAGE,
            ),
        ),
    ),
    (b'GETQUOTA ""', c.GetQuota("")),
    (b'GETQUOTA "!partition/sda4"', c.GetQuota("!partition/sda4")),
    (b"GETQUOTAROOT INBOX", c.GetQuotaRoot("INBOX")),
    (b'SETQUOTA "" (STORAGE 512 message 9)', c.SetQuota("", (("STORAGE", 512), ("MESSAGE", 9)))),
    (b'SETQUOTA "" ()', c.SetQuota("", ())),
    (
        b"SeTacl INBOX/Drafts David@example.test lrswida",
        c.SetAcl("INBOX/Drafts", "david@example.test", RightsChange.REPLACE, parse_rights("lrswiteda")),
    ),
    (b'SETACL INBOX anyone ""', c.SetAcl("INBOX", "anyone", RightsChange.REPLACE, frozenset())),
    (b"SETACL x -b@x.test +cda", c.SetAcl("x", "-b@x.test", RightsChange.ADD, parse_rights("kxtea"))),
    (b'SETACL x {9}\r\n\xc3\xbc@x.test "-e"', c.SetAcl("x", "ü@x.test", RightsChange.REMOVE, parse_rights("e"))),
    (b"DELETEACL INBOX -@Example.Test", c.DeleteAcl("INBOX", "-@example.test")),
    (b"getacl INBOX", c.GetAcl("INBOX")),
    (b"LISTRIGHTS ~/Mail Smith@example.test", c.ListRights("~/Mail", "smith@example.test", "Smith@example.test")),
    (b"RESETKEY", c.ResetKey()),
    (b"RESETKEY inbox internal X-B", c.ResetKey("INBOX", ("INTERNAL", "X-B"))),
    (b'GENURLAUTH "a" INTERNAL b x.y', c.GenUrlAuth((("a", "INTERNAL"), ("b", "X.Y")))),
    (b"URLFETCH imap://a {3+}\r\nb c", c.UrlFetch(("imap://a", "b c"))),
    (
        b'GETMETADATA (DEPTH 1 MAXSIZE 1024) "" (/Shared/comment "/private/vendor/x")',
        c.GetMetadata(mailbox="", entries=("/Shared/comment", "/private/vendor/x"), max_size=1024, depth=1),
    ),
    (
        b"GETMETADATA inbox (depth INFINITY) /private",
        c.GetMetadata(mailbox="INBOX", entries=("/private",), depth=c.EVERY_DEPTH),
    ),
    (
        b"SETMETADATA x (/Private/Comment {3+}\r\nabc /shared/vendor/x/y nil /shared/a ~{3+}\r\na\0b /shared/b \"\")",
        c.SetMetadata(
            "x", {"/private/comment": b"abc", "/shared/vendor/x/y": None, "/shared/a": b"a\0b", "/shared/b": b""}
        ),
    ),
    (
        b'LIST "" % RETURN (METADATA (/shared/comment "/private/comment"))',
        LIST(reference="", patterns=("%",), metadata=("/shared/comment", "/private/comment"), extended=True),
    ),
    (b"MYRIGHTS &AOQ-", c.MyRights("ä")),
    (b"CHECK", c.Check()),
    (b"CLOSE", c.Close()),
    (b"UNSELECT", c.Unselect()),
    (b"EXPUNGE", c.Expunge()),
    (b"UID EXPUNGE 3000:3002", c.Expunge(SequenceSet(NumSet(((3000, 3002),))))),
    (b"uid expunge $", c.Expunge(SAVED_RESULT)),
    (
        b"STORE 2:4 +FLAGS (\\Deleted)",
        c.Store(messages=SequenceSet(NumSet(((2, 4),))), how=FlagChange.ADD, flags=frozenset({"\\Deleted"})),
    ),
    (
        b"UID STORE 1 -flags.silent \\seen $MDNSent",
        c.Store(
            messages=ONE, how=FlagChange.REMOVE, flags=frozenset({"\\Seen", "$MDNSent"}), silent=True, uid=True
        ),
    ),
    (b"STORE 1 FLAGS ()", c.Store(messages=ONE, how=FlagChange.REPLACE, flags=frozenset())),
    (
        b"STORE $ (UNCHANGEDSINCE 0) FLAGS.SILENT (\\Flagged)",
        c.Store(
            messages=SAVED_RESULT,
            how=FlagChange.REPLACE,
            flags=frozenset({"\\Flagged"}),
            silent=True,
            unchanged_since=0,
        ),
    ),
    (b"COPY 2:4 MEETING", c.Copy(messages=SequenceSet(NumSet(((2, 4),))), mailbox="MEETING")),
    (b"UID COPY * inbox", c.Copy(messages=SequenceSet(NumSet(), 4294967295), mailbox="INBOX", uid=True)),
    (b"MOVE 1 foo", c.Move(messages=ONE, mailbox="foo")),
    (b"UID MOVE 42:69 foo", c.Move(messages=SequenceSet(NumSet(((42, 69),))), mailbox="foo", uid=True)),
    (b"IDLE", c.Idle()),
    (b"UNAUTHENTICATE", Unauthenticate()),
    (b"GETJMAPACCESS", GetJmapAccess()),
    (b"COMPARATOR", c.Comparator(())),
    (b'COMPARATOR "cz;*" i;basic', c.Comparator(("cz;*", "i;basic"))),
    (b'COMPARATOR -i;octet "*" "+i*t" {7+}\r\ndefault', c.Comparator(("-i;octet", "*", "+i*t", "default"))),
    (b"LANGUAGE", Language(())),
    (b"LANGUAGE DE i-default", Language(("DE", "i-default"))),
    (b"NOTIFY NONE", Notify()),
    (
        b"NOTIFY SET STATUS (personal (MessageNew MessageExpunge)) (subtree (a b) NONE)",
        Notify(
            status=True,
            groups=(
                EventGroup(
                    watched=Watched.PERSONAL, events=frozenset({NotifyEvent.MESSAGE_NEW, NotifyEvent.MESSAGE_EXPUNGE})
                ),
                EventGroup(watched=Watched.SUBTREE, names=("a", "b")),
            ),
        ),
    ),
]


@pytest.mark.parametrize(("line", "expected"), CASES, ids=[line.decode("latin-1")[:50] for line, _ in CASES])
def test_command(line: bytes, expected: object) -> None:
    if isinstance(expected, c.Idle | c.Authenticate):
        # What follows them is no command: fed alone.
        for step in (0, 1):
            (event,) = feed(b"a " + line + b"\r\n", step=step)
            assert isinstance(event, CommandReceived)
            assert event.command == expected
    else:
        assert command(line) == expected


def test_every_parser_has_a_known_answer() -> None:
    families = (b"SEARCH", b"SORT", b"THREAD", b"FETCH")
    elsewhere = {b"CANCELUPDATE", b"ESEARCH", *families, *(b"UID " + name for name in families)}
    tried = {bytes(part) for line, _ in CASES for part in (line.split(b" ")[0], b" ".join(line.split(b" ")[:2]))}
    assert {name for name in PARSERS if name not in {part.upper() for part in tried}} == elsewhere


def test_the_event_names_the_command() -> None:
    (event,) = every_way(b"A.1 uid copy 1 x\r\n")
    assert event == CommandReceived(b"A.1", "UID COPY", c.Copy(messages=ONE, mailbox="x", uid=True))


def test_synchronizing_literals_ask_for_a_continuation_each() -> None:
    events = every_way(b"a LOGIN {1}\r\nu {1}\r\np\r\n", authenticated=False)
    assert events == [ContinuationNeeded(), ContinuationNeeded(), CommandReceived(b"a", "LOGIN", c.Login("u", "p"))]


def test_names_are_utf8_after_enable() -> None:
    assert command("SELECT \"Entwürfe & more\"".encode(), utf8=True) == c.Select(mailbox="Entwürfe & more")
    assert command("LIST \"\" {4+}\r\nü*a".encode(), utf8=True) == LIST(reference="", patterns=("ü*a",))
    assert command(b"SELECT &AOk-", utf8=True) == c.Select(mailbox="&AOk-")


BAD: list[tuple[bytes, str]] = [
    (b"SETACL INBOX john@example.test lrQswicda", "lower case"),
    (b"SETACL INBOX john@example.test lrqswicda", "one of the letters"),
    (b"SETACL INBOX john@example.test +-l", "one of the letters"),
    (b"SETACL INBOX john@example.test 0", "one of the letters"),
    (b"SETACL INBOX john lr", "an identifier is"),
    (b'SETACL INBOX "" lr', "an identifier is"),
    (b"SETACL INBOX - lr", "an identifier is"),
    (b"SETACL INBOX anyone", ""),
    (b"DELETEACL INBOX", ""),
    (b"GETACL", ""),
    (b"MYRIGHTS INBOX x", ""),
    (b"NOOP x", "end of the command"),
    (b"NOOP ", "not even a space"),
    (b"FROBNICATE", "not known"),
    (b"UID", "not known"),
    (b"UID NOOP", "not known"),
    (b"LOGIN", "space"),
    (b"LOGIN a", "space"),
    (b"LOGIN a  b", "atom"),
    (b"LOGIN a b c", "end of the command"),
    (b'LOGIN "a b', "quoted string"),
    (b'LOGIN a "b\\n"', "quoted string"),
    (b"LOGIN a b\xff", "end of the command"),
    (b'LOGIN a "\xff"', "UTF-8"),
    (b"LOGIN a {2+}\r\n\0b", "NUL"),
    (b"AUTHENTICATE", "space"),
    (b"AUTHENTICATE X!", "SASL"),
    (b"AUTHENTICATE PLAIN ", "base64"),
    (b"AUTHENTICATE PLAIN AGE!!AYg==", "base64"),
    (b"AUTHENTICATE PLAIN AGEAYg=", "base64"),
    (b"AUTHENTICATE PLAIN AGEAYh==", "base64"),
    (b"ID", "space"),
    (b'ID ("name")', "pairs"),
    (b'ID (NIL "x")', "ID field"),
    (b"ID (" + b" ".join([b'"a" "b"'] * 31) + b")", "at most"),
    (b"ENABLE", "space"),
    (b"SELECT x (FOO)", "CONDSTORE"),
    (b"SELECT x ()", "CONDSTORE"),
    (b"SELECT x (QRESYNC (1 2 1:*))", "numbers only"),
    (b"SELECT x (QRESYNC (1 2 (1:3 1:2)))", "as many"),
    (b"SELECT x (QRESYNC (0 2))", "from 1"),
    (b"SELECT x (QRESYNC (1 9223372036854775808))", "from 0"),
    (b'STATUS x ()', "STATUS item"),
    (b"STATUS x (FOO)", "MESSAGES"),
    (b'LIST "" % RETURN (FOO)', "STATUS"),
    (b'LIST (RECURSIVEMATCH) "" %', "RECURSIVEMATCH needs"),
    (b'LIST (FOO) "" %', "SUBSCRIBED"),
    (b'LIST "" () ', "pattern"),
    (b'LIST ""', "space"),
    (b"STORE 0 FLAGS ()", "sequence set"),
    (b"STORE 1:2:3 FLAGS ()", "sequence set"),
    (b"STORE 1,,2 FLAGS ()", "sequence set"),
    (b"STORE 01 FLAGS ()", "sequence set"),
    (b"STORE 4294967296 FLAGS ()", "sequence set"),
    (b"STORE 1 FLAGS (\\Recent)", "flag"),
    (b"STORE 1 FLAGS (\\Foo)", "flag"),
    (b"STORE 1 FLAGS", "space"),
    (b"STORE 1 FLAGZ (\\Seen)", "FLAGS"),
    (b"STORE 1 (UNCHANGEDSINCE x) FLAGS ()", "number"),
    (b"COPY $,1 x", "space"),
    (b'COMPARATOR ""', "named like"),
    (b'COMPARATOR "i;**"', "named like"),
    (b'COMPARATOR "--i;octet"', "named like"),
    (b'COMPARATOR "+"', "named like"),
    (b"COMPARATOR ;octet", "named like"),
    (b"COMPARATOR " + b"i" * 255, "named like"),
    (b"COMPARATOR" + b" i;octet" * 101, "at most"),
    (b"APPEND INBOX", "message as a literal"),
    (b"SETQUOTA \"\" (STORAGE 1_0)", "expected"),
]


@pytest.mark.parametrize(("line", "words"), BAD, ids=[line.decode("latin-1")[:40] for line, _ in BAD])
def test_bad_command_says_what_is_wrong(line: bytes, words: str) -> None:
    (event,) = every_way(b"a " + line + b"\r\n")
    assert isinstance(event, BadCommand), event
    assert (event.tag, event.status) == (b"a", "BAD")
    assert words in event.text


@pytest.mark.parametrize("line", [b"CREATE &AC8-", b"DELETE a&b", b'STATUS "\xc3\xa4" (MESSAGES)'])
def test_a_name_that_cannot_be_is_no_not_bad(line: bytes) -> None:
    (event,) = every_way(b"a " + line + b"\r\n")
    assert isinstance(event, BadCommand)
    assert (event.status, event.code) == ("NO", "CANNOT")


def test_a_name_that_cannot_be_is_no_name_to_select() -> None:
    """The command must run all the same: what was selected before is left (RFC 9051 §6.3.2)."""
    assert command(b"SELECT &AGE-") == c.Select(mailbox="")


def test_unknown_special_use() -> None:
    (event,) = every_way(b"a CREATE x (USE (\\Foo))\r\n")
    assert isinstance(event, BadCommand)
    assert (event.status, event.code) == ("NO", "USEATTR")


@pytest.mark.parametrize("line", [b"", b" NOOP", b"+ NOOP", b"a*b NOOP", b"\xc3\xa4 NOOP", b"a\0 NOOP", b"* OK"])
def test_a_line_without_a_tag_is_answered_untagged(line: bytes) -> None:
    (event,) = every_way(line + b"\r\n")
    assert isinstance(event, BadCommand)
    assert event.tag == b"*"


def test_errors_never_repeat_what_was_sent() -> None:
    for line in (b"LOGIN me s3cret s3cret", b'LOGIN me "s3cret', b"s3cret", b"AUTHENTICATE PLAIN s3cret"):
        (event,) = every_way(b"a " + line + b"\r\n")
        assert "s3cret" not in repr(event)


def test_secrets_are_not_in_reprs() -> None:
    for line in (b"LOGIN me s3cret", b"AUTHENTICATE PLAIN czNjcmV0"):
        (event,) = feed(b"a " + line + b"\r\n")
        assert "s3cret" not in repr(event)
