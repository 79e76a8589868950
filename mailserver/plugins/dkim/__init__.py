"""DKIM signatures on mail that leaves (RFC 6376, RFC 8463): RSA-2048 and Ed25519 both, from the first day.

`keys.py` has the keys of each domain as files, `rotation.py` replaces them without a gap, `signing.py` signs.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mailserver import api
from mailserver.plugins.dkim.keys import KeyStore
from mailserver.plugins.dkim.rotation import Rotation
from mailserver.plugins.dkim.settings import DkimSettings
from mailserver.plugins.dkim.signing import Signer

__all__ = ["plugin"]


@asynccontextmanager
async def setup(registry: api.Registry, settings: DkimSettings, host: api.Host) -> AsyncIterator[None]:
    """Keys for every domain are made before the first message of it leaves."""
    keys = KeyStore(host.data_dir / ".server" / "dkim", host.clock)
    signer = Signer(keys, host, settings)
    rotation = Rotation(keys, host)
    registry.before_send(signer.sign)
    for name, operation in rotation.operations().items():
        registry.operation(name, operation)
    async with keys, rotation:
        yield


plugin = api.Plugin(
    name="dkim", setup=setup, settings=DkimSettings, doc="Signs mail that leaves with DKIM keys of its author's domain."
)
