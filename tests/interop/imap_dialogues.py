"""IMAP dialogues, played against any server and brought into a form in which two servers can be compared.

A dialogue is a name and its steps; a step is a command of the first session, or with `b>` before it of the second.
`{name}` is a literal out of MESSAGES, `$UV` and `$HM` the last UIDVALIDITY and HIGHESTMODSEQ that the server told, `$M`
what `mark` kept of the latter. `idle`, `done` begin and end IDLE. `«a ; b»` in a step makes it several steps.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.helpers.imap import Closed, Imap, Response

__all__ = ["MESSAGES", "Answer", "Player", "dialogues"]

_TEXTS = {
    "simple": """\
From: Anna <anna@example.test>
To: bob@example.test
Subject: one
Date: Mon, 5 Jan 2026 10:00:00 +0100
Message-ID: <1@x>
X-Other: v

hello world
""",
    "two": """\
From: bob@example.test
To: anna@example.test
Cc: c@example.test
Subject: =?utf-8?Q?K=C3=A4se?= two
Date: Tue, 6 Jan 2026 23:30:00 -0500

second body with needle
and more
""",
    "multi": """\
From: anna@example.test
Subject: multi
MIME-Version: 1.0
Date:
 Wed, 7 Jan 2026 01:00:00 +0000
Content-Type: multipart/mixed; boundary=b1

preamble
--b1
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: quoted-printable

K=C3=A4se=20ist gut
line=
 joined
--b1
Content-Type: application/octet-stream; name=a.bin
Content-Transfer-Encoding: base64
Content-Disposition: attachment; filename=a.bin

AAECAwQF
--b1
Content-Type: message/rfc822

Subject: inner
From: i@example.test
Content-Type: multipart/alternative; boundary=b2

--b2
Content-Type: text/plain

innertext
--b2
Content-Type: text/html

<p>innerhtml</p>
--b2--
--b1--
epilogue
""",
    "rfc822": """\
Subject: outer
MIME-Version: 1.0
Content-Type: message/rfc822

Subject: nested
X-A: b

nested body
""",
    "folded": "Subject: none\nX-Long: a\n  folded\n\tagain\n\n",
    "b64": """\
Subject: b64
MIME-Version: 1.0
Content-Type: text/plain; charset=iso-8859-1
Content-Transfer-Encoding: base64

S+RzZSBuZWVkbGUK
""",
    "cte": "Subject: cte\nMIME-Version: 1.0\nContent-Transfer-Encoding: x-what\n\nbody\n",
    "empty": "",
    "kase": "Käse",
}
MESSAGES = {
    **{name: text.replace("\n", "\r\n").encode() for name, text in _TEXTS.items()},
    "lf": b"Subject: lf\r\nFrom: lf@example.test\n\nbody\nline\n",
}

_LITERAL = re.compile(r"\{([a-z0-9]+)\}")
_TOKEN = re.compile(
    rb'\(|\)|"((?:[^"\\]|\\.)*)"|~?\{([0-9]+)\}\r\n|((?:[^\s()"\[{]|\[[^\]]*\](?:<[0-9]+>)?)+)| '
)
#: Of the codes in NO and BAD those that make a client do something else.
_TELLING = ("TRYCREATE", "UNKNOWN-CTE", "EXPUNGEISSUED", "BADCHARSET")
#: Told by both, in their own words or numbers, or by one of them as it likes.
_LEFT_OUT = frozenset({b"\\Recent", b"\\HasChildren", b"\\HasNoChildren", b"\\Noselect"})


def dialogues(path: Path) -> dict[str, list[str]]:
    """Steps by name, from a file: `# name` begins a dialogue, `= name` steps that others repeat by their name."""
    found: dict[str, list[str]] = {}
    named: dict[str, list[str]] = {}
    steps: list[str] = []
    for line in path.read_text().splitlines():
        if line.startswith("# "):
            steps = found.setdefault(line[2:], [])
        elif line.startswith("= "):
            steps = named.setdefault(line[2:], [])
        elif line in named:
            steps += named[line]
        elif line:
            before, several, rest = line.partition("«")
            inside, _, after = rest.partition("»")
            steps += [f"{before}{one}{after}" for one in inside.split(" ; ")] if several else [line]
    return found


@dataclass(frozen=True, slots=True)
class Answer:
    """What a step got. `status` is CLOSED or SILENT when there is no tagged response."""

    status: str
    code: str = ""
    untagged: tuple[str, ...] = ()


def _values(octets: bytes) -> list[Any]:
    """Strings and atoms as octets, NIL and "" as b"" (servers differ in what a part that is not there is), lists."""
    stack: list[list[Any]] = [[]]
    at = 0
    while at < len(octets):
        match = _TOKEN.match(octets, at)
        assert match is not None, octets[at : at + 80]
        at = match.end()
        if match[0] == b"(":
            stack.append([])
        elif match[0] == b")":
            done = stack.pop()
            stack[-1].append(done)
        elif match[1] is not None:
            stack[-1].append(re.sub(rb"\\(.)", rb"\1", match[1]))
        elif match[2] is not None:
            stack[-1].append(octets[at : at + int(match[2])])
            at += int(match[2])
        elif match[3] is not None:
            stack[-1].append(b"" if match[3] == b"NIL" else match[3])
    return stack[0]


def _pairs(values: list[Any]) -> dict[bytes, Any]:
    return {key.upper().replace(b'"', b""): value for key, value in zip(values[::2], values[1::2], strict=True)}


@dataclass
class Player:
    """One account at one server."""

    port: int
    user: str
    password: str
    known: dict[str, str] = field(default_factory=lambda: {"HM": "1", "UV": "1", "M": "1"})
    _sessions: dict[str, Imap] = field(default_factory=dict)
    _idle: tuple[str, list[bytes]] = ("", [])

    def close(self) -> None:
        for session in self._sessions.values():
            session.close()

    def _session(self, name: str) -> Imap:
        if name not in self._sessions:
            self._sessions[name] = Imap(self.port, timeout=10)
            self._sessions[name].login(self.user, self.password)
        return self._sessions[name]

    def play(self, step: str) -> Answer:
        """One step."""
        name, step = ("b", step[2:]) if step.startswith("b>") else ("a", step)
        for key, value in self.known.items():
            step = step.replace(f"${key}", value)
        session = self._session(name)
        try:
            if step == "mark":
                self.known["M"] = self.known["HM"]
                return Answer("OK")
            if step == "idle":
                self._begin_idle(session)
                return Answer("OK")
            if step == "done":
                session.send(b"DONE\r\n")
                rest = session.until_tagged(self._idle[0])
                response = Response(rest.status, rest.text, (*self._idle[1], *rest.untagged))
            else:
                literals = [MESSAGES[found] for found in _LITERAL.findall(step)]
                response = session.command(_LITERAL.sub("{}", step), *literals)
        except (Closed, ConnectionError):
            return Answer("CLOSED")
        except TimeoutError:
            return Answer("SILENT")
        code = self._code(response.text.encode())
        if response.status != "OK":
            code = code if code.startswith(_TELLING) else ""
        return Answer(response.status, code.partition(" (")[0], self._untagged(response.untagged))

    def _begin_idle(self, session: Imap) -> None:
        self._idle = (session.tag(), [])
        session.send(f"{self._idle[0]} IDLE\r\n".encode())
        while not (line := session.response_line()).startswith(b"+"):
            self._idle[1].append(line)

    def _code(self, text: bytes) -> str:
        """A response code, without what each server chooses for itself."""
        match = re.match(r"\[(\S+) ?([^\]]*)\]", text.decode("latin-1"))
        if match is None or match[1] in ("CLIENTBUG", "CAPABILITY"):
            return ""
        name, argument = match[1].upper(), match[2]
        if name in ("MAILBOXID", "URLMECH"):
            # Dovecot 2.3 shows the first in STATUS alone, and the second to nobody.
            return ""
        if name in ("UIDVALIDITY", "HIGHESTMODSEQ"):
            self.known["UV" if name == "UIDVALIDITY" else "HM"] = argument
            return "" if name == "HIGHESTMODSEQ" else name
        if name in ("COPYUID", "APPENDUID"):
            return f"{name} {argument.partition(' ')[2]}"
        if name == "PERMANENTFLAGS":
            return f"{name} {sorted(argument.strip('()').split())}"
        return f"{name} {argument}".strip()

    def _untagged(self, lines: Iterable[bytes]) -> tuple[str, ...]:
        out, alive, gone = [], list(range(1, 1000)), []
        for line in lines:
            words = line.split(b" ", 3)
            if words[1].isdigit():
                number, kind = int(words[1]), words[2].upper()
                if kind == b"EXPUNGE":
                    # In whatever order they are told.
                    gone.append(alive.pop(number - 1))
                elif kind == b"FETCH":
                    out.append(f"{number} FETCH {self._fetch(_pairs(_values(words[3])[0]))}")
                elif kind != b"RECENT":
                    out.append(f"{number} {kind.decode()}")
            elif told := self._data(words[1].upper().decode(), b" ".join(words[2:])):
                out.append(told)
        return tuple(sorted([*out, f"EXPUNGE {sorted(gone)}"] if gone else out))

    def _fetch(self, items: dict[bytes, Any]) -> list[str]:
        if b"FLAGS" in items:
            items[b"FLAGS"] = sorted(flag for flag in items[b"FLAGS"] if flag not in _LEFT_OUT)
        if b"INTERNALDATE" in items:
            items[b"INTERNALDATE"] = items[b"INTERNALDATE"].replace(b" ", b"0", 1)[:11] + items[b"INTERNALDATE"][11:]
        if b"MODSEQ" in items:
            # RFC 7162 §3.2: the UID may be there, or must.
            items[b"MODSEQ"] = items.pop(b"UID", None) and None
        return [f"{key!r} {items[key]!r}" for key in sorted(items)]

    def _data(self, kind: str, rest: bytes) -> str:
        if kind in ("OK", "NO", "BAD", "BYE"):
            code = self._code(rest)
            return "" if kind == "OK" and not code else f"{kind} {code}"
        if kind in ("CAPABILITY", "ID", "QUOTA", "QUOTAROOT"):
            return kind
        values = _values(rest)
        if kind in ("LIST", "LSUB"):
            attributes = sorted(word for word in values[0] if word not in _LEFT_OUT)
            return f"{kind} {values[2]!r} {attributes!r} {values[1]!r} {values[3:]!r}"
        if kind == "STATUS":
            items = _pairs(values[1])
            for key in (b"UIDVALIDITY", b"HIGHESTMODSEQ"):
                self._code(b"[%b %b]" % (key, items.pop(key))) if key in items else None
            return f"{kind} {sorted(items.items())!r}"
        if kind == "FLAGS":
            return f"{kind} {sorted(values[0])!r}"
        if kind in ("SEARCH", "ESEARCH"):
            words = [word for word in values if not isinstance(word, list)]
            if b"MODSEQ" in words:
                del words[words.index(b"MODSEQ") + 1]
            return f"{kind} {words!r}"
        return f"{kind} {values!r}"
