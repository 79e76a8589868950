"""The proof that there is no such name in an answer without an error."""

from __future__ import annotations

import dns.message
import dns.rrset
import pytest

from mailserver.wire.dns.denial import denied
from mailserver.wire.dns.message import Message, parse_message

HASH = "0p9mhaveqvm6t7vbl5lop2u3t2rp3tom"


def denial(*records: tuple[str, str, str], section: str = "authority") -> Message:
    made = dns.message.make_response(dns.message.make_query("a.test.", "A"))
    for owner, kind, text in records:
        getattr(made, section).append(dns.rrset.from_text(owner, 5, "IN", kind, text))
    message = parse_message(made.to_wire())
    assert message is not None
    return message


@pytest.mark.parametrize(
    ("owner", "kind", "text", "expected"),
    [
        ("a.test.", "NSEC", "\\000.a.test. RRSIG NSEC TYPE128", True),
        ("A.TEST.", "NSEC", "\\000.a.test. RRSIG NSEC TYPE128", True),
        ("a.test.", "NSEC", "\\000.a.test. TYPE128 TYPE256 TYPE65535", True),
        # It exists, without this type; or something below it does.
        ("a.test.", "NSEC", "b.test. MX TXT RRSIG NSEC", False),
        ("a.test.", "NSEC", "\\000.a.test. RRSIG NSEC", False),
        ("a.test.", "NSEC", "\\000.a.test. TYPE384", False),
        # What it says is about another name.
        ("b.test.", "NSEC", "\\000.b.test. RRSIG NSEC TYPE128", False),
        (f"{HASH}.test.", "NSEC3", f"1 0 0 - {HASH} RRSIG TYPE128", True),
        (f"{HASH}.test.", "NSEC3", f"1 0 3 aabbccdd {HASH} A RRSIG TYPE128", True),
        (f"{HASH}.test.", "NSEC3", f"1 0 3 aabbccdd {HASH} A RRSIG", False),
        ("a.test.", "TXT", '"RRSIG NSEC TYPE128"', False),
    ],
)
def test_what_denies_a_name(owner: str, kind: str, text: str, expected: bool) -> None:
    soa = "test.", "SOA", "ns.test. h.test. 1 2 3 4 5"
    assert denied(denial(soa, (owner, kind, text)), "a.test") == expected
    assert denied(denial((owner, kind, text), soa), "a.test") == expected


def test_only_a_denial_denies() -> None:
    assert not denied(denial(("a.test.", "NSEC", "b.test. TYPE128"), section="answer"), "a.test")


@pytest.mark.parametrize("kind", ["NSEC", "NSEC3"])
def test_a_proof_that_is_cut_off_proves_nothing(kind: str) -> None:
    text = {"NSEC": "b.test. TYPE1 TYPE128", "NSEC3": f"1 0 3 aabbccdd {HASH} TYPE1 TYPE128"}[kind]
    message = denial(("a.test.", kind, text))
    (record,) = message.authority
    for length in range(record.length):
        cut = record._replace(length=length)
        assert not denied(Message(message.data, 0, False, (), (cut,)), "a.test"), length
