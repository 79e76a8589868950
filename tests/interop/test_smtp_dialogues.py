"""Hundreds of dialogues with us, Postfix and Exim: where those two agree, so do we, or the table says why not."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.helpers.daemon import Daemon
from tests.interop.dialogues import CLOSED, SILENT, Dialogue, all_dialogues, play
from tests.interop.peers import Exim, Postfix, needs_peers

pytestmark = [pytest.mark.interop, needs_peers, pytest.mark.timeout(300)]

DIALOGUES = all_dialogues()

_DOMAIN = "RFC 5321 §4.1.2: a label begins with a letter or digit; §4.5.3.1.2: a domain has 255 octets at most"
_BRACKETS = "RFC 5321 §4.1.2: a path is in angle brackets; guessing where an address ends is how filters are passed by"
_DOTS = "RFC 5321 §4.1.2: Dot-string has an atom before, between and after its dots"
_COMMENT = "RFC 5321 §4.1.2: Mailbox has no comments; atext has no parentheses and no backslash"
_LONG = "RFC 5321 §4.5.3.1.1: a local part has 64 octets at most"
_NO_USER = "501 (syntax) before 550 (no such user): what cannot be an address is no user (RFC 5321 §4.2.2)"
_LINE = "RFC 5321 §4.5.3.1.4 allows lines of 512 octets; we take 2,048, and read no command out of a longer one"
_NO_AUTH = "RFC 5321 §4.2.4: 502 for a command that is not offered here; users log in on the submission ports"

#: Where both agree and we differ: the name of the dialogue, and why ours is right.
EXPLAINED = {
    "HELO' -client.test' (13)": _DOMAIN,
    "EHLO' -client.test' (13)": _DOMAIN,
    "HELO' x.x.x.x.x.x.x.x.x.x.x.x.x.x.x.x.x.x.x.x' (265)": _DOMAIN,
    "EHLO' x.x.x.x.x.x.x.x.x.x.x.x.x.x.x.x.x.x.x.x' (265)": _DOMAIN,
    "MAIL FROM:s@sender.test": _BRACKETS,
    "RCPT TO:anna@example.test": _BRACKETS,
    "MAIL FROM:<.s@sender.test>": _DOTS,
    "MAIL FROM:<s.@sender.test>": _DOTS,
    "MAIL FROM:<s..t@sender.test>": _DOTS,
    "MAIL FROM:<s(comment)@sender.test>": _COMMENT,
    "MAIL FROM:<s@sender.test (comment)>": _COMMENT,
    "MAIL FROM:<s\\t@sender.test>": _COMMENT,
    "MAIL with SIZE=1 SIZE=1": "two values of one parameter cannot both be meant (RFC 1870 §6: one SIZE)",
    "MAIL with a local part of 65": _LONG,
    "MAIL with a local part of 100": _LONG,
    "RCPT with a local part of 65": _LONG,
    "MAIL in UTF-8 without SMTPUTF8": "RFC 6531 §3.5: 553 for a non-ASCII address without the SMTPUTF8 parameter",
    "RCPT TO:<.anna@example.test>": _NO_USER,
    "RCPT TO:<../../etc@example.test>": _NO_USER,
    "NOOP of 5000": _LINE,
    "an unknown command of 5000": _LINE,
    "NOOP with a bare LF": "RFC 5321 §2.3.8: only CRLF ends a line; a lone LF that does is how mail is smuggled",
    "NOOP with a control character": "RFC 5321 §4.1.2: a String of NOOP has no control characters",
    "AUTH": _NO_AUTH,
    "AUTH PLAIN": _NO_AUTH,
    "AUTH FOO": _NO_AUTH,
    # Here the two agree in refusing only, with different codes.
    "HELP after BDAT without LAST": "RFC 5321 §4.1.1.8: HELP has no effect on the buffers, so it may come anywhere",
    "BDAT 0 between chunks": "RFC 3030 §2: chunk-size is any number; a chunk of nothing adds nothing",
    "ETRN example.test": "RFC 5321 §4.2.4: 500 for a command that is not known; we offer no ETRN (RFC 1985)",
}


@pytest.fixture(scope="module")
def played(shared_daemon: Daemon) -> Iterator[dict[str, dict[str, list[tuple[int, ...]]]]]:
    """Per server, per dialogue, what it answered."""
    directory = Path(tempfile.mkdtemp(prefix="mailserver-test-"))
    directory.chmod(0o755)
    with Postfix(directory / "p") as postfix, Exim(directory / "e") as exim, ThreadPoolExecutor(3) as pool:
        ports = {"ours": shared_daemon.ports["smtp"], "postfix": postfix.port, "exim": exim.port}
        yield dict(zip(ports, pool.map(play_all, ports.values()), strict=True))
    shutil.rmtree(directory)


def play_all(port: int) -> dict[str, list[tuple[int, ...]]]:
    return {dialogue.name: play(dialogue, port) for dialogue in DIALOGUES}


def compare(
    dialogue: Dialogue, ours: list[tuple[int, ...]], postfix: list[tuple[int, ...]], exim: list[tuple[int, ...]]
) -> str:
    """The first step where the two agree, in the code or in its first digit, and we do not; "" if there is none."""
    for step, (a, b) in enumerate(zip(postfix, exim, strict=False)):
        we = ours[step] if step < len(ours) else ()
        kinds = [[code if code < 0 else code // 100 for code in codes] for codes in (a, b, we)]
        if a == b != we or (kinds[0] == kinds[1] != kinds[2]):
            return f"{dialogue.name}: {dialogue.steps[step].octets[:60]!r} got {we}, Postfix {a}, Exim {b}"
        if CLOSED in (*a, *b, *we) or SILENT in (*a, *b, *we):
            return ""
    return ""


def differences(played: dict[str, dict[str, list[tuple[int, ...]]]]) -> dict[str, str]:
    found = {
        d.name: compare(d, played["ours"][d.name], played["postfix"][d.name], played["exim"][d.name]) for d in DIALOGUES
    }
    return {name: text for name, text in found.items() if text}


def test_there_are_hundreds() -> None:
    assert len(DIALOGUES) > 400


def test_we_agree_where_they_do(played: dict[str, dict[str, list[tuple[int, ...]]]]) -> None:
    unexplained = [text for name, text in differences(played).items() if name not in EXPLAINED]
    assert unexplained == []


def test_every_explanation_is_needed(played: dict[str, dict[str, list[tuple[int, ...]]]]) -> None:
    assert sorted(EXPLAINED.keys() - differences(played).keys()) == []


def test_they_agree_mostly(played: dict[str, dict[str, list[tuple[int, ...]]]]) -> None:
    """Else the comparison says nothing: a peer that refuses everything would agree with nobody."""
    same = sum(played["postfix"][d.name] == played["exim"][d.name] for d in DIALOGUES)
    assert same > 250


def test_a_difference_is_found() -> None:
    dialogue = DIALOGUES[0]
    assert compare(dialogue, [(250,)], [(500,)], [(500,)])
    assert compare(dialogue, [(250,)], [(500,)], [(501,)])
    assert not compare(dialogue, [(501,)], [(500,)], [(502,)])
    assert not compare(dialogue, [(250,)], [(250,)], [(550,)])


def test_nothing_was_stored_by_a_refused_dialogue(played: object, shared_daemon: Daemon) -> None:
    shared_daemon.command("mailbox", "verify", "anna@example.test")
