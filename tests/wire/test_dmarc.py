"""DMARC policy records and the walk up the tree (RFC 9989 §4.7, §4.10)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.wire.dmarc import DmarcRecord, find_record, organizational_domain, parse_dmarc, walk_targets


def record(text: str) -> DmarcRecord:
    found = parse_dmarc(text.encode())
    assert found is not None
    return found


def test_a_record() -> None:
    assert record("v=DMARC1; p=reject; sp=quarantine; np=none; adkim=s; aspf=s; psd=n; t=y; fo=1:d; rua=mailto:a@b.test"
                  ",mailto:c@d.test!10m; ruf=https://x.test/r") == DmarcRecord(
        p="reject", sp="quarantine", np="none", strict_dkim=True, strict_spf=True, psd="n", testing=True, fo="1:d",
        rua=("mailto:a@b.test", "mailto:c@d.test!10m"), ruf=("https://x.test/r",),
    )  # fmt: skip
    assert record("v=DMARC1;p=none") == record("v = DMARC1 ; p = None ;") == DmarcRecord(p="none")


@pytest.mark.parametrize(
    "text",
    ["", "v=DMARC2; p=reject", "v=dmarc1; p=reject", "p=reject; v=DMARC1", " v=DMARC1; p=reject", "v=DMARC12",
     "v=DMARC1 p=reject", "v=spf1 -all", "v=DMARC1; p=reject" + " " * 10_000],
)  # fmt: skip
def test_what_is_none(text: str) -> None:
    assert parse_dmarc(text.encode()) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # What is wrong is as if it were not there (§4.8) …
        ("p=reject; adkim=x; psd=maybe; t=1; nonsense; =; x=y", DmarcRecord(p="reject")),
        ("p=reject; rua=mailto:a@b.test, nonsense, http", DmarcRecord(p="reject", rua=("mailto:a@b.test",))),
        ("p=reject; p=none", DmarcRecord(p="reject")),
        # … but the policies, without which there is none (§4.10.1).
        ("", DmarcRecord(p="none", broken=True)),
        ("p=rejct", DmarcRecord(p="none", broken=True)),
        ("p=reject; sp=all", DmarcRecord(p="none", broken=True)),
        ("p=reject; np=", DmarcRecord(p="none", broken=True)),
        ("p=; rua=mailto:a@b.test", DmarcRecord(p="none", rua=("mailto:a@b.test",))),
        ("rua=nonsense", DmarcRecord(p="none", broken=True)),
        ("p=reject; pct=0", DmarcRecord(p="reject", testing=True)),
        ("p=reject; pct=50", DmarcRecord(p="reject")),
        ("p=reject; x=\u00e4", DmarcRecord(p="reject")),
    ],
)
def test_mistakes(text: str, expected: DmarcRecord) -> None:
    assert record(f"v=DMARC1; {text}") == expected


def test_several_records_are_none() -> None:
    one, other = b"v=DMARC1; p=reject", b"v=DMARC1; p=none"
    assert find_record([one, other]) is None
    assert find_record([b"v=spf1 -all", one, b"v=DMARC2"]) == DmarcRecord(p="reject")
    assert find_record([]) is None


def test_policies() -> None:
    full = DmarcRecord(p="reject", sp="quarantine", np="none")
    assert full.published(below=False, exists=False) == "reject"
    assert full.published(below=True, exists=True) == "quarantine"
    assert full.published(below=True, exists=False) == "none"
    assert DmarcRecord(p="reject", np="none").published(below=True, exists=True) == "reject"
    assert DmarcRecord(p="none", sp="reject").published(below=True, exists=False) == "reject"
    testing = DmarcRecord(p="reject", testing=True)
    assert [testing.wanted(policy) for policy in ("reject", "quarantine", "none")] == ["quarantine", "none", "none"]
    assert full.wanted("reject") == "reject"


def test_the_walk() -> None:
    assert walk_targets("a.b.c.d.e.f.g.h.i.j.mail.example.com") == (
        "a.b.c.d.e.f.g.h.i.j.mail.example.com", "g.h.i.j.mail.example.com", "h.i.j.mail.example.com",
        "i.j.mail.example.com", "j.mail.example.com", "mail.example.com", "example.com", "com",
    )  # fmt: skip
    assert walk_targets("a.mail.example.com") == ("a.mail.example.com", "mail.example.com", "example.com", "com")
    assert len(walk_targets("1.2.3.4.5.6.7.8")) == len(walk_targets("1.2.3.4.5.6.7.8.9")) == 8
    assert walk_targets("com") == ("com",)


U, N, Y = DmarcRecord(p="none"), DmarcRecord(p="none", psd="n"), DmarcRecord(p="none", psd="y")
MAIL, EXAMPLE = "mail.example.com", "example.com"


@pytest.mark.parametrize(
    ("domain", "found", "expected"),
    [
        # The three examples of §4.10.2.
        ("a.mail.example.com", [(MAIL, U), (EXAMPLE, U)], EXAMPLE),
        ("a.mail.example.com", [(MAIL, N)], MAIL),
        ("a.mail.example.com", [("com", Y)], EXAMPLE),
        (MAIL, [(EXAMPLE, Y)], MAIL),
        ("a.mail.example.com", [], "a.mail.example.com"),
        (EXAMPLE, [(EXAMPLE, U)], EXAMPLE),
        # A public suffix is its own organizational domain when mail comes from itself.
        ("com", [("com", Y)], "com"),
        ("a.b.c.d.e.f.g.h.i.example.com", [("com", Y)], EXAMPLE),
    ],
)
def test_the_organizational_domain(domain: str, found: list[tuple[str, DmarcRecord]], expected: str) -> None:
    assert organizational_domain(domain, found) == expected


@given(st.binary(max_size=200))
def test_nothing_raises(text: bytes) -> None:
    parse_dmarc(text)
    parse_dmarc(b"v=DMARC1;" + text)
