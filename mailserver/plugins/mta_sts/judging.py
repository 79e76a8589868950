"""What a policy means for one host (RFC 8461 §4, §5)."""

from __future__ import annotations

from mailserver import api
from mailserver.plugins.mta_sts.policies import Found
from mailserver.plugins.mta_sts.policy import Mode

__all__ = ["judge"]


def judge(found: Found, domain: str, host: str) -> api.TlsPolicy | None:
    """None: the domain has no policy, or one of the mode none."""
    failure, detail = ("", "") if found.error is None else (found.error.failure, str(found.error))
    if found.cached is None:
        if not failure:
            return None
        # RFC 8461 §3.3: as if there were no MTA-STS; the domain's reports tell that it has a problem (§6).
        return api.TlsPolicy(
            level=api.TlsLevel.OPPORTUNISTIC, source="opportunistic", failure=failure, detail=detail, minimum=True
        )
    policy = found.cached.policy
    if policy.mode is Mode.NONE:
        return None
    refused = ""
    if not policy.allows(host):
        refused = f"the MTA-STS policy of {domain} does not name {host} as one of its mail servers"
        failure, detail = "validation-failure", refused
    enforced = policy.mode is Mode.ENFORCE
    return api.TlsPolicy(
        level=api.TlsLevel.VERIFIED, source="sts", names=(host.lower(),), enforced=enforced, refused=refused,
        failure=failure, detail=detail, text=policy.text, patterns=policy.patterns, minimum=not enforced,
    )  # fmt: skip
