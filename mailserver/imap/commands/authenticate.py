"""AUTHENTICATE (RFC 9051 §6.2.2, RFC 4422), with the initial response of RFC 4959."""

from __future__ import annotations

from mailserver.imap.replies import Completion, Responses, bad, no, ok
from mailserver.imap.session import Session
from mailserver.model.ids import AccountId
from mailserver.net.login import LoginOk, LoginRefused
from mailserver.wire.imap import commands

__all__ = ["authenticate", "logged_in", "privacy_required", "refused"]


async def authenticate(session: Session, command: commands.Authenticate) -> Responses:
    """Run the mechanism's dialogue to its end."""
    service = session.services.login
    mechanisms = service.mechanisms(session.facts)
    if not mechanisms:
        yield privacy_required()
        return
    if command.mechanism not in mechanisms:
        yield no("this mechanism is not offered", "CANNOT")
        return
    exchange = service.start(command.mechanism, session.facts)
    response = command.initial_response
    while True:
        result = await exchange.step(response)
        if isinstance(result, LoginOk):
            yield await logged_in(session, result.account)
            return
        if isinstance(result, LoginRefused):
            yield refused(result)
            return
        response = await session.conversation.ask(result.data)
        if response is None:
            yield bad("authentication was cancelled")
            return


async def logged_in(session: Session, account: AccountId) -> Completion:
    """Enter the authenticated state; the capabilities go with the OK (§6.2.3), which saves the client a question."""
    await session.authenticate(account)
    return ok("Logged in", f"CAPABILITY {session.services.capabilities(session)}")


def refused(result: LoginRefused) -> Completion:
    """RFC 5530: UNAVAILABLE when trying later may help."""
    return no(result.text, "UNAVAILABLE" if result.temporary else "AUTHENTICATIONFAILED")


def privacy_required() -> Completion:
    """RFC 5530, RFC 8314: no password over a connection that others can read."""
    return no("Use TLS before logging in", "PRIVACYREQUIRED")
