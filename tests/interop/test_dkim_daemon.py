"""Mail that dkimpy and opendkim signed, as it comes through the door of the real server."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from tests.conftest import DaemonMaker
from tests.helpers.authentication import PROXY, deliver, inbox, results
from tests.helpers.daemon import Daemon
from tests.helpers.dns import DnsServer
from tests.helpers.signing import signer
from tests.interop.programs import needs, run
from tests.interop.second_opinions import PYTHON

pytestmark = pytest.mark.interop

RSA = signer()
MAIL = (
    b"From: Anna <anna@signer.test>\r\nTo: b@example.test\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n"
    b"Date: Fri, 20 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@signer.test>\r\n\r\n Hello  there \r\n\r\nBye\r\n\r\n"
)
_SIGN = """
import json, sys
try:
    import dkim
except ImportError:
    sys.exit("no dkimpy")
given = json.load(sys.stdin)
message = given["message"].encode("latin-1")
key = given["key"].encode()
for form in given["forms"]:
    forms = tuple(form.encode().split(b"/"))
    print((dkim.sign(message, b"s", b"signer.test", key, canonicalize=forms) + message).hex())
"""


def pem() -> bytes:
    assert isinstance(RSA.key, RSAPrivateKey)
    return RSA.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )


@pytest.fixture
def server(make_daemon: DaemonMaker) -> Iterator[Daemon]:
    with DnsServer() as names:
        names.add(RSA.name, "TXT", " ".join(f'"{RSA.record[at : at + 250]}"' for at in range(0, len(RSA.record), 250)))
        with make_daemon(settings={"smtp": PROXY, "dns": f'servers = ["{names.endpoint}"]'}) as daemon:
            yield daemon


@needs(PYTHON)
def test_dkimpy_signs(server: Daemon, home: Path) -> None:
    forms = ["simple/simple", "simple/relaxed", "relaxed/simple", "relaxed/relaxed"]
    given = {"message": MAIL.decode("latin-1"), "forms": forms, "key": pem().decode()}
    done = run([PYTHON, "-c", _SIGN], home, stdin=json.dumps(given).encode())
    if "no dkimpy" in done.output:
        pytest.skip("not installed: python3-dkim")
    assert done.code == 0, done.output
    signed = [bytes.fromhex(line) for line in done.output.split()]
    assert len(signed) == len(forms)
    for message in signed:
        assert deliver(server, message).code == 250
        assert deliver(server, message.replace(b"Bye", b"Buy")).code == 250
    found = [results(each) for each in inbox(server, count=2 * len(signed))]
    assert sum("dkim=pass header.d=signer.test" in each for each in found) == len(signed)
    assert sum("dkim=fail" in each for each in found) == len(signed)


@needs("opendkim", "opendkim-testmsg")
def test_opendkim_signs(server: Daemon, home: Path) -> None:
    key, config, path = home / "key.pem", home / "sign.conf", home / "mail.eml"
    key.write_bytes(pem())
    key.chmod(0o600)
    path.write_bytes(MAIL)
    config.write_text(
        f"Mode s\nDomain signer.test\nSelector s\nKeyFile {key}\nCanonicalization relaxed/simple\n"
        "RequireSafeKeys no\nInternalHosts 0.0.0.0/0\n"
    )
    done = run(["sh", "-c", 'opendkim -x "$0" -vv -t "$1" 2>/dev/null', config, path], home)
    value = re.search(r"hname='DKIM-Signature' hvalue='([^']*)'", done.output)
    assert value is not None, done.output
    field = f"DKIM-Signature: {value[1]}\n".replace("\n", "\r\n").encode()
    assert deliver(server, field + MAIL).code == 250
    assert "dkim=pass header.d=signer.test" in results(inbox(server)[0])
    # Its little brother still signs with SHA-1.
    argv: list[str | Path] = ["opendkim-testmsg", "-d", "signer.test", "-s", "s", "-k", key]
    done = run(argv, home, stdin=MAIL)
    assert "DKIM-Signature:" in done.output, done.output
    signed = done.output.encode().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    assert deliver(server, signed).code == 250
    assert 'dkim=policy reason="a signature with SHA-1 proves nothing"' in results(inbox(server, count=2)[1])
