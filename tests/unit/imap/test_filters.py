"""FILTER (RFC 5466): what filters hold together is bounded, and what is not offered cannot be had through one."""

from __future__ import annotations

import pytest

from mailserver.wire.imap.lexer import ParseError
from mailserver.wire.imap.parse.search import criteria
from mailserver.wire.imap.search_keys import All, And, Filter, HasFlag
from tests.helpers.imap_service import ImapHarness


def test_what_a_filter_holds() -> None:
    found = criteria(b"SEEN (ALL FILTER other)")
    assert found.key == And((HasFlag("\\Seen"), And((All(), Filter("other")))))
    assert found.keys == 4
    for value in (b"", b"SEEN ", b"SEEN)", b"OR SEEN", b"SUBJECT \xff", b"nothing"):
        with pytest.raises(ParseError):
            criteria(value)


async def test_filters_in_filters_have_no_more_keys_than_a_search() -> None:
    async with ImapHarness() as server, server.client(select="INBOX") as imap:
        await imap.ok(f'SETMETADATA "" (/private/filters/values/many "{" ".join(["ALL"] * 900)}")')
        await imap.ok('SETMETADATA "" (/private/filters/values/more "FILTER many FILTER many FILTER many")')
        await imap.ok("SEARCH FILTER many FILTER many")
        await server.deliver(b"\r\n")
        await imap.ok("NOOP")
        await imap.ok("SEARCH RETURN (SAVE) ALL")
        refused = await imap.command("SEARCH RETURN (SAVE) FILTER more")
        assert (refused.status, "at most 2000 keys" in refused.text) == ("BAD", True)
        # RFC 5182 §2.1: BAD changes nothing of what was saved, and NO does.
        assert (await imap.ok("SEARCH $")).untagged == (b"* SEARCH 1",)
        for keys in ("FILTER none", "CHARSET KOI8-R ALL"):
            assert (await imap.command(f"ESEARCH RETURN (SAVE) {keys}")).status == "NO"
            assert (await imap.ok("SEARCH $")).untagged == (b"* SEARCH",)
            await imap.ok("SEARCH RETURN (SAVE) ALL")


async def test_what_is_switched_off_is_off_in_filters_too() -> None:
    async with ImapHarness(imap={"disabled_capabilities": ["WITHIN"]}) as server, server.client(select="INBOX") as imap:
        await imap.ok('SETMETADATA "" (/private/filters/values/old "NOT YOUNGER 60")')
        assert "WITHIN is not offered" in (await imap.command("SEARCH FILTER old")).text
    async with ImapHarness(imap={"disabled_capabilities": ["METADATA"]}) as server, server.client() as imap:
        assert "FILTERS" not in (await imap.ok("CAPABILITY")).untagged[0].decode().split()
