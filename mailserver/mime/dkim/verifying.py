"""Are the DKIM signatures of a message good (RFC 6376 §6, RFC 8301, RFC 8463, RFC 8616)? No I/O, no clock.

In three steps, each of which only does what the one before leaves open: what the signatures say, whether the header is
what was signed (`check`, once their keys are known), and whether the body is (`results`). So a message that nobody
really signed costs neither a look-up nor a pass over its body.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mailserver.mime.dkim.canonical import BodyDigests
from mailserver.mime.dkim.header import SignedHeader
from mailserver.mime.dkim.keys import WEAK_BITS, PublicKey, choose_key
from mailserver.mime.dkim.outcome import FAIL, NEUTRAL, PASS, PERMERROR, TEMPERROR, Outcome, Unverifiable
from mailserver.mime.dkim.signature import Signature, properties_of, read_dkim_signature
from mailserver.mime.dkim.tags import read_tags
from mailserver.model.findings import AuthResult

__all__ = ["MOST_SIGNATURES", "KeyRecords", "Verification", "body_outcome", "key_of", "verify_header"]

#: The text of each record by name; None for a name that could not be asked for now.
KeyRecords = Mapping[str, tuple[bytes, ...] | None]

#: More than this prove no more, and cost (ATTACKS L06).
MOST_SIGNATURES = 8
_MAX_FIELD = 16 << 10


@dataclass(slots=True)
class _Candidate:
    """One DKIM-Signature and what is known of it. `outcome` is set as soon as it cannot become a pass."""

    field: int
    properties: tuple[tuple[str, str], ...]
    signature: Signature | None = None
    key: PublicKey | None = None
    outcome: Outcome | None = None


class Verification:
    """The DKIM signatures of one message."""

    def __init__(self, header: SignedHeader | bytes, now: float) -> None:
        """`header`, or the beginning of the message with its whole header; `now` in epoch seconds."""
        self._header = SignedHeader(header) if isinstance(header, bytes) else header
        numbers = self._header.numbers(b"dkim-signature")
        self._left_out = max(0, len(numbers) - MOST_SIGNATURES)
        authors = len(self._header.numbers(b"from")) if numbers else 1
        self._candidates = [self._read(number, now, authors) for number in numbers[:MOST_SIGNATURES]]

    def __bool__(self) -> bool:
        """Is there any signature?"""
        return bool(self._candidates)

    @property
    def key_names(self) -> frozenset[str]:
        """The names whose TXT records `check` needs."""
        return frozenset(signature.key_name for _, signature in self._open())

    def check(self, records: KeyRecords) -> BodyDigests:
        """Compare the header with what was signed. Feed the body to what this gives; it is false if none is needed."""
        for candidate, signature in self._open():
            try:
                candidate.key = key_of(signature, records)
                verify_header(self._header, candidate.field, signature, candidate.key)
            except Unverifiable as error:
                candidate.outcome = error.outcome
        return BodyDigests({signature.body for _, signature in self._open() if signature.body is not None})

    def results(self, bodies: BodyDigests) -> tuple[AuthResult, ...]:
        """One for each signature, from the top; `none` if there is no signature."""
        if not self._candidates:
            return (AuthResult(method="dkim", result="none"),)
        found = [self._result(candidate, bodies) for candidate in self._candidates]
        if self._left_out:
            reason = f"{self._left_out} more signatures were not looked at"
            found.append(AuthResult(method="dkim", result=NEUTRAL, reason=reason))
        return tuple(found)

    def signature_octets(self) -> tuple[bytes, ...]:
        """The octets of each signature in the order of the results; b"" for one that could not be read."""
        return tuple(candidate.signature.octets if candidate.signature else b"" for candidate in self._candidates)

    def _read(self, number: int, now: float, authors: int) -> _Candidate:
        raw = self._header.raw_value(number)
        if len(raw) > _MAX_FIELD:
            return _Candidate(number, (), outcome=Outcome(PERMERROR, "the signature is too long"))
        tags = read_tags(raw)
        candidate = _Candidate(number, properties_of(tags))
        try:
            candidate.signature = read_dkim_signature(tags, now)
            if authors != 1:
                # Who reads another From than the one that was signed reads something that nobody signed (§8.15).
                raise Unverifiable(PERMERROR, "the message has several From fields" if authors else "it has no From")
        except Unverifiable as error:
            candidate.outcome = error.outcome
        return candidate

    def _open(self) -> list[tuple[_Candidate, Signature]]:
        """Those that may still become a pass."""
        return [(each, each.signature) for each in self._candidates if each.outcome is None and each.signature]

    def _result(self, candidate: _Candidate, bodies: BodyDigests) -> AuthResult:
        signature, key = candidate.signature, candidate.key
        outcome = candidate.outcome
        if outcome is None:
            outcome = body_outcome(signature, bodies) if signature else Outcome(NEUTRAL, "it was not examined")
        if key is not None:
            outcome = _with_remarks(outcome, key)
        return AuthResult(
            method="dkim", result=outcome.result, reason=outcome.reason, properties=candidate.properties
        )


def key_of(signature: Signature, records: KeyRecords) -> PublicKey:
    """The key of a signature, if it may be used for it (RFC 6376 §6.1.2). Raises Unverifiable."""
    texts = records.get(signature.key_name)
    if texts is None:
        raise Unverifiable(TEMPERROR, "the key could not be looked up now")
    key = choose_key(texts)
    if key.kind != signature.kind:
        raise Unverifiable(PERMERROR, "the key is of another kind than the signature")
    if key.strict and signature.identity not in ("", signature.domain):
        raise Unverifiable(PERMERROR, "the identity (i=) is of a subdomain, which the key does not allow")
    if key.problem is not None:
        raise Unverifiable(*key.problem)
    return key


def verify_header(header: SignedHeader, field: int, signature: Signature, key: PublicKey) -> None:
    """Is the header what was signed (RFC 6376 §6.1.3)? Raises Unverifiable."""
    octets = b"".join(
        [*header.covered(signature.names, field, relaxed=signature.relaxed),
         header.unsigned(field, relaxed=signature.relaxed)]
    )  # fmt: skip
    if not key.verifies(signature.octets, octets):
        raise Unverifiable(FAIL, "the header is not as it was signed")


def body_outcome(signature: Signature, bodies: BodyDigests) -> Outcome:
    """What a signature is worth whose header is good."""
    form = signature.body
    if form is None:
        return Outcome(PASS)
    length = bodies.length(form)
    if form.limit is not None and form.limit > length:
        return Outcome(PERMERROR, "the body is shorter than what was signed (l=)")
    if bodies.digest(form) != signature.body_hash:
        return Outcome(FAIL, "the body is not as it was signed")
    if form.limit is not None and form.limit < length:
        # RFC 6376 §8.2: what was put behind the signed part could replace all that a reader sees.
        return Outcome(NEUTRAL, f"only the first {form.limit} of {length} octets of the body are signed (l=)")
    return Outcome(PASS)


def _with_remarks(outcome: Outcome, key: PublicKey) -> Outcome:
    words = [outcome.reason] if outcome.reason else []
    if outcome.result == PASS and 0 < key.bits < WEAK_BITS:
        words.append(f"weak key of {key.bits} bits")
    if key.testing:
        # RFC 6376 §3.6.1, t=y: a failure is to be no worse than no signature.
        words.append("the domain only tries DKIM out")
    failed = key.testing and outcome.result in (FAIL, PERMERROR)
    return Outcome(NEUTRAL if failed else outcome.result, "; ".join(words))
