"""net/space.py: mail is refused while there is still room for the rest."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from mailserver.net.space import MIN_FREE_INODES, MIN_FREE_OCTETS, DiskSpace
from tests.helpers.clock import FakeClock
from tests.helpers.smtp_service import SmtpHarness


class Disk:
    """A file system that says what a test wants."""

    def __init__(self, free: int, inodes: int = 1 << 20, files: int = 1 << 20) -> None:
        self.free, self.inodes, self.files = free, inodes, files
        self.looks = 0
        self.error: OSError | None = None

    def __call__(self, path: Path) -> os.statvfs_result:
        self.looks += 1
        if self.error is not None:
            raise self.error
        return os.statvfs_result((4096, 1, 0, 0, self.free, self.files, 0, self.inodes, 0, 255))


def space_on(disk: Disk, clock: FakeClock) -> DiskSpace:
    return DiskSpace(Path("/"), clock, disk)


def test_room_is_for_the_message_and_a_rest() -> None:
    space = space_on(Disk(MIN_FREE_OCTETS + 1500), FakeClock())
    assert space.fault() == ""
    assert space.fault(1000) == ""
    assert space.fault(1001) == "the disk is full"


def test_inodes_count_where_a_file_system_has_them() -> None:
    assert space_on(Disk(1 << 40, MIN_FREE_INODES - 1), FakeClock()).fault() == "the disk has no free inodes"
    assert space_on(Disk(1 << 40, 0, files=0), FakeClock()).fault() == ""


def test_it_looks_once_a_second_and_sees_relief() -> None:
    disk, clock = Disk(0), FakeClock()
    space = space_on(disk, clock)
    assert [space.fault() for _ in range(100)] == ["the disk is full"] * 100
    assert disk.looks == 1
    disk.free = 1 << 40
    clock.advance(1.0)
    assert space.fault() == ""
    disk.error = OSError(errno.EIO, "Input/output error")
    clock.advance(1.0)
    assert "Input/output error" in space.fault()


async def test_mail_hears_452_until_there_is_room() -> None:
    disk, clock = Disk(MIN_FREE_OCTETS + 10_000), FakeClock()
    async with SmtpHarness(space=space_on(disk, clock)) as server, server.client() as smtp:
        await smtp.command("EHLO x.test")
        assert (await smtp.command("MAIL FROM:<a@x.test>")).code == 452
        assert (await smtp.command("MAIL FROM:<a@x.test> SIZE=100000")).code == 452
        assert (await smtp.command("MAIL FROM:<a@x.test> SIZE=1000")).code == 250
