"""One message on its way to its places: written and synced in tmp/, numbered, named, or taken back (commit.py)."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from mailserver.model.errors import LimitReached, MailError
from mailserver.model.ids import AccountId
from mailserver.net import files
from mailserver.net.faults import Faults
from mailserver.storage.maildir.content import MaildirContent
from mailserver.storage.maildir.folder import Arrival, Folder
from mailserver.storage.maildir.names import NameMaker

__all__ = ["Job", "Place"]

_NEW = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_COPY_CHUNK = 1 << 30


class Owner(Protocol):
    """The account of a place."""

    @property
    def account(self) -> AccountId:
        """Its name."""
        ...

    def unreserve(self, octets: int) -> None:
        """The message did not come after all."""
        ...


class Place:
    """Where one message goes: `info` None is new/, else cur/ with that suffix. Afterwards: `arrival` or `error`.

    It must be committed or given up.
    """

    __slots__ = ("account", "arrival", "error", "flags", "folder", "further", "info", "path", "uid")

    def __init__(
        self,
        account: Owner,
        folder: Folder,
        flags: frozenset[str] = frozenset(),
        info: str | None = None,
        further: frozenset[str] = frozenset(),
    ) -> None:
        # From now on the folder keeps its path until the place is settled.
        folder.jobs += 1
        self.account = account
        self.folder = folder
        self.flags = flags
        self.info = info
        #: Keywords for which the name has no letter.
        self.further = further
        self.uid = 0
        self.path = ""
        self.arrival: Arrival | None = None
        self.error: MailError | None = None

    def give_up(self, octets: int) -> None:
        """It will not be committed; `octets` were reserved."""
        self.account.unreserve(octets)
        self.folder.job_done()

    def take_back(self, error: MailError) -> None:
        """It failed, perhaps after the file got its name; nobody was told of it. In a thread."""
        self.arrival, self.error = None, error
        if self.path:
            # A file that cannot be removed either is shown by a later look, with another UID: twice, not never.
            with suppress(OSError):
                files.remove_file(self.path)


class Job:
    """One message for one or more places, with one date; `done` is called on the loop, with every place settled."""

    __slots__ = (
        "buffers", "date", "done", "fd", "filed", "has_header", "places", "saved", "size", "stem", "temporary", "wire",
        "writer",
    )  # fmt: skip

    def __init__(
        self,
        content: MaildirContent,
        header: bytes,
        places: list[Place],
        date: int | None,
        done: Callable[[Job], None],
    ) -> None:
        # The content may be closed while a thread still writes (its task was cancelled): these are the job's own.
        self.buffers = [header, *content.parts] if header else list(content.parts)
        self.fd = None if content.fd is None else os.dup(content.fd)
        self.filed = content.filed
        self.size = content.size + len(header)
        self.wire = self.size + content.bare
        self.places = places
        self.date = date
        self.done = done
        self.stem = ""
        self.temporary = ""
        self.writer: Place | None = None
        self.saved = 0
        self.has_header = bool(header)

    # -- in a thread -------------------------------------------------------------------------------------------------

    def write(self, name: NameMaker, now: float, faults: Faults) -> None:
        """The file, durable, in tmp/ of the first place that takes it."""
        self.saved = int(now)
        self.stem = name.stem(now, self.size, self.wire)
        for place in self.places:
            self.temporary = f"{place.folder.tmp}/{self.stem}"
            try:
                self._write_file()
            except OSError as error:
                faults.note(error)
                place.error = faults.failure(error)
                files.remove_file(self.temporary)
                self.temporary = ""
            else:
                self.writer = place
                return

    def _write_file(self) -> None:
        fd = os.open(self.temporary, _NEW, 0o600)
        try:
            if self.fd is None:
                files.write_all(fd, self.buffers)
            else:
                self._assemble(fd, self.fd)
            status, date = os.fstat(fd), self.date
            if status.st_size != self.size:
                raise OSError(errno.EIO, "the message was not taken in whole")
            if date is None:
                # The kernel's clock may stand a tick before ours: what the file says is what a rebuild would find.
                self.date = int(status.st_mtime)
            else:
                os.utime(fd, (date, date))
            os.fsync(fd)
        finally:
            os.close(fd)

    def _assemble(self, fd: int, source: int) -> None:
        """A message above 1 MiB: our header, what is in its file, what is not yet there."""
        after_header = int(self.has_header)
        files.write_all(fd, self.buffers[:after_header])
        position = 0
        while position < self.filed:
            position += _copy_range(source, fd, self.filed - position, position)
        files.write_all(fd, self.buffers[after_header:])

    def place(self, directories: dict[str, list[Place]], faults: Faults) -> None:
        """Give UIDs, link the file for the other places, then rename it to that of its writer."""
        writer = self.writer
        if writer is None:
            return
        for place in self.places:
            if place is not writer and place.error is None:
                self._place(place, self._link, directories, faults)
        self._place(writer, self._rename, directories, faults)
        if writer.error is not None:
            files.remove_file(self.temporary)

    def _link(self, place: Place) -> None:
        files.link_or_copy(self.temporary, place.path, f"{place.folder.tmp}/{self.stem}.{place.uid}")

    def _rename(self, place: Place) -> None:
        os.rename(self.temporary, place.path)

    def _place(
        self, place: Place, put: Callable[[Place], None], directories: dict[str, list[Place]], faults: Faults
    ) -> None:
        folder, info = place.folder, place.info
        directory = folder.new if info is None else folder.cur
        try:
            place.uid = uid = folder.take_uids()
            base = f"{self.stem},U={uid}{folder.uid_field}"
            place.path = f"{directory}/{base}" if info is None else f"{directory}/{base}{info}"
            if place.further:
                folder.keywords.journal({base: place.further})
            put(place)
        except (OSError, LimitReached) as error:
            if isinstance(error, OSError):
                faults.note(error)
            place.error = faults.failure(error)
            return
        place.arrival = Arrival(
            uid, base, info is None, info or "", self.size, self.wire, self.date or 0, self.saved, place.flags
        )
        waiting = directories.get(directory)
        if waiting is None:
            directories[directory] = [place]
        else:
            waiting.append(place)

    def take_back(self, error: MailError) -> None:
        """Nothing of it is kept, however far it came."""
        for place in self.places:
            place.take_back(place.error or error)
        if self.temporary:
            with suppress(OSError):
                files.remove_file(self.temporary)

    # -- on the loop -------------------------------------------------------------------------------------------------

    def discard(self) -> None:
        """It will not be committed."""
        self.buffers.clear()
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None

    def finish(self) -> None:
        """Resolve the UIDs, and tell who waits."""
        for place in self.places:
            folder = place.folder
            if place.uid:
                folder.resolve(place.uid, place.arrival)
            folder.job_done()
        self.discard()
        self.done(self)


def _copy_range(source: int, target: int, count: int, offset: int) -> int:
    try:
        copied = os.copy_file_range(source, target, min(count, _COPY_CHUNK), offset)
    except OSError:
        copied = 0
    if not copied:
        data = os.pread(source, min(count, 1 << 20), offset)
        files.write_all(target, (data,))
        copied = len(data)
    if not copied:
        raise OSError("the message could not be read back")
    return copied
