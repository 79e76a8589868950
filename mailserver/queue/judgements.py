"""What was said of a message before it was accepted, in the record NEW: bounded, and each finding once. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mailserver.model.findings import AuthResult, Findings, Judgement, Reason

__all__ = ["judgement_fields", "judgements_of"]

#: Characters of texts that are kept of one message, and findings of one account; what is beyond is not known later.
_MOST_TEXT, _MOST_FINDINGS, _MOST_PROPERTIES = 12_000, 60, 12
_LONGEST = 300


def judgement_fields(judgements: Sequence[Judgement]) -> dict[str, Any]:
    """For JSON. Whether a copy belongs into Junk, and whether it was refused, is always kept."""
    table = _Table()
    entries = []
    for judgement in judgements:
        places = None if judgement.findings is None else table.places(judgement.findings)
        entries.append([judgement.account, int(judgement.quarantined), _cut(judgement.refusal), places])
    return {"entries": entries, "findings": table.rows}


def judgements_of(fields: dict[str, Any]) -> tuple[Judgement, ...]:
    """The opposite. Raises KeyError, ValueError, TypeError, IndexError."""
    table = [_finding_of(row) for row in fields["findings"]]
    found = []
    for account, quarantined, refusal, places in fields["entries"]:
        named = None if places is None else [table[int(place)] for place in places]
        found.append(
            Judgement(
                account=str(account), quarantined=bool(quarantined), refusal=str(refusal),
                findings=None if named is None else Findings(
                    tuple(one for one in named if isinstance(one, AuthResult)),
                    tuple(one for one in named if isinstance(one, Reason)),
                ),
            )
        )  # fmt: skip
    return tuple(found)


class _Table:
    """Findings of all accounts; most of them are of the message, and so the same for everybody."""

    def __init__(self) -> None:
        self.rows: list[list[Any]] = []
        self._known: dict[AuthResult | Reason, int] = {}
        self._text = 0

    def places(self, findings: Findings) -> list[int] | None:
        """Where they are; None: there is no room for all of them, and a part would tell something else."""
        every: tuple[AuthResult | Reason, ...] = (*findings.results, *findings.reasons)
        new = {one: _row(one) for one in every if one not in self._known}
        text = sum(map(_length, new.values()))
        if len(every) > _MOST_FINDINGS or self._text + text > _MOST_TEXT:
            return None
        self._text += text
        for one, row in new.items():
            self._known[one] = len(self.rows)
            self.rows.append(row)
        return [self._known[one] for one in every]


def _row(one: AuthResult | Reason) -> list[Any]:
    if isinstance(one, Reason):
        return [one.check, one.points, _cut(one.text), _cut(one.advice)]
    properties = [[name, _cut(value)] for name, value in one.properties[:_MOST_PROPERTIES]]
    return [one.method, one.result, _cut(one.reason), properties]


def _length(row: list[Any]) -> int:
    return len(str(row))


def _finding_of(row: list[Any]) -> AuthResult | Reason:
    name, second, text, last = row
    if isinstance(second, str):
        properties = tuple((str(key), str(value)) for key, value in last)
        return AuthResult(method=str(name), result=second, reason=str(text), properties=properties)
    return Reason(str(name), float(second), str(text), str(last))


def _cut(text: str) -> str:
    """Words that may have come from a message: as UTF-8 can write them, and not too many."""
    return text[:_LONGEST].encode(errors="replace").decode()
