"""GETMETADATA and SETMETADATA over a socket: bounds, whose entries are whose, and the server's own (RFC 5464)."""

from __future__ import annotations

from mailserver.model.metadata import MAX_ENTRIES, MAX_VALUE
from tests.helpers.imap import AsyncImap, Response
from tests.helpers.imap_service import ImapHarness


async def value(imap: AsyncImap, mailbox: str, entry: str) -> bytes:
    (line,) = (await imap.ok(f"GETMETADATA {mailbox} {entry}")).only("METADATA")
    return line.partition(entry.encode() + b" ")[2].removesuffix(b")")


async def set_text(imap: AsyncImap, command: str, text: str) -> Response:
    """SETMETADATA whose last value is a literal."""
    return await imap.command(f"SETMETADATA {command}{{{len(text)}+}}\r\n{text})")


async def test_bounds_have_codes() -> None:
    async with ImapHarness() as server, server.client() as imap:
        for name in ("INBOX", '""'):
            large = "x" * (MAX_VALUE + 1)
            answer = await set_text(imap, f'{name} (/private/a "y" /private/comment ', large)
            assert answer.status == "NO" and answer.code("METADATA") == f"MAXSIZE {MAX_VALUE}"
            assert (await set_text(imap, f"{name} (/private/comment ", large[1:])).status == "OK"
            assert await value(imap, name, "/private/a") == b"NIL"
            for start in range(1, MAX_ENTRIES, 50):
                entries = " ".join(f'/private/e/{n} "x"' for n in range(start, min(start + 50, MAX_ENTRIES)))
                await imap.ok(f"SETMETADATA {name} ({entries})")
            answer = await imap.command(f'SETMETADATA {name} (/private/e/1 "changed" /private/more "x")')
            assert answer.status == "NO" and answer.code("METADATA") == "TOOMANY"
            assert await value(imap, name, "/private/e/1") == b'"x"'
            # One that makes room for another.
            await imap.ok(f'SETMETADATA {name} (/private/e/1 NIL /private/more "x")')
        many = " ".join(f"/private/x/{n} NIL" for n in range(101))
        assert (await imap.command(f"SETMETADATA INBOX ({many})")).status == "BAD"


async def test_octets_that_no_string_can_hold() -> None:
    async with ImapHarness() as server, server.client() as imap:
        imap.writer.write(b"a SETMETADATA INBOX (/private/comment ~{3+}\r\na\0b)\r\n")
        assert (await imap.response_line()).startswith(b"a OK")
        imap.writer.write(b"b GETMETADATA INBOX /private/comment\r\n")
        assert await imap.response_line() == b'* METADATA "INBOX" (/private/comment ~{3}\r\na\0b)'
        assert (await imap.response_line()).startswith(b"b OK")
        imap.writer.write(b"c SETMETADATA INBOX (/private/comment {3+}\r\na\0b)\r\n")
        assert (await imap.response_line()).startswith(b"c BAD")


async def test_what_the_administrator_says() -> None:
    settings = {"server_comment": "Backup on Fridays", "server_admin": "mailto:postmaster@example.test"}
    async with ImapHarness(imap=settings) as server, server.client("anna") as anna, server.client("ben") as ben:
        for imap in (anna, ben):
            assert await value(imap, '""', "/shared/comment") == b'"Backup on Fridays"'
            assert await value(imap, '""', "/shared/admin") == b'"mailto:postmaster@example.test"'
            assert (await imap.command('SETMETADATA "" (/shared/admin "x")')).code("NOPERM") == ""
        await anna.ok('SETMETADATA "" (/private/vendor/x/y "of anna")')
        assert await value(ben, '""', "/private/vendor/x/y") == b"NIL"


async def test_of_a_shared_mailbox() -> None:
    async with ImapHarness() as server, server.client("anna") as anna, server.client("ben") as ben:
        theirs = '"Other Users/anna@example.test/Archive"'
        await anna.ok('SETMETADATA Archive (/private/comment "mine" /shared/comment "ours")')
        for command in (f"GETMETADATA {theirs} /shared/comment", f'SETMETADATA {theirs} (/shared/comment "x")'):
            assert (await ben.command(command)).code("NONEXISTENT") == ""
        await anna.ok("SETACL Archive ben@example.test lk")
        assert (await ben.command(f"GETMETADATA {theirs} /shared/comment")).code("NOPERM") == ""
        await anna.ok("SETACL Archive ben@example.test lr")
        assert await value(ben, theirs, "/shared/comment") == b'"ours"'
        assert await value(ben, theirs, "/private/comment") == b"NIL"
        assert await value(ben, theirs, "/private/specialuse") == b"NIL"
        answer = await ben.command(f'SETMETADATA {theirs} (/shared/comment "x")')
        assert answer.code("NOPERM") == ""
        await anna.ok("SETACL Archive ben@example.test lrw")
        answer = await ben.command(f'SETMETADATA {theirs} (/shared/comment "x" /private/comment "y")')
        assert answer.status == "NO" and answer.code("METADATA") == "NOPRIVATE"
        await ben.ok(f'SETMETADATA {theirs} (/shared/comment "of ben")')
        assert await value(anna, "Archive", "/shared/comment") == b'"of ben"'
        assert await value(anna, "Archive", "/private/comment") == b'"mine"'
        listed = await ben.ok('LIST "" "Other Users/*" RETURN (METADATA (/shared/comment /private/comment))')
        assert listed.only("METADATA") == [
            b'* METADATA "Other Users/anna@example.test/Archive" (/shared/comment "of ben" /private/comment NIL)'
        ]
