from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.mime.addresses import MAX_ADDRESSES, Address, parse_addresses, read_addresses, render_addresses


def mailboxes(value: bytes) -> list[tuple[bytes | None, bytes]]:
    return [
        (entry.name, b"%b@%b" % (entry.mailbox, entry.domain))
        for entry in parse_addresses(value)
        if entry.is_mailbox and entry.mailbox is not None and entry.domain is not None
    ]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"a@b", [(None, b"a@b")]),
        (b"Anna B. <a.b@c.d>", [(b"Anna B.", b"a.b@c.d")]),
        (b'"Anna, \\"B\\"" <a@b>, c@d', [(b'Anna, "B"', b"a@b"), (None, b"c@d")]),
        (b"a@b (Anna (the) \\) first)", [(b"Anna (the) ) first", b"a@b")]),
        (b'"a b"@c', [(None, b"a b@c")]),
        (b"<@r,@s:a@b>", [(None, b"a@b")]),
        (b"a . b @ c . d", [(None, b"a.b@c.d")]),
        (b"a@[192.0.2.1]", [(None, b"a@[192.0.2.1]")]),
        (b"Anna\r\n B <a@b>,\r\n\tc@d", [(b"Anna B", b"a@b"), (None, b"c@d")]),
        (b",, a@b ,,", [(None, b"a@b")]),
        (b"\xc3\xa9 <\xc3\xa9@x>", [(b"\xc3\xa9", b"\xc3\xa9@x")]),
        (b"A group: a@b, C <c@d>;, e@f", [(None, b"a@b"), (b"C", b"c@d"), (None, b"e@f")]),
    ],
)
def test_addresses(value: bytes, expected: list[tuple[bytes | None, bytes]]) -> None:
    assert mailboxes(value) == expected


def test_groups_are_framed_as_envelope_frames_them() -> None:
    begin, member, end = parse_addresses(b"Friends: a@b;")
    assert begin == Address(None, None, b"Friends", None)
    assert member == Address(None, None, b"a", b"b")
    assert end == Address(None, None, None, None)
    assert not begin.is_mailbox and not end.is_mailbox


@pytest.mark.parametrize(
    "value", [b"root", b"Only a name", b'"a@b"', b"a@", b"@b", b"<>", b"a@b@c", b"<a@b", b"a@b (", b'"']
)
def test_what_is_no_address_is_marked(value: bytes) -> None:
    assert not read_addresses(value)[1]


def test_whether_the_whole_list_was_read() -> None:
    assert read_addresses(b"a@b, c@d")[1]
    assert read_addresses(b"a@b, G: c@d; , e@f ")[1]
    assert not read_addresses(b"a@b c@d")[1]
    assert not read_addresses(b"a@b) c@d")[1]
    assert not read_addresses(b"G: a@b")[1]
    assert read_addresses(b"a@b," * (MAX_ADDRESSES + 5))[1] is False
    assert len(parse_addresses(b"a@b," * (MAX_ADDRESSES + 5))) == MAX_ADDRESSES


def test_rendering() -> None:
    assert render_addresses([]) == b"NIL"
    assert render_addresses(parse_addresses(b'"A \\"q\\"" <a@b>, root')) == (
        b'(("A \\"q\\"" NIL "a" "b")(NIL NIL "root" "MISSING_DOMAIN"))'
    )


PIECES = [
    b"a", b"@", b"<", b">", b",", b";", b":", b" ", b'"', b"(", b")", b"\\", b".", b"[", b"]", b"\r\n ", b"\xe9", b"\0",
    b"a@b",
]  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=25))
def test_any_list_is_read_without_complaint(pieces: list[bytes]) -> None:
    found, complete = read_addresses(b"".join(pieces))
    render_addresses(found)
    if complete:
        # What was read to its end is read the same way with one more address behind it.
        more = parse_addresses(b"".join(pieces) + b",z@z")
        assert more[: len(found)] == found


def test_a_domain_with_a_dot_at_its_end_is_shown_and_not_trusted() -> None:
    found, complete = read_addresses(b"a@.")
    assert [entry.domain for entry in found] == [b"."]
    assert not complete
