"""What checks find out about a message: results of authentication, and reasons for and against it.

Findings travel with the message from the check that made them to the later ones, to the decision, and into the history
that explains it.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["NOTHING", "AuthResult", "Findings", "Judgement", "Reason"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthResult:
    """One result of one method (RFC 8601 §2.2), as it goes into Authentication-Results.

    Attributes:
        method: `spf`, `dkim`, `dmarc`, `arc`, `iprev`, … in lower case.
        result: of that method: `pass`, `fail`, `none`, `temperror`, …
        reason: why, for a person (reason=); "" for none.
        properties: ptype.property and its value, in order: `("smtp.mailfrom", "example.org")`.
    """

    method: str
    result: str
    reason: str = ""
    properties: tuple[tuple[str, str], ...] = ()

    def value(self, name: str) -> str:
        """The value of a property; "" if there is none."""
        return next((value for key, value in self.properties if key == name), "")


@dataclass(frozen=True, slots=True)
class Reason:
    """Something that speaks against a message, or for it.

    Attributes:
        check: what found it, as settings and statistics call it: `dmarc`, `bayes`.
        points: how much it counts; above zero against the message, below zero for it.
        text: in plain words, for the person who gets the mail: "The sender's domain says that this server may not
            send for it".
        advice: what that person can do about it; "" for nothing.
    """

    check: str
    points: float
    text: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Findings:
    """All that was found so far, in order."""

    results: tuple[AuthResult, ...] = ()
    reasons: tuple[Reason, ...] = ()

    @property
    def score(self) -> float:
        """The sum of all points."""
        return sum(reason.points for reason in self.reasons)

    def of(self, method: str) -> tuple[AuthResult, ...]:
        """The results of one method."""
        return tuple(result for result in self.results if result.method == method)

    def proves(self, domain: str) -> str:
        """The method that proves that an author of this domain (in A-labels) stands behind the message: `dmarc`,
        `dkim`, `spf`; "" when none does, or there is no domain.

        A signature or an envelope of the domain itself counts, or of one above it, whose owner speaks for those below.
        One below may be a stranger's, as on hosts where everybody gets a name: for that it takes DMARC, which knows.
        """
        if not domain:
            return ""
        domain = domain.lower()
        for method, named, above in _PROOFS:
            for result in self.results:
                if result.method == method and result.result == "pass":
                    proved = result.value(named).rpartition("@")[2].rstrip(".").lower()
                    if proved == domain or (above and "." in proved and domain.endswith("." + proved)):
                        return method
        return ""

    def __add__(self, more: Findings) -> Findings:
        """These, then those."""
        if not (more.results or more.reasons):
            return self
        return Findings(self.results + more.results, self.reasons + more.reasons)


#: Method, the property with the domain that it proves, and whether that domain speaks for those below it.
_PROOFS = (("dmarc", "header.from", False), ("dkim", "header.d", True), ("spf", "smtp.mailfrom", True))
NOTHING = Findings()


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What was said of a message before it was accepted, about the copy of an account that gets it from the queue.

    Attributes:
        account: whose copy; "" for everybody's.
        findings: None when they are not known any more.
        quarantined: it belongs into Junk.
        refusal: the account does not want it, in the words of the reply; "" when it does. Then its copy is in Rejects.
    """

    account: str = ""
    findings: Findings | None = NOTHING
    quarantined: bool = False
    refusal: str = ""
