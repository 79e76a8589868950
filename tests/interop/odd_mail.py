"""Broken and strange messages: of Python's own tests, one header field at a time, generated, and of a folder."""

from __future__ import annotations

import os
import random
import re
import sysconfig
from pathlib import Path

__all__ = ["collected", "generated", "header_messages", "python_messages", "with_crlf"]


def python_messages() -> list[bytes]:
    data = Path(sysconfig.get_paths()["stdlib"]) / "test" / "test_email" / "data"
    return [path.read_bytes() for path in sorted(data.glob("msg_*.txt"))]


ADDRESSES = [
    b"a@b", b"<a@b>", b"Anna <a@b>", b'"Anna, B" <a@b>', b"a@b, c@d", b"a@b (Anna)", b"(Anna) a@b", b'"a b"@c',
    b"Group: a@b, c@d;", b"Group:;", b"undisclosed-recipients:;", b"Group: a@b; , c@d", b"<@r,@s:a@b>", b"a@[1.2.3.4]",
    b"=?utf-8?q?=C3=A9?= <a@b>", b"\xc3\xa9 <\xc3\xa9@\xc3\xa9.example>", b"root", b"root, a@b", b'"Only a name"',
    b"Only a name", b"<>", b"MAILER-DAEMON <>", b"", b"a@b,", b",a@b", b",,a@b,,", b"a..b@c", b"a.@b",
    b'"A \\"q\\" \\\\ b" <a@b>', b"A B. C <a@b>", b"a@b@c", b"<a@b", b"a@b>", b"Anna a@b", b'"x@y" <z@w>', b"x@y <z@w>",
    b"(c (nested) \\) d) a@b", b"a(b)@(c)d(e)", b"Anna\r\n <a@b>", b"Anna\r\n\tB <a@b>,\r\n c@d",
    b'"fold\r\n ed" <a@b>',
    b"a@b (", b"a@b ; c@d", b"A: B: c@d;", b"mailto:a@b", b"'a@b'", b"a+b=c@d.e", b"<a@b> x", b"a@b x, c@d", b"@b",
    b"a@", b"Anna  B   C <a@b>", b" \t a@b \t ", b"a@b,c@d,e@f (g), h:i@j;, k@l",
]  # fmt: skip
MEDIA_TYPES = [
    b"text/plain", b"TEXT/Html; Charset=UTF-8", b"text/plain; format=flowed; delsp=yes", b'image/png; name="a b.png"',
    b"application/octet-stream; name*0=a; name*1=b", b"application/pdf; name*=utf-8''%C3%A9.pdf",
    b"message/partial; id=x", b'text/x-foo; a=b; c="d\\"e"; charset=x', b"text/plain; charset=",
    b"application/x; name==?utf-8?q?x?=; b=c",
    b"text/plain;charset=us-ascii (comment)", b"text / plain ; charset = x", b'application/x;name="a;b";x=y;',
    b"text/plain; name=\xc3\xa9.txt", b"application/x; name*1=b; name*0=a; x*0*=us-ascii'en'a%20; x*1=b%",
    b"application/x;\r\n name=a;\r\n\tsize=3", b"application/x; a*2=b; a*0=c", b"(c) text/plain", b"text/(c)plain",
]  # fmt: skip
DISPOSITIONS = [
    b"inline", b"ATTACHMENT; FileName=a.txt; size=3", b'attachment; filename="a \\"b\\" c.txt"', b"(c) inline ; a=b",
    b"attachment;\r\n filename*0=a;\r\n filename*1=b", b"attachment; filename*=utf-8''%C3%A9.txt", b";x=y", b"",
    b"attachment; filename*0*=utf-8''a%20; filename*1=b%", b"attachment; filename=\"\"",
]  # fmt: skip
FIELDS = [
    b"Subject: one\r\n two", b"Subject:\r\n one", b"Subject:", b"Subject:   ", b"Subject: a\tb  c ", b"Subject : odd",
    b"Subject: \xe9\xc3\xa9", b'Subject: "q" \\', b"Subject: a\r\nSubject: b", b"Date: Fri, 20 Nov 2026 10:00:00 +0000",
    b"Date:  ", b"Message-ID: <a@b>", b"Message-ID:\r\n <a@b>", b"In-Reply-To: <a>\r\n\t<b>", b"no field at all",
    b"From: a@b\r\nFrom: c@d", b"Sender: ", b"Reply-To: c@d\r\nSender: e@f", b"Subject: a\x0bb\x0cc\x1cd\x85e",
]  # fmt: skip


def header_messages() -> list[bytes]:
    out = [b"From: %b\r\nTo: %b\r\n\r\nx\r\n" % (value, value) for value in ADDRESSES]
    out += [b"Content-Type: %b\r\n\r\nx\r\ny" % value for value in MEDIA_TYPES]
    out += [b"Content-Disposition: %b\r\nMIME-Version: 1.0\r\n\r\nx" % value for value in DISPOSITIONS]
    return out + [b"%b\r\nFrom: z@z\r\n\r\nbody\r\n" % value for value in FIELDS]


BODIES = [
    b"", b"body", b"body\r\n", b"\r\n", b"a\r\n\r\nb\r\n", b"-- \r\nsig\r\n", b"--\r\n", b"x\r\n--yz\r\n",
]  # fmt: skip
CONTENT_FIELDS = [
    b"Content-Transfer-Encoding: BASE64", b"Content-Transfer-Encoding: 8bit (x)", b"Content-Transfer-Encoding:",
    b"Content-ID: <a@b>", b"Content-Description: a \"b\"\r\n\tc", b"Content-Language: en, de", b"Content-MD5: Q2hl",
    b"Content-Language: (x) fr", b"Content-Location: http://x/y", b"Content-Disposition: inline",
    b"Content-Disposition: attachment; filename=a.txt", b"Content-Disposition: attachment; filename*=utf-8''%41",
    b"MIME-Version: 1.0",
]  # fmt: skip


class Generator:
    """Messages with every kind of nesting, well and badly closed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def message(self, depth: int = 0) -> bytes:
        random = self._random
        kind = random.random()
        header = random.sample(FIELDS, random.randint(0, 3)) + self._content_fields()
        body = random.choice(BODIES)
        if kind < 0.45 and depth < 5:
            boundary = b"=_%d%d" % (depth, random.randint(0, 9))
            subtype = random.choice([b"mixed", b"alternative", b"Digest", b"x-other", b"signed; micalg=x"])
            header.append(b'Content-Type: multipart/%b; boundary="%b"' % (subtype, boundary))
            body = self._multipart(boundary, depth)
        elif kind < 0.6 and depth < 5:
            header.append(b"Content-Type: message/rfc822")
            body = self.message(depth + 1)
        elif kind < 0.85:
            header.append(b"Content-Type: " + random.choice(MEDIA_TYPES))
        random.shuffle(header)
        return b"".join(line + b"\r\n" for line in header) + b"\r\n" + body

    def _multipart(self, boundary: bytes, depth: int) -> bytes:
        random = self._random
        out = [random.choice([b"", b"preamble\r\n"])]
        for _ in range(random.choice([0, 1, 2, 2, 3])):
            out += [b"--", boundary, random.choice([b"", b"", b" "]), b"\r\n", self.message(depth + 1), b"\r\n"]
        closed = random.random() < 0.85
        return b"".join(out) + (b"--" + boundary + b"--" + random.choice([b"", b"\r\n", b"\r\nepilogue\r\n"])) * closed

    def _content_fields(self) -> list[bytes]:
        chosen = self._random.sample(CONTENT_FIELDS, self._random.choice([0, 0, 1, 2, 3]))
        return list({line.partition(b"n:")[0]: line for line in chosen}.values())


def generated(seed: int, count: int) -> list[bytes]:
    generator = Generator(seed)
    return [generator.message() for _ in range(count)]


def collected() -> list[bytes]:
    """The messages of the folder that MAILSERVER_CORPUS names: one in each of its files."""
    folder = os.environ.get("MAILSERVER_CORPUS")
    if not folder:
        return []
    return [path.read_bytes() for path in sorted(Path(folder).rglob("*")) if path.is_file()]


def with_crlf(message: bytes) -> bytes:
    """Every line ended as on the wire."""
    return re.sub(rb"(?<!\r)\n", b"\r\n", message)
