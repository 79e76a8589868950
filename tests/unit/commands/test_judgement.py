"""The words of `mailserver why` for mail that came in."""

from __future__ import annotations

from typing import Any

import pytest

from mailserver.commands.judgement import judgements


def row(**fields: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "account": "anna@example.test", "recipient": "anna@example.test", "mailbox": "Junk", "refused": False,
        "reply": "250 2.0.0 Kept", "reason": "", "score": 6.25,
        "reasons": [
            {"check": "bayes", "points": 6.75, "text": "It reads like junk", "advice": "Train it"},
            {"check": "reputation", "points": -0.5, "text": "Seen before", "advice": ""},
        ],
        "results": [
            {"method": "spf", "result": "fail", "reason": "no", "properties": {"smtp.mailfrom": "far.test"}},
            {"method": "x-new", "result": "pass", "reason": "", "properties": {}},
        ],
    }  # fmt: skip
    return given | fields


def test_all_that_was_found() -> None:
    assert judgements([row()]) == [
        "anna@example.test: delivered into the mailbox Junk",
        "  its score is 6.2 points, the sum of these:",
        "     +6.8  It reads like junk [bayes]",
        "           Train it",
        "     -0.5  Seen before [reputation]",
        "  who sent it, as far as that can be proved:",
        "    SPF (may this server send for the domain of the envelope?): fail (smtp.mailfrom=far.test) – no",
        "    x-new: pass",
        "  if you want it, move it out of Junk",
    ]


def test_a_reason_without_points_is_a_remark_and_advice_is_given_once() -> None:
    reasons = [
        {"check": "junk", "points": points, "text": f"text {points}", "advice": "Be careful"} for points in (1.0, 0.0)
    ]
    lines = judgements([row(reasons=reasons, results=[])])
    assert lines[2:5] == ["     +1.0  text 1.0 [junk]", "           Be careful", "           text 0.0 [junk]"]


def test_accounts_for_which_it_is_the_same_are_told_once() -> None:
    many = [row(account=f"u{number}@example.test") for number in range(60)]
    lines = judgements([*many, row(account="ben@example.test", mailbox="INBOX")])
    heads = [line for line in lines if not line.startswith(" ")]
    assert heads[0].startswith("u0@example.test (as anna@example.test), u1@")
    assert heads[0].endswith(" and 10 more: delivered into the mailbox Junk")
    assert heads[1:] == ["ben@example.test (as anna@example.test): delivered into the mailbox INBOX"]


@pytest.mark.parametrize(
    ("fields", "words", "advice"),
    [
        ({"refused": True, "reply": "550 5.7.1 No", "mailbox": ""}, "refused with “550 5.7.1 No”", ""),
        (
            {"refused": True, "reply": "550 5.7.1 No", "mailbox": "Rejects"},
            "refused with “550 5.7.1 No”; a copy is in the mailbox Rejects",
            "if you want it, move it out of Rejects soon: what lies there is deleted after some days",
        ),
        (
            {"mailbox": "Rejects", "reason": "junk"},
            "not wanted here, while others took it: a copy is in the mailbox Rejects",
            "if you want it, move it out of Rejects soon: what lies there is deleted after some days",
        ),
        ({"mailbox": "INBOX"}, "delivered into the mailbox INBOX", "if you do not want it, move it to Junk"),
        ({"mailbox": "INBOX", "score": -1.0, "reasons": []}, "delivered into the mailbox INBOX", ""),
        ({"mailbox": ""}, "passed on", ""),
    ],
)
def test_what_became_of_it(fields: dict[str, Any], words: str, advice: str) -> None:
    lines = judgements([row(**fields)])
    assert lines[0] == f"anna@example.test: {words}"
    assert (lines[-1].strip() if "if you" in lines[-1] else "") == advice


def test_it_is_bounded() -> None:
    lines = judgements([row(account=f"u{n}@x.test", score=n, reasons=row()["reasons"] * n) for n in range(100)])
    assert len(lines) < 7000 and lines[-1] == "… and 50 more; see them all with --json"
