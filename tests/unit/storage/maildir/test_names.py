from __future__ import annotations

import os

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailserver.model.errors import InvalidInput, LimitReached
from mailserver.model.ids import AccountId
from mailserver.model.mailbox import INBOX, check_mailbox_name
from mailserver.storage.maildir import folder_names
from mailserver.storage.maildir.names import NameMaker, account_id, account_path, is_ours, parse, safe_host, with_uid

# What os.fsdecode can give: text, with surrogates for octets that are no UTF-8; no NUL, no slash.
FILE_NAMES = st.binary(max_size=255).map(lambda raw: os.fsdecode(raw.replace(b"\0", b"").replace(b"/", b"")))


def test_a_name_of_ours_is_taken_apart_again() -> None:
    name = NameMaker("mail.example.test").stem(1_700_000_000.25, 4096, 4100)
    assert is_ours(name) and ",S=4096,W=4100" in name and name.startswith("1700000000.M250000P")
    full = parse(f"{with_uid(name, 7, 0xABC, size=4096, wire=4100)}:2,FS")
    assert (full.size, full.wire, full.uid, full.uid_validity) == (4096, 4100, 7, 0xABC)
    assert (full.letters, full.saved) == ("FS", 1_700_000_000)


def test_names_differ_and_w_stands_only_where_it_differs() -> None:
    maker = NameMaker("h")
    names = {maker.stem(1.7e9, 5, 5) for _ in range(1000)}
    assert len(names) == 1000 and not any("W=" in name for name in names)


@given(FILE_NAMES)
def test_any_name_can_be_parsed_and_numbered(name: str) -> None:
    parsed = parse(name)
    assert parsed.base + parsed.info == name
    again = parse(with_uid(parsed.base, 9, 0x10, size=3, wire=4))
    assert (again.uid, again.uid_validity) == (9, 0x10)
    assert again.size is not None


def test_uid_fields_of_elsewhere_are_replaced() -> None:
    assert with_uid("1.x,S=5,U=3,V=ff", 8, 0xAB, size=5, wire=5) == "1.x,S=5,U=8,V=ab"
    assert with_uid("1.x,U=12", 8, 0xAB, size=5, wire=6) == "1.x,S=5,W=6,U=8,V=ab"


@pytest.mark.parametrize("field", ["U=+5", "U=5 ", "U=0x5", "U=", "U=999999999999999999999", "U=a5"])
def test_odd_numbers_are_no_uid(field: str) -> None:
    assert parse(f"1.x,{field},V=1").uid in (None, 0)


def test_host_names_cannot_leave_the_directory() -> None:
    assert safe_host("a/b:c,d") == "a_b_c_d" and safe_host("") == "localhost" and len(safe_host("x" * 300)) == 64


@given(st.text(max_size=20), st.text(max_size=20))
@example("", "")
@example("\0", "\0")
def test_account_directories_are_safe_and_reversible(local: str, domain: str) -> None:
    if "@" in domain:
        return
    path = account_path(AccountId(f"{local}@{domain}"))
    first, second = path.split("/")
    assert first not in ("", ".", "..") and second not in ("", ".", "..")
    assert not first.startswith(".") and not second.startswith(".") and "\0" not in path
    assert account_id(first, second) == f"{local}@{domain}"


@pytest.mark.parametrize(
    ("account", "path"),
    [
        ("anna@example.test", "example.test/anna"),
        ("anna.b+c_d@example.test", "example.test/anna.b+c_d"),
        ("..@example.test", "example.test/%2e."),
        ("a/../b@example.test", "example.test/a%2f..%2fb"),
        ("a%2fb@.server", "%2eserver/a%252fb"),
        ('"a b"@x.test', "x.test/%22a%20b%22"),
        ("jörg@müller.test", "müller.test/jörg"),
    ],
)
def test_account_directories(account: str, path: str) -> None:
    assert account_path(AccountId(account)) == path


def test_an_account_name_too_long_for_a_directory() -> None:
    with pytest.raises(LimitReached):
        account_path(AccountId("/" * 100 + "@example.test"))


# -- folders -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "directory"),
    [
        (INBOX, ""),
        ("Sent", ".Sent"),
        ("Sent/2026", ".Sent.2026"),
        ("a.b/c", ".a%2eb.c"),
        ("INBOX/x", ".INBOX.x"),
        ("Entwürfe", ".Entw&APw-rfe"),
        ("R&D", ".R&-D"),
    ],
)
def test_folder_directories(name: str, directory: str) -> None:
    assert folder_names.directory(name) == directory
    assert name == INBOX or folder_names.mailbox_name(directory) == name


@given(st.text(min_size=1, max_size=40))
def test_every_mailbox_has_its_own_directory(name: str) -> None:
    try:
        name = check_mailbox_name(name)
        made = folder_names.directory(name)
    except (InvalidInput, LimitReached):
        return
    assert "/" not in made and made not in (".", "..") and len(made) <= 255
    if name != INBOX:
        assert folder_names.mailbox_name(made) == name


@pytest.mark.parametrize(
    "dirname", ["cur", "new", ".", "..", "..gone.1", "..x", ".a..b", ".INBOX", ".inbox", ".a\nb", ".*"]
)
def test_what_is_no_mailbox(dirname: str) -> None:
    assert folder_names.mailbox_name(dirname) is None


def test_directories_of_other_programs_have_names() -> None:
    assert folder_names.mailbox_name(".Entwürfe") == "Entwürfe"
    assert folder_names.mailbox_name(".R&D") == "R&D"


def test_a_name_of_more_than_255_octets() -> None:
    with pytest.raises(LimitReached):
        folder_names.directory("x" * 255)
