"""Whose business a context is: the keys that `HookOptions.covers` compares."""

from __future__ import annotations

from mailserver.hooks.contexts import (
    AuthenticateContext,
    BeforeSendContext,
    DeliveryContext,
    ForwardContext,
    HeloContext,
    MailContext,
    MessageContext,
    PlaceContext,
    RcptContext,
    ResolveContext,
    ScramContext,
    SearchContext,
    SenderContext,
    Session,
)
from mailserver.hooks.observing import Observer
from mailserver.model.address import EmailAddress
from mailserver.model.errors import InvalidInput
from mailserver.model.events import Event

__all__ = [
    "account", "address", "forwarder", "nobody", "of_event", "of_message", "of_rcpt", "of_sending", "session_account",
    "user",
]  # fmt: skip


def nobody(ctx: object) -> tuple[str, ...]:
    """Of no account and no address."""
    return ()


def _key(address: EmailAddress | None) -> tuple[str, ...]:
    return () if address is None else (address.key,)


def _of_session(session: Session) -> tuple[str, ...]:
    return () if session.account is None else (session.account,)


def session_account(ctx: HeloContext | MailContext) -> tuple[str, ...]:
    """Who logged in."""
    return _of_session(ctx.session)


def of_rcpt(ctx: RcptContext) -> tuple[str, ...]:
    """The recipient, and who logged in."""
    return (ctx.recipient.address.key, *_of_session(ctx.session))


def of_message(ctx: MessageContext) -> tuple[str, ...]:
    """All recipients, and who logged in."""
    return (*(r.address.key for r in ctx.envelope.recipients), *_of_session(ctx.session))


def of_sending(ctx: BeforeSendContext) -> tuple[str, ...]:
    """The sender."""
    return _key(ctx.envelope.sender)


def forwarder(ctx: ForwardContext) -> tuple[str, ...]:
    """The address of ours that passes it on."""
    return (ctx.forwarder.key,)


def address(ctx: ResolveContext) -> tuple[str, ...]:
    """The address that is asked about."""
    return (ctx.address.key,)


def account(ctx: SenderContext | PlaceContext | SearchContext | DeliveryContext) -> tuple[str, ...]:
    """The account."""
    return (ctx.account,)


def user(ctx: AuthenticateContext | ScramContext) -> tuple[str, ...]:
    """The claimed name as a key, if it can be one."""
    try:
        return (EmailAddress.parse(ctx.user).key,)
    except InvalidInput:
        return ()


def of_event(event: Event, observer: Observer) -> tuple[str, ...]:
    """Events that belong to no account are everybody's business."""
    if observer.call.options.domains is None:
        return ()
    account = getattr(event, "account", None)
    return (account,) if isinstance(account, str) else tuple(observer.call.options.domains)
