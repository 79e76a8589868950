"""A few hundred SMTP dialogues: order, syntax, parameters, pipelining, BDAT, long lines, message content.

A dialogue is a name and its steps. A step that is a string is sent with CRLF, and one reply is read; `raw(octets, n)`
is sent as it is, and n replies are read. What a server did is, per step, the reply codes, or one of the two marks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tests.helpers.smtp import Closed, Smtp

__all__ = ["CLOSED", "SILENT", "Dialogue", "Step", "all_dialogues", "play"]

#: Instead of a reply code: the connection is closed; nothing comes.
CLOSED, SILENT = -1, -2
#: Nothing is said within this time: seconds. Dialogues that end in silence are few.
_PATIENCE = 2.0


@dataclass(frozen=True, slots=True)
class Step:
    """Octets to send, and how many replies they should get."""

    octets: bytes
    replies: int


@dataclass(frozen=True, slots=True)
class Dialogue:
    """Named steps."""

    name: str
    steps: tuple[Step, ...]


def raw(octets: bytes, replies: int) -> Step:
    return Step(octets, replies)


EHLO, HELO = "EHLO client.test", "HELO client.test"
MAIL, RCPT, UNKNOWN = "MAIL FROM:<s@sender.test>", "RCPT TO:<anna@example.test>", "RCPT TO:<nobody@example.test>"
MESSAGE = b"Subject: x\r\n\r\nhello\r\n"
END = raw(MESSAGE + b".\r\n", 1)

Steps = tuple[str | Step, ...]

_STATES: dict[str, Steps] = {
    "at the start": (),
    "after HELO": (HELO,),
    "after EHLO": (EHLO,),
    "after MAIL": (EHLO, MAIL),
    "after RCPT": (EHLO, MAIL, RCPT),
    "after a refused RCPT": (EHLO, MAIL, UNKNOWN),
    "after a message": (EHLO, MAIL, RCPT, "DATA", END),
    "after RSET": (EHLO, MAIL, RCPT, "RSET"),
    "after BDAT without LAST": (EHLO, MAIL, RCPT, raw(b"BDAT 3\r\nA: ", 1)),
    "after a refused MAIL": (EHLO, "MAIL FROM:<a b>"),
}
_COMMANDS: dict[str, str | Step] = {
    "HELO": HELO,
    "EHLO": EHLO,
    "MAIL": MAIL,
    "RCPT": RCPT,
    "RSET": "RSET",
    "NOOP": "NOOP",
    "HELP": "HELP",
    "VRFY": "VRFY anna",
    "EXPN": "EXPN staff",
    "unknown command": "FOO",
    "empty line": "",
    "BDAT 0 LAST": "BDAT 0 LAST",
    "BDAT 21 LAST": raw(b"BDAT 21 LAST\r\n" + MESSAGE, 1),
}


def _order() -> Iterator[tuple[str, Steps]]:
    for state, before in _STATES.items():
        for name, command in _COMMANDS.items():
            yield f"{name} {state}", (*before, command)
        if state in ("after RCPT", "after BDAT without LAST"):
            continue
        yield f"DATA {state}", (*before, "DATA")
    for state, before in _STATES.items():
        yield f"QUIT {state}", (*before, "QUIT")
    yield "RCPT after EHLO in a transaction", (EHLO, MAIL, RCPT, EHLO, RCPT)
    yield "RCPT after HELO in a transaction", (EHLO, MAIL, RCPT, HELO, RCPT)
    yield "MAIL twice", (EHLO, MAIL, RCPT, MAIL, RCPT)
    yield "two transactions", (EHLO, MAIL, RCPT, "DATA", END, MAIL, RCPT, "DATA", END)
    yield "RCPT after a message", (EHLO, MAIL, RCPT, "DATA", END, RCPT)
    yield "good and bad recipients", (EHLO, MAIL, UNKNOWN, RCPT, UNKNOWN, "DATA", END)
    yield "the same recipient twice", (EHLO, MAIL, RCPT, RCPT, "DATA", END)
    yield "a transaction after HELO", (HELO, MAIL, RCPT, "DATA", END)
    yield "RSET between everything", ("RSET", EHLO, "RSET", MAIL, "RSET", MAIL, RCPT, "RSET", MAIL, RCPT, "DATA", END)


def _greetings() -> Iterator[tuple[str, Steps]]:
    for verb in ("HELO", "EHLO"):
        for argument in (
            "", " ", " a b", " client.test ", " client", " CLIENT.TEST", " client_x.test", " -client.test",
            " client..test",
            " [127.0.0.1]", " [IPv6:::1]", " [300.1.1.1]", " 127.0.0.1", " " + "x" * 63 + ".test",
            " " + "x." * 130 + "test",
        ):  # fmt: skip
            yield f"{verb}{argument[:40]!r} ({len(argument)})", (f"{verb}{argument}", MAIL)
    yield "lower case ehlo", ("ehlo client.test", MAIL)
    yield "EHLO with a tab", ("EHLO\tclient.test",)


_SENDERS = (
    "MAIL", "MAIL FROM", "MAIL FROM:", "MAIL FROM: ", "MAIL FROM:<>", "MAIL FROM: <>", "MAIL FROM:<s@sender.test>",
    "mail from:<s@sender.test>", "Mail From:<s@sender.test>", "MAIL FROM: <s@sender.test>",
    "MAIL FROM:  <s@sender.test>",
    "MAIL FROM:<s@sender.test> ", "MAIL  FROM:<s@sender.test>", "MAIL FROM :<s@sender.test>",
    "MAIL FROM<s@sender.test>",
    "MAIL <s@sender.test>", "MAIL TO:<s@sender.test>", "MAIL FROM:s@sender.test", "MAIL FROM:<s@sender.test",
    "MAIL FROM:s@sender.test>", "MAIL FROM:<<s@sender.test>>", "MAIL FROM:<s@sender.test><t@sender.test>",
    "MAIL FROM:<s@sender.test>x", "MAIL FROM:<@a.test:s@sender.test>", "MAIL FROM:<@a.test,@b.test:s@sender.test>",
    "MAIL FROM:<@a.test s@sender.test>", "MAIL FROM:<a b@sender.test>", 'MAIL FROM:<"a b"@sender.test>',
    'MAIL FROM:<"a\\"b"@sender.test>', 'MAIL FROM:<"ab@sender.test>', "MAIL FROM:<s@>", "MAIL FROM:<@sender.test>",
    "MAIL FROM:<@>", "MAIL FROM:<s@sender..test>", "MAIL FROM:<s@.sender.test>", "MAIL FROM:<.s@sender.test>",
    "MAIL FROM:<s.@sender.test>", "MAIL FROM:<s..t@sender.test>", "MAIL FROM:<s@[192.0.2.1]>",
    "MAIL FROM:<s@[IPv6:2001:db8::1]>", "MAIL FROM:<s@[1.2.3]>", "MAIL FROM:<s@-sender.test>", "MAIL FROM:<s@a_b.test>",
    "MAIL FROM:<s(comment)@sender.test>", "MAIL FROM:<s@sender.test (comment)>", "MAIL FROM:Name <s@sender.test>",
    "MAIL FROM:<s+tag@sender.test>", "MAIL FROM:<s!t@sender.test>", "MAIL FROM:<s%t@sender.test>",
    "MAIL FROM:<s@sender.test.>", "MAIL FROM:<s,t@sender.test>", "MAIL FROM:<s;t@sender.test>",
    "MAIL FROM:<s:t@sender.test>",
    "MAIL FROM:<s\\t@sender.test>", "MAIL FROM:<s@t@sender.test>",
)  # fmt: skip
_SENDER_PARAMETERS = (
    "SIZE=100", "size=100", "SIZE=0", "SIZE", "SIZE=", "SIZE=abc", "SIZE=-1", "SIZE=+1", "SIZE=1_0", "SIZE=52428800",
    "SIZE=52428801", "SIZE=99999999999999999999", "SIZE=1 SIZE=1", "BODY=7BIT", "BODY=8BITMIME", "BODY=8bitmime",
    "BODY=",
    "BODY", "BODY=9BIT", "BODY=BINARYMIME", "SIZE=100 BODY=8BITMIME", "SMTPUTF8", "SMTPUTF8=yes",
    "smtputf8 BODY=8BITMIME",
    "FOO", "FOO=bar", "=bar", "SIZE=100  BODY=7BIT", "XYZ=1 SIZE=100",
)  # fmt: skip


def _mail() -> Iterator[tuple[str, Steps]]:
    for command in _SENDERS:
        yield command, (EHLO, command, RCPT)
    for parameters in _SENDER_PARAMETERS:
        yield f"MAIL with {parameters}", (EHLO, f"{MAIL} {parameters}")
    yield "MAIL with SIZE after HELO", (HELO, f"{MAIL} SIZE=100")
    for length in (64, 65, 100):
        yield f"MAIL with a local part of {length}", (EHLO, f"MAIL FROM:<{'x' * length}@sender.test>")
    for labels in (3, 4, 6):
        domain = ".".join(["y" * 61] * labels)
        yield f"MAIL with a domain of {len(domain)}", (EHLO, f"MAIL FROM:<s@{domain}>")
    yield "MAIL with a label of 64", (EHLO, f"MAIL FROM:<s@{'y' * 64}.test>")
    yield "MAIL in UTF-8 without SMTPUTF8", (EHLO, raw("MAIL FROM:<grüße@sender.test>\r\n".encode(), 1))
    yield "MAIL in UTF-8", (EHLO, raw("MAIL FROM:<grüße@sender.test> SMTPUTF8\r\n".encode(), 1), RCPT)
    yield "MAIL from a domain in UTF-8", (EHLO, raw("MAIL FROM:<s@bücher.test> SMTPUTF8\r\n".encode(), 1))
    yield "MAIL in broken UTF-8", (EHLO, raw(b"MAIL FROM:<gr\xff@sender.test> SMTPUTF8\r\n", 1))


_RECIPIENTS = (
    "RCPT", "RCPT TO", "RCPT TO:", "RCPT TO:<>", "RCPT TO:<anna@example.test>", "rcpt to:<anna@example.test>",
    "RCPT TO: <anna@example.test>", "RCPT TO:<anna@example.test> ", "RCPT TO :<anna@example.test>",
    "RCPT <anna@example.test>",
    "RCPT FROM:<anna@example.test>", "RCPT TO:anna@example.test", "RCPT TO:<anna@example.test",
    "RCPT TO:anna@example.test>",
    "RCPT TO:<anna@EXAMPLE.TEST>", "RCPT TO:<ANNA@example.test>", 'RCPT TO:<"anna"@example.test>',
    "RCPT TO:<@a.test:anna@example.test>", "RCPT TO:<@a.test,@b.test:anna@example.test>", "RCPT TO:<postmaster>",
    "RCPT TO:<Postmaster>", "RCPT TO:<POSTMASTER>", "RCPT TO:<postmaster@example.test>", "RCPT TO:<anna>",
    "RCPT TO:<nobody@example.test>", "RCPT TO:<anna@>", "RCPT TO:<@example.test>", "RCPT TO:<anna@example..test>",
    "RCPT TO:<.anna@example.test>", "RCPT TO:<an na@example.test>", "RCPT TO:<anna@example.test><ben@example.test>",
    "RCPT TO:<anna@example.test>,<ben@example.test>", "RCPT TO:<anna@example.test> FOO",
    "RCPT TO:<anna@example.test> FOO=bar",
    "RCPT TO:<anna@example.test> =", "RCPT TO:<anna@example.test> SIZE=100", "RCPT TO:<anna@example.test (x)>",
    "RCPT TO:<x@example.test@elsewhere.test>", "RCPT TO:<../../etc@example.test>",
)  # fmt: skip


def _rcpt() -> Iterator[tuple[str, Steps]]:
    for command in _RECIPIENTS:
        yield command, (EHLO, MAIL, command)
    for length in (64, 65, 300):
        yield f"RCPT with a local part of {length}", (EHLO, MAIL, f"RCPT TO:<{'x' * length}@example.test>")
    yield "100 recipients", (EHLO, MAIL, raw(f"{RCPT}\r\n".encode() * 100, 100), "DATA", END)


def _data() -> Iterator[tuple[str, Steps]]:
    bodies = {
        "an empty message": b"",
        "a header only": b"Subject: x\r\n",
        "a header and an empty line": b"Subject: x\r\n\r\n",
        "no header": b"\r\nhello\r\n",
        "a body without a header": b"hello there\r\n",
        "dots": b"Subject: x\r\n\r\n..\r\n...\r\n..x\r\n",
        "8 bit": b"Subject: x\r\n\r\ngr\xc3\xbc\xc3\x9fe\r\n",
        "8 bit in the header": b"Subject: gr\xc3\xbc\xc3\x9fe\r\n\r\nx\r\n",
        "a line of 998": b"Subject: x\r\n\r\n" + b"x" * 998 + b"\r\n",
        "a line of 1200": b"Subject: x\r\n\r\n" + b"x" * 1200 + b"\r\n",
        "a line of 5000": b"Subject: x\r\n\r\n" + b"x" * 5000 + b"\r\n",
        "a line of 20000": b"Subject: x\r\n\r\n" + b"x" * 20000 + b"\r\n",
        "200 kB": b"Subject: x\r\n\r\n" + b"0123456789abcdef\r\n" * 12000,
        "a folded header": b"Subject: x\r\n y\r\n\tz\r\n\r\nx\r\n",
        "a field with white space before its colon": b"Subject : x\r\n\r\nx\r\n",
        "two From fields": b"From: a@b.test\r\nFrom: c@d.test\r\n\r\nx\r\n",
        "10 Received fields": b"Received: x\r\n" * 10 + b"\r\nx\r\n",
        "120 Received fields": b"Received: from a by b; Fri, 20 Nov 2026 10:00:00 +0000\r\n" * 120 + b"\r\nx\r\n",
    }
    for name, body in bodies.items():
        yield f"DATA with {name}", (EHLO, MAIL, RCPT, "DATA", raw(body + b".\r\n", 1))
        size = str(len(body)).encode()
        if name != "dots":
            yield f"BDAT with {name}", (EHLO, MAIL, RCPT, raw(b"BDAT " + size + b" LAST\r\n" + body, 1))
    yield "DATA with more than SIZE said", (EHLO, f"{MAIL} SIZE=5", RCPT, "DATA", END)
    yield "DATA after BODY=7BIT with 8 bit", (EHLO, f"{MAIL} BODY=7BIT", RCPT, "DATA", raw(b"\r\n\xfc\r\n.\r\n", 1))
    yield "DATA after BODY=8BITMIME", (EHLO, f"{MAIL} BODY=8BITMIME", RCPT, "DATA", raw(b"\r\n\xfc\r\n.\r\n", 1))
    yield "DATA with an argument", (EHLO, MAIL, RCPT, "DATA now")
    yield "DATA with a space behind", (EHLO, MAIL, RCPT, "DATA ", END)
    yield "data in lower case", (EHLO, MAIL, RCPT, "data", END)
    yield "DATA for nobody", (EHLO, MAIL, UNKNOWN, "DATA")
    yield "a bounce", (EHLO, "MAIL FROM:<>", RCPT, "DATA", END)


def _pipelining() -> Iterator[tuple[str, Steps]]:
    def lines(*commands: str) -> bytes:
        return b"".join(command.encode() + b"\r\n" for command in commands)

    yield "MAIL RCPT DATA in one segment", (EHLO, raw(lines(MAIL, RCPT, "DATA"), 3), END)
    yield "MAIL RCPT RCPT DATA in one segment", (EHLO, raw(lines(MAIL, RCPT, UNKNOWN, "DATA"), 4), END)
    yield "MAIL with a bad RCPT and DATA in one segment", (EHLO, raw(lines(MAIL, UNKNOWN, "DATA"), 3))
    yield "a bad MAIL with RCPT and DATA in one segment", (EHLO, raw(lines("MAIL FROM:<a b>", RCPT, "DATA"), 3))
    yield "RSET MAIL RCPT DATA in one segment", (EHLO, raw(lines("RSET", MAIL, RCPT, "DATA"), 4), END)
    yield "a message and the next transaction in one segment", (
        EHLO, MAIL, RCPT, "DATA", raw(MESSAGE + b".\r\n" + lines(MAIL, RCPT, "DATA"), 4), END,
    )  # fmt: skip
    yield "a message and QUIT in one segment", (EHLO, MAIL, RCPT, "DATA", raw(MESSAGE + b".\r\n" + lines("QUIT"), 2))
    yield "five NOOPs in one segment", (EHLO, raw(lines(*["NOOP"] * 5), 5))
    yield "unknown commands in one segment", (EHLO, raw(lines("FOO", "BAR"), 2))
    yield "MAIL in two segments", (EHLO, raw(b"MAIL FROM:<s@sen", 0), raw(b"der.test>\r\n", 1))
    yield "MAIL octet by octet", (EHLO, *[raw(bytes([c]), 0) for c in MAIL.encode() + b"\r"], raw(b"\n", 1))
    yield "a dot in two segments", (EHLO, MAIL, RCPT, "DATA", raw(MESSAGE + b".", 0), raw(b"\r\n", 1))
    yield "CR and LF in two segments", (EHLO, MAIL, RCPT, "DATA", raw(MESSAGE + b".\r", 0), raw(b"\n", 1))
    yield "a message octet by octet", (
        EHLO, MAIL, RCPT, "DATA", *[raw(bytes([c]), 0) for c in MESSAGE + b".\r"], raw(b"\n", 1),
    )  # fmt: skip


def _bdat() -> Iterator[tuple[str, Steps]]:
    def chunk(octets: bytes, last: bool = False) -> Step:
        return raw(b"BDAT %d%b\r\n" % (len(octets), b" LAST" if last else b"") + octets, 1)

    ready: Steps = (EHLO, MAIL, RCPT)
    yield "BDAT in two chunks", (*ready, chunk(MESSAGE[:7]), chunk(MESSAGE[7:], last=True))
    yield "BDAT octet by octet", (*ready, *[chunk(bytes([c])) for c in MESSAGE], "BDAT 0 LAST")
    yield "BDAT 0 between chunks", (*ready, chunk(MESSAGE), "BDAT 0", "BDAT 0 LAST")
    yield "BDAT and the next transaction", (*ready, chunk(MESSAGE, last=True), MAIL, RCPT, chunk(MESSAGE, last=True))
    yield "BDAT and MAIL in one segment", (
        *ready, raw(b"BDAT 21 LAST\r\n" + MESSAGE + b"MAIL FROM:<s@sender.test>\r\n", 2), RCPT,
    )  # fmt: skip
    yield "chunks in one segment", (
        *ready, raw(b"BDAT 7\r\n" + MESSAGE[:7] + b"BDAT 14 LAST\r\n" + MESSAGE[7:], 2),
    )  # fmt: skip
    yield "MAIL RCPT BDAT in one segment", (
        EHLO, raw(f"{MAIL}\r\n{RCPT}\r\n".encode() + b"BDAT 21 LAST\r\n" + MESSAGE, 3),
    )  # fmt: skip
    yield "BDAT then DATA", (*ready, chunk(MESSAGE), "DATA", "RSET")
    yield "BDAT then MAIL", (*ready, chunk(MESSAGE), MAIL)
    yield "BDAT then RCPT", (*ready, chunk(MESSAGE), RCPT)
    yield "BDAT then RSET then a transaction", (*ready, chunk(MESSAGE), "RSET", MAIL, RCPT, "DATA", END)
    yield "BDAT then EHLO", (*ready, chunk(MESSAGE), EHLO, MAIL)
    yield "BDAT then NOOP then BDAT", (*ready, chunk(MESSAGE), "NOOP", "BDAT 0 LAST")
    yield "BDAT LAST then BDAT", (*ready, chunk(MESSAGE, last=True), chunk(MESSAGE, last=True))
    yield "bdat in lower case", (*ready, raw(b"bdat 21 last\r\n" + MESSAGE, 1))
    for argument in ("", "x", "-1", "+5", "1_0", "5 FIRST", "LAST", "99999999999999999999", "5 LAST LAST"):
        yield f"BDAT {argument}".strip(), (*ready, f"BDAT {argument}".rstrip())
    yield "a dot in BDAT ends nothing", (*ready, chunk(b"Subject: x\r\n\r\na\r\n.\r\nb\r\n", last=True))
    yield "commands in BDAT are none", (*ready, chunk(b"QUIT\r\nRSET\r\n\r\n", last=True))
    yield "BDAT for a refused recipient", (EHLO, MAIL, UNKNOWN, chunk(MESSAGE, last=True), MAIL)
    yield "BDAT of 300 kB", (*ready, chunk(b"Subject: x\r\n\r\n" + b"0123456789abcdef\r\n" * 17000, last=True))


def _lines() -> Iterator[tuple[str, Steps]]:
    for length in (400, 510, 1000, 1900, 5000, 20000):
        yield f"NOOP of {length}", (EHLO, "NOOP " + "x" * (length - 5))
        yield f"an unknown command of {length}", (EHLO, "X" * length)
    yield "RCPT of 900", (EHLO, MAIL, f"{RCPT} FOO={'x' * 860}")
    for name, octets in {
        "a bare LF": b"NOOP\n",
        "a NUL": b"NO\0OP\r\n",
        "a control character": b"NOOP \x07\r\n",
        "8 bit": b"N\xd6OP\r\n",
        "8 bit in the argument": b"NOOP \xd6\r\n",
        "a tab": b"NOOP\tx\r\n",
        "a space before": b" NOOP\r\n",
        "a space behind": b"NOOP \r\n",
    }.items():
        yield f"NOOP with {name}", (EHLO, raw(octets, 1))
    for command in (
        "RSET x", "NOOP x y", "QUIT x", "HELP x", "HELP MAIL", "VRFY", "VRFY <anna@example.test>",
        "VRFY anna@example.test",
        "VRFY nobody@example.test", "EXPN", "TURN", "ETRN example.test", "SEND FROM:<s@sender.test>", "SOML", "SAML",
        "STARTTLS x", "AUTH", "AUTH PLAIN", "AUTH FOO", "GET / HTTP/1.1", "POST / HTTP/1.1", "CONNECT x:25 HTTP/1.1",
        "Subject: x", "MAILX FROM:<s@sender.test>", "RSETX", "MAIL: FROM:<s@sender.test>", "XCLIENT ADDR=1.2.3.4",
        "DEBUG", "WIZ", "ATRN", "XEXCH50 1 2",
    ):  # fmt: skip
        yield command, (EHLO, command)


def all_dialogues() -> list[Dialogue]:
    """Every dialogue; names are unique. One that does not end in QUIT ends in NOOP, to see who is still there."""
    made: dict[str, Dialogue] = {}
    for family in (_order, _greetings, _mail, _rcpt, _data, _pipelining, _bdat, _lines):
        for name, steps in family():
            if name in made:
                continue
            whole = steps if steps[-1] == "QUIT" else (*steps, "NOOP")
            made[name] = Dialogue(
                name, tuple(s if isinstance(s, Step) else raw(s.encode() + b"\r\n", 1) for s in whole)
            )
    return list(made.values())


def play(dialogue: Dialogue, port: int) -> list[tuple[int, ...]]:
    """The reply codes to each step, until the server closes or falls silent."""
    seen: list[tuple[int, ...]] = []
    with Smtp(port, timeout=_PATIENCE) as smtp:
        for step in dialogue.steps:
            codes: list[int] = []
            try:
                smtp.send(step.octets)
                for _ in range(step.replies):
                    codes.append(smtp.reply().code)
            except (Closed, ConnectionError):
                codes.append(CLOSED)
            except TimeoutError:
                codes.append(SILENT)
            seen.append(tuple(codes))
            if codes and codes[-1] < 0:
                break
    return seen
