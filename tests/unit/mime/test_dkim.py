"""Canonical forms of DKIM, against RFC 6376's own example and a naive reading of its rules."""

from __future__ import annotations

import base64
import hashlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.mime.dkim.canonical import BodyHash, relaxed_field
from mailserver.mime.dkim.signing import Signable, author_domain


def body_hash(*pieces: bytes) -> bytes:
    found = BodyHash()
    for piece in pieces:
        found.feed(piece)
    return found.digest()


def naive(body: bytes) -> bytes:
    """RFC 6376 §3.4.4, line by line."""
    lines = [re.sub(rb"[ \t]+", b" ", line).rstrip(b" ") for line in body.split(b"\r\n")]
    while lines and not lines[-1]:
        lines.pop()
    return hashlib.sha256(b"".join(line + b"\r\n" for line in lines)).digest()


def test_the_example_of_the_rfc() -> None:
    # RFC 6376 §3.4.5, example 1.
    assert relaxed_field(b"A", b" X\r\n") == b"a:X"
    assert relaxed_field(b"B", b" Y\t\r\n\tZ  ") == b"b:Y Z"
    body = b" C \r\nD \t E\r\n\r\n\r\n"
    assert body_hash(body) == hashlib.sha256(b" C\r\nD E\r\n").digest()


@pytest.mark.parametrize("body", [b"", b"\r\n", b"\r\n\r\n", b" ", b" \r\n\t \r\n"])
def test_an_empty_body(body: bytes) -> None:
    assert body_hash(body) == hashlib.sha256(b"").digest()


@given(st.lists(st.sampled_from([b" ", b"\t", b"\r\n", b"a", b"\r", b"\n", b" \r\n", b"xy z"]), max_size=30), st.data())
def test_any_body_in_any_pieces(tokens: list[bytes], data: st.DataObject) -> None:
    body = b"".join(tokens)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=5)))
    pieces = [body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    assert body_hash(*pieces) == body_hash(body) == naive(body)


def test_a_body_of_nothing_but_empty_lines_is_not_kept() -> None:
    found = BodyHash()
    for _ in range(1000):
        found.feed(b"\r\n" * 1000)
    assert found._body.newlines == 1_000_000
    found.feed(b"x")
    assert found.digest() == hashlib.sha256(b"\r\n" * 1_000_000 + b"x\r\n").digest()


HEADER = (
    b"Received: by x\r\nTo: b@x.test\r\nSubject: one\r\nSubject:  two\r\n words\r\n"
    b'From: "A" <a@Example.test>\r\nX-Else: no\r\n\r\nbody'
)


def test_what_is_signed_and_that_nothing_can_be_added() -> None:
    value, octets = Signable(HEADER).unsigned(
        algorithm="rsa-sha256", domain="example.test", selector="s", body_hash=b"\0" * 32, at=5, expires=9
    )
    names = re.sub(r"\s", "", re.search(r" h=([^;]*);", value)[1]).split(":")  # type: ignore[index]
    assert names.count("from") == 2 and names.count("subject") == 3 and names.count("to") == 2
    assert names.count("cc") == 1 and "received" not in names and "x-else" not in names
    lines = octets.split(b"\r\n")
    assert lines[0] == b'from:"A" <a@Example.test>'
    # From the bottom up (RFC 6376 §5.4.2).
    assert lines[lines.index(b"subject:two words") + 1] == b"subject:one"
    start = b"dkim-signature:v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.test; s=s; t=5; x=9; h="
    assert lines[-1].startswith(start) and lines[-1].endswith(b"; b=")
    assert "bh=" + base64.b64encode(b"\0" * 32).decode() in value


def test_a_signature_can_be_folded_at_its_spaces() -> None:
    value, _ = Signable(HEADER).unsigned(
        algorithm="rsa-sha256", domain="example.test", selector="s", body_hash=b"\0" * 32, at=5, expires=9
    )
    whole = Signable.complete(value, bytes(range(256)))
    assert max(map(len, whole.split(" "))) <= 76
    assert base64.b64decode(whole.rpartition(" b=")[2].replace(" ", "")) == bytes(range(256))


@pytest.mark.parametrize(
    ("header", "domain"),
    [
        (HEADER, "example.test"),
        (b"From: a@x.test, b@X.test\r\n\r\n", "x.test"),
        (b"From: a@x.test, b@y.test\r\n\r\n", None),
        (b"From: a@x.test\r\nFrom: a@x.test\r\n\r\n", None),
        (b"From: group: a@x.test;\r\n\r\n", None),
        (b"From: a@x.test (", None),
        (b'From: "a@x.test" <b@y.test>\r\n\r\n', "y.test"),
        (b"From: \xff@x\xfe.test\r\n\r\n", None),
        (b"Subject: none\r\n\r\n", None),
    ],
)
def test_the_domain_of_the_author(header: bytes, domain: str | None) -> None:
    assert author_domain(header) == domain


def test_many_fields_of_one_name_are_bounded() -> None:
    header = b"".join(b"To: a%d@x.test\r\n" % n for n in range(500)) + b"\r\n"
    value, octets = Signable(header).unsigned(
        algorithm="a", domain="d", selector="s", body_hash=b"", at=1, expires=2
    )
    assert len(re.findall(rb"^to:", octets, re.MULTILINE)) == 10
    assert re.sub(r"\s", "", value).split(":").count("to") == 10
