"""ATTACKS I16: any command, well formed or not, in any state, with awkward mail: an answer, never an error of ours."""

from __future__ import annotations

import asyncio
import re

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.imap import AsyncImap, Closed
from tests.helpers.imap_service import PASSWORD, ImapHarness

_MAIL = (
    b"",
    b"\r\n",
    b"Subject: =?utf-8?q?=FF?=\r\nDate: never\r\n\r\n\x00\xff",
    b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n--b--",
    b"MIME-Version: 1.0\r\nContent-Transfer-Encoding: x-unknown\r\n\r\nx",
    b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\nx\r\n" * 50,
    b"From: " + b"a@b," * 500 + b"\r\n\r\n" + b"y" * 300_000,
)
def _one(*choices: str) -> st.SearchStrategy[str]:
    return st.sampled_from(choices)


_UID = _one("", "UID ")
_SETS = _one("1", "1:*", "*", "2,4:3", "4294967295", "$", "0", "1:", "99:*", "x")
_BOXES = _one("INBOX", "Archive", '"a/b"', '""', "nowhere", '"../x"', '"a//b"', '"&AC8-"', "inbox/x", '"%"')
_FLAGS = _one("\\Seen", "(\\Deleted kw)", "()", "(\\Bogus)", "\\Recent", "(a b c)")
_PARTS = _one(
    "", "1", "2", "1.1", "0", "1.MIME", "HEADER", "TEXT", "1.HEADER", "2.TEXT", "MIME", "1.1.1.1.1", "99999999999"
)
_ITEMS = st.one_of(
    _one("FLAGS", "ALL", "FULL", "ENVELOPE", "BODYSTRUCTURE", "BODY", "UID", "MODSEQ", "RFC822", "RFC822.TEXT", "X"),
    st.builds("BODY{}[{}]{}".format, _one("", ".PEEK"), _PARTS, _one("", "<0.5>", "<9.0>", "<99999.1>")),
    st.builds("BINARY{}[{}]".format, _one("", ".PEEK", ".SIZE"), _PARTS),
    st.builds("BODY.PEEK[HEADER.FIELDS{} ({})]".format, _one("", ".NOT"), _one("Subject", "X%d", "from to", "")),
)
_KEYS = st.recursive(
    st.one_of(
        _one("ALL", "UNSEEN", "NEW", "KEYWORD kw", "LARGER 5", "ON 1-Jan-2024", "SENTSINCE 1-Jan-2024", "MODSEQ 1"),
        st.builds("{} {}".format, _one("SUBJECT", "BODY", "TEXT", "HEADER X-A", "UID"), _one("a", '""', '"é"', "1:*")),
        _SETS,
    ),
    lambda keys: st.one_of(
        st.builds("NOT {}".format, keys),
        st.builds("OR {} {}".format, keys, keys),
        st.builds("({} {})".format, keys, keys),
    ),
    max_leaves=4,
)
_COMMANDS = st.one_of(
    _one("NOOP", "CHECK", "CLOSE", "UNSELECT", "EXPUNGE", "CAPABILITY", "NAMESPACE", "LOGIN", "ID", "STARTTLS", "LSUB"),
    _one("IDLE|DONE", "GETQUOTAROOT INBOX", 'GETQUOTA ""', 'LIST "" *', 'LIST "" ""'),
    _one('LIST (SUBSCRIBED RECURSIVEMATCH) "" (% a*) RETURN (STATUS (MESSAGES SIZE DELETED))'),
    _one("ENABLE QRESYNC", "ENABLE IMAP4rev2", "ENABLE UTF8=ACCEPT", "SELECT INBOX (QRESYNC (1 1 1:* (1:9 1:9)))"),
    st.builds("{} {}".format, _one("SELECT", "EXAMINE", "CREATE", "DELETE", "SUBSCRIBE", "UNSUBSCRIBE"), _BOXES),
    st.builds("RENAME {} {}".format, _BOXES, _BOXES),
    st.builds("STATUS {} (MESSAGES UNSEEN HIGHESTMODSEQ DELETED-STORAGE APPENDLIMIT)".format, _BOXES),
    st.builds(
        "{}FETCH {} ({} {}){}".format, _UID, _SETS, _ITEMS, _ITEMS,
        _one("", " (CHANGEDSINCE 1)", " (CHANGEDSINCE 1 VANISHED)"),
    ),
    st.builds(
        "{}STORE {} {}FLAGS{} {}".format, _UID, _SETS, _one("", "+", "-", "(UNCHANGEDSINCE 3) +"), _one("", ".SILENT"),
        _FLAGS,
    ),
    st.builds(
        "{}SEARCH {}{}".format, _UID, _one("", "RETURN (MIN MAX) ", "RETURN (SAVE) ", "RETURN () "), _KEYS
    ),
    st.builds("{}{} {} {}".format, _UID, _one("COPY", "MOVE"), _SETS, _BOXES),
    st.builds("UID EXPUNGE {}".format, _SETS),
    st.builds("APPEND {} {} {{3+}}|abc".format, _BOXES, _FLAGS),
    st.builds("{}REPLACE {} {} {{3+}}|abc".format, _UID, _SETS, _BOXES),
    st.builds(
        "APPEND {} CATENATE (URL {} TEXT {{3+}}|abc URL {{2+}}|/x)".format, _BOXES,
        _one('"/INBOX/;UID=1"', "/;UID=1", "x", "/INBOX;UIDVALIDITY=1/;UID=1/;SECTION=1/;PARTIAL=0.1"),
    ),
    _one(
        "RESETKEY", "RESETKEY INBOX", "URLFETCH x imap://a@b/c",
        'GENURLAUTH "imap://anna@x/INBOX/;UID=1;URLAUTH=x" INTERNAL',
    ),
    st.builds(
        "GETMETADATA {}{} {}".format, _BOXES, _one("", " (DEPTH 1)", " (MAXSIZE 3 DEPTH infinity)"),
        _one("/private", "(/shared/comment /private/specialuse)", "/private/*"),
    ),
    st.builds(
        "SETMETADATA {} ({} {})".format, _BOXES, _one("/private/a", "/shared/b", "/x"), _one("NIL", '"x"', "{1+}|y"),
    ),
    st.text(st.characters(codec="ascii", exclude_characters="\r\n{"), max_size=30),
)  # fmt: skip
_RETURNS = _one(
    "", "RETURN (UPDATE) ", "RETURN (ALL UPDATE PARTIAL 1:5) ", "RETURN (PARTIAL -1:-3 COUNT) ", "RETURN (SAVE MIN) ",
    "RETURN (CONTEXT COUNT) ", "RETURN (RELEVANCY) ",
)
_NEWER_KEYS = st.one_of(
    _KEYS,
    _one("FILTER mine", "NOT FILTER none", "OLDER 0", "YOUNGER 4294967295", "SAVEDSINCE 1-Jan-2024", "EMAILID x"),
    _one("FUZZY SUBJECT x", "SAVEDATESUPPORTED", "$", "OR $ FILTER mine"),
)
_SHARED = _one("anyone", "ben@example.test", "-anyone", "@example.test", "anna@example.test", '""', "x@y")
_FOREIGN = st.one_of(_BOXES, _one(
    '"Other Users/ben@example.test/INBOX"', '"Other Users/ben@example.test"', '"Other Users/x@y/z"', '"Other Users/"',
))
_EVENTS = _one(
    "NONE", "(MessageNew (UID BODY.PEEK[] PREVIEW) MessageExpunge)", "(MessageNew MessageExpunge FlagChange)",
    "(MailboxName SubscriptionChange)", "(MailboxMetadataChange ServerMetadataChange)", "(MessageNew)", "()", "(x)",
)
_NEWER = st.one_of(
    st.builds("{}SORT {}({}) UTF-8 {}".format, _UID, _RETURNS, _one(
        "ARRIVAL", "REVERSE SUBJECT DATE", "DISPLAYFROM DISPLAYTO CC TO FROM SIZE", "RELEVANCY", "x", "REVERSE",
    ), _NEWER_KEYS),
    st.builds("{}THREAD {} {}".format, _UID, _one("REFERENCES UTF-8", "ORDEREDSUBJECT x", "x UTF-8"), _NEWER_KEYS),
    st.builds("{}SEARCH {}{}".format, _UID, _RETURNS, _NEWER_KEYS),
    st.builds("CANCELUPDATE {}".format, _one('"f1"', '"f1" "f2"', "f0", "")),
    st.builds("ESEARCH IN ({} {}) {}{}".format, _one(
        "selected", "personal", "inboxes", "subscribed", "subtree", "subtree-one", "mailboxes", "x", "(x) personal",
    ), _FOREIGN, _RETURNS, _NEWER_KEYS),
    st.builds("ESEARCH {}{}".format, _RETURNS, _NEWER_KEYS),
    st.builds("NOTIFY SET {}({} {}) ({} {})".format, _one("", "STATUS "), _one(
        "selected", "selected-delayed", "x",
    ), _EVENTS, st.builds("{} {}".format, _one("subtree", "mailboxes"), _FOREIGN) | _one("personal", "subscribed"),
        _EVENTS),
    _one("NOTIFY NONE", "UNAUTHENTICATE", "LANGUAGE", "LANGUAGE de en-GB", 'LANGUAGE "*"', "GETJMAPACCESS"),
    _one("ENABLE UIDONLY", "ENABLE CONDSTORE IMAP4rev2 X", "COMPARATOR", 'COMPARATOR "i;*" x "',
        "COMPARATOR -i;octet i;unicode-casemap", "COMPARATOR default", "COMPRESS LZ", 'ID ("name" "x" "os" NIL)'),
    st.builds("SETACL {} {} {}".format, _FOREIGN, _SHARED, _one("lrswipkxtea", "+lr", "-lr", '""', "+", "q")),
    st.builds("{} {} {}".format, _one("DELETEACL", "LISTRIGHTS", "GETACL", "MYRIGHTS"), _FOREIGN, _SHARED),
    st.builds("{} {}".format, _one("GETACL", "MYRIGHTS", "SELECT", "STATUS", "GETQUOTAROOT", "SUBSCRIBE"), _FOREIGN),
    st.builds("STATUS {} (MAILBOXID SIZE DELETED DELETED-STORAGE APPENDLIMIT HIGHESTMODSEQ)".format, _FOREIGN),
    st.builds("{}FETCH {} ({} {}){}".format, _UID, _SETS, _ITEMS, _one(
        "PREVIEW", "PREVIEW (LAZY)", "EMAILID THREADID", "SAVEDATE", "PREVIEW (X)",
    ), _one("", " (PARTIAL 1:3)", " (PARTIAL -1:-2 CHANGEDSINCE 1)", " (VANISHED)")),
    st.builds("{}REPLACE {} {} {{3+}}|abc".format, _UID, _SETS, _FOREIGN),
    st.builds("APPEND {} {{3+}}|abc {} {{2+}}|ab".format, _FOREIGN, _FLAGS),
    st.builds("CREATE {} (USE ({}))".format, _FOREIGN, _one("\\Sent", "\\Archive \\Junk", "\\All", "x", "")),
    st.builds(
        'SETMETADATA "" (/private/filters/values/mine {})'.format, _one('"UNSEEN"', '"FILTER mine"', '"x"', "NIL"),
    ),
    st.builds(
        'LIST ({}) "" ({} *) RETURN ({})'.format,
        _one("", "SUBSCRIBED", "SPECIAL-USE", "SUBSCRIBED RECURSIVEMATCH"), _FOREIGN,
        _one("MYRIGHTS", "METADATA (/shared/comment)", "STATUS (MESSAGES)", "SUBSCRIBED CHILDREN SPECIAL-USE", "X"),
    ),
    st.builds("AUTHENTICATE {} {}".format, _one("OAUTHBEARER", "XOAUTH2", "EXTERNAL", "SCRAM-SHA-256-PLUS", "PLAIN"),
        _one("=", "bixhPXgsAWF1dGg9QmVhcmVyIHgBAQ==", "AAAA", "*")),
    st.builds("URLFETCH imap://anna@x/{}/;UID=1;URLAUTH={}:internal:{}".format, _one("INBOX", "a%2Fb", "%FF", "%00"),
        _one("anonymous", "user+x", "submit+%FF", "x"), _one("0" * 64, "zz", "0" * 32)),
)  # fmt: skip


def _no_literal(octets: bytes) -> bool:
    return not re.search(rb"[{0-9|]", octets)


def _garbled(command: str, at: int, octets: bytes, cut: int) -> bytes:
    """A command with other octets somewhere in it, and lines behind it that a literal may eat."""
    data = command.encode()
    at %= len(data) + 1
    return data[:at] + octets + data[at + cut :] + b"||"


@given(st.lists(_COMMANDS, min_size=1, max_size=12), st.booleans())
@settings(max_examples=120)
def test_i16_any_commands(commands: list[str], login: bool) -> None:
    asyncio.run(_send([command.encode() for command in commands], login=login))


@given(st.lists(_COMMANDS | _NEWER | _NEWER, min_size=1, max_size=12), st.booleans())
@settings(max_examples=120)
def test_i16_any_commands_of_extensions(commands: list[str], login: bool) -> None:
    asyncio.run(_send([command.encode() for command in commands], login=login))


@given(
    st.lists(
        st.builds(
            _garbled, _NEWER, st.integers(0, 200), st.binary(max_size=3).filter(_no_literal),
            st.integers(0, 4),
        ),
        min_size=1, max_size=8,
    ),
    st.booleans(),
)  # fmt: skip
@settings(max_examples=120)
def test_i16_garbled_commands(commands: list[bytes], login: bool) -> None:
    asyncio.run(_send(commands, login=login))


async def _send(commands: list[bytes], *, login: bool) -> None:
    async with ImapHarness() as server:
        await server.deliver(*_MAIL)
        async with server.client(None) as imap, server.client(select="INBOX") as witness:
            if login:
                await imap.ok(f'LOGIN anna "{PASSWORD}"')
                await imap.ok("SELECT INBOX")
            for number, command in enumerate(commands):
                tag = b"f%d" % number
                imap.writer.write(tag + b" " + command.replace(b"|", b"\r\n") + b"\r\n")
                try:
                    await _answer(imap, tag, command)
                except Closed:
                    break
            await witness.command("NOOP")
        await server.settled()


async def _answer(imap: AsyncImap, tag: bytes, command: bytes) -> None:
    """One completion, whatever the command was; more lines of the client than commands may get more BADs."""
    while True:
        line = await imap.response_line()
        assert b"SERVERBUG" not in line, command
        assert re.match(rb"\* |\+|[^ ]+ (OK|NO|BAD) ", line), line
        if line.startswith((tag + b" ", b"* BAD ")):
            return
