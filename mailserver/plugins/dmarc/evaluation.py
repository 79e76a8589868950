"""Does SPF or DKIM prove the author? (RFC 9989 §5.3)"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, replace

from mailserver import api
from mailserver.plugins.dmarc.tree import Policy, Tree

__all__ = ["Evaluation", "evaluate"]

_MAX_SECONDS = 25.0
#: Domains of signatures whose organisation is looked up, beside the author's own.
_MOST_SIGNERS = 10


@dataclass(frozen=True, slots=True)
class Evaluation:
    """`result` as RFC 8601 names it; `problem` is what could not be found out. `dkim` and `spf`: which of them is
    aligned and a pass."""

    author: str
    result: str
    policy: Policy | None = None
    dkim: bool = False
    spf: bool = False
    problem: str = ""


async def evaluate(
    resolver: api.Resolver, author: str, sender: api.EmailAddress | None, helo: str, findings: api.Findings
) -> Evaluation:
    """`findings` are those of SPF and DKIM; never raises."""
    tree = Tree(resolver)
    policy: Policy | None = None
    try:
        async with asyncio.timeout(_MAX_SECONDS):
            policy = None if author.startswith("[") else await tree.policy(author)
            if policy is None:
                return Evaluation(author, "none")
            if policy.record.broken:
                return Evaluation(author, "permerror", problem=f"the DMARC record of {policy.domain} has no policy")
            found = await _compare(tree, author, policy, sender, helo, findings)
            return found if found.result == "pass" else replace(found, policy=await tree.settled(policy, author))
    except api.LookupFailed as error:
        return Evaluation(author, "temperror", policy, problem=error.text)
    except TimeoutError:
        return Evaluation(author, "temperror", policy, problem="the lookups took too long")


async def _compare(
    tree: Tree, author: str, policy: Policy, sender: api.EmailAddress | None, helo: str, findings: api.Findings
) -> Evaluation:
    spf = _spf_domains(sender, helo, findings)
    dkim = [(result.result, result.value("header.d").lower()) for result in findings.of("dkim")]
    record = policy.record
    by_spf = await _aligned(tree, author, _with(spf, "pass"), strict=record.strict_spf)
    by_dkim = await _aligned(tree, author, _with(dkim, "pass"), strict=record.strict_dkim)
    if by_spf or by_dkim:
        return Evaluation(author, "pass", policy, dkim=bool(by_dkim), spf=bool(by_spf))
    if by_spf is None or by_dkim is None:
        return Evaluation(author, "temperror", policy, problem="the organizational domain could not be looked up")
    # What could not be examined might have been the proof (§5.3.6).
    for method, results, strict in (("SPF", spf, record.strict_spf), ("DKIM", dkim, record.strict_dkim)):
        if await _aligned(tree, author, _with(results, "temperror"), strict=strict) is not False:
            return Evaluation(author, "temperror", policy, problem=f"{method} could not be looked up")
    return Evaluation(author, "fail", policy)


def _spf_domains(
    sender: api.EmailAddress | None, helo: str, findings: api.Findings
) -> list[tuple[str, str]]:
    """The identity of MAIL FROM alone counts (§4.4.2); a bounce's is the name in EHLO (RFC 7208 §2.4)."""
    if sender is None:
        return [(r.result, helo.lower()) for r in findings.of("spf") if r.value("smtp.helo") == helo and helo]
    found = [(r.result, r.value("smtp.mailfrom").rpartition("@")[2]) for r in findings.of("spf")]
    return [(result, domain) for result, domain in found if domain == sender.domain]


def _with(results: Iterable[tuple[str, str]], wanted: str) -> list[str]:
    return [domain for result, domain in results if result == wanted and domain]


async def _aligned(tree: Tree, author: str, domains: Iterable[str], *, strict: bool) -> bool | None:
    """§4.10.2: one of them is. None: that cannot be found out."""
    distinct = list(dict.fromkeys(domains))
    if author in distinct:
        return True
    top = author.rpartition(".")[2]
    if strict or not any(domain.rpartition(".")[2] == top for domain in distinct):
        return False
    try:
        organizational = await tree.organizational(author)
    except api.LookupFailed:
        return None
    # What lies outside cannot have the same organizational domain, and is not asked about.
    within = [domain for domain in distinct if domain == organizational or domain.endswith(f".{organizational}")]
    unknown = len(within) > _MOST_SIGNERS
    for domain in within[:_MOST_SIGNERS]:
        try:
            if await tree.organizational(domain) == organizational:
                return True
        except api.LookupFailed:
            unknown = True
    return None if unknown else False
