"""An account on disk: what makes one, what makes a folder, and what is found when it is loaded. All of it in threads.

    mailserver-account    checksummed: limits, the highest UIDVALIDITY ever given, usage at the last clean stop
    subscriptions         Dovecot's format 2: a head line, then mailbox names in modified UTF-7, levels split by tabs
    mailserver-folder, cur/, new/, tmp/         INBOX
    .Name/                                      a folder, with `maildirfolder` and the same four in it
    ..making.<id>, ..gone.<id>                  a folder that is being made, or deleted: cleared at the next load

Directories appear whole: they are made under a name that means nothing and renamed.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import structlog

from mailserver.model.errors import InvalidInput
from mailserver.model.mailbox import INBOX, SEPARATOR, SpecialUse, check_mailbox_name
from mailserver.net import files
from mailserver.storage.maildir import folder_names
from mailserver.storage.maildir.checked import Damaged, is_of_the_file, read_checked, write_checked
from mailserver.storage.maildir.folder import Folder
from mailserver.storage.maildir.folder_state import FolderState
from mailserver.wire.imap import utf7

__all__ = [
    "NEW_ACCOUNT",
    "AccountState",
    "Loaded",
    "folders_of",
    "is_half_written",
    "load_account",
    "load_subscriptions",
    "make_account",
    "make_folder",
    "save_subscriptions",
    "subscription_damage",
]

_log = structlog.get_logger()
NEW_ACCOUNT = {
    "Archive": SpecialUse.ARCHIVE,
    "Drafts": SpecialUse.DRAFTS,
    "Junk": SpecialUse.JUNK,
    "Sent": SpecialUse.SENT,
    "Trash": SpecialUse.TRASH,
}
ACCOUNT_FILE = "mailserver-account"
SUBSCRIPTIONS = "subscriptions"
MAKING, GONE = "..making.", "..gone."
MAX_SUBSCRIPTIONS_SIZE = 8 << 20
_HEAD = "V\t2"
_HALF_WRITTEN = re.compile(r"\..+\.[0-9a-f]{12}\.tmp")


@dataclass(slots=True)
class AccountState:
    """`mailserver-account`. `octets` and `messages` hold only if `epoch` is the store's; limits of 0 mean none."""

    last_uid_validity: int = 0
    octets_limit: int = 0
    messages_limit: int = 0
    octets: int = 0
    messages: int = 0
    epoch: int = 0

    def save(self, account: str) -> None:
        """Write it durably."""
        fields = {name: str(getattr(self, name)) for name in self.__slots__}
        write_checked(f"{account}/{ACCOUNT_FILE}", ACCOUNT_FILE, fields)

    @classmethod
    def load(cls, account: str) -> AccountState:
        """What the file says; a lost file costs the limits, which the directory knows better anyway, and a recount."""
        try:
            fields = read_checked(f"{account}/{ACCOUNT_FILE}", ACCOUNT_FILE)
            return cls(**{name: int(fields.get(name, "0")) for name in cls.__slots__})
        except FileNotFoundError:
            return cls()
        except (Damaged, ValueError) as error:
            _log.warning("storage.account_state_damaged", path=account, error=str(error))
            return cls()

    def new_uid_validity(self, account: str, now: float) -> int:
        """A UIDVALIDITY that no folder of this account ever had: durable before it is used."""
        self.last_uid_validity = max(self.last_uid_validity + 1, int(now))
        self.save(account)
        return self.last_uid_validity


@dataclass(slots=True)
class Loaded:
    """An account as it was found. `bare` are the directories of folders that have no valid state."""

    state: AccountState
    folders: dict[str, Folder]
    subscriptions: set[str]
    bare: list[tuple[str, str]] = field(default_factory=list)


def make_account(path: str, now: float) -> None:
    """A new account with its usual folders, unless there is one. It appears whole."""
    if os.path.isdir(f"{path}/cur"):
        return
    parent = os.path.dirname(path)
    files.make_dir(parent)
    making = f"{parent}/{MAKING}{secrets.token_hex(8)}"
    os.mkdir(making, 0o700)
    state = AccountState(last_uid_validity=int(now) - 1)
    _fill_folder(making, FolderState(uid_validity=state.last_uid_validity + 1))
    for at, (folder, use) in enumerate(NEW_ACCOUNT.items(), 2):
        inner = f"{making}/.{folder}"
        os.mkdir(inner, 0o700)
        _fill_folder(
            inner, FolderState(uid_validity=state.last_uid_validity + at, special_use=frozenset({use})), marker=True
        )
    state.last_uid_validity += len(NEW_ACCOUNT) + 1
    state.save(making)
    save_subscriptions(making, [INBOX, *NEW_ACCOUNT])
    try:
        os.rename(making, path)
    except OSError:
        # Something stands there that is no Maildir yet (an index, a foreign file): complete it in place.
        files.remove_tree(making)
        for sub in ("cur", "new", "tmp"):
            files.make_dir(f"{path}/{sub}")
    files.fsync_dir(parent)


def _fill_folder(path: str, state: FolderState, *, marker: bool = False) -> None:
    for sub in ("cur", "new", "tmp"):
        os.mkdir(f"{path}/{sub}", 0o700)
    if marker:
        os.close(files.open_new(f"{path}/maildirfolder"))
    state.save(path)


def make_folder(account: str, name: str, state: FolderState) -> Folder:
    """A new, empty folder. Raises FileExistsError."""
    dirname = folder_names.directory(name)
    path = f"{account}/{dirname}"
    making = f"{account}/{MAKING}{secrets.token_hex(8)}"
    os.mkdir(making, 0o700)
    try:
        _fill_folder(making, state, marker=True)
        if os.path.lexists(path):
            raise FileExistsError(path)
        os.rename(making, path)
    except BaseException:
        files.remove_tree(making)
        raise
    files.fsync_dir(account)
    return Folder(name, dirname, path, state)


def load_account(path: str) -> Loaded:
    """The account at this path, with what a crash left cleared away."""
    loaded = Loaded(AccountState.load(path), {}, load_subscriptions(path))
    for entry in list(os.scandir(path)):
        if entry.name.startswith((MAKING, GONE)):
            files.remove_tree(entry.path)
        elif is_half_written(entry):
            # A state file that was being replaced.
            files.remove_file(entry.path)
    for name, dirname, folder in folders_of(path):
        if folder is None:
            loaded.bare.append((name, dirname))
        elif name in loaded.folders:
            _log.warning("storage.two_folders_of_one_name", path=folder.path)
        else:
            loaded.folders[name] = folder
    highest = max((folder.state.uid_validity for folder in loaded.folders.values()), default=0)
    loaded.state.last_uid_validity = max(loaded.state.last_uid_validity, highest)
    return loaded


def is_half_written(entry: os.DirEntry[str]) -> bool:
    """Is it what `files.write_durably` leaves behind when it is killed? (`.a.tmp` may be a mailbox, too.)"""
    return _HALF_WRITTEN.fullmatch(entry.name) is not None and entry.is_file(follow_symlinks=False)


def folders_of(path: str) -> Iterator[tuple[str, str, Folder | None]]:
    """(name, directory, folder) of INBOX and every folder; None for one without a valid state."""
    yield INBOX, "", _load_folder(INBOX, "", path)
    for entry in sorted(os.scandir(path), key=lambda entry: entry.name):
        name = folder_names.mailbox_name(entry.name)
        if name is not None and entry.is_dir(follow_symlinks=False) and os.path.isdir(f"{entry.path}/cur"):
            yield name, entry.name, _load_folder(name, entry.name, entry.path)


def _load_folder(name: str, dirname: str, path: str) -> Folder | None:
    try:
        return Folder(name, dirname, path, FolderState.load(path))
    except FileNotFoundError:
        return None
    except Damaged as error:
        _log.warning("storage.folder_state_damaged", path=path, error=str(error))
        return None


def load_subscriptions(account: str) -> set[str]:
    """The subscribed names; the empty set when there is no such file, or a bad one. Raises OSError."""
    try:
        text = files.read_file(f"{account}/{SUBSCRIPTIONS}", MAX_SUBSCRIPTIONS_SIZE).decode("utf-8", "replace")
    except OSError as error:
        if isinstance(error, FileNotFoundError) or is_of_the_file(error):
            return set()
        raise
    lines = text.split("\n")
    if lines[0].startswith("V\t"):
        names = [SEPARATOR.join(_decode(part) for part in line.split("\t")) for line in lines[1:]]
    else:
        # Dovecot's format 1 and Courier's: one name a line, levels split by the separator of that layout.
        names = [SEPARATOR.join(_decode(part) for part in line.split(".")) for line in lines]
    return {name for name in names if name}


def subscription_damage(data: bytes) -> Iterator[str]:
    """What is wrong with a subscriptions file, in words."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        yield "it is not text"
        return
    if text and not text.endswith("\n"):
        yield "its end is missing"
    lines = text.split("\n")
    if not lines[0].startswith("V\t"):
        if "\t" in text:
            yield "its head line is damaged"
        return
    if lines[0] != _HEAD:
        yield f"it is of an unknown version: {lines[0][:40]!r}"
    for line in filter(None, lines[1:]):
        try:
            check_mailbox_name(SEPARATOR.join(utf7.decode(part.encode()) for part in line.split("\t")))
        except InvalidInput:
            yield f"no mailbox can be called {line[:100]!r}"


def _decode(part: str) -> str:
    try:
        return utf7.decode(part.encode())
    except InvalidInput:
        return part


def save_subscriptions(account: str, names: Iterable[str]) -> None:
    """Write them durably, readable by Dovecot too."""
    lines = [_HEAD, "", *sorted("\t".join(utf7.encode(p).decode() for p in name.split(SEPARATOR)) for name in names)]
    files.write_durably(f"{account}/{SUBSCRIPTIONS}", ("\n".join(lines) + "\n").encode())

