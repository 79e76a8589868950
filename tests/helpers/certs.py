"""Certificates for tests, made once per run."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

import trustme

__all__ = ["Certificates", "make_certificates"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificates:
    """A certificate of ours with its key, and the authority that clients trust."""

    cert_file: Path
    key_file: Path
    ca_file: Path

    def client_context(self) -> ssl.SSLContext:
        """Trusts our authority and checks the name."""
        return ssl.create_default_context(cafile=str(self.ca_file))


def make_certificates(directory: Path, *names: str) -> Certificates:
    """For `names` ; localhost, 127.0.0.1 and ::1 always."""
    directory.mkdir(parents=True, exist_ok=True)
    authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
    # Some programs still look for the common name.
    every = (*names, "localhost", "127.0.0.1", "::1")
    leaf = authority.issue_cert(*every, common_name="localhost", key_type=trustme.KeyType.ECDSA)
    made = Certificates(
        cert_file=directory / "cert.pem", key_file=directory / "key.pem", ca_file=directory / "ca.pem"
    )
    made.cert_file.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
    made.key_file.touch(mode=0o600)
    made.key_file.write_bytes(leaf.private_key_pem.bytes())
    authority.cert_pem.write_to_path(str(made.ca_file))
    return made
