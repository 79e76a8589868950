"""A dry run: everything up to RCPT at each host of a destination, and nothing sent. For operators who ask why."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from mailserver.model.delivery import Destination, Outcome, Result
from mailserver.model.envelope import Envelope
from mailserver.model.tls_policy import TlsPolicy
from mailserver.outbound.connection import ConnectionBroken
from mailserver.outbound.exchangers import Exchanger
from mailserver.outbound.opening import HostFailed, OpenConnection
from mailserver.outbound.outcomes import judge
from mailserver.outbound.sender import Sender
from mailserver.wire.smtp_client.commands import Demands, mail_command, obstacle, rcpt_command
from mailserver.wire.smtp_client.replies import printable
from mailserver.wire.smtp_client.transaction import Stage

__all__ = ["CertificateFacts", "HostTrial", "Trial", "try_out"]

_MOST_NAMES = 100
_LONGEST_DIALOGUE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateFacts:
    """A server's certificate; `sha256` is its fingerprint in hexadecimal digits."""

    names: tuple[str, ...]
    subject: str
    issuer: str
    begins: datetime
    ends: datetime
    sha256: str


@dataclass(slots=True, kw_only=True)
class HostTrial:
    """What one host did. `dialogue` has ("C" or "S", line); `result` is what a message would have met, up to RCPT.

    `authenticated`: the certificate is what the policy asks for.
    """

    name: str
    port: int
    addresses: tuple[str, ...]
    mx_authentic: bool
    policy: TlsPolicy | None = None
    address: str = ""
    tls: str = ""
    authenticated: bool = False
    certificate: CertificateFacts | None = None
    dialogue: list[tuple[str, str]] = field(default_factory=list)
    result: Result | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """All hosts in the order to try them; `skipped` says which could not be tried, `error` why there is none."""

    destination: str
    hosts: tuple[HostTrial, ...]
    skipped: tuple[str, ...] = ()
    error: str = ""


async def try_out(sender: Sender, destination: Destination, envelope: Envelope, *, most_hosts: int = 8) -> Trial:
    """Ask each host about the first recipient of the envelope, on a connection of its own. Raises nothing."""
    search, hosts = sender.exchangers.search(destination), list[HostTrial]()
    async for exchanger in search:
        hosts.append(await _at(sender, destination, exchanger, envelope))
        if len(hosts) >= most_hosts:
            break
    error = "" if search.error is None else search.error.text
    return Trial(destination=destination.name, hosts=tuple(hosts), skipped=tuple(search.skipped), error=error)


async def _at(sender: Sender, destination: Destination, exchanger: Exchanger, envelope: Envelope) -> HostTrial:
    trial = HostTrial(
        name=exchanger.name, port=exchanger.port, addresses=exchanger.addresses, mx_authentic=exchanger.mx_authentic
    )

    def note(who: str, line: str) -> None:
        if len(trial.dialogue) < _LONGEST_DIALOGUE:
            trial.dialogue.append((who, line))

    try:
        way = await sender.way(destination, exchanger, require_tls=envelope.require_tls)
        trial.policy = way.policy
        connection = await sender.opener.open(way, note)
    except HostFailed as error:
        trial.address = error.address
        outcome, kind = (Outcome.FAILED, "5") if error.permanent else (Outcome.DEFERRED, "4")
        trial.result = _result(trial, outcome, kind + error.status[1:], error.text, error.code)
        return trial
    trial.address, trial.tls, trial.authenticated = connection.address, connection.tls, connection.authenticated
    trial.certificate = _certificate(connection)
    try:
        await _envelope(connection, envelope, trial)
    except ConnectionBroken as error:
        trial.result = _result(trial, Outcome.DEFERRED, error.status, error.text)
    finally:
        await connection.wire.quit()
    return trial


async def _envelope(connection: OpenConnection, envelope: Envelope, trial: HostTrial) -> None:
    """MAIL and RCPT, and RSET: nobody gets anything. Raises ConnectionBroken."""
    wire, features = connection.wire, connection.features
    demands = Demands(
        size=envelope.declared_size or 0, smtputf8=envelope.smtputf8, require_tls=envelope.require_tls
    )
    refusal = obstacle(demands, features)
    if refusal is not None:
        trial.result = _result(trial, Outcome.FAILED, refusal.status, refusal.text)
        return
    stage, reply = Stage.MAIL, await wire.command(mail_command(envelope, demands, features), Stage.MAIL)
    if reply.positive:
        stage = Stage.RCPT
        line = rcpt_command(envelope.recipients[0], features, smtputf8=demands.smtputf8)
        reply = await wire.command(line, Stage.RCPT)
    if reply.positive:
        trial.result = _result(trial, Outcome.DELIVERED, reply.status or "2.1.5", str(reply), reply.code)
    else:
        judgement = judge(stage, reply)
        trial.result = _result(trial, judgement.outcome, judgement.status, str(reply), reply.code)
    await wire.command(b"RSET\r\n", Stage.RSET)


def _result(trial: HostTrial, outcome: Outcome, status: str, reply: str, code: int = 0) -> Result:
    return Result(
        outcome=outcome, status=status, reply=reply[:1000], code=code, remote=trial.name, address=trial.address,
        tls=trial.tls, policy="" if trial.policy is None else trial.policy.source,
    )  # fmt: skip


def _certificate(connection: OpenConnection) -> CertificateFacts | None:
    der = connection.wire.certificate()
    if der is None:
        return None
    try:
        found = x509.load_der_x509_certificate(der)
        try:
            names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except x509.ExtensionNotFound:
            presented: list[str] = []
        else:
            presented = [*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))]
        return CertificateFacts(
            names=tuple(_line(name) for name in presented[:_MOST_NAMES]),
            subject=_line(found.subject.rfc4514_string()),
            issuer=_line(found.issuer.rfc4514_string()),
            begins=found.not_valid_before_utc,
            ends=found.not_valid_after_utc,
            sha256=found.fingerprint(SHA256()).hex(),
        )
    except ValueError:
        return None


def _line(text: str) -> str:
    return printable(text.encode("utf-8", "replace"))
