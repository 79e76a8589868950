"""msmtp: the sendmail of many small machines."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.helpers.certs import Certificates
from tests.helpers.daemon import PASSWORD, Daemon
from tests.interop.programs import ANNA, needs, run, sole_message

pytestmark = [pytest.mark.interop, needs("msmtp")]


def mechanisms() -> list[str]:
    offered = subprocess.run(["msmtp", "--version"], capture_output=True, text=True, check=True).stdout
    return [name for name in ("plain", "login", "scram-sha-256") if f" {name}" in offered]


@pytest.mark.parametrize("tls", ["off", "starttls", "implicit"])
def test_submission(shared_daemon: Daemon, home: Path, certificates: Certificates, tls: str) -> None:
    trust = f"tls on\ntls_trust_file {certificates.ca_file}\ntls_starttls {'on' if tls == 'starttls' else 'off'}"
    port = shared_daemon.ports["submissions" if tls == "implicit" else "submission"]
    assert len(mechanisms()) >= 2
    for mechanism in mechanisms():
        config = home / "msmtprc"
        config.write_text(
            f"account default\nhost 127.0.0.1\nport {port}\nfrom {ANNA}\nauth {mechanism}\nuser {ANNA}\n"
            f"password {PASSWORD}\n{'tls off' if tls == 'off' else trust}\n"
        )
        config.chmod(0o600)
        name = f"<msmtp-{tls}-{mechanism}@client.test>"
        message = f"From: {ANNA}\nTo: {ANNA}\nSubject: msmtp\nMessage-ID: {name}\n\n.leading dot\nend\n"
        done = run(["msmtp", "-C", config, "-t"], home, stdin=message.encode())
        assert done.code == 0, done.output
        assert sole_message(shared_daemon, ANNA, name).endswith(b"\r\n\r\n.leading dot\r\nend\r\n")
