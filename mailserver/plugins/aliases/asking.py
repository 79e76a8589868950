"""The letter that asks somebody whether he wants the mail of an alias or an account, and the one that thanks him.

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

    {name}

is to be forwarded to you, at

    {target}

The administrator of the mail server {host} has set it up so. You get
nothing of it until you agree.

If you want this mail: answer this message with the word YES. Or write
YES to

    {token}

If you do not want it: answer NO. If you do not know what this is about:
do nothing. Then nothing will be forwarded, and the question is void
after {until}.

Your questions reach a person at postmaster@{domain}
"""
_UNCLEAR = """\
You answered our question whether mail for

    {name}

is to be forwarded to you, at

    {target}

A program reads the answer, and it could not tell whether you agree. So
nothing is forwarded yet. If you want the mail, please answer the first
message once more, with nothing but the word

    YES

at its beginning. A person gets to see your answer, too.
"""
_THANKS = """\
Mail for

    {name}

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
        name = self._name(alias)
        text = _QUESTION.format(
            name=name, target=target, host=self._host.hostname, token=token, domain=alias.domain,
            until=f"{datetime.fromtimestamp(asked.until, UTC):%-d %B %Y}",
        )  # fmt: skip
        await self._send(
            alias, target, f"Do you want the mail for {name}?", text, "auto-generated", at, reply_to=str(token)
        )
        await self._host.directory.note_asked(target, at)

    async def thank(self, alias: api.Alias, target: api.EmailAddress) -> None:
        """Tell the owner of a target that he agreed. Raises MailError."""
        name = self._name(alias.address)
        text = _THANKS.format(name=name, target=target, domain=alias.address.domain)
        subject = f"You get the mail for {name} from now on"
        await self._send(alias.address, target, subject, text, "auto-replied", self._host.clock.time())

    async def ask_for_yes(self, alias: api.Alias, target: api.EmailAddress) -> None:
        """Tell who answered that a program could not read it. Raises MailError."""
        name = self._name(alias.address)
        text = _UNCLEAR.format(name=name, target=target)
        subject = f"Do you want the mail for {name}? Please answer YES"
        await self._send(alias.address, target, subject, text, "auto-replied", self._host.clock.time())

    def _name(self, alias: api.EmailAddress) -> str:
        """What people call it."""
        domain = self._host.directory.domain(alias.domain)
        known = self._host.directory.alias(alias.key)
        targets = [str(target) for target in known.targets] if known is not None else []
        if domain is not None and alias.local == api.CATCH_ALL and domain.catch_all in (str(alias), *targets):
            return f"unknown addresses at {alias.domain}"
        if domain is not None and alias.local == api.ROLE_MAIL and domain.postmaster in targets:
            return f"postmaster and abuse at {alias.domain}"
        return str(alias)

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
