"""The options of sendmail(1): those that mean something here, and those that are taken and do nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from mailserver.commands.mta.status import USAGE, Stopped

__all__ = ["Options", "parse"]

#: Options with a value, which stands in the same word or is the next one.
_VALUED = frozenset("ABCDFLMNORTVXbefhopr")
#: Options whose value, if any, stands in the same word.
_ATTACHED = frozenset("dq")
_FLAGS = frozenset("GIUcimnstvx")
_NOTIFY = frozenset(("SUCCESS", "FAILURE", "DELAY"))
_MODES = {"m": "send", "s": "smtp", "p": "list", "i": "nothing", "I": "nothing"}


class Options(NamedTuple):
    """`mode`: send, smtp (a dialogue on standard input), list (the queue), flush, nothing (newaliases)."""

    mode: str = "send"
    recipients: tuple[str, ...] = ()
    #: Take recipients from the header too.
    extract: bool = False
    #: Does a line with a lone dot end the message?
    dot_ends: bool = True
    #: The envelope sender, "" for the null sender; None: not given.
    sender: str | None = None
    full_name: str = ""
    notify: str = ""
    dsn_return: str = ""
    envelope_id: str = ""
    eight_bit: bool = False
    verbose: bool = False
    config: str = ""


def parse(words: Sequence[str], *, program: str = "sendmail") -> Options:
    """What the words of the command line say; options end at the first word that is none. Raises Stopped."""
    given: dict[str, object] = {"mode": {"mailq": "list", "newaliases": "nothing"}.get(program, "send")}
    at = 0
    while at < len(words) and words[at].startswith("-") and words[at] != "-":
        word, at = words[at], at + 1
        if word == "--":
            break
        if word.startswith("--"):
            raise Stopped(USAGE, f"{word}: there are no long options here; see docs/sending.md")
        at = _word(word[1:], words, at, given)
    given["recipients"] = tuple(words[at:])
    return Options(**given)  # type: ignore[arg-type]


def _word(letters: str, words: Sequence[str], at: int, given: dict[str, object]) -> int:
    """One word with options; where the next one stands."""
    while letters:
        letter, letters = letters[0], letters[1:]
        if letter in _VALUED:
            if not letters:
                if at >= len(words):
                    raise Stopped(USAGE, f"the option -{letter} needs a value")
                letters, at = words[at], at + 1
            _valued(letter, letters, given)
            return at
        if letter in _ATTACHED:
            if letter == "q":
                given["mode"] = "flush"
            return at
        if letter not in _FLAGS:
            raise Stopped(USAGE, f"there is no option -{letter}")
        _flag(letter, given)
    return at


def _flag(letter: str, given: dict[str, object]) -> None:
    if letter == "t":
        given["extract"] = True
    elif letter == "i":
        given["dot_ends"] = False
    elif letter == "v":
        given["verbose"] = True
    elif letter == "I":
        given["mode"] = "nothing"


def _valued(letter: str, value: str, given: dict[str, object]) -> None:
    if letter in "fr":
        given["sender"] = "" if value.strip() in ("", "<>") else value
    elif letter == "F":
        given["full_name"] = value
    elif letter == "o":
        if value == "i" or value.replace(" ", "").lower() == "ignoredots=true":
            given["dot_ends"] = False
    elif letter == "O":
        if value.replace(" ", "").lower() == "ignoredots=true":
            given["dot_ends"] = False
    elif letter == "b":
        if value not in _MODES:
            raise Stopped(USAGE, f"there is no mode -b{value} here; the server is run by: mailserver serve")
        given["mode"] = _MODES[value]
    elif letter in "NRVB":
        _delivery(letter, value, given)
    elif letter == "C":
        given["config"] = value


def _delivery(letter: str, value: str, given: dict[str, object]) -> None:
    """-N, -R and -V are of RFC 3461, -B of RFC 6152."""
    upper = value.upper()
    if letter == "N":
        events = upper.replace(" ", "").split(",")
        if upper != "NEVER" and not (events and _NOTIFY.issuperset(events)):
            raise Stopped(USAGE, "-N is never, or one or more of success,failure,delay")
        given["notify"] = ",".join(dict.fromkeys(events))
    elif letter == "R":
        kinds = {"FULL": "FULL", "HDRS": "HDRS", "HEADERS": "HDRS"}
        if upper not in kinds:
            raise Stopped(USAGE, "-R is full or hdrs")
        given["dsn_return"] = kinds[upper]
    elif letter == "V":
        if not value.isascii() or not value.isprintable() or not 0 < len(value) <= 100:
            raise Stopped(USAGE, "-V is an envelope id of at most 100 printable characters")
        given["envelope_id"] = value
    else:
        if upper not in ("7BIT", "8BITMIME"):
            raise Stopped(USAGE, "-B is 7BIT or 8BITMIME")
        given["eight_bit"] = upper == "8BITMIME"
