"""curl, as a client of IMAP and of SMTP."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.helpers.certs import Certificates
from tests.helpers.daemon import PASSWORD, Daemon
from tests.helpers.mail import awkward
from tests.interop.programs import ANNA, needs, run, sole_message

pytestmark = [pytest.mark.interop, needs("curl")]

USER = f"{ANNA}:{PASSWORD}"
MESSAGE = b"From: z@sender.test\r\nTo: a@b\r\nSubject: curl\r\nMessage-ID: %b\r\n\r\ncurl\r\n.\r\n..dot\r\n"


def schemes(daemon: Daemon, certificates: Certificates, plain: str, tls: str) -> list[tuple[str, list[str]]]:
    """URL and options for: no TLS, STARTTLS, TLS from the first octet."""
    trust = ["--cacert", str(certificates.ca_file)]
    protocol = plain.replace("submission", "smtp")
    return [
        (f"{protocol}://127.0.0.1:{daemon.ports[plain]}", []),
        (f"{protocol}://127.0.0.1:{daemon.ports[plain]}", ["--ssl-reqd", *trust]),
        (f"{protocol}s://127.0.0.1:{daemon.ports[tls]}", trust),
    ]


def mechanisms() -> list[str]:
    features = subprocess.run(["curl", "-V"], capture_output=True, text=True, check=True).stdout
    return ["PLAIN", "LOGIN"] + (["SCRAM-SHA-256"] if "gsasl" in features else [])


def test_imap(seeded: Daemon, home: Path, certificates: Certificates) -> None:
    for url, options in schemes(seeded, certificates, "imap", "imaps"):
        fetched = run(["curl", "-sS", "-u", USER, *options, f"{url}/INBOX;MAILINDEX=3"], home)
        assert fetched.code == 0, fetched.output
        assert fetched.output.encode() == awkward()[2]
        part = run(["curl", "-sS", "-u", USER, *options, f"{url}/INBOX;MAILINDEX=9;SECTION=1"], home)
        assert (part.code, part.output) == (0, "Subject: inner\r\n\r\nin")
        found = run(["curl", "-sS", "-u", USER, *options, f"{url}/INBOX", "-X", "SEARCH SUBJECT dots"], home)
        assert "* SEARCH 3" in found.output
        listed = run(["curl", "-sS", "-u", USER, *options, f"{url}/"], home)
        assert '"Work/Sub one"' in listed.output


def test_imap_logins(seeded: Daemon, home: Path) -> None:
    url = f"imap://127.0.0.1:{seeded.ports['imap']}/INBOX;MAILINDEX=1"
    for mechanism in mechanisms():
        done = run(["curl", "-sS", "-u", USER, "--login-options", f"AUTH={mechanism}", url], home)
        assert done.code == 0 and "awkward-0" in done.output, done.output
        for options in (["--sasl-ir"],):
            done = run(["curl", "-sS", "-u", USER, "--login-options", f"AUTH={mechanism}", *options, url], home)
            assert done.code == 0, done.output
    assert run(["curl", "-sS", "-u", f"{ANNA}:wrong", url], home).code == 67


def test_imap_append(daemon: Daemon, home: Path) -> None:
    (home / "mail").write_bytes(MESSAGE % b"<curl-append@x>")
    done = run(["curl", "-sS", "-u", USER, "-T", "mail", f"imap://127.0.0.1:{daemon.ports['imap']}/Drafts"], home)
    assert done.code == 0, done.output
    assert sole_message(daemon, ANNA, "<curl-append@x>", "Drafts") == MESSAGE % b"<curl-append@x>"


def test_mail_from_elsewhere(daemon: Daemon, home: Path) -> None:
    (home / "mail").write_bytes(MESSAGE % b"<curl-in@x>")
    url = f"smtp://127.0.0.1:{daemon.ports['smtp']}"
    done = run(["curl", "-sS", url, "--mail-from", "z@sender.test", "--mail-rcpt", ANNA, "-T", "mail"], home)
    assert done.code == 0, done.output
    assert sole_message(daemon, ANNA, "<curl-in@x>").endswith(b"\r\n\r\ncurl\r\n.\r\n..dot\r\n")


def test_submission(daemon: Daemon, home: Path, certificates: Certificates) -> None:
    number = 0
    for url, options in schemes(daemon, certificates, "submission", "submissions"):
        for mechanism in mechanisms():
            number += 1
            message = MESSAGE % b"<curl-out-%d@x>" % number
            (home / "mail").write_bytes(message.replace(b"z@sender.test", ANNA.encode()))
            done = run(
                ["curl", "-sS", url, *options, "-u", USER, "--login-options", f"AUTH={mechanism}", "--mail-from", ANNA,
                 "--mail-rcpt", ANNA, "-T", "mail"], home,
            )  # fmt: skip
            assert done.code == 0, f"{url} {mechanism}\n{done.output}"
            assert sole_message(daemon, ANNA, f"<curl-out-{number}@x>").endswith(b"\r\n\r\ncurl\r\n.\r\n..dot\r\n")
