"""AUTH on a connection that TLS protects (RFC 4954)."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterable
from concurrent.futures import Executor

from mailserver.model.errors import InvalidInput
from mailserver.outbound.connection import Connection
from mailserver.outbound.smarthosts import Credentials
from mailserver.wire.smtp_client.auth import AuthFailed, choose, decode
from mailserver.wire.smtp_client.features import Features
from mailserver.wire.smtp_client.replies import RemoteReply
from mailserver.wire.smtp_client.transaction import Stage

__all__ = ["log_in"]

_GOOD, _CHALLENGE = 235, 334
#: SCRAM has two challenges; more are a game.
_MOST_CHALLENGES = 4
#: RFC 4954 §4: an initial response that makes the line longer than 512 octets waits for the challenge.
_LONGEST_LINE = 512


async def log_in(
    wire: Connection, features: Features, credentials: Credentials, hashing: Executor, nonce: str
) -> None:
    """Log in with the best mechanism that is offered. Raises AuthFailed, ConnectionBroken."""
    try:
        mechanism = choose(features.auth, credentials.user, credentials.password, nonce)
    except InvalidInput as error:
        raise AuthFailed(f"the password cannot be used: {error.text}") from None
    if mechanism is None:
        offered = ", ".join(sorted(features.auth)) or "nothing"
        raise AuthFailed(f"it offers {offered}, and we know SCRAM-SHA-256, PLAIN and LOGIN")
    line, pending = f"AUTH {mechanism.name}".encode(), mechanism.first
    if pending is not None:
        encoded = base64.b64encode(pending) or b"="
        if len(line) + len(encoded) + 3 <= _LONGEST_LINE:
            line, pending = line + b" " + encoded, None
    said = [line.rpartition(b" ")[2]] if pending is None and mechanism.first else []
    reply = await wire.command(line + b"\r\n", Stage.AUTH, secret=True)
    for _ in range(_MOST_CHALLENGES):
        if reply.code != _CHALLENGE:
            break
        if pending is not None:
            answer, pending = pending, None
        else:
            challenge = decode(reply.lines[-1].strip())
            if mechanism.slow:
                answer = await asyncio.get_running_loop().run_in_executor(hashing, mechanism.answer, challenge)
            else:
                answer = mechanism.answer(challenge)
        said.append(base64.b64encode(answer))
        reply = await wire.command(said[-1] + b"\r\n", Stage.AUTH, secret=True)
    if reply.code != _GOOD:
        raise AuthFailed(_words(reply, [credentials.password.encode(), *said]))
    mechanism.finish()


def _words(reply: RemoteReply, secrets: Iterable[bytes]) -> str:
    """What the server says, which goes into the log and to senders: nothing of it when it says a secret back."""
    heard = b"\n".join(reply.lines)
    if any(secret and secret in heard for secret in secrets):
        return f"{reply.code} {reply.status}".rstrip()
    return str(reply)
