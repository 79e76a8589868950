"""The log on standard error: one line per fact, the queue or session id first, JSON on request.

What peers chose (names, addresses, reasons) passes through here, so every value is made safe: a line stays a line, and
a terminal that shows it is not told anything (control characters, ANSI sequences, bidirectional overrides). Values
under names that mean secrets are never written.

Lines are collected and written once per turn of the event loop: one system call for all messages of a commit batch.
"""

from __future__ import annotations

import asyncio
import atexit
import functools
import logging
import os
import re
import sqlite3
import sys
import threading
import time
import traceback
import unicodedata
from collections.abc import Mapping, MutableMapping
from datetime import UTC, datetime
from typing import Any

import orjson
import structlog

from mailserver.model.errors import MailError

__all__ = ["LineWriter", "configure", "safe_text"]

MAX_LINES = 1000
MAX_VALUE = 2000
MAX_ITEMS = 50
MAX_TRACEBACK = 20_000
MAX_CHAIN = 10
#: Names of values that are never written.
SECRET = re.compile(
    r"passw|secret|token|authorization|cookie|credential|private_key|salt|stored_key|server_key", re.IGNORECASE
)
#: Exceptions whose words are ours or the system's.
_TOLD = (MailError, OSError, sqlite3.Error)
#: Categories that never reach a line: controls, formats (U+202E), surrogates, private, unassigned, separators.
_UNSAFE = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))
_PLAIN = re.compile(r"[!#-<>-~]+")
_PRINTABLE = re.compile(r"[ -~]*")
# sd-daemon(3): the journal reads the priority from such a prefix.
_PRIORITY = {"debug": "<7>", "info": "<6>", "warning": "<4>", "error": "<3>", "critical": "<2>", "exception": "<3>"}
#: What a line is about, the first that there is: it comes first, so that lines about one thing can be found.
_SUBJECTS = ("id", "queue_id", "session")
_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def safe_text(text: str) -> str:
    """Text without anything that ends a line or commands a terminal; such characters appear as escapes; bounded."""
    if len(text) > MAX_VALUE:
        text = f"{text[:MAX_VALUE]}…"
    if _PRINTABLE.fullmatch(text):
        return text
    return "".join(_escape(c) if unicodedata.category(c) in _UNSAFE else c for c in text)


def _escape(character: str) -> str:
    number = ord(character)
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


class LineWriter:
    """Collects lines and writes them together at the end of the loop's turn, or at once where no loop runs.

    A log that cannot be written (a full disk, a closed pipe) never stops mail: the lines are dropped and counted.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._lines: list[str] = []
        # Worker threads log too.
        self._lock = threading.Lock()
        self.dropped = 0

    def msg(self, line: str) -> None:
        """Take one line, without its end."""
        with self._lock:
            self._lines.append(line)
            count = len(self._lines)
        if count == 1:
            try:
                asyncio.get_running_loop().call_soon(self.flush)
            except RuntimeError:
                self.flush()
        elif count >= MAX_LINES:
            self.flush()

    debug = info = warning = warn = error = critical = fatal = exception = log = msg

    def flush(self) -> None:
        """Write what was collected."""
        with self._lock:
            lines, self._lines = self._lines, []
        if not lines:
            return
        octets = ("\n".join(lines) + "\n").encode("utf-8", "backslashreplace")
        try:
            while octets:
                octets = octets[os.write(self._fd, octets) :]
        except OSError:
            self.dropped += len(lines)


class _TextRenderer:
    """`time level id event key=value …`; the journal adds its own time and gets the level as a priority."""

    def __init__(self, *, journal: bool) -> None:
        self._journal = journal

    def __call__(self, logger: Any, method: str, facts: MutableMapping[str, Any]) -> str:
        level = facts.pop("level", method)
        stack = facts.pop("exception", "")
        if self._journal:
            head = _PRIORITY.get(level, "<6>")
        else:
            now = time.time()
            head = f"{_second(int(now))}.{int(now % 1 * 1000):03}Z {level:7} "
        subject = next((name for name in _SUBJECTS if facts.get(name)), None)
        about = safe_text(str(facts.pop(subject))) if subject else "-"
        line = f"{head}{about} {safe_text(str(facts.pop('event', '')))}"
        for name, value in facts.items():
            # Nearly all values are such: no call for them.
            plain = type(value) is str and len(value) <= MAX_VALUE and _PLAIN.fullmatch(value)
            line += f" {name}={value if plain else _shown(value)}"
        if stack:
            line += "".join(f"\n{head}    {safe_text(row)}" for row in stack.splitlines())
        return line


@functools.lru_cache(2)
def _second(epoch: int) -> str:
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _render_json(logger: Any, method: str, facts: MutableMapping[str, Any]) -> str:
    out: dict[str, Any] = {"time": datetime.now(UTC).isoformat(timespec="milliseconds")}
    stack = facts.pop("exception", None)
    out.update((name, _safe(value)) for name, value in facts.items())
    if stack:
        out["exception"] = [safe_text(row) for row in stack.splitlines()]
    return orjson.dumps(out, default=lambda value: safe_text(str(value)), option=orjson.OPT_NON_STR_KEYS).decode()


def _safe(value: Any) -> Any:
    if isinstance(value, str):
        return safe_text(value)
    if isinstance(value, list | tuple):
        return [_safe(item) for item in value[:MAX_ITEMS]]
    return value


def _shown(value: Any) -> str:
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, list | tuple):
        more = [f"+{len(value) - MAX_ITEMS}"] if len(value) > MAX_ITEMS else []
        return ",".join([*(_shown(item) for item in value[:MAX_ITEMS]), *more]) or '""'
    text = str(value)
    if len(text) <= MAX_VALUE and _PLAIN.fullmatch(text):
        return text
    escaped = safe_text(text).replace('"', '\\"')
    return f'"{escaped}"'


def _redact(logger: Any, method: str, facts: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name in _secrets(tuple(facts)):
        facts[name] = "[secret]"
    return facts


@functools.lru_cache(1000)
def _secrets(names: tuple[str, ...]) -> tuple[str, ...]:
    """Those that are; the lines of a server have few sets of names."""
    return tuple(name for name in names if SECRET.search(name))


def _traceback(logger: Any, method: str, facts: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    given = facts.pop("exc_info", None)
    if given:
        error = given if isinstance(given, BaseException) else sys.exc_info()[1]
        if error is not None:
            facts["exception"] = _stack(error)[-MAX_TRACEBACK:]
    return facts


def _stack(error: BaseException | None) -> str:
    """The stack of an exception and of those that led to it, the first one first.

    Without the values of local variables, and without the words of exceptions that quote what they stumbled on
    (`KeyError`, `ValueError`, …): those may be a password or a piece of a message (ATTACKS N03).
    """
    parts: list[str] = []
    while error is not None and len(parts) < MAX_CHAIN:
        words = f": {error}" if isinstance(error, _TOLD) else ""
        parts.append("".join(traceback.format_tb(error.__traceback__)) + type(error).__name__ + words + "\n")
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "which led to:\n".join(reversed(parts))


class _Bridge(logging.Handler):
    """What libraries say through `logging`, as lines like ours."""

    def emit(self, record: logging.LogRecord) -> None:
        """Hand a record on; a record that cannot be formatted is shown as it was given."""
        try:
            text = record.getMessage()
        except (TypeError, ValueError):
            text = str(record.msg)
        logger = structlog.get_logger()
        level = "error" if record.levelno >= 40 else logging.getLevelName(record.levelno).lower()
        write = getattr(logger, level, logger.info)
        write(text, source=record.name, **({"exc_info": record.exc_info[1]} if record.exc_info else {}))


def configure(level: str, form: str, fd: int = 2, environ: Mapping[str, str] | None = None) -> LineWriter:
    """Set up both logs (structlog and the standard library's) for the process; may be called again after a reload."""
    environ = os.environ if environ is None else environ
    writer = LineWriter(fd)
    render: Any = _render_json if form == "json" else _TextRenderer(journal="JOURNAL_STREAM" in environ)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            _redact,
            _traceback,
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=lambda *args: writer,
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers[:] = [_Bridge()]
    root.setLevel(max(_LEVELS[level], logging.INFO))
    for chatty in ("aiohttp.access", "asyncio", "mail.log"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    logging.captureWarnings(True)
    atexit.register(writer.flush)
    return writer
