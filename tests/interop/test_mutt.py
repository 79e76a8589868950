"""mutt and neomutt, in batch: read a mailbox, copy it, send mail."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.daemon import PASSWORD, Daemon
from tests.helpers.mail import awkward, fingerprint, in_maildir
from tests.interop.programs import ANNA, needs, run, sole_message

pytestmark = [pytest.mark.interop]

PROGRAMS = [pytest.param(name, marks=needs(name)) for name in ("mutt", "neomutt")]


def configure(daemon: Daemon, home: Path) -> Path:
    user, domain = ANNA.split("@")
    config = home / "muttrc"
    config.write_text(
        f"""set imap_user="{ANNA}"
set imap_pass="{PASSWORD}"
set folder="imap://127.0.0.1:{daemon.ports["imap"]}/"
set spoolfile="+INBOX"
set smtp_url="smtp://{user}%40{domain}@127.0.0.1:{daemon.ports["submission"]}/"
set smtp_pass="{PASSWORD}"
set smtp_authenticators="plain"
set from="{ANNA}"
set ssl_starttls=no
set ssl_force_tls=no
set copy=no
set confirmcreate=no
set confirmappend=no
set delete=yes
set mbox_type=Maildir
set quit=yes
set sleep_time=0
set imap_check_subscribed=no
set header_cache=
set move=no
set wait_key=no
"""
    )
    return config


@pytest.mark.parametrize("program", PROGRAMS)
@needs("script")
def test_copy_everything(seeded: Daemon, home: Path, program: str) -> None:
    config = configure(seeded, home)
    keys = f'push "<tag-pattern>~A<enter><tag-prefix><copy-message>{home}/copy<enter><quit>"'
    command = f"{program} -n -F {config} -e '{keys}'"
    run(["script", "-qec", command, "/dev/null"], home)
    assert in_maildir(home / "copy") == sorted(map(fingerprint, awkward()))


@pytest.mark.parametrize("program", PROGRAMS)
def test_send(daemon: Daemon, home: Path, program: str) -> None:
    config = configure(daemon, home)
    header = f"set hostname=client.test\nmy_hdr Message-ID: <{program}@client.test>\n"
    config.write_text(config.read_text() + header)
    done = run([program, "-n", "-F", config, "-s", "from mutt", ANNA], home, stdin=".dot\nGrüße\n".encode())
    assert done.code == 0, done.output
    assert b"\r\n\r\n.dot\r\nGr" in sole_message(daemon, ANNA, f"<{program}@client.test>")
