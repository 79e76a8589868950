"""What can happen to an account on disk, each by itself, and what `mailbox verify` calls it."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from mailserver.storage.maildir.checked import read_checked, write_checked
from mailserver.storage.maildir.repair.findings import Problem
from tests.helpers.maildir import uid_of

__all__ = ["DAMAGES", "LOSSY", "WORK", "Damage", "flip", "state_field", "unsafe_name"]

WORK = ".Work"
#: What to do to the account's directory, and what verify must say, at least.
Damage = tuple[Callable[[Path], object], Problem]


def message(account: Path, folder: str = WORK, at: int = 0) -> Path:
    return sorted((account / folder / "cur").iterdir(), key=uid_of)[at]


def renamed(path: Path, old: str, new: str) -> Path:
    assert old in path.name
    return path.rename(path.with_name(path.name.replace(old, new)))


def state_field(account: Path, folder: str, name: str, value: str) -> None:
    path = str(account / folder / "mailserver-folder")
    fields = read_checked(path, "mailserver-folder")
    write_checked(path, "mailserver-folder", fields | {name: value})


def account_field(account: Path, name: str, value: str) -> None:
    path = str(account / "mailserver-account")
    write_checked(path, "mailserver-account", read_checked(path, "mailserver-account") | {name: value})


def flip(path: Path, at: int) -> None:
    octets = bytearray(path.read_bytes())
    octets[at] ^= 1
    path.write_bytes(octets)


def sql(account: Path, statement: str) -> None:
    with closing(sqlite3.connect(account / "index.db", isolation_level=None)) as db:
        assert db.execute(statement).rowcount != 0, statement
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def number_of(account: Path, folder: str) -> int:
    mailbox_id = read_checked(str(account / folder / "mailserver-folder"), "mailserver-folder")["mailbox_id"]
    with closing(sqlite3.connect(account / "index.db")) as db:
        return int(db.execute("SELECT number FROM folders WHERE mailbox_id = ?", (mailbox_id,)).fetchone()[0])


def key(account: Path, uid: int, folder: str = WORK) -> int:
    return number_of(account, folder) << 32 | uid


def on_row(statement: str) -> Callable[[Path], object]:
    """A statement about UID 3 of Work."""
    return lambda account: sql(account, f"{statement} WHERE key = {key(account, 3)}")


def second_link(account: Path) -> None:
    source = message(account)
    os.link(source, account / WORK / "new" / source.name.partition(":")[0])


def unsafe_name(account: Path) -> None:
    path = message(account)
    path.rename(path.with_name(path.name.replace(".mx.", ".m\nx.")))


def copied_folder(account: Path) -> None:
    shutil.copytree(account / ".Empty", account / ".Zopy")


def letters_without_word(account: Path) -> None:
    (account / WORK / "dovecot-keywords").unlink()


def unknown_letter(account: Path) -> None:
    path = message(account, "", -1)
    path.rename(path.with_name(path.name + "z"))


def journal_line(account: Path) -> None:
    path = account / WORK / "keywords.journal"
    assert path.stat().st_size
    flip(path, 3)


def old_temporary(account: Path) -> None:
    path = account / WORK / "tmp" / "1.abandoned"
    path.write_bytes(b"x")
    path.chmod(0o600)
    os.utime(path, (time.time() - 40 * 3600,) * 2)


def truncated(account: Path) -> None:
    path = message(account)
    status = path.stat()
    path.write_bytes(path.read_bytes()[:-3])
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def wire_size(account: Path) -> None:
    path = next(path for path in sorted((account / WORK / "cur").iterdir()) if ",W=" not in path.name)
    size = path.stat().st_size
    renamed(path, f",S={size}", f",S={size},W={size + 7}")


def foreign_folder(account: Path) -> None:
    for sub in ("cur", "new", "tmp"):
        (account / ".Gr\u00fcn" / sub).mkdir(parents=True, mode=0o700)
    (account / ".Gr\u00fcn").chmod(0o700)


def unreachable(account: Path) -> None:
    shutil.copytree(account / ".Empty", account / ".A..B")
    state_field(account, ".A..B", "mailbox_id", "unreachable-box")


def twins(account: Path) -> None:
    shutil.copytree(account / ".Empty", account / ".Gr\u00fcn%2ee&")
    state_field(account, ".Gr\u00fcn%2ee&", "mailbox_id", "another-box")


def same_uid(account: Path) -> None:
    first, second = message(account, at=0), message(account, at=1)
    renamed(second, f",U={uid_of(second)},", f",U={uid_of(first)},")


def foreign_uid(account: Path) -> None:
    path = message(account)
    renamed(path, ",V=", ",V=1")


def no_uid(account: Path) -> None:
    path = message(account)
    path.rename(path.with_name("1700000000.M1P1.elsewhere:2,S"))


def impossible_uid(account: Path) -> None:
    path = message(account)
    renamed(path, f",U={uid_of(path)},", ",U=0,")


def link(account: Path) -> None:
    (account / WORK / "cur" / "link").symlink_to("/etc/passwd")


def fifo(account: Path) -> None:
    os.mkfifo(account / WORK / "new" / "pipe", 0o600)


def directory(account: Path) -> None:
    (account / WORK / "cur" / "folder").mkdir(mode=0o700)


def empty(account: Path) -> None:
    path = account / WORK / "cur" / "1700000000.M1P1.empty:2,"
    path.touch(0o600)


def wrong_flags(account: Path) -> None:
    sql(account, f"UPDATE messages SET flags = (SELECT min(number) FROM flag_sets) WHERE key = {key(account, 3)}")


def wrong_piece(account: Path) -> None:
    sql(account, f"UPDATE rendered_envelope SET piece = x'2829' WHERE key = {key(account, 3)}")


def other_piece(account: Path) -> None:
    same = f"(crc, piece) = (SELECT crc, piece FROM rendered_envelope WHERE key = {key(account, 3)})"
    sql(account, f"UPDATE rendered_envelope SET {same} WHERE key = {key(account, 4)}")


def not_text(account: Path) -> None:
    (account / "subscriptions").write_bytes(b"V\t2\n\n\xff\n")


def not_annotations(path: Path) -> None:
    path.touch(0o600)
    path.write_bytes(b"mailserver-metadata 1\n/private/comment aGk=\nsum 0\n")


def other_folder(account: Path) -> None:
    sql(account, f"UPDATE folders SET mailbox_id = 'none' WHERE number = {number_of(account, '.Empty')}")


def half_written(account: Path) -> None:
    path = account / ".subscriptions.0123456789ab.tmp"
    path.touch(0o600)


DAMAGES: dict[str, Damage] = {
    "account file missing": (lambda a: (a / "mailserver-account").unlink(), Problem.ACCOUNT_STATE_MISSING),
    "account file flipped": (lambda a: flip(a / "mailserver-account", 30), Problem.ACCOUNT_STATE_DAMAGED),
    "highest uidvalidity": (lambda a: account_field(a, "last_uid_validity", "5"), Problem.UIDVALIDITY_ABOVE_HIGHEST),
    "subscriptions missing": (lambda a: (a / "subscriptions").unlink(), Problem.SUBSCRIPTIONS_MISSING),
    "metadata": (lambda a: not_annotations(a / "mailserver-metadata"), Problem.METADATA_DAMAGED),
    "account metadata": (lambda a: not_annotations(a / "mailserver-account-metadata"), Problem.METADATA_DAMAGED),
    "subscriptions cut": (lambda a: os.truncate(a / "subscriptions", 11), Problem.SUBSCRIPTIONS_DAMAGED),
    "subscriptions head": (lambda a: flip(a / "subscriptions", 0), Problem.SUBSCRIPTIONS_DAMAGED),
    "subscriptions octets": (not_text, Problem.SUBSCRIPTIONS_DAMAGED),
    "intent damaged": (lambda a: (a / "mailserver-renames").write_bytes(b"half"), Problem.INTENT_DAMAGED),
    "half a folder": (lambda a: (a / "..making.0123").mkdir(mode=0o700), Problem.LEFTOVER),
    "half a file": (half_written, Problem.LEFTOVER),
    "folder unreachable": (unreachable, Problem.FOLDER_UNREACHABLE),
    "two directories of one name": (twins, Problem.FOLDER_UNREACHABLE),
    "foreign name": (foreign_folder, Problem.FOLDER_NAME_FOREIGN),
    "no new": (lambda a: (a / ".Empty" / "new").rmdir(), Problem.DIRECTORY_MISSING),
    "no cur": (lambda a: (a / ".Empty" / "cur").rmdir(), Problem.DIRECTORY_MISSING),
    "no marker": (lambda a: (a / WORK / "maildirfolder").unlink(), Problem.MARKER_MISSING),
    "state missing": (lambda a: (a / WORK / "mailserver-folder").unlink(), Problem.FOLDER_STATE_MISSING),
    "state of INBOX missing": (lambda a: (a / "mailserver-folder").unlink(), Problem.FOLDER_STATE_MISSING),
    "state flipped": (lambda a: flip(a / WORK / "mailserver-folder", 33), Problem.FOLDER_STATE_DAMAGED),
    "state empty": (lambda a: os.truncate(a / WORK / "mailserver-folder", 0), Problem.FOLDER_STATE_DAMAGED),
    "state of an empty folder": (lambda a: flip(a / ".Empty" / "mailserver-folder", 33), Problem.FOLDER_STATE_DAMAGED),
    "folder copied": (copied_folder, Problem.MAILBOXID_TWICE),
    "uid floor": (lambda a: state_field(a, WORK, "uid_floor", "4"), Problem.UID_FLOOR_LOW),
    "uid floor of removed ones": (lambda a: state_field(a, ".Empty", "uid_floor", "2"), Problem.UID_FLOOR_LOW),
    "modseq floor": (lambda a: state_field(a, WORK, "modseq_floor", "2"), Problem.MODSEQ_FLOOR_LOW),
    "two links": (second_link, Problem.NAME_TWICE),
    "unsafe name": (unsafe_name, Problem.NAME_UNSAFE),
    "wire size": (wire_size, Problem.WIRE_SIZE_WRONG),
    "symlink": (link, Problem.NOT_A_FILE),
    "fifo": (fifo, Problem.NOT_A_FILE),
    "directory": (directory, Problem.NOT_A_FILE),
    "empty file": (empty, Problem.FILE_EMPTY),
    "mode of a message": (lambda a: message(a).chmod(0o644), Problem.OPEN_TO_OTHERS),
    "mode of a folder": (lambda a: (a / WORK).chmod(0o755), Problem.OPEN_TO_OTHERS),
    "mode of cur": (lambda a: (a / WORK / "cur").chmod(0o750), Problem.OPEN_TO_OTHERS),
    "mode of the account": (lambda a: a.chmod(0o701), Problem.OPEN_TO_OTHERS),
    "mode of the index": (lambda a: (a / "index.db").chmod(0o604), Problem.OPEN_TO_OTHERS),
    "old temporary file": (old_temporary, Problem.OLD_TEMPORARY),
    "keywords lost": (letters_without_word, Problem.KEYWORD_UNKNOWN),
    "keywords cut": (lambda a: os.truncate(a / WORK / "dovecot-keywords", 20), Problem.KEYWORD_UNKNOWN),
    "keywords line": (
        lambda a: (a / WORK / "dovecot-keywords").write_bytes((a / WORK / "dovecot-keywords").read_bytes() + b"x y\n"),
        Problem.KEYWORDS_DAMAGED,
    ),
    "journal": (journal_line, Problem.KEYWORDS_JOURNAL_DAMAGED),
    "journal lost": (lambda a: (a / WORK / "keywords.journal").unlink(), Problem.FLAGS_DIFFER),
    "index head": (lambda a: flip(a / "index.db", 3), Problem.INDEX_DAMAGED),
    "index cut": (lambda a: os.truncate(a / "index.db", 10_000), Problem.INDEX_DAMAGED),
    "index text": (lambda a: (a / "index.db").write_bytes(b"hello" * 999), Problem.INDEX_DAMAGED),
    "index version": (lambda a: sql(a, "PRAGMA user_version = 99"), Problem.INDEX_DAMAGED),
    "index value": (lambda a: sql(a, "UPDATE messages SET flags = 'x'"), Problem.INDEX_DAMAGED),
    "index folder": (other_folder, Problem.INDEX_FOLDER_UNKNOWN),
    "index uidvalidity": (lambda a: sql(a, "UPDATE folders SET uid_validity = 9"), Problem.INDEX_OTHER_UIDVALIDITY),
    "row without file": (
        on_row("UPDATE messages SET base = CAST('x' AS BLOB)"), Problem.ROW_WITHOUT_FILE
    ),
    "file without row": (on_row("DELETE FROM messages"), Problem.FILE_WITHOUT_ROW),
    "row with another UID": (
        on_row("UPDATE messages SET key = key + 900"), Problem.ROW_WRONG
    ),
    "row with another size": (on_row("UPDATE messages SET size = 1"), Problem.ROW_WRONG),
    "row with another date": (on_row("UPDATE messages SET date = 1"), Problem.ROW_WRONG),
    "row in another place": (
        on_row("UPDATE messages SET in_new = 1"), Problem.ROW_MISPLACED
    ),
    "flags": (wrong_flags, Problem.FLAGS_DIFFER),
    "unlink": (
        on_row("INSERT INTO unlinks SELECT key, in_new, base, info FROM messages"),
        Problem.UNLINK_OF_MESSAGE,
    ),
    "tombstone": (
        on_row("INSERT INTO tombstones SELECT key, 2 FROM messages"), Problem.TOMBSTONE_OF_MESSAGE
    ),
    "piece flipped": (wrong_piece, Problem.RENDERED_WRONG),
    "piece of another": (other_piece, Problem.RENDERED_WRONG),
    "piece of none": (
        on_row("UPDATE rendered_body SET key = key + 900"), Problem.RENDERED_ORPHAN
    ),
}  # fmt: skip
#: Damage that changes what a client sees, by its nature: checked in tests of their own.
LOSSY: dict[str, Damage] = {
    "same uid": (same_uid, Problem.UID_TWICE),
    "foreign uid": (foreign_uid, Problem.UID_OF_ANOTHER_FOLDER),
    "no uid": (no_uid, Problem.UID_MISSING),
    "impossible uid": (impossible_uid, Problem.UID_IMPOSSIBLE),
    "truncated": (truncated, Problem.SIZE_WRONG),
    "unknown letter": (unknown_letter, Problem.KEYWORD_UNKNOWN),
}
