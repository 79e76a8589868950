"""The chain of ARC (RFC 8617): who passed a message on, and what each of them found. No I/O, no clock.

As with DKIM, `check` looks at all that the header says once the keys are known, and only a chain that is whole up to
there has its message's body looked at. Every fault, also one of DNS, is a `fail` (§5.2.1).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from mailserver.mime.auth_results_reading import read_results
from mailserver.mime.dkim.canonical import BodyDigests
from mailserver.mime.dkim.header import SignedHeader
from mailserver.mime.dkim.outcome import FAIL, PASS, Unverifiable
from mailserver.mime.dkim.signature import Signature, read_message_signature, read_seal
from mailserver.mime.dkim.tags import read_tags
from mailserver.mime.dkim.verifying import KeyRecords, body_outcome, key_of, verify_header
from mailserver.mime.headers import unfold
from mailserver.model.findings import AuthResult

__all__ = ["ARC_FIELDS", "Chain"]

_MOST_SETS = 50
_MAX_FIELD = 32 << 10
_RESULTS, _MESSAGE, _SEAL = b"arc-authentication-results", b"arc-message-signature", b"arc-seal"
#: The names of what makes a chain, in lower case.
ARC_FIELDS = (_RESULTS, _MESSAGE, _SEAL)
_INSTANCE = re.compile(rb"[1-9][0-9]?")
_RESULTS_INSTANCE = re.compile(rb"[ \t\r\n]*i[ \t\r\n]*=[ \t\r\n]*([1-9][0-9]?)[ \t\r\n]*;(.*)", re.DOTALL)
#: Of a trusted sealer's results these are passed on, with the property that says of whom each is.
_CLAIMS = {"dmarc": "header.from", "spf": "smtp.mailfrom", "dkim": "header.d"}


class _Broken(Exception):
    """The chain proves nothing, and why."""


@dataclass(frozen=True, slots=True)
class _Set:
    """One ARC Set: the numbers of its fields, and the tags of two of them."""

    results: int
    message: int
    seal: int
    message_tags: Mapping[bytes, bytes]
    seal_tags: Mapping[bytes, bytes]

    @property
    def status(self) -> bytes:
        """What its sealer found the chain to be (cv=)."""
        return self.seal_tags.get(b"cv", b"").lower()


class Chain:
    """The ARC Sets of one message."""

    def __init__(self, header: SignedHeader | bytes, now: float) -> None:
        """`header`, or the beginning of the message with its whole header; `now` in epoch seconds."""
        self._header = SignedHeader(header) if isinstance(header, bytes) else header
        self._now = now
        self._problem = ""
        self._seals: list[Signature] = []
        #: The message signatures, the last sealer's first; None for one of an earlier sealer that is not good.
        self._messages: list[Signature | None] = []
        self._sets: list[_Set] = []
        try:
            self._sets = self._read_sets()
            self._seals = [self._seal(each) for each in self._sets]
            self._messages = [self._message(each, last=each is self._sets[-1]) for each in reversed(self._sets)]
        except _Broken as error:
            self._problem = str(error)

    def __bool__(self) -> bool:
        """Is there any part of a chain?"""
        return any(self._header.numbers(name) for name in ARC_FIELDS)

    @property
    def key_names(self) -> frozenset[str]:
        """The names whose TXT records `check` needs."""
        if self._problem:
            return frozenset()
        return frozenset(each.key_name for each in (*self._seals, *self._messages) if each is not None)

    def check(self, records: KeyRecords) -> BodyDigests:
        """Compare the header with what was signed. Feed the body to what this gives; it is false if none is needed."""
        if not self._problem:
            try:
                self._check_messages(records)
                self._check_seals(records)
            except _Broken as error:
                self._problem = str(error)
        if self._problem:
            return BodyDigests(())
        return BodyDigests({each.body for each in self._messages if each is not None and each.body is not None})

    def result(self, bodies: BodyDigests, trusted: Collection[str] = ()) -> AuthResult:
        """What the chain is worth.

        The properties of a pass are header.oldest-pass (0: all message signatures are good still; §5.2, step 5) and
        header.d, the last sealer. If `trusted` (A-labels) has all sealers from one on to the last, and the last one
        signed the author, policy.sealer is the first of them, and policy.dmarc, .spf and .dkim are what that one says
        it found, each with the domain it found it of: policy.dmarc-from, policy.spf-mailfrom, policy.dkim-d.
        """
        if not self:
            return AuthResult(method="arc", result="none")
        outcomes = [body_outcome(each, bodies) if each else None for each in self._messages if not self._problem]
        last, outcome = (self._messages[0], outcomes[0]) if outcomes else (None, None)
        if last is None or outcome is None or outcome.result != PASS:
            reason = self._problem or f"message signature: {outcome.reason if outcome else 'there is none'}"
            return AuthResult(method="arc", result=FAIL, reason=reason)
        good = next((n for n, each in enumerate(outcomes) if each is None or each.result != PASS), len(outcomes))
        oldest = 0 if good == len(outcomes) else len(outcomes) - good + 1
        properties = [("header.oldest-pass", str(oldest)), ("header.d", self._seals[-1].domain)]
        if b"from" in last.names and len(self._header.numbers(b"from")) == 1:
            properties += self._claims(trusted)
        return AuthResult(method="arc", result=PASS, properties=tuple(properties))

    # the parts (§5.2, steps 1 to 3)

    def _read_sets(self) -> list[_Set]:
        numbers = {name: self._header.numbers(name) for name in ARC_FIELDS}
        if max(map(len, numbers.values())) > _MOST_SETS:
            raise _Broken(f"there are more than {_MOST_SETS} sets")
        tags: dict[int, Mapping[bytes, bytes]] = {}
        found = {name: self._by_instance(name, tags) for name in numbers}
        seals = found[_SEAL]
        if seals and tags[seals[max(seals)]].get(b"cv", b"").lower() == b"fail":
            raise _Broken("the last sealer found the chain broken")
        instances = range(1, len(seals) + 1)
        if any(sorted(each) != list(instances) for each in found.values()):
            raise _Broken("sets are missing, or not complete")
        sets = [
            _Set(
                found[_RESULTS][n], found[_MESSAGE][n], seals[n],
                tags[found[_MESSAGE][n]], tags[seals[n]],
            )
            for n in instances
        ]  # fmt: skip
        if [each.status for each in sets] != [b"none", *[b"pass"] * (len(sets) - 1)][: len(sets)]:
            raise _Broken("a sealer found the chain broken")
        return sets

    def _by_instance(self, name: bytes, tags: dict[int, Mapping[bytes, bytes]]) -> dict[int, int]:
        """Instance → number of the field; `tags` gets what stands in it."""
        found: dict[int, int] = {}
        for number in self._header.numbers(name):
            raw = self._header.raw_value(number)
            if len(raw) > _MAX_FIELD:
                raise _Broken("a field is too long")
            if name == _RESULTS:
                match = _RESULTS_INSTANCE.match(raw)
                text = match[1] if match is not None else b""
            else:
                tags[number] = read_tags(raw) or {}
                text = tags[number].get(b"i", b"")
            instance = int(text) if _INSTANCE.fullmatch(text) else 0
            if not 0 < instance <= _MOST_SETS or instance in found:
                raise _Broken("the numbers of the sets (i=) are not in order")
            found[instance] = number
        return found

    def _seal(self, part: _Set) -> Signature:
        try:
            return read_seal(part.seal_tags, self._now)
        except Unverifiable as error:
            raise _Broken(f"seal: {error.outcome.reason}") from None

    def _message(self, part: _Set, *, last: bool) -> Signature | None:
        try:
            return read_message_signature(part.message_tags, self._now)
        except Unverifiable as error:
            if last:
                raise _Broken(f"message signature: {error.outcome.reason}") from None
            return None

    # the arithmetic (§5.2, steps 4 to 6)

    def _check_messages(self, records: KeyRecords) -> None:
        """Only the last sealer's must be good; of the others those that are not are put aside."""
        for place, (signature, part) in enumerate(zip(self._messages, reversed(self._sets), strict=True)):
            try:
                if signature is not None:
                    verify_header(self._header, part.message, signature, key_of(signature, records))
            except Unverifiable as error:
                if place == 0:
                    raise _Broken(f"message signature: {error.outcome.reason}") from None
                self._messages[place] = None

    def _check_seals(self, records: KeyRecords) -> None:
        covered: list[bytes] = []
        for signature, part in zip(self._seals, self._sets, strict=True):
            covered += [self._header.field(number, relaxed=True) for number in (part.results, part.message)]
            try:
                key = key_of(signature, records)
            except Unverifiable as error:
                raise _Broken(f"seal: {error.outcome.reason}") from None
            if not key.verifies(signature.octets, b"".join([*covered, self._header.unsigned(part.seal, relaxed=True)])):
                raise _Broken("seal: what it covers was changed")
            covered.append(self._header.field(part.seal, relaxed=True))

    # what sealers say

    def _claims(self, trusted: Collection[str]) -> list[tuple[str, str]]:
        first = len(self._seals)
        while first and self._seals[first - 1].domain in trusted:
            first -= 1
        if first == len(self._seals):
            return []
        match = _RESULTS_INSTANCE.match(self._header.raw_value(self._sets[first].results))
        found = [("policy.sealer", self._seals[first].domain)]
        results = read_results(unfold(match[2])) if match is not None else ()
        for method, subject in _CLAIMS.items():
            claims = [result for result in results if result.method == method]
            claim = next((each for each in claims if each.result == PASS), claims[0] if claims else None)
            if claim is not None:
                found.append((f"policy.{method}", claim.result))
                if value := claim.value(subject):
                    found.append((f"policy.{method}-{subject.rpartition('.')[2]}", value))
        return found
