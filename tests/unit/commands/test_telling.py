"""What happened to a message, in words; times on the command line."""

from __future__ import annotations

import json
import time
from typing import Any

import click
import pytest

from mailserver.commands.moments import AFTER, BEFORE, ago, moment, span
from mailserver.commands.options import show
from mailserver.commands.telling import answered, protected, story, waiting_recipient


def result(**fields: Any) -> dict[str, Any]:
    given = {
        "at": 1_800_000_000.0, "outcome": "deferred", "status": "4.7.1", "code": 451, "reply": "later",
        "remote": "mx.far.test", "address": "192.0.2.25", "tls": "TLSv1.3 AES", "policy": "dane",
    }  # fmt: skip
    return given | fields


def event(**fields: Any) -> dict[str, Any]:
    given = {
        "at": 1_800_000_000.0, "status": "deferred", "recipient": "bob@far.test", "destination": "far.test",
        "attempt": 2, "enhanced": "4.7.1", "code": 451, "reply": "later", "remote": "", "address": "", "tls": "",
        "policy": "", "next_attempt": None, "report": "", "doubtful": 0,
    }  # fmt: skip
    return given | fields


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "mx.far.test [192.0.2.25] said: 451 later"),
        ({"reply": "451 4.7.1 later"}, "mx.far.test [192.0.2.25] said: 451 4.7.1 later"),
        ({"remote": "[192.0.2.25]"}, "[192.0.2.25] said: 451 later"),
        ({"remote": ""}, "[192.0.2.25] said: 451 later"),
        ({"code": 0, "reply": "No server answers"}, "No server answers (4.7.1)"),
        ({"code": 0, "reply": "", "status": ""}, "nothing was said"),
    ],
)
def test_who_said_what(fields: dict[str, Any], words: str) -> None:
    assert answered(result(**fields)) == words


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "over TLSv1.3 AES, as its DNSSEC-signed DNS demands (DANE)"),
        ({"policy": "sts"}, "over TLSv1.3 AES, as its published policy demands (MTA-STS)"),
        ({"policy": "opportunistic"}, "over TLSv1.3 AES, because the server offers it"),
        ({"policy": ""}, "over TLSv1.3 AES"),
        ({"tls": "", "policy": "opportunistic"}, "without TLS (opportunistic)"),
        ({"tls": "", "address": ""}, ""),
    ],
)
def test_how_it_was_protected(fields: dict[str, Any], words: str) -> None:
    assert protected(result(**fields)) == words


def test_a_waiting_recipient() -> None:
    row = {
        "address": "bob@far.test", "state": "waiting", "attempts": 1, "next_attempt": time.time() + 7200,
        "possible_duplicate": True, "last": result(at=time.time() - 60), "destination": "far.test",
        "reports": [{"action": "delayed", "report": "0report"}, {"action": "failed", "report": None}],
        "paused_until": time.time() + 600, "paused_because": "421 too many connections",
    }  # fmt: skip
    first, *rest = waiting_recipient(row)
    assert first.startswith("bob@far.test: waiting, 1 attempt so far, next attempt ") and first.endswith("(in 2 hours)")
    text = "\n".join(rest)
    assert "(1 minute ago): deferred; mx.far.test [192.0.2.25] said: 451 later" in text
    assert "it may have arrived already" in text
    assert "far.test is left alone until" in text and "(in 10 minutes): 421 too many connections" in text
    assert "the sender was told that it is late (report 0report)" in text and "None" not in text


def test_events_of_many_recipients_are_told_once() -> None:
    events = [event(status="accepted", recipient=f"r{number}@far.test") for number in range(12)]
    (line,) = story(events)
    assert line.endswith("r9@far.test and 2 more: accepted (250)")
    (one, two) = story([event(status="accepted"), event(status="dropped")])
    assert one.endswith("bob@far.test: accepted (250)") and two.endswith("bob@far.test: dropped by hand")


def test_what_people_did_is_told_with_who_did_it() -> None:
    until = time.time() + 7230
    both = [event(status="held", recipient=f"{name}@x.test", report="anna", next_attempt=until) for name in "ab"]
    (line,) = story(both)
    assert "a@x.test, b@x.test: held by anna until " in line and line.endswith("(in 2 hours)")
    told: list[tuple[dict[str, Any], str]] = [
        ({"status": "held"}, "bob@far.test: held by hand, until it is released"),
        ({"status": "released", "report": "root"}, "bob@far.test: released by root"),
        ({"status": "retried", "report": "root", "next_attempt": until}, "bob@far.test: tried at once by root"),
        ({"status": "rescheduled", "report": "root", "next_attempt": until}, "(in 2 hours)"),
        ({"status": "dropped", "report": "root"}, "bob@far.test: dropped by root"),
    ]
    for fields, words in told:
        assert story([event(**fields)])[0].endswith(words)
    assert len(story([event(status="held", at=1.0), event(status="held", at=2.0)])) == 2


@pytest.mark.parametrize("status", ["delivered", "deferred", "failed"])
def test_a_possible_duplicate_is_told(status: str) -> None:
    told = "\n".join(story([event(status=status, doubtful=1)]))
    assert ("it may have arrived already" if status == "deferred" else "there may be two") in told
    assert "may" not in "\n".join(story([event(status=status)]))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "attempt 2: not yet taken by far.test"),
        ({"status": "failed", "destination": ""}, "attempt 2: refused by nobody"),
        ({"status": "delivered", "destination": "local", "attempt": 0, "reply": "INBOX"}, "into the mailbox INBOX"),
        ({"status": "reported", "destination": "anna@example.test", "reply": "failed", "report": "0r"},
         "anna@example.test was told that it failed (report 0r)"),
        ({"status": "bounced", "report": "mx.far.test"}, "it came back later, says mx.far.test: later (4.7.1)"),
    ],
)  # fmt: skip
def test_events(fields: dict[str, Any], words: str) -> None:
    assert words in story([event(**fields)])[0]


def test_times() -> None:
    now = time.time()
    assert BEFORE.convert("2h", None, None) == pytest.approx(now - 7200, abs=5)
    assert AFTER.convert("1.5d", None, None) == pytest.approx(now + 129_600, abs=5)
    assert AFTER.convert("2026-12-24T18:00:00Z", None, None) == 1_798_135_200
    assert BEFORE.convert("2026-12-24T19:00+01:00", None, None) == 1_798_135_200
    assert BEFORE.convert("2026-12-24", None, None) == time.mktime((2026, 12, 24, 0, 0, 0, 0, 0, -1))
    for text in ("", "soon", "2x", "2026-13-01", "-5h"):
        with pytest.raises(click.BadParameter, match="is no time"):
            BEFORE.convert(text, None, None)
    assert moment(1_798_135_200) == "2026-12-24 18:00:00Z" and moment(None) == moment(0) == moment(1e20) == "-"
    assert [span(value) for value in (0.2, 1, 59, 60, 5400, 86_400, 200_000)] == [
        "0 seconds", "1 second", "59 seconds", "1 minute", "2 hours", "1 day", "2 days",
    ]  # fmt: skip
    assert ago(now + 90.5).endswith("(in 2 minutes)") and ago(now - 3600).endswith("(1 hour ago)")


def test_json_keeps_terminals_safe_and_values_whole(capsys: pytest.CaptureFixture[str]) -> None:
    value = {"sender": "a\x9b2J\u202egrün\u2028\U000e0001@x.test", "reply": "\x1b[2J\x7f"}
    show(value, as_json=True, text="")
    out = capsys.readouterr().out
    assert json.loads(out) == value
    assert all(character.isprintable() or character in "\n\x7f" for character in out) and "grün" in out
