"""The real libmilter (by python3-milter), opendkim and clamav-milter behind our milter client."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.conftest import DaemonMaker
from tests.helpers.authentication import ANNA, PROXY, deliver, inbox
from tests.helpers.certs import Certificates
from tests.helpers.daemon import PASSWORD, Daemon
from tests.helpers.dns import DnsServer
from tests.helpers.signing import signer as rsa_signer
from tests.helpers.smtp import Reply, Smtp
from tests.helpers.waiting import PATIENCE
from tests.interop.filters import EICAR, answers, clamd, service
from tests.interop.programs import needs, run
from tests.interop.second_opinions import PYTHON

pytestmark = pytest.mark.interop

PROGRAM = Path(__file__).with_name("milter_program.py")
MAIL = b"X-Old: one\r\nFrom: <bob@far.test>\r\nX-OLD:  two\r\n folded\r\nX-Old: three\r\n%s\r\nHello\r\n\r\n..\r\n"


class Filtered:
    """A server with the filter, and what the filter saw."""

    def __init__(self, daemon: Daemon, log: Path) -> None:
        self.daemon = daemon
        self._log = log

    def steps(self, last: str = "") -> list[Any]:
        """All so far; with `last`, when such a step has come."""
        deadline = time.monotonic() + PATIENCE
        while True:
            found = [json.loads(line) for line in self._log.read_text().splitlines()] if self._log.exists() else []
            if not last or any(step[0] == last for step in found):
                return found
            assert time.monotonic() < deadline, found
            time.sleep(0.05)

    def send(self, todo: str = "", **options: Any) -> str:
        """A message that wants this to be done with it; the reply."""
        return str(deliver(self.daemon, MAIL % (f"X-Do: {todo}\r\n".encode() if todo else b""), **options))


@pytest.fixture
def filtered(make_daemon: DaemonMaker, tmp_path: Path) -> Iterator[Filtered]:
    if run([PYTHON, "-c", "import Milter"], tmp_path).code:
        pytest.skip("not installed: python3-milter")
    path, log = tmp_path / "m.sock", tmp_path / "steps"
    entry = f'{{ address = "unix:{path}", name = "tester", services = ["smtp", "submission"] }}'
    argv: list[str | Path] = [PYTHON, PROGRAM, path, log]
    with DnsServer() as names, service(argv, tmp_path / "log", path.exists, tmp_path):
        settings = {
            "smtp": PROXY, "dns": f'servers = ["{names.endpoint}"]',
            "plugins.milter": f'milters = [{entry}]\nrest = "0s"',
        }  # fmt: skip
        with make_daemon(settings=settings) as daemon:
            yield Filtered(daemon, log)


def test_what_a_filter_is_told(filtered: Filtered) -> None:
    assert filtered.send().startswith("250")
    steps = {step[0]: step[1:] for step in filtered.steps("close")}
    assert list(steps) == ["connect", "helo", "mail", "rcpt", "data", "header", "eom", "close"]
    macros = {"j": "mail.example.test", "{client_addr}": "192.0.2.66", "{daemon_name}": "smtp"}
    assert steps["connect"] == ["[192.0.2.66]", "192.0.2.66", macros]
    assert steps["helo"][0] == "attack.test"
    assert steps["mail"] == ["<any@attack.test>", {"{mail_addr}": "any@attack.test"}]
    assert steps["rcpt"] == [f"<{ANNA}>", {"{rcpt_addr}": ANNA}]
    assert json.loads(steps["header"][0]) == [
        ["X-Old", "one"], ["From", "<bob@far.test>"], ["X-OLD", "two\n folded"], ["X-Old", "three"],
    ]  # fmt: skip
    assert steps["eom"][0] == str(len(b"Hello\r\n\r\n..\r\n")) and steps["eom"][1]["i"]
    (stored,) = inbox(filtered.daemon)
    assert f"with ESMTP id {steps['eom'][1]['i']}" in stored.decode()


def test_what_a_filter_changes(filtered: Filtered) -> None:
    assert filtered.send("change delete beyond insert second add progress body").startswith("250")
    (stored,) = inbox(filtered.daemon)
    head, _, body = stored.partition(b"\r\n\r\n")
    own = head[head.index(b"X-Top") :]
    assert own == (
        b"X-Top: on top\r\nX-Second: second\r\nFrom: <bob@far.test>\r\nX-Old: changed\r\nX-Old: three\r\n"
        b"X-Do: change delete beyond insert second add progress body\r\nX-Old: new\r\nX-Added: first\r\n\tsecond"
    )
    assert b"\r\nReceived:" in head[: head.index(b"X-Top")]
    assert body == b"new body\r\n" + b"." * 70 + b"\r\nmore\r\n"


def test_a_large_message_is_changed(filtered: Filtered) -> None:
    text = MAIL % b"X-Do: add\r\n" + (b"0123456789abcdef" * 5 + b"\r\n") * 40_000
    assert deliver(filtered.daemon, text).code == 250
    (stored,) = inbox(filtered.daemon)
    assert b"X-Added: first\r\n\tsecond\r\n\r\nHello" in stored
    assert stored.partition(b"\r\n\r\n")[2] == text.partition(b"\r\n\r\n")[2]
    assert filtered.steps("close")[-2][:2] == ["eom", str(len(text.partition(b"\r\n\r\n")[2]))]


def test_what_a_filter_refuses(filtered: Filtered) -> None:
    assert filtered.send("REJECT") == "550 5.7.1 This mail is not taken: tester refuses it"
    assert filtered.send("TEMPFAIL") == "451 4.7.1 tester does not take this mail now, try again later"
    assert filtered.send("DISCARD").startswith("550 5.7.1")
    assert filtered.send("reply") == "451 4.7.7 come again"
    assert filtered.send("rejecthead").startswith("550 5.7.1")
    assert filtered.send(sender="mailreply@x.test") == "554 5.7.9 first 100% / 5.7.9 second"
    assert filtered.send(sender="vanish@x.test").startswith("550 5.7.1")
    assert filtered.send(helo="refused.test").startswith("550 5.7.1")
    assert filtered.send(recipient="ben@example.test").startswith("451 4.7.1")
    assert filtered.send("REJECT", sender="acceptall@x.test").startswith("250")
    assert filtered.send("skip ACCEPT").startswith("250")
    assert len(inbox(filtered.daemon, count=2)) == 2


def submitted(daemon: Daemon, certificates: Certificates, message: bytes, to: str = "ben@example.test") -> Reply:
    """anna sends it."""
    with Smtp(daemon.ports["submission"]) as smtp:
        smtp.ehlo("pc.test")
        smtp.starttls(certificates.client_context())
        smtp.ehlo("pc.test")
        assert smtp.auth_plain(ANNA, PASSWORD).code == 235
        return smtp.message(ANNA, [to], message)


def test_quarantine(filtered: Filtered, certificates: Certificates) -> None:
    assert filtered.send("quarantine change").startswith("250")
    assert b"X-Old: changed" in inbox(filtered.daemon, "Junk")[0]
    # Nobody has a Junk for what a user of ours sends into the world.
    mail = b"From: <anna@example.test>\r\nX-Do: quarantine\r\n\r\nHello\r\n"
    reply = submitted(filtered.daemon, certificates, mail, "far@world.test")
    assert str(reply) == "550 5.7.1 This mail is not sent on: tester holds it back: smells of spam"
    (step,) = [step for step in filtered.steps() if step[0] == "mail" and ANNA in step[1]]
    assert step[-1]["{auth_authen}"] == ANNA and step[-1]["{auth_type}"] and step[-1]["{tls_version}"] == "TLSv1.3"


def test_several_messages_on_one_connection(filtered: Filtered) -> None:
    with Smtp(filtered.daemon.ports["smtp"], greeting=False) as smtp:
        smtp.send(b"PROXY TCP4 192.0.2.66 127.0.0.1 40000 25\r\n")
        smtp.reply()
        smtp.command("EHLO one.test")
        assert smtp.message("a@x.test", [ANNA], MAIL % b"").code == 250
        smtp.command("MAIL FROM:<b@x.test>")
        assert smtp.command("RCPT TO:<nobody@example.test>").code == 550
        smtp.command("RSET")
        smtp.command("MAIL FROM:<c@x.test>")
        assert smtp.command("RCPT TO:<ben@example.test>").code == 451
        assert smtp.command(f"RCPT TO:<{ANNA}>").code == 250
        smtp.command("DATA")
        smtp.send(MAIL % b"X-Do: add\r\n" + b".\r\n")
        assert smtp.reply().code == 250
        smtp.command("QUIT")
    names = [step[0] for step in filtered.steps("close")]
    assert names == [
        "connect", "helo", "mail", "rcpt", "data", "header", "eom", "mail", "abort", "mail", "rcpt", "rcpt", "data",
        "header", "eom", "close",
    ]  # fmt: skip


@needs("opendkim")
def test_opendkim_signs_and_verifies(make_daemon: DaemonMaker, certificates: Certificates, tmp_path: Path) -> None:
    """A user's message is signed by it, and what it then says of that message as one of a stranger."""
    key, path, config = tmp_path / "key.pem", tmp_path / "dkim.sock", tmp_path / "opendkim.conf"
    signer = rsa_signer()
    assert isinstance(signer.key, RSAPrivateKey)
    key.write_bytes(
        signer.key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    )
    key.chmod(0o600)
    (tmp_path / "keys").write_text(f"s._domainkey.example.test {signer.record}\n")
    config.write_text(
        f"Mode sv\nDomain example.test\nSelector s\nKeyFile {key}\nSocket local:{path}\nAuthservID filter.test\n"
        f"Canonicalization simple/simple\nTestPublicKeys {tmp_path}/keys\nRequireSafeKeys no\n"
        "InternalHosts 203.0.113.9\n"
    )
    entry = f'{{ address = "unix:{path}", services = ["smtp", "submission"] }}'
    argv: list[str | Path] = ["opendkim", "-f", "-x", config]
    with DnsServer() as names, service(argv, tmp_path / "log", answers(path), tmp_path):
        settings = {
            "smtp": PROXY, "dns": f'servers = ["{names.endpoint}"]', "plugins.milter": f"milters = [{entry}]",
        }  # fmt: skip
        with make_daemon(settings=settings) as daemon:
            mail = b"From: Anna\r\n  <anna@example.test>\r\nSubject:  as   it is\r\n\r\nHello  \r\n\r\n"
            assert submitted(daemon, certificates, mail, ANNA).code == 250
            (signed,) = inbox(daemon)
            start = signed.index(b"DKIM-Signature:")
            assert b"d=example.test; s=s;" in signed[start:] and signed.index(b"\r\nReceived:") < start
            assert deliver(daemon, signed[start:], sender="").code == 250
            assert deliver(daemon, signed[start:].replace(b"Hello", b"Hallo"), sender="").code == 250
            # Our own check knows no key of that name, and so it is in Junk.
            good, bad = inbox(daemon, "Junk", count=2)
            assert re.search(rb"Authentication-Results: filter.test;\r\n\s+dkim=pass", good), good
            assert re.search(rb"Authentication-Results: filter.test;\r\n\s+dkim=fail", bad), bad


@needs("clamd", "clamav-milter")
def test_clamav_milter(make_daemon: DaemonMaker, tmp_path: Path) -> None:
    path, config = tmp_path / "cm.sock", tmp_path / "cm.conf"
    with DnsServer() as names, clamd(tmp_path) as scanner:
        config.write_text(
            f"MilterSocket unix:{path}\nClamdSocket unix:{scanner}\nForeground yes\nOnInfected Reject\n"
            "RejectMsg No viruses please: %v\nAddHeader Replace\nTemporaryDirectory /tmp\n"
        )
        settings = {
            "smtp": PROXY, "dns": f'servers = ["{names.endpoint}"]',
            "plugins.milter": f'milters = [{{ address = "unix:{path}", name = "ClamAV" }}]',
        }  # fmt: skip
        argv: list[str | Path] = ["clamav-milter", "-c", config]
        with service(argv, tmp_path / "cm.log", answers(path), tmp_path), make_daemon(settings=settings) as daemon:
            reply = deliver(daemon, MAIL % b"" + b"see " + EICAR + b"\r\n")
            assert str(reply) == "550 5.7.1 No viruses please: Own.Eicar.UNOFFICIAL"
            assert deliver(daemon, b"X-Virus-Status: I am clean\r\n" + MAIL % b"").code == 250
            (stored,) = inbox(daemon)
            assert b"I am clean" not in stored and b"X-Virus-Status: Clean\r\n" in stored
            assert b"\r\nX-Virus-Scanned: clamav-milter " in stored
