"""Rights and identifiers as text, and who has which (RFC 4314)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.model.errors import InvalidInput, LimitReached
from mailserver.model.flags import DELETED, DRAFT, SEEN
from mailserver.model.rights import (
    ALL_RIGHTS,
    NO_RIGHTS,
    Right,
    RightsChange,
    allowed_flags,
    changed_acl,
    granted,
    parse_identifier,
    parse_rights,
    render_rights,
    shared_with,
)

BEN = "ben@example.test"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("lrswipkxtea", "lrswipkxteacd"),
        # RFC 4314 §2.1.1: the obsolete rights, which members bring with them
        ("lrswida", "lrswitead"),
        ("lrswikda", "lrswikteacd"),
        ("c", "kxc"),
        ("x", "xc"),
        ("e", "ed"),
        ("rrr", "r"),
    ],
)
def test_rights_are_read_and_shown(text: str, shown: str) -> None:
    assert render_rights(parse_rights(text)) == shown


@pytest.mark.parametrize("text", ["Q", "lrQ", "q", "0", "l r", "é", "ł", "+l", "\0", "L"])
def test_what_is_no_right_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_rights(text)


@given(st.text())
def test_any_text_is_rights_or_invalid(text: str) -> None:
    try:
        rights = parse_rights(text)
    except InvalidInput:
        assert not set(text) <= set("lrswipkxteacd")
    else:
        assert set(text) <= set(render_rights(rights))


@given(st.frozensets(st.sampled_from(Right)))
def test_rights_go_through_their_letters(rights: frozenset[Right]) -> None:
    letters = render_rights(rights)
    assert parse_rights(letters.rstrip("cd")) == rights
    # An older client that sends back what it was shown means the obsolete rights, with all their members (§2.1.1).
    assert parse_rights(letters) >= rights


@pytest.mark.parametrize(
    ("text", "known"),
    [
        ("Ben@Example.TEST", BEN),
        ("-Ben@example.test", "-" + BEN),
        ("anyone", "anyone"),
        ("-Anyone", "-anyone"),
        ("@Example.Test", "@example.test"),
    ],
)
def test_an_identifier_has_one_spelling(text: str, known: str) -> None:
    assert parse_identifier(text) == known
    assert parse_identifier(known) == known


@pytest.mark.parametrize(
    "text",
    ["", "-", "--anyone", "ben", "$team", "@", "-@", "ben@", "ben@example.test ", "ben@exa mple", "\0@example.test",
     "\u212aen@example.test", "anyone\u0301", "\ud800@example.test", "ben@example.test\r\n", "any\u043ene"],
)  # fmt: skip
def test_no_identifier(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_identifier(text)


@given(st.text() | st.from_regex(r"-?[a-z.%\"]*@[a-z.-]*", fullmatch=True))
def test_any_text_is_an_identifier_or_invalid(text: str) -> None:
    try:
        known = parse_identifier(text)
    except InvalidInput:
        return
    assert known.removeprefix("-") == "anyone" or "@" in known


def test_all_entries_that_mean_somebody_count_and_negative_ones_win() -> None:
    acl = {
        "anyone": parse_rights("l"),
        "@example.test": parse_rights("r"),
        BEN: parse_rights("ie"),
        "-" + BEN: parse_rights("re"),
        "-@example.test": parse_rights("x"),
    }
    assert granted(acl, BEN) == parse_rights("li")
    assert granted(acl, "cleo@example.test") == parse_rights("lr")
    assert granted(acl, "cleo@elsewhere.test") == parse_rights("l")
    assert granted({}, BEN) == NO_RIGHTS
    assert shared_with(acl) == {"anyone", "@example.test", BEN}


def test_a_sub_domain_is_another_domain() -> None:
    assert granted({"@example.test": ALL_RIGHTS}, "ben@sub.example.test") == NO_RIGHTS


def test_a_list_is_never_changed_in_place() -> None:
    acl = {BEN: parse_rights("l")}
    assert changed_acl(acl, BEN, RightsChange.ADD, parse_rights("r")) == {BEN: parse_rights("lr")}
    assert changed_acl(acl, BEN, RightsChange.REMOVE, ALL_RIGHTS) == {}
    assert changed_acl(acl, BEN, RightsChange.REPLACE, NO_RIGHTS) == {}
    assert acl == {BEN: parse_rights("l")}
    full = {f"u{number}@example.test": ALL_RIGHTS for number in range(100)}
    with pytest.raises(LimitReached):
        changed_acl(full, BEN, RightsChange.REPLACE, ALL_RIGHTS)
    assert len(changed_acl(full, BEN, RightsChange.REPLACE, NO_RIGHTS)) == 100


def test_flags_by_their_rights() -> None:
    flags = frozenset({SEEN, DELETED, DRAFT, "$Label"})
    assert allowed_flags(flags, parse_rights("s")) == {SEEN}
    assert allowed_flags(flags, parse_rights("t")) == {DELETED}
    assert allowed_flags(flags, parse_rights("w")) == {DRAFT, "$Label"}
    assert allowed_flags(flags, ALL_RIGHTS) == flags
    assert allowed_flags(flags, NO_RIGHTS) == frozenset()
