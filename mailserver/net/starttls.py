"""STARTTLS, for every protocol that has it.

Through the loop's own `start_tls`: uvloop's TLS takes a tenth of the library's memory.
"""

from __future__ import annotations

import asyncio
import ssl

from mailserver.net.tls import is_foreign

__all__ = ["start_tls"]

#: Seconds for the other side to say goodbye.
_SHUTDOWN = 5.0


async def start_tls(
    transport: asyncio.Transport, protocol: asyncio.BaseProtocol, context: ssl.SSLContext, *, handshake: float
) -> asyncio.Transport:
    """The server's side of the handshake, `handshake` seconds at most; the transport that `protocol` writes to now.

    The caller has looked that nothing which came in the clear is unread (ATTACKS C01, C02).

    Raises:
        ConnectionResetError: there is no TLS, or it is for another protocol (C08). The connection is closed, and
            `protocol` hears so by `connection_lost`, perhaps more than once.
    """
    loop = asyncio.get_running_loop()
    try:
        secured = await loop.start_tls(
            transport, protocol, context, server_side=True, ssl_handshake_timeout=handshake,
            ssl_shutdown_timeout=_SHUTDOWN,
        )  # fmt: skip
    except OSError as error:
        transport.abort()
        # A connection that is lost during the handshake is reported to TLS only.
        protocol.connection_lost(None)
        raise ConnectionResetError from error
    if secured is None:
        raise ConnectionResetError
    if is_foreign(secured.get_extra_info("ssl_object")):
        secured.abort()
        raise ConnectionResetError
    return secured
