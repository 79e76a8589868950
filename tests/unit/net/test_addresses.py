"""Which addresses a stranger's DNS may lead us to."""

from __future__ import annotations

import ipaddress

import pytest

from mailserver.net.addresses import interleave, literal, refusal

PUBLIC = [
    "1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0",
    "169.253.255.255", "172.15.255.255", "172.32.0.0", "192.0.1.0", "192.0.3.0", "192.167.255.255", "192.169.0.0",
    "198.17.255.255", "198.20.0.0", "223.255.255.255", "2000::1", "2001:200::1", "2606:4700::1111", "2a00:1450::1",
    "3ffe::1", "64:ff9b::1.1.1.1",
]  # fmt: skip

PRIVATE = [
    "10.0.0.0", "10.255.255.255", "100.64.0.0", "100.127.255.255", "127.0.0.1", "127.255.255.255", "169.254.169.254",
    "172.16.0.1", "172.31.255.255", "192.0.0.9", "192.0.2.1", "192.88.99.1", "192.168.0.1", "198.18.0.1",
    "198.19.255.255", "198.51.100.1", "203.0.113.1", "::1", "fc00::1", "fd12::1", "fe80::1", "febf::1", "fec0::1",
    "2001::1", "2001:0:4136:e378::1", "2001:db8::1", "2002:a00:1::1", "2002:101:101::1", "3fff::1", "100::1",
    "64:ff9b:1::a00:1", "4000::1", "5f00::1", "::2", "64:ff9b::a00:1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
]  # fmt: skip

NEVER = ["0.0.0.0", "0.1.2.3", "224.0.0.1", "240.0.0.1", "255.255.255.255", "::", "ff02::1", "64:ff9b::"]

NO_LITERAL = [
    "", "localhost", "127.1", "0x7f000001", "2130706433", "017700000001", "127.0.0.01", "::ffff:127.0.0.1",
    "::ffff:1.1.1.1", "::FFFF:7F00:1", "0:0:0:0:0:0:0:1", "[::1]", "fe80::1%lo", "1.1.1.1%x", "1.1.1.1 ", "1.1.1.1:25",
    "2A00:1450::1", "１.1.1.1",
]  # fmt: skip


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_fine(address: str) -> None:
    assert refusal(literal(address)) == ""


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_refused_unless_allowed(address: str) -> None:
    assert refusal(literal(address)) != ""
    assert refusal(literal(address), allow_private=True) == ""


@pytest.mark.parametrize("address", NEVER)
def test_some_addresses_are_always_refused(address: str) -> None:
    assert refusal(literal(address)) != ""
    assert refusal(literal(address), allow_private=True) != ""


@pytest.mark.parametrize("text", NO_LITERAL)
def test_other_spellings_are_no_addresses(text: str) -> None:
    assert refusal(text, allow_private=True) == "not an IP address in its usual form"


def test_a_mapped_address_is_what_it_maps_to() -> None:
    assert literal("::ffff:127.0.0.1") == "127.0.0.1"
    assert literal("::FFFF:7f00:1") == "127.0.0.1"
    assert refusal(literal("::ffff:10.0.0.1")) == "a private address"


def test_everything_that_python_calls_private_is_refused() -> None:
    for text in PRIVATE + NEVER:
        address = ipaddress.ip_address(text)
        if address.is_private or address.is_multicast or address.is_loopback or address.is_link_local:
            assert refusal(str(address)), text


def test_the_words_name_the_kind() -> None:
    assert refusal("127.0.0.1") == "a loopback address"
    assert refusal("169.254.169.254") == "a link-local address"
    assert refusal("64:ff9b::a00:1") == "a private address behind a translator"


def test_families_take_turns() -> None:
    assert interleave(["192.0.2.1", "192.0.2.2", "192.0.2.3", "::1"]) == ["::1", "192.0.2.1", "192.0.2.2", "192.0.2.3"]
    assert interleave(["::1", "::2", "192.0.2.1"]) == ["::1", "192.0.2.1", "::2"]
    assert interleave([]) == []
