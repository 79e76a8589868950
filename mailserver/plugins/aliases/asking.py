"""The letter that asks somebody whether he wants the mail of an alias, and the one that thanks him.

The question comes from the postmaster, who hears when it cannot be delivered and reaches whoever has a question of his
own; only the answer to it (Reply-To) goes to the address that counts. An address gets one letter an hour at most,
whatever aliases ask for it: the next one waits in the queue.
"""

from __future__ import annotations

from datetime import UTC, datetime

from mailserver import api
from mailserver.plugins.aliases.tokens import make_token

__all__ = ["VALID", "Asking"]

_HOUR = 3600.0
#: Letters to one address that may wait at a time are those of a day.
_FURTHEST = 24 * _HOUR
#: Seconds from the letter on for which an answer counts.
VALID = 7 * 24 * _HOUR

_QUESTION = """\
Mail for

    {alias}

is to be forwarded to you, at

    {target}

The administrator of the mail server {host} has set it up so. You get
nothing of it until you agree.

If you want this mail: answer this message. What you write does not
matter. Or write to

    {token}

If you do not want it, or do not know what this is about: do nothing.
Nothing will be forwarded, and the question is void after {until}.

Your questions reach a person at postmaster@{domain}
"""
_THANKS = """\
Mail for

    {alias}

is forwarded to you from now on, at

    {target}

because an answer came to our question whether you want it. If it was
not you who agreed, or when you do not want this mail any more, write to
postmaster@{domain}
"""


class Asking:
    """Puts letters into the queue."""

    def __init__(self, host: api.Host) -> None:
        self._host = host

    def when(self, target: api.EmailAddress) -> float:
        """When the next letter to this address may leave (epoch seconds). Raises LimitReached."""
        now = self._host.clock.time()
        due = max(now, self._host.directory.asked(target) + _HOUR)
        if due - now > _FURTHEST:
            raise api.LimitReached(
                f"{target} is asked about so many aliases that the next question would leave tomorrow; try again then,"
                " or add it with --confirmed if its owner agreed"
            )
        return due

    async def ask(self, alias: api.EmailAddress, asked: api.Pending, at: float) -> None:
        """Ask the owner of a target, at a time that `when` gave. Durable on return; raises MailError."""
        target, token = asked.target, make_token(alias, asked)
        text = _QUESTION.format(
            alias=alias, target=target, host=self._host.hostname, token=token, domain=alias.domain,
            until=f"{datetime.fromtimestamp(asked.until, UTC):%-d %B %Y}",
        )  # fmt: skip
        await self._send(
            alias, target, f"Do you want the mail for {alias}?", text, "auto-generated", at, reply_to=str(token)
        )
        await self._host.directory.note_asked(target, at)

    async def thank(self, alias: api.Alias, target: api.EmailAddress) -> None:
        """Tell the owner of a target that he agreed. Raises MailError."""
        text = _THANKS.format(alias=alias.address, target=target, domain=alias.address.domain)
        subject = f"You get the mail for {alias.address} from now on"
        await self._send(alias.address, target, subject, text, "auto-replied", self._host.clock.time())

    async def _send(
        self, alias: api.EmailAddress, target: api.EmailAddress, subject: str, text: str, kind: str, at: float,
        reply_to: str = "",
    ) -> None:  # fmt: skip
        now, queue_id = self._host.clock.time(), api.new_queue_id()
        postmaster = api.EmailAddress("postmaster", alias.domain)
        octets = api.compose_message(
            sender=str(postmaster), sender_name="Postmaster", to=str(target), subject=subject, text=text,
            epoch=max(at, now), message_id=f"{queue_id}.alias@{self._host.hostname}", auto_submitted=kind,
            reply_to=reply_to,
        )  # fmt: skip
        envelope = api.Envelope(
            # RFC 3834 §3.3: the answer to an answer must not cause another one.
            sender=postmaster if kind == "auto-generated" else None,
            recipients=(api.Recipient(address=target),),
            smtputf8=not octets.isascii() or not str(target).isascii(),
            body=api.Body.SEVEN_BIT if octets.isascii() else api.Body.EIGHT_BIT_MIME,
            own=True,
            hold_until=at if at > now else None,
        )
        async with self._host.store.begin(len(octets)) as content:
            await content.write(octets)
            await self._host.queue.inject(queue_id, envelope, content)
        self._host.emit(
            api.Queued(
                queue_id=queue_id, sender=str(envelope.sender or ""), recipients=(str(target),), size=len(octets),
                origin=queue_id, held_until=envelope.hold_until or 0.0,
            )
        )  # fmt: skip
