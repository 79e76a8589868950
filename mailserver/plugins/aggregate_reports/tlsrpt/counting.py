"""What of a connection makes it one row with others: the policy, and why it failed (RFC 8460 §4.3, §4.4)."""

from __future__ import annotations

import orjson

from mailserver import api
from mailserver.plugins.aggregate_reports.kind import Counted
from mailserver.plugins.aggregate_reports.text import clean

__all__ = ["counted", "without_details"]

#: Of a policy's text.
_MOST_LINES = 20
_TYPES = {"sts": "sts", "dane": "tlsa"}
#: What may be "" where a connection failed, as are all of these and the result where it went well.
_DETAILS = ("source", "host", "address", "reason")


def counted(event: api.TlsAttempted) -> Counted | None:
    """None: the domain can have no record."""
    domain = api.public_domain(event.domain)
    if not domain:
        return None
    policy = event.policy
    kind = _TYPES.get(policy.source, "no-policy-found")
    facts = {
        "type": kind,
        # RFC 8460 §1.1: of DANE, the Policy Domain is the TLSA base domain, which is the name of the server.
        "domain": (api.public_domain(event.host) or domain) if kind == "tlsa" else domain,
        "text": [clean(line) for line in policy.text[:_MOST_LINES]] if policy.source in _TYPES else [],
        "patterns": policy.patterns[:_MOST_LINES] if kind == "sts" else [],
        "result": event.failure,
    } | dict.fromkeys(_DETAILS, "")
    if event.failure:
        facts["source"], facts["host"] = _public(event.source), clean(event.host)
        facts["address"], facts["reason"] = event.address, clean(event.detail)
    return Counted(domain, orjson.dumps(facts).decode())


def without_details(facts: str) -> str:
    """The same kind of failure, wherever it was; "": there were no details."""
    left = orjson.loads(facts) | dict.fromkeys(_DETAILS, "")
    return orjson.dumps(left).decode() if left["result"] else ""


def _public(address: str) -> str:
    """Behind a translator of addresses, ours means nothing to others, and tells of our network."""
    found = api.parse_ip(address)
    return address if found is not None and found.is_global else ""
