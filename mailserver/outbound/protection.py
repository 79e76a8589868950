"""How well the connection must be protected for this message at this host: the policy, and what the message adds.

A message with REQUIRETLS goes over authenticated TLS only, and to a host only that DNSSEC, MTA-STS or the operator
vouches for (RFC 8689 §4.2.1). One with `TLS-Required: No` rather arrives than is protected (§4.2.2).
"""

from __future__ import annotations

from dataclasses import replace

from mailserver.mime.headers import header_block_end, value
from mailserver.model.tls_policy import TlsLevel, TlsPolicy

__all__ = ["OPPORTUNISTIC", "authenticates", "protection", "tls_optional"]

OPPORTUNISTIC = TlsPolicy(level=TlsLevel.OPPORTUNISTIC, source="opportunistic")


def authenticates(policy: TlsPolicy) -> bool:
    """Whether a connection under this policy is to the right server, and to nobody else."""
    return policy.level in (TlsLevel.VERIFIED, TlsLevel.DANE) and policy.enforced


def protection(
    policy: TlsPolicy | None, *, require_tls: bool, mx_authentic: bool, optional: bool
) -> TlsPolicy | None:
    """What counts in the end; None: the message needs more than this host can promise."""
    policy = policy or OPPORTUNISTIC
    if require_tls:
        if authenticates(policy) or (policy.level is TlsLevel.VERIFIED and policy.source == "sts"):
            return replace(policy, enforced=True)
        return TlsPolicy(level=TlsLevel.VERIFIED, source="require-tls") if mx_authentic else None
    return replace(policy, enforced=False, refused="") if optional else policy


def tls_optional(head: bytes) -> bool:
    """`TLS-Required: No` (RFC 8689 §3); fields are looked at only where those octets are there at all."""
    block = head[: header_block_end(head)]
    return b"tls-required" in block.lower() and (value(block, b"tls-required") or b"").lower() == b"no"
