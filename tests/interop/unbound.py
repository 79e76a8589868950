"""A real unbound that examines zones of the test: one signed well, others signed wrongly, one not at all."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path
from typing import Self

import dns.dnssec
import dns.exception
import dns.message
import dns.query
import dns.zone
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from dns.dnssectypes import Algorithm, DSDigest

from tests.helpers.daemon import free_port

__all__ = ["Unbound", "needs_unbound", "sign"]

_PROGRAM = shutil.which("unbound") or "/usr/sbin/unbound"
_START = 60.0
needs_unbound = pytest.mark.skipif(not Path(_PROGRAM).exists(), reason="unbound is not installed")


def sign(name: str, text: str, *, expired: bool = False) -> tuple[str, str]:
    """The signed zone file (NSEC, ECDSA P-256), and its DS record as a trust anchor."""
    zone = dns.zone.from_text(f"$ORIGIN {name}.\n$TTL 300\n{text}", f"{name}.", relativize=False)
    private = ec.generate_private_key(ec.SECP256R1())
    public = dns.dnssec.make_dnskey(private.public_key(), Algorithm.ECDSAP256SHA256, flags=257)
    day = 86400
    # Validators allow for clocks that are wrong by up to a day.
    times = {"inception": time.time() - 9 * day, "expiration": time.time() - 5 * day} if expired else {"lifetime": day}
    with zone.writer() as transaction:
        dns.dnssec.sign_zone(zone, transaction, keys=[(private, public)], **times)
    digest = dns.dnssec.make_ds(f"{name}.", public, DSDigest.SHA256)
    return zone.to_text(relativize=False), f"{name}. DS {digest}"


class Unbound:
    """A context manager: a validating resolver at 127.0.0.1:`port` that knows these zones and nothing else.

    Where a zone's text is a number, this port of 127.0.0.1 is asked.
    """

    def __init__(self, directory: Path, zones: dict[str, str], anchors: list[str], *, explain: bool) -> None:
        self.port = free_port()
        self._log = directory / "log"
        self._config = directory / "unbound.conf"
        known = []
        for name, text in zones.items():
            if text.isdigit():
                known.append(f'forward-zone:\n  name: "{name}"\n  forward-addr: 127.0.0.1@{text}')
                continue
            (directory / f"{name}.zone").write_text(text + "\n")
            known.append(
                f'auth-zone:\n  name: "{name}"\n  zonefile: "{directory / name}.zone"\n'
                "  for-downstream: no\n  for-upstream: yes\n  fallback-enabled: no"
            )
        # What RFC 6761 says of test. is built in.
        self._config.write_text(
            f"""server:
  directory: "{directory}"
  chroot: ""
  username: ""
  pidfile: "{directory / 'pid'}"
  use-syslog: no
  logfile: ""
  interface: 127.0.0.1@{self.port}
  module-config: "validator iterator"
  do-not-query-localhost: no
  local-zone: "test." nodefault
  ede: {'yes' if explain else 'no'}
  val-log-level: 2
  outgoing-port-permit: 32768-60999
  root-hints: ""
"""
            + "".join(f'  trust-anchor: "{anchor}"\n' for anchor in anchors)
            + "remote-control:\n  control-enable: no\n"
            + "\n".join(known)
            + "\n"
        )

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen([_PROGRAM, "-d", "-c", self._config], stdout=log, stderr=log)
        deadline = time.monotonic() + _START
        while True:
            try:
                dns.query.udp(dns.message.make_query("localhost.", "A"), "127.0.0.1", port=self.port, timeout=0.5)
            except (dns.exception.Timeout, OSError):
                if self._process.poll() is None and time.monotonic() < deadline:
                    continue
                self.__exit__()
                raise AssertionError(self._log.read_text()) from None
            return self

    def __exit__(self, *exc: object) -> None:
        self._process.terminate()
        self._process.wait(60)
