"""`mailserver send --test`: what would become of a message to somebody, without sending one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from typing import Any

from mailserver.app.application import Application
from mailserver.model.address import EmailAddress
from mailserver.model.delivery import Result
from mailserver.model.envelope import Envelope, Recipient
from mailserver.model.errors import NotFound
from mailserver.model.ids import AccountId
from mailserver.outbound.trial import CertificateFacts, HostTrial, try_out

__all__ = ["trial_operations"]


def trial_operations(app: Application) -> dict[str, Callable[[Mapping[str, Any]], Awaitable[Any]]]:
    """Name → operation."""

    async def test(arguments: Mapping[str, Any]) -> Any:
        sender = EmailAddress.parse(str(arguments.get("account", "")))
        if app.directory.account(sender.key) is None:
            raise NotFound(f"there is no account {sender}")
        recipient = Recipient(address=EmailAddress.parse(str(arguments.get("recipient", ""))))
        beyond_ascii = not (sender.local.isascii() and recipient.address.local.isascii())
        envelope = Envelope(
            sender=sender, recipients=(recipient,), smtputf8=beyond_ascii, account=AccountId(sender.key)
        )
        told: dict[str, Any] = {
            "recipient": str(recipient.address), "destination": "", "local": False, "hosts": [], "skipped": [],
            "error": "",
        }  # fmt: skip
        destination = await app.runner.deliverer.destination(envelope, recipient)
        if isinstance(destination, Result):
            return told | {"error": destination.reply}
        if destination.local:
            return told | {"destination": destination.name, "local": True}
        trial = await try_out(app.sender, destination, envelope)
        return told | {
            "destination": trial.destination, "hosts": [_host(host) for host in trial.hosts],
            "skipped": list(trial.skipped), "error": trial.error,
        }  # fmt: skip

    return {"send.test": test}


def _host(trial: HostTrial) -> dict[str, Any]:
    policy, result = trial.policy, trial.result
    return {
        "host": trial.name,
        "port": trial.port,
        "addresses": list(trial.addresses),
        "mx_authentic": trial.mx_authentic,
        "level": "" if policy is None else policy.level.value,
        "source": "" if policy is None else policy.source,
        "names": [] if policy is None else list(policy.names or (trial.name,)),
        "address": trial.address,
        "tls": trial.tls,
        "authenticated": trial.authenticated,
        "certificate": _certificate(trial.certificate),
        "dialogue": [list(line) for line in trial.dialogue],
        "outcome": "" if result is None else result.outcome.value,
        "status": "" if result is None else result.status,
        "reply": "" if result is None else result.reply,
    }


def _certificate(facts: CertificateFacts | None) -> dict[str, Any] | None:
    if facts is None:
        return None
    return asdict(facts) | {"names": list(facts.names), "begins": facts.begins.timestamp(),
                            "ends": facts.ends.timestamp()}  # fmt: skip
