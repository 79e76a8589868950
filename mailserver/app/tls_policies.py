"""`mailserver tls-policy`: how connections would be protected that carry mail to a domain."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from mailserver.app.application import Application
from mailserver.model.address import EmailAddress, normalize_domain
from mailserver.model.delivery import Destination, Result
from mailserver.model.envelope import Envelope, Recipient
from mailserver.outbound.exchangers import Exchanger
from mailserver.outbound.opening import HostFailed

__all__ = ["tls_policy_operations"]

_Operation = Callable[[Mapping[str, Any]], Awaitable[Any]]
_MOST_HOSTS = 20


def tls_policy_operations(app: Application) -> dict[str, _Operation]:
    """Name → operation."""

    async def show(arguments: Mapping[str, Any]) -> Any:
        domain = normalize_domain(str(arguments.get("domain", "")))
        recipient = Recipient(address=EmailAddress(local="postmaster", domain=domain))
        envelope = Envelope(sender=None, recipients=(recipient,))
        destination = await app.runner.deliverer.destination(envelope, recipient)
        told: dict[str, Any] = {"domain": domain, "destination": "", "hosts": [], "error": "", "mta_sts": None}
        if isinstance(destination, Result):
            return told | {"error": destination.reply}
        told["destination"] = destination.name
        if destination.local:
            return told
        search = app.exchangers.search(destination)
        async for exchanger in search:
            told["hosts"].append(await _host(app, destination, exchanger))
            if len(told["hosts"]) >= _MOST_HOSTS:
                break
        if search.error is not None:
            told["error"] = search.error.text
        if not destination.hosts:
            told["mta_sts"] = await _mta_sts(app, domain)
        return told

    return {"tls_policy.show": show}


async def _host(app: Application, destination: Destination, exchanger: Exchanger) -> dict[str, Any]:
    row: dict[str, Any] = {
        "host": exchanger.name, "port": exchanger.port, "addresses": list(exchanger.addresses),
        "mx_authentic": exchanger.mx_authentic, "error": "",
    }  # fmt: skip
    try:
        policy = (await app.sender.way(destination, exchanger)).policy
    except HostFailed as error:
        return row | {"error": error.text}
    return row | {
        "level": policy.level.value, "source": policy.source, "enforced": policy.enforced, "refused": policy.refused,
        "names": list(policy.names or (exchanger.name,)), "failure": policy.failure, "detail": policy.detail,
        "text": list(policy.text),
    }  # fmt: skip


async def _mta_sts(app: Application, domain: str) -> Any:
    """What its plugin says of the domain; None where it is switched off."""
    for contribution in app.hooks.contributions("operation"):
        if contribution.name == "mta_sts.show":
            return await contribution.value({"domain": domain})
    return None
