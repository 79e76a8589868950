"""What DMARC's findings mean for a message: the verdict, the result for Authentication-Results, and plain words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mailserver import api
from mailserver.plugins.dmarc.evaluation import Evaluation
from mailserver.plugins.dmarc.exceptions import Override

__all__ = ["Disposition", "accepted", "doubted", "never_known", "no_author", "not_known", "unproved", "unquoted"]

Disposition = api.DmarcRequest

_POINTS = {"none": 1.0, "quarantine": 3.0, "reject": 12.0}
#: Where a policy is not applied, what the domain wants still says something.
_NOT_APPLIED = {"none": 1.0, "quarantine": 3.0, "reject": 4.0}
_OWN = 3.0
#: For a field that stands there twice: To and Cc mislead nobody about what is written and who did.
_TWICE = {"To": 1.0, "Cc": 1.0}
#: Points for an author who is known, and written badly.
_CARELESS = 0.7
_TWICE_MISLEADING = 2.5
_ADVICE = "Whoever wrote it can be somebody else. If you expected it, ask the sender by another way."


def accepted(found: Evaluation) -> api.Verdict:
    """A pass; or a domain that says nothing."""
    return api.Accept(findings=api.Findings((_result(found),)))


def no_author(fault: str, *, refuse: bool) -> api.Verdict:
    """A message that programs could show under different names."""
    result = api.AuthResult(method="dmarc", result="permerror", reason=fault)
    reason = api.Reason("dmarc", 4.0, f"It is written so that programs may disagree who its author is: {fault}")
    findings = api.Findings((result,), (reason,))
    if not refuse:
        return api.Accept(findings=findings)
    reply = api.Reply(550, "5.6.0", f"The message cannot be taken: {fault} (RFC 5322)")
    return api.Reject(reply, "no single author", findings=findings)


def doubted(verdict: api.Verdict, field: str) -> api.Verdict:
    """The same for a message that has `field` more than once: never a pass, and never better than without."""
    fault = f"it has more than one {field} field"
    results = tuple(
        replace(result, result="permerror", reason=fault) if result.result == "pass" else result
        for result in verdict.findings.results
    )
    text = f"It has more than one {field} field, so programs may show it differently"
    reason = api.Reason("dmarc", _TWICE.get(field, _TWICE_MISLEADING), text)
    return replace(verdict, findings=api.Findings(results, (*verdict.findings.reasons, reason)))


def unquoted(verdict: api.Verdict) -> api.Verdict:
    """The same for a message whose author's name has a comma that should be quoted: careless programs write that."""
    text = "The name in its From field has a comma in it and is not quoted, as careless programs write it"
    reason = api.Reason("dmarc", _CARELESS, text)
    return replace(verdict, findings=api.Findings(verdict.findings.results, (*verdict.findings.reasons, reason)))


def not_known(found: Evaluation, *, defer: bool) -> api.Verdict:
    """Neither pass nor fail (RFC 9989 §5.3.6)."""
    findings = api.Findings((_result(found),))
    if not defer:
        return api.Accept(findings=findings)
    reply = api.Reply(451, "4.4.3", f"DMARC of {found.author} cannot be examined now, try again later")
    return api.Defer(reply, "dmarc temperror", findings=findings)


def never_known(found: Evaluation) -> api.Verdict:
    """His domain could not be asked for so long that the other server would give up."""
    text = f"Nothing proves that it is from {found.author}, and that domain's DNS has been out of order for hours"
    return api.Quarantine(
        "dmarc temperror", findings=api.Findings((_result(found),), (api.Reason("dmarc", 3.0, text, _ADVICE),))
    )


def unproved(
    found: Evaluation, applied: Disposition, *, own: bool, wanted: Disposition = "none",
    overrides: Sequence[Override] = (),
) -> api.Verdict:  # fmt: skip
    """Nothing proves the author. `own`: his domain is served here."""
    findings = api.Findings((_result(found, wanted),), _reasons(found, applied, wanted, overrides, own=own))
    if applied == "reject":
        if own and wanted != "reject":
            words = f"Mail in the name of {found.author}, which is served here, is not forwarded: nothing proves it"
        else:
            words = f"Refused, as DMARC of {found.author} asks: neither SPF nor DKIM proves that it is from there"
        return api.Reject(api.Reply(550, "5.7.1", words), "dmarc fail", findings=findings)
    if applied == "quarantine":
        return api.Quarantine("dmarc fail", findings=findings)
    return api.Accept(findings=findings)


def _result(found: Evaluation, wanted: str = "") -> api.AuthResult:
    properties = [("header.from", found.author)]
    if found.result == "fail":
        properties.append(("policy.dmarc", wanted))
    return api.AuthResult(method="dmarc", result=found.result, reason=found.problem, properties=tuple(properties))


def _reasons(
    found: Evaluation, applied: Disposition, wanted: Disposition, overrides: Sequence[Override], *, own: bool
) -> tuple[api.Reason, ...]:
    if any(override.kind == "trusted_forwarder" for override in overrides):
        return tuple(api.Reason("dmarc", 0.0, override.text) for override in overrides if override.text)
    reasons = []
    if found.result == "fail":
        text = f"Nothing proves that it is from {found.author} (DMARC)"
        if wanted != "none":
            wish = "be refused" if wanted == "reject" else "go to Junk"
            text = f"Nothing proves that it is from {found.author}, which wants such mail to {wish} (DMARC)"
        points = _POINTS[wanted] if applied == wanted else _NOT_APPLIED[wanted]
        if any(override.kind == "mailing_list" for override in overrides):
            points = 1.0
        reasons.append(api.Reason("dmarc", points, text, _ADVICE))
    if own:
        text = f"It claims to be from {found.author}, which is served here, but came from outside and nothing proves it"
        reasons.append(api.Reason("dmarc", _OWN, text, _ADVICE))
    reasons += [api.Reason("dmarc", 0.0, override.text) for override in overrides if override.text]
    return tuple(reasons)
