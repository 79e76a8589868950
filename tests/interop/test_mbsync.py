"""mbsync: a thousand messages in twenty folders both ways, then changes on both sides."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.daemon import PASSWORD, Daemon
from tests.helpers.imap import Imap
from tests.helpers.mail import awkward, fingerprint, in_maildir, messages
from tests.interop.programs import ANNA, FOLDERS, append_all, needs, run

pytestmark = [pytest.mark.interop, needs("mbsync")]


def configure(daemon: Daemon, home: Path) -> None:
    (home / "mail").mkdir()
    (home / ".mbsyncrc").write_text(
        f"""IMAPStore server
Host 127.0.0.1
Port {daemon.ports["imap"]}
User {ANNA}
Pass {PASSWORD}
SSLType None
AuthMechs LOGIN

MaildirStore local
Path {home}/mail/
Inbox {home}/mail/INBOX
SubFolders Verbatim

Channel all
Far :server:
Near :local:
Patterns *
Create Both
Remove Both
Expunge Both
Sync All
SyncState *
"""
    )


def sync(home: Path) -> None:
    done = run(["mbsync", "-a"], home)
    assert done.code == 0, done.output


def on_server(daemon: Daemon, mailbox: str) -> list[tuple[bytes, str]]:
    with Imap(daemon.ports["imap"]) as imap:
        imap.login(ANNA, PASSWORD)
        imap.ok(f'EXAMINE "{mailbox}"')
        return sorted(fingerprint(body) for body in imap.bodies().values()) if imap.uids() else []


def test_awkward_mail_and_names(seeded: Daemon, home: Path) -> None:
    configure(seeded, home)
    sync(home)
    assert in_maildir(home / "mail" / "INBOX") == sorted(map(fingerprint, awkward()))
    for folder in ("Work", "Work/Sub one", "A & B", "Grüße", "日本語", "Br[a]ck (et)"):
        path = home / "mail" / folder
        other = home / "mail" / folder.encode("utf-7").decode().replace("+", "&")
        assert in_maildir(path) or in_maildir(other) or folder not in ("Work", "Work/Sub one"), folder
    assert sum(1 for path in (home / "mail").rglob("cur")) >= 1 + len(FOLDERS)


def test_a_thousand_messages_both_ways(daemon: Daemon, home: Path) -> None:
    folders = [f"Folder {number}" for number in range(20)]
    everything = list(messages(1000, seed=1, size=600))
    for number, folder in enumerate(folders):
        append_all(daemon, ANNA, folder, everything[number * 25 : number * 25 + 25])
    configure(daemon, home)
    for number, folder in enumerate(folders):
        # The other half comes from the client's side, before the first synchronisation.
        for sub in ("cur", "new", "tmp"):
            (home / "mail" / folder / sub).mkdir(parents=True)
        for at, message in enumerate(everything[500 + number * 25 : 525 + number * 25]):
            (home / "mail" / folder / "new" / f"{at}.local").write_bytes(message.replace(b"\r\n", b"\n"))
    sync(home)
    for number, folder in enumerate(folders):
        here = everything[number * 25 : number * 25 + 25] + everything[500 + number * 25 : 525 + number * 25]
        assert on_server(daemon, folder) == sorted(map(fingerprint, here)) == in_maildir(home / "mail" / folder)

    # Changes on both sides: flags, removals, additions, folders.
    with Imap(daemon.ports["imap"]) as imap:
        imap.login(ANNA, PASSWORD)
        imap.ok('SELECT "Folder 0"')
        uids = imap.uids()
        imap.ok(f"UID STORE {uids[0]} +FLAGS (\\Flagged)")
        imap.ok(f"UID STORE {uids[1]},{uids[2]} +FLAGS (\\Deleted)")
        imap.ok("EXPUNGE")
        imap.append("Folder 0", next(messages(1, seed=2)))
        imap.ok('CREATE "Made there"')
        imap.append("Made there", next(messages(1, seed=3)))
        imap.ok('RENAME "Folder 19" "Renamed there"')
    local = home / "mail" / "Folder 1" / "cur"
    first, second, third = sorted(local.iterdir())[:3]
    first.rename(local / (first.name.split(":2,")[0] + ":2,FRS"))
    second.rename(local / (second.name.split(":2,")[0] + ":2,T"))
    third.unlink()
    for sub in ("cur", "new", "tmp"):
        (home / "mail" / "Made here" / sub).mkdir(parents=True)
    (home / "mail" / "Made here" / "new" / "1.local").write_bytes(next(messages(1, seed=4)))
    sync(home)
    sync(home)

    assert len(in_maildir(home / "mail" / "Folder 0")) == 49
    assert any(path.name.endswith("F") for path in (home / "mail" / "Folder 0" / "cur").iterdir())
    assert on_server(daemon, "Folder 0") == in_maildir(home / "mail" / "Folder 0")
    assert len(on_server(daemon, "Folder 1")) == 48
    assert on_server(daemon, "Folder 1") == in_maildir(home / "mail" / "Folder 1")
    with Imap(daemon.ports["imap"]) as imap:
        imap.login(ANNA, PASSWORD)
        imap.ok('SELECT "Folder 1"')
        assert len(imap.uids("FLAGGED ANSWERED SEEN")) == 1
    assert on_server(daemon, "Made here") == sorted(map(fingerprint, messages(1, seed=4)))
    assert in_maildir(home / "mail" / "Made there") == sorted(map(fingerprint, messages(1, seed=3)))
    assert len(in_maildir(home / "mail" / "Renamed there")) == 50
    before = {path for path in (home / "mail").rglob("*") if path.is_file()}
    sync(home)
    assert {path for path in (home / "mail").rglob("*") if path.is_file()} == before, "nothing is left to do"
