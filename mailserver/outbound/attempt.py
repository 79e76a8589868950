"""One attempt of one message at one destination: hosts in order, transactions until every recipient has its result."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import structlog

from mailserver.model.address import EmailAddress
from mailserver.model.delivery import Feedback, Outcome, Result, Success
from mailserver.model.envelope import Notify, Recipient
from mailserver.model.errors import MailError
from mailserver.outbound.connection import CHUNK, ConnectionBroken
from mailserver.outbound.content import OutgoingContent
from mailserver.outbound.exchangers import Exchanger, ExchangerSearch
from mailserver.outbound.opening import HostFailed, OpenConnection, refused
from mailserver.outbound.outcomes import judge, too_many_recipients
from mailserver.outbound.settings import SendingSettings
from mailserver.ports.delivery import DeliveryReport, Job
from mailserver.wire.dotstuff import Stuffer, stuff
from mailserver.wire.smtp_client.commands import Demands, Obstacle, mail_command, obstacle, rcpt_command
from mailserver.wire.smtp_client.transaction import Transaction

__all__ = ["Attempt", "Connections"]

_log = structlog.get_logger()
_LONGEST_REPLY = 1000
#: Seconds for which a connection that just served is taken to be open still.
_SURELY_OPEN = 1.0
_NOBODY_SAID = Result(outcome=Outcome.DEFERRED, status="4.5.0", reply="The server did not say what became of it")

#: How bad news is: the worst of an attempt is its feedback.
_WORSE = (Feedback.FINE, Feedback.UNREACHABLE, Feedback.BUSY, Feedback.BLOCKED)


class Connections(Protocol):
    """Where connections come from, for one job; made by the sender."""

    def take(self) -> OpenConnection | None:
        """One that waits for this destination, and suits this message."""
        ...

    async def open(self, host: Exchanger) -> OpenConnection:
        """A new one. Raises HostFailed."""
        ...

    def release(self, connection: OpenConnection) -> None:
        """It is not needed any more; whatever state it is in."""
        ...


class Attempt:
    """Gathers results: `run` once. `demands` are those of the message, without its recipients."""

    def __init__(
        self, job: Job, content: OutgoingContent, settings: SendingSettings, connections: Connections, demands: Demands
    ) -> None:
        self._job = job
        self._content = content
        self._settings = settings
        self._connections = connections
        self._demands = demands
        self._results: list[Result | None] = [None] * len(job.envelope.recipients)
        #: One index for each address, and by the others' the one that stands for them.
        self._stands_for = _representatives(job.envelope.recipients)
        self._waiting = sorted(set(self._stands_for))
        self._feedback = Feedback.FINE

    async def run(self, search: ExchangerSearch) -> DeliveryReport:
        """By connections that wait, then by the hosts in their order. Raises MailError: the content cannot be read."""
        await self._over_waiting()
        failures: list[tuple[Exchanger, HostFailed]] = []
        if self._waiting:
            async for host in search:
                try:
                    await self._at(host)
                    break
                except HostFailed as error:
                    _log.info("send.host_failed", queue_id=self._job.queue_id, host=host.name, address=error.address,
                              reason=error.text)  # fmt: skip
                    failures.append((host, error))
                    if len(failures) >= self._settings.most_hosts:
                        break
        if self._waiting:
            self._settle(failures, search.error, unknown=search.unknown)
        return self.report(_NOBODY_SAID)

    def report(self, otherwise: Result, feedback: Feedback = Feedback.FINE) -> DeliveryReport:
        """What is known so far, and `otherwise` for everyone else: also where the attempt ended by an exception.

        `feedback` is what its end says of the destination.
        """
        self._note(feedback)
        results = tuple(self._result_of(index, otherwise) for index in range(len(self._results)))
        return DeliveryReport(results=results, feedback=self._feedback)

    def _result_of(self, index: int, otherwise: Result) -> Result:
        stands_for = self._stands_for[index]
        result = self._results[stands_for] or otherwise
        if stands_for != index and result.success is Success.PASSED_ON:
            # The next server was not told of this name, so it will not tell of it either (RFC 3461 §5.2.2).
            return replace(result, success=Success.RELAYED)
        return result

    async def _over_waiting(self) -> None:
        while self._waiting and (connection := self._connections.take()) is not None:
            try:
                if self._obstacle(connection) is not None:
                    return  # Perhaps another host of the destination can take it.
                await self._use(connection)
            except HostFailed:
                return
            finally:
                self._connections.release(connection)

    async def _at(self, host: Exchanger) -> None:
        """Everything that still waits, over as many connections as it takes. Raises HostFailed: this host answered no
        MAIL."""
        while self._waiting:
            connection = await self._connections.open(host)
            try:
                refusal = self._obstacle(connection)
                if refusal is not None:
                    raise HostFailed(refusal.text, refusal.status, permanent=True, feedback=Feedback.FINE,
                                     address=connection.address)  # fmt: skip
                await self._use(connection)
            finally:
                self._connections.release(connection)

    async def _use(self, connection: OpenConnection) -> None:
        """Transactions, as long as the connection takes them."""
        try:
            while self._waiting and await self._transact(connection):
                pass
        except BaseException:
            connection.wire.abort("The attempt has ended")
            raise

    async def _transact(self, connection: OpenConnection) -> bool:
        """One transaction for some of those who wait. False: this connection takes no more."""
        chosen = self._choose(connection)
        if not chosen:
            return False
        envelope, features, wire = self._job.envelope, connection.features, connection.wire
        reused = connection.reused
        # A server may have closed a connection that waited; then the message must not have been written to it already.
        fresh = not reused or asyncio.get_running_loop().time() - connection.used < _SURELY_OPEN
        demands = self._demanded(chosen)
        utf8 = features.smtputf8 and (demands.smtputf8 or demands.utf8_header)
        transaction = Transaction(
            mail_command(envelope, demands, features, encrypted=bool(connection.tls)),
            [rcpt_command(envelope.recipients[index], features, smtputf8=utf8) for index in chosen],
            features,
            self._content.size,
            together=fresh and self._content.size <= self._settings.together,
            reset=connection.reset,
        )
        connection.transactions += 1
        connection.domains.update(envelope.recipients[index].address.domain for index in chosen)
        try:
            await self._dialogue(connection, transaction, chosen)
        except ConnectionBroken as error:
            if reused and error.silent and not transaction.ended:
                return False  # It was closed while nobody looked: this says nothing about the message.
            if not transaction.heard and not transaction.ended:
                raise HostFailed(error.text, error.status, address=connection.address) from None
            self._lost(connection, transaction, chosen, error)
            return False
        except BaseException:
            if transaction.ended:
                self._doubt(connection, chosen)
            raise
        finally:
            wire.leave(transaction)
        connection.reset = not transaction.clean
        if transaction.closing is not None and not transaction.heard:
            if reused:
                return False  # It had enough of this connection, which says nothing about the message either.
            raise refused(transaction.stage, transaction.closing, connection.address)
        self._take(connection, transaction, chosen)
        return wire.usable

    def _obstacle(self, connection: OpenConnection) -> Obstacle | None:
        """What keeps the message from this server for everyone who still waits."""
        return obstacle(self._demanded(self._nameable(connection) or self._waiting), connection.features)

    def _nameable(self, connection: OpenConnection) -> list[int]:
        """Those who wait and whose address this server can be told (RFC 6531 §3.2)."""
        if connection.features.smtputf8:
            return self._waiting
        return [index for index in self._waiting if self._is_ascii(index)]

    def _demanded(self, indexes: Sequence[int]) -> Demands:
        """What the message and these recipients ask of a server."""
        if self._demands.smtputf8 or all(map(self._is_ascii, indexes)):
            return self._demands
        return replace(self._demands, smtputf8=True)

    def _is_ascii(self, index: int) -> bool:
        return self._job.envelope.recipients[index].address.local.isascii()

    def _choose(self, connection: OpenConnection) -> list[int]:
        """Whom this transaction is for, within the bounds of the server (RFC 9422 §4) and ours."""
        features = connection.features
        if features.messages and connection.transactions >= features.messages:
            return []
        most = self._settings.recipients_per_message
        if features.recipients:
            most = min(most, features.recipients)
        nameable = self._nameable(connection)
        if not features.domains:
            return nameable[:most]
        known, chosen = set(connection.domains), list[int]()
        for index in nameable:
            domain = self._job.envelope.recipients[index].address.domain
            if len(chosen) < most and (domain in known or len(known) < features.domains):
                known.add(domain)
                chosen.append(index)
        return chosen

    async def _dialogue(self, connection: OpenConnection, transaction: Transaction, chosen: Sequence[int]) -> None:
        wire, content = connection.wire, self._content
        if transaction.together:
            octets = await content.read(0, content.size)
            await self._job.about_to_end(chosen)
            await wire.run(transaction, octets)
            return
        await wire.run(transaction)
        if not transaction.due:
            return
        accepted = [chosen[index] for index in transaction.accepted]
        if content.size <= CHUNK:
            octets = await content.read(0, content.size)
            await self._job.about_to_end(accepted)
            if not transaction.chunking:
                octets = stuff(octets)
            await wire.run(transaction, transaction.chunk_header() + octets)
            return
        await self._stream(connection, transaction, accepted)

    async def _stream(self, connection: OpenConnection, transaction: Transaction, accepted: Sequence[int]) -> None:
        """A large message, piece by piece, as fast as the server takes it."""
        wire, content = connection.wire, self._content
        wire.write(transaction.chunk_header())
        stuffing = None if transaction.chunking else Stuffer()
        at = 0
        while transaction.due:
            octets = await content.read(at, CHUNK)
            at += len(octets)
            last = at >= content.size
            if stuffing is not None:
                octets = stuffing.feed(octets, last=last)
            if last:
                await self._job.about_to_end(accepted)
                await wire.run(transaction, octets)
                return
            wire.write(octets)
            await wire.drained()

    def _take(self, connection: OpenConnection, transaction: Transaction, chosen: Sequence[int]) -> None:
        """The replies become results; whoever was too many for this transaction waits for the next."""
        for place, index in enumerate(chosen):
            answer = transaction.answer(place)
            if answer is None:
                self._settle_one(index, _NOBODY_SAID)
                continue
            stage, reply = answer
            judgement = judge(stage, reply)
            self._note(judgement.feedback)
            if transaction.accepted and place not in transaction.accepted and too_many_recipients(reply):
                continue
            self._settle_one(index, self._result(
                connection, judgement.outcome, judgement.status, str(reply), reply.code
            ))  # fmt: skip

    def _lost(
        self, connection: OpenConnection, transaction: Transaction, chosen: Sequence[int], error: ConnectionBroken
    ) -> None:
        """The connection broke in the middle: what was refused stays refused, everyone else waits for better times."""
        for place, index in enumerate(chosen):
            answer = transaction.answer(place)
            if answer is not None and not answer[1].positive:
                judgement = judge(*answer)
                result = self._result(connection, judgement.outcome, judgement.status, str(answer[1]), answer[1].code)
            else:
                words = error.text
                if transaction.ended:
                    words += "; the message may have arrived, and arrive once more"
                result = self._result(connection, Outcome.DEFERRED, error.status, words)
            self._settle_one(index, result)
        if transaction.ended:
            self._doubt(connection, chosen)
        for index in list(self._waiting):
            self._settle_one(index, self._result(connection, Outcome.DEFERRED, error.status, error.text))

    def _doubt(self, connection: OpenConnection, chosen: Sequence[int]) -> None:
        """RFC 1047: nobody can know. The message keeps its Message-ID, so the reader's program may."""
        _log.warning("send.possible_duplicate", queue_id=self._job.queue_id, host=connection.way.host.name,
                     address=connection.address, recipients=len(chosen))  # fmt: skip

    def _settle(
        self, failures: Sequence[tuple[Exchanger, HostFailed]], error: MailError | None, *, unknown: bool
    ) -> None:
        """No host took it: the last one that may say something else tomorrow decides, else the last.

        `unknown`: there are hosts whose addresses nobody could tell.
        """
        if not failures:
            error = error or MailError("There is no host to give the mail to", status="4.4.4", temporary=True)
            if error.temporary:
                self._note(Feedback.UNREACHABLE)
            self._settle_all(error.text, error.status, permanent=not error.temporary)
            return
        for _, failure in failures:
            self._note(failure.feedback)
        host, failure = next((pair for pair in reversed(failures) if not pair[1].permanent), failures[-1])
        # What a host of the operator's own choice says before it knows the message is no reason to return mail.
        ours = bool(self._job.destination.hosts) and failure.code != 0
        self._settle_all(
            failure.text, failure.status, permanent=failure.permanent and not ours and not unknown, code=failure.code,
            remote=host.name, address=failure.address, policy=failure.policy,
        )  # fmt: skip

    def _settle_all(
        self, text: str, status: str, *, permanent: bool, code: int = 0, remote: str = "", address: str = "",
        policy: str = "",
    ) -> None:  # fmt: skip
        """The same for everyone who still waits."""
        result = Result(
            outcome=Outcome.FAILED if permanent else Outcome.DEFERRED, status=("5" if permanent else "4") + status[1:],
            reply=text[:_LONGEST_REPLY], code=code, remote=remote, address=address, policy=policy,
        )  # fmt: skip
        for index in list(self._waiting):
            self._settle_one(index, result)

    def _settle_one(self, index: int, result: Result) -> None:
        self._results[index] = result
        if index in self._waiting:
            self._waiting.remove(index)

    def _result(
        self, connection: OpenConnection, outcome: Outcome, status: str, reply: str, code: int = 0
    ) -> Result:
        return Result(
            outcome=outcome, status=status, reply=reply, code=code, remote=connection.way.host.name,
            address=connection.address, tls=connection.tls, policy=connection.way.policy.source,
            success=Success.PASSED_ON if connection.features.dsn else Success.RELAYED,
        )  # fmt: skip

    def _note(self, feedback: Feedback) -> None:
        if _WORSE.index(feedback) > _WORSE.index(self._feedback):
            self._feedback = feedback



def _representatives(recipients: Sequence[Recipient]) -> list[int]:
    """For each recipient the index of the one of its address that the server is told of.

    Names of ours that lead to the same address elsewhere are recipients of their own, and it gets the message once. The
    first who wants to hear of a failure stands for all, so that none of them is kept from hearing of it.
    """
    chosen: dict[EmailAddress, int] = {}
    for index, recipient in enumerate(recipients):
        earlier = chosen.setdefault(recipient.address, index)
        if _wants_failure(recipient) and not _wants_failure(recipients[earlier]):
            chosen[recipient.address] = index
    return [chosen[recipient.address] for recipient in recipients]


def _wants_failure(recipient: Recipient) -> bool:
    return not recipient.notify or Notify.FAILURE in recipient.notify
