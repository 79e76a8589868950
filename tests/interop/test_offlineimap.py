"""offlineimap: a copy, and changes on both sides."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.helpers.certs import Certificates
from tests.helpers.daemon import PASSWORD, Daemon
from tests.helpers.imap import Imap
from tests.helpers.mail import awkward, fingerprint, in_maildir
from tests.interop.programs import ANNA, Done, needs, run

pytestmark = [pytest.mark.interop, needs("offlineimap")]


def configure(daemon: Daemon, home: Path, tls: str) -> None:
    (home / ".offlineimaprc").write_text(
        f"""[general]
accounts = a
ui = quiet
metadata = {home}/meta
[Account a]
localrepository = l
remoterepository = r
[Repository l]
type = Maildir
localfolders = {home}/mail
sep = .
[Repository r]
type = IMAP
remotehost = localhost
remoteuser = {ANNA}
remotepass = {PASSWORD}
{tls}
"""
    )


#: What a run does first: when it takes longer than that, or its interpreter crashes, it shows what each of its threads
#: does, and ends.
_WATCH = "import faulthandler\nfaulthandler.enable()\nfaulthandler.dump_traceback_later(25, exit=True)\n"
_TRIES = 4


def synchronize(home: Path) -> Done:
    """One run, again if it hung in STARTTLS or its interpreter crashed, and only then.

    Its thread that reads hands over a line, and then looks for the order to end, which `starttls` gives. When the line
    is the end of the CAPABILITY before it, and the thread loses its turn just then, it ends before STARTTLS was
    answered, and `starttls` waits for ever (imaplib2 3.5; with a pause after `self.inq.put(line)` it hangs each time).
    So no thread is in `_reader` then, and one is in `starttls`.

    Once, on a machine that did much else, a thread was in `_reader` all the same: `starttls` had TLS, and waited for
    the answer to the CAPABILITY behind it. Whose fault that was is not known. Once it ended by SIGSEGV, which nothing
    that a server sends may do to an interpreter.
    """
    hook = home / "hook"
    hook.mkdir(exist_ok=True)
    (hook / "sitecustomize.py").write_text(_WATCH)
    for _ in range(_TRIES):
        done = run(["offlineimap", "-o"], home, environ={"PYTHONPATH": str(hook)})
        if done.code != -signal.SIGSEGV and (done.code == 0 or " in starttls" not in done.output):
            break
        for lock in home.rglob("*.lock"):
            lock.unlink()
    return done


@pytest.mark.timeout(300)
@pytest.mark.parametrize("tls", ["plain", "starttls", "implicit"])
def test_copy_and_change(seeded: Daemon, home: Path, certificates: Certificates, tls: str) -> None:
    port = seeded.ports["imaps" if tls == "implicit" else "imap"]
    how = {
        "plain": "ssl = no\nstarttls = no",
        "starttls": f"ssl = no\nstarttls = yes\nsslcacertfile = {certificates.ca_file}",
        "implicit": f"ssl = yes\nsslcacertfile = {certificates.ca_file}",
    }
    configure(seeded, home, f"remoteport = {port}\n{how[tls]}")
    done = synchronize(home)
    assert done.code == 0, done.output
    assert in_maildir(home / "mail" / "INBOX") == sorted(map(fingerprint, awkward()))
    assert len(in_maildir(home / "mail" / "Work.Sub one")) == 3

    cur = home / "mail" / "INBOX" / "cur"
    files = sorted(path for sub in ("new", "cur") for path in (home / "mail" / "INBOX" / sub).iterdir())
    files[0].rename(cur / (files[0].name.split(":2,")[0] + ":2,RS"))
    files[1].unlink()
    with Imap(seeded.ports["imap"]) as imap:
        imap.login(ANNA, PASSWORD)
        imap.append("Work", b"Subject: new\r\nMessage-ID: <new@x>\r\n\r\nnew\r\n")
    done = synchronize(home)
    assert done.code == 0, done.output
    assert len(in_maildir(home / "mail" / "Work")) == 4
    with Imap(seeded.ports["imap"]) as imap:
        imap.login(ANNA, PASSWORD)
        imap.ok("SELECT INBOX")
        assert len(imap.uids("ANSWERED")) == 1
        assert len(imap.uids()) == len(awkward()) - 1
