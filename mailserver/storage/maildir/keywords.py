"""Keywords of a folder in its file names: letters a to z, and a journal for those that came after the 26th.

`dovecot-keywords` has a line `<number> <keyword>` for each letter, as Dovecot writes it. A letter is durable there
before a file name uses it, and is never given to another keyword. `keywords.journal` has a line for each message with
further keywords: checksum, base of the name, keywords; the last line of a base counts, and a line that does not match
its checksum (a torn end) is passed over.
"""

from __future__ import annotations

import os
import threading
import zlib
from collections.abc import Iterable, Mapping

from mailserver.model.errors import InvalidInput
from mailserver.model.flags import normalize_flag
from mailserver.net import files
from mailserver.storage.maildir.names import FLAG_LETTERS

__all__ = ["Keywords"]

LETTERS_FILE = "dovecot-keywords"
JOURNAL = "keywords.journal"
_MAX_LETTERS = 26
_MAX_FILE = 64 << 20
#: Lines about nothing that the journal may have before it is written anew.
_SLACK = 1_000
_LETTER_OF = {flag: letter for letter, flag in FLAG_LETTERS.items()}


class Keywords:
    """The keywords of one folder. Used in threads; its own lock."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._names: list[str] = []
        self._letters: dict[str, str] = {}
        self._loaded = False
        #: base → keywords that have no letter.
        self._further: dict[str, frozenset[str]] = {}
        self._lines = 0
        #: Lines that could not be read, in words: of the letters, of the journal.
        self._damage: tuple[list[str], list[str]] = ([], [])
        #: The journal ends within a line: a crash interrupted an append.
        self._torn = False

    def move_to(self, folder: str) -> None:
        """The folder was renamed."""
        self._folder = folder

    # -- from names --------------------------------------------------------------------------------------------------

    def flags_of(self, letters: str, base: str) -> frozenset[str]:
        """The flags of a message; letters that mean nothing to us are no flags (and stay in the name)."""
        self._load()
        flags = [FLAG_LETTERS[letter] for letter in letters if letter in FLAG_LETTERS]
        for letter in letters:
            number = ord(letter) - 97
            if 0 <= number < len(self._names) and self._names[number]:
                flags.append(self._names[number])
        return frozenset(flags) | self._further.get(base, frozenset())

    def letters(self) -> dict[str, str]:
        """Keyword → letter."""
        self._load()
        return {name: chr(97 + at) for at, name in enumerate(self._names) if name}

    def further_of(self, base: str) -> frozenset[str]:
        """The keywords without letter of a message."""
        self._load()
        return self._further.get(base, frozenset())

    def damage(self) -> tuple[list[str], list[str]]:
        """What could not be read of the letters, and of the journal, in words. Raises OSError."""
        self._load()
        return self._damage

    def replace(self, letters: Mapping[str, str], further: Mapping[str, frozenset[str]]) -> None:
        """Write both files anew, durably: keyword → letter, and base → keywords without letter. Raises OSError."""
        self._load()
        with self._lock:
            names = [""] * (max((ord(letter) for letter in letters.values()), default=96) - 96)
            for name, letter in letters.items():
                names[ord(letter) - 97] = name
            data = b"".join(_line(base, keywords) for base, keywords in further.items() if keywords)
            for path, content in ((LETTERS_FILE, _letter_lines(names)), (JOURNAL, data)):
                if content or os.path.lexists(f"{self._folder}/{path}"):
                    files.write_durably(f"{self._folder}/{path}", content)
            self._names, self._letters = names, {name.lower(): letter for name, letter in letters.items()}
            self._further = {base: keywords for base, keywords in further.items() if keywords}
            self._lines, self._torn, self._damage = len(self._further), False, ([], [])

    # -- to names ----------------------------------------------------------------------------------------------------

    def info(self, flags: Iterable[str], old_letters: str = "") -> str:
        """What stands behind the base for these flags. Gives letters to new keywords, durably. Raises OSError."""
        if old_letters:
            self._load()
        # A letter that means nothing may have lost its meaning: it stays, until `mailbox rebuild` finds it again.
        letters = {letter for letter in old_letters if letter not in FLAG_LETTERS and not self._means(letter)}
        for flag in flags:
            letter = _LETTER_OF.get(flag) or self._letter(flag)
            if letter:
                letters.add(letter)
        return ":2," + "".join(sorted(letters))

    def _means(self, letter: str) -> bool:
        at = ord(letter) - 97
        return 0 <= at < len(self._names) and bool(self._names[at])

    def without_letter(self, flags: Iterable[str]) -> frozenset[str]:
        """Those keywords that only the journal can hold (after `info` was asked for them)."""
        return frozenset(f for f in flags if not f.startswith("\\") and f.lower() not in self._letters)

    def _letter(self, keyword: str) -> str:
        self._load()
        folded = keyword.lower()
        letter = self._letters.get(folded)
        if letter is not None:
            return letter
        with self._lock:
            if len(self._names) >= _MAX_LETTERS:
                return ""
            if folded not in self._letters:
                names = [*self._names, keyword]
                files.write_durably(f"{self._folder}/{LETTERS_FILE}", _letter_lines(names))
                self._names = names
                self._letters[folded] = chr(96 + len(names))
            return self._letters[folded]

    def journal(self, changed: Mapping[str, frozenset[str]]) -> None:
        """Note the keywords without letter of these messages (base → keywords), durably. Raises OSError."""
        self._load()
        with self._lock:
            news = {base: new for base, new in changed.items() if new != self._further.get(base, frozenset())}
            if not news:
                return
            path = f"{self._folder}/{JOURNAL}"
            if self._torn:
                # What stands torn at the end must not swallow the first of the new lines.
                told = self._further | news
                files.write_durably(path, b"".join(_line(base, keywords) for base, keywords in told.items()))
                self._lines, self._torn = len(told), False
            else:
                self._torn = True
                files.append_durably(path, b"".join(_line(base, keywords) for base, keywords in news.items()))
                self._lines, self._torn = self._lines + len(news), False
            self._further |= news

    def forget(self, gone: Iterable[str]) -> None:
        """Messages (bases) whose files are gone for good: their lines, too, once they are most of the journal."""
        self._load()
        with self._lock:
            lost = {base for base in gone if self._further.get(base)}
            if not lost:
                return
            kept = {base: keywords for base, keywords in self._further.items() if keywords and base not in lost}
            path = f"{self._folder}/{JOURNAL}"
            if self._torn or self._lines + len(lost) > 2 * len(kept) + _SLACK:
                files.write_durably(path, b"".join(_line(base, keywords) for base, keywords in kept.items()))
                self._lines, self._torn = len(kept), False
            else:
                self._torn = True
                files.append_durably(path, b"".join(_line(base, frozenset()) for base in lost))
                self._lines, self._torn = self._lines + len(lost), False
            self._further = kept

    # -- from disk ---------------------------------------------------------------------------------------------------

    def _load(self) -> None:
        if self._loaded:
            return
        with self._lock:
            if not self._loaded:
                self._load_letters()
                self._load_journal()
                self._loaded = True

    def _load_letters(self) -> None:
        *lines, rest = _read(f"{self._folder}/{LETTERS_FILE}").split(b"\n")
        for line in lines:
            if line and not self._load_letter(line):
                self._damage[0].append(f"this line cannot be read: {line[:120]!r}")
        if rest:
            # Perhaps only a part of a keyword's name.
            self._reserve(rest)
            self._damage[0].append(f"the end of this line is missing: {rest[:120]!r}")

    def _load_letter(self, line: bytes) -> bool:
        at = self._reserve(line)
        try:
            keyword = normalize_flag(line.partition(b" ")[2].decode("ascii"))
        except (InvalidInput, UnicodeDecodeError):
            return False
        if at is None or self._names[at] or keyword.lower() in self._letters or keyword.startswith("\\"):
            return False
        self._names[at] = keyword
        self._letters[keyword.lower()] = chr(97 + at)
        return True

    def _reserve(self, line: bytes) -> int | None:
        """The number of a line. Whatever else it says, its letter is taken."""
        number = line.partition(b" ")[0]
        if not (number.isdigit() and len(number) <= 2 and int(number) < _MAX_LETTERS):
            return None
        self._names.extend([""] * (int(number) + 1 - len(self._names)))
        return int(number)

    def _load_journal(self) -> None:
        *lines, rest = _read(f"{self._folder}/{JOURNAL}").split(b"\n")
        self._torn = bool(rest)
        for line in lines:
            checksum, _, told = line.partition(b" ")
            if checksum == b"%08x" % zlib.crc32(told):
                self._lines += 1
                base, _, words = told.partition(b"\t")
                self._further[os.fsdecode(base)] = frozenset(words.decode("ascii", "replace").split())
            elif line:
                self._damage[1].append(f"the checksum of this line is wrong: {line[:120]!r}")


def _letter_lines(names: list[str]) -> bytes:
    return "".join(f"{number} {name}\n" for number, name in enumerate(names) if name).encode()


def _line(base: str, keywords: frozenset[str]) -> bytes:
    rest = os.fsencode(base) + b"\t" + " ".join(sorted(keywords)).encode("ascii")
    return b"%08x %b\n" % (zlib.crc32(rest), rest)


def _read(path: str) -> bytes:
    try:
        return files.read_file(path, _MAX_FILE)
    except FileNotFoundError:
        return b""
