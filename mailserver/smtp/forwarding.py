"""Recipients under other addresses: whom a queue item names for an address that forwards, or for a mailbox that failed.

An account's forward passes on what the account wants: it is asked when everything was said of the copy (`pass_on`).
Delivered-To names the address that forwards, so that it notices the message when it comes back.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from mailserver.hooks.contexts import ForwardContext, LocalMailbox
from mailserver.hooks.dispatch import Hooks
from mailserver.model.address import EmailAddress
from mailserver.model.envelope import Notify, Recipient
from mailserver.model.ids import AccountId
from mailserver.ports.directory import Directory
from mailserver.smtp.copies import Copy
from mailserver.smtp.headercheck import delivered_to
from mailserver.smtp.transaction import Destination
from mailserver.wire.xtext import encode_unitext, encode_xtext

__all__ = [
    "expands", "forwarded", "forwarded_before", "forwarding_field", "forwarding_sender", "pass_on",
    "retry_of",
]  # fmt: skip


def pass_on(copy: Copy) -> Copy:
    """Let the account's forward have this copy, unless it belongs into Junk or is refused. Its destination changes."""
    destination, mailbox = copy.destination, copy.mailbox
    if not mailbox.forward:
        return copy
    if copy.quarantined or copy.refusal is not None:
        # It has said what becomes of its copy; what goes to others of ours need not bring it another.
        destination.returns_to.pop(mailbox.account, None)
        return copy
    known = {address.key for address in destination.remote}
    destination.remote += [address for address in mailbox.forward if address.key not in known]
    places = range(len(destination.local))
    if mailbox.keep:
        rest = [replace(mailbox, forward=())]
    else:
        rest = []
        behind = destination.returns_to.get(mailbox.account, ())
        both = {address.key: address for address in (*mailbox.forward, *behind)}
        destination.returns_to[mailbox.account] = tuple(both.values())
    at = next((place for place in places if destination.local[place] is mailbox), None)
    if at is not None:
        destination.local[at : at + 1] = rest
    return replace(copy, leaves=not mailbox.keep)


def forwarding_field(destination: Destination) -> bytes:
    """The header field that a message gets when this address forwards it."""
    return f"Delivered-To: {destination.recipient.address}\r\n".encode()


def forwarded(destination: Destination, besides: Collection[str] = ()) -> tuple[Recipient, ...]:
    """To whom an address forwards, but for the addresses of these keys.

    Whoever it is, is to report success only where it is the one (RFC 3461 §5.2.7).
    """
    recipient = _without_success(destination.recipient) if expands(destination) else destination.recipient
    found = {key: address for address in destination.remote if (key := address.key) not in besides}
    return tuple(_instead(recipient, address) for address in found.values())


def expands(destination: Destination) -> bool:
    """Is success to be reported by us, because there are many who would (RFC 3461 §5.2.7.3 (c))?"""
    return len(destination.remote) > 1 and Notify.SUCCESS in destination.recipient.notify


async def forwarding_sender(
    hooks: Hooks, sender: EmailAddress | None, forwarder: EmailAddress, account: AccountId | None
) -> EmailAddress | None:
    """The envelope sender for a message that `forwarder` passes on. Raises MailError: a plugin failed."""
    if sender is None:
        return None
    other = await hooks.forward_sender(ForwardContext(sender=sender, forwarder=forwarder, account=account))
    return other or sender


def forwarded_before(destinations: Iterable[Destination], head: bytes) -> bool:
    """Is the message (its first octets) back at one of these addresses, which forwarded it?"""
    forwarding = [str(d.recipient.address).lower().encode() for d in destinations if d.forwarded]
    if not forwarding:
        return False
    seen = delivered_to(head)
    return any(address in seen for address in forwarding)


def retry_of(recipient: Recipient, mailbox: LocalMailbox, directory: Directory) -> Recipient:
    """Whom a queue item names for a mailbox that failed: the account itself, since an alias has other targets.

    The detail behind the sub-address separator goes along. Success was reported with that of the other mailboxes.
    """
    account = EmailAddress.parse(mailbox.account)
    if mailbox.detail:
        domain = directory.domain(account.domain)
        separator = domain.subaddress_separator if domain is not None else "+"
        account = EmailAddress(f"{account.local}{separator}{mailbox.detail}", account.domain)
    return _instead(_without_success(recipient), account)


def _without_success(recipient: Recipient) -> Recipient:
    """Nothing left to ask for is not the same as nothing asked for, which means failures (RFC 3461 §5.2.2)."""
    if Notify.SUCCESS not in recipient.notify:
        return recipient
    return replace(recipient, notify=(recipient.notify - {Notify.SUCCESS}) or frozenset({Notify.NEVER}))


def _instead(recipient: Recipient, address: EmailAddress) -> Recipient:
    """The same recipient at another address; its first name stays known (RFC 3461 §5.2.1 (d), RFC 6533 §3)."""
    original, first = recipient.original_recipient, str(recipient.address)
    if original is None:
        original = f"rfc822;{encode_xtext(first)}" if first.isascii() else f"utf-8;{encode_unitext(first)}"
    return replace(recipient, address=address, original_recipient=original)
