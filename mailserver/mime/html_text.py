"""The readable text of HTML, for previews: no tree, no styles, one pass from `<` to `<`.

A tag ends at the next `>`; what is not closed reaches to the end. Text that a reply quotes is told from the writer's
own: blockquotes, and everything behind the marks that mail programs set before what they quote or sign with.
"""

from __future__ import annotations

import html
import re

__all__ = ["html_text"]

_TAG = re.compile(r"<(/?)([A-Za-z][A-Za-z0-9:-]{0,30})")
#: Elements whose content nobody sees; each with the pattern of its end.
_HIDDEN = {
    name: re.compile(rf"</{name}\b", re.IGNORECASE)
    for name in ("style", "script", "head", "title", "template", "svg", "select", "textarea", "object", "math")
}
#: Words stand apart at every tag but these.
_INLINE = frozenset({
    "a", "abbr", "acronym", "b", "bdi", "bdo", "big", "cite", "code", "del", "em", "font", "i", "ins", "kbd", "label",
    "mark", "q", "s", "samp", "small", "span", "strike", "strong", "sub", "sup", "tt", "u", "var", "wbr",
})  # fmt: skip
#: From here on it is the signature or the message that is answered, in the words of Gmail, Thunderbird, Outlook,
#: Roundcube, Yahoo, Proton.
_TAIL = re.compile(
    r"gmail_quote|gmail_signature|gmail_attr|moz-signature|divrplyfwdmsg|appendonsend|reply-intro|yahoo_quoted"
    r"|protonmail_quote",
    re.IGNORECASE,
)
#: Thunderbird's line above a quotation; the answer may follow it.
_ATTRIBUTION = re.compile(r"moz-cite-prefix", re.IGNORECASE)
#: Where none of these stands nothing is hidden and nothing is quoted.
_TELLING = (
    "<!", "<?", "<blockquote", "</blockquote", *(f"<{name}" for name in _HIDDEN), "gmail_", "moz-", "divrplyfwdmsg",
    "appendonsend", "reply-intro", "yahoo_quoted", "protonmail_quote",
)  # fmt: skip
_WHOLE_TAG = re.compile(r"</?([A-Za-z][A-Za-z0-9:-]{0,30})[^>]*+>?")
_NO_TAG = re.compile(r"</(?![A-Za-z])")
_DIV_END = re.compile(r"</div\b", re.IGNORECASE)
_MAX_TAGS = 5_000
# More digits than any character has would be a number that int() refuses.
_ENDLESS_REFERENCE = re.compile(r"&#[xX]?[0-9A-Fa-f]{9,}+;?")


def html_text(source: str, enough: int) -> tuple[str, str]:
    """The writer's own text, and what is quoted or signed with; each ends soon after `enough` characters."""
    if len(source) <= enough and _is_plain(source):
        return _unescape(_without_tags(source)), ""
    reader = _Reader(source, enough)
    reader.run()
    return _unescape(reader.own), _unescape(reader.quoted)


def _unescape(parts: list[str]) -> str:
    return html.unescape(_ENDLESS_REFERENCE.sub(" ", "".join(parts)))


def _is_plain(source: str) -> bool:
    """Is all of it to be read, and its own?"""
    lowered = source.lower()
    if any(word in lowered for word in _TELLING):
        return False
    return source.count("<") < _MAX_TAGS and _NO_TAG.search(source) is None


def _without_tags(source: str) -> list[str]:
    """What the reader makes of it, in half the time."""
    pieces = _WHOLE_TAG.split(source)
    pieces[1::2] = ["" if name.lower() in _INLINE else " " for name in pieces[1::2]]
    return pieces


class _Reader:
    def __init__(self, source: str, enough: int) -> None:
        self.source = source
        self.enough = enough
        self.own: list[str] = []
        self.quoted: list[str] = []
        self._octets = 0
        self._depth = 0
        self._in_tail = False
        #: Ends that do not come any more: looked for once, and not again.
        self._endless: set[str] = set()

    def run(self) -> None:
        source, at = self.source, 0
        for _ in range(_MAX_TAGS):
            if at >= len(source) or self._octets >= self.enough:
                break
            bracket = source.find("<", at)
            self._text(source[at:] if bracket < 0 else source[at:bracket])
            if bracket < 0:
                break
            at = self._markup(bracket)

    def _text(self, text: str) -> None:
        if text:
            quoted = self._in_tail or self._depth > 0
            (self.quoted if quoted else self.own).append(text)
            if not quoted and not text.isspace():
                self._octets += len(text)

    def _markup(self, start: int) -> int:
        """What begins with this bracket; where it ends."""
        source = self.source
        if source.startswith("<!--", start):
            return self._behind(source.find("-->", start + 4), 3)
        tag = _TAG.match(source, start)
        if tag is None:
            if source.startswith(("<!", "<?", "</"), start):
                return self._behind(source.find(">", start), 1)
            self._text("<")
            return start + 1
        closes, name = bool(tag[1]), tag[2].lower()
        end = self._behind(source.find(">", start), 1)
        if name not in _INLINE:
            self._text(" ")
        if name == "blockquote":
            self._depth = max(0, self._depth - 1) if closes else self._depth + 1
        if closes:
            return end
        if name in _HIDDEN:
            return self._skip(name, _HIDDEN[name], end)
        if end - tag.end() > 8:
            if _TAIL.search(source, tag.end(), end):
                self._in_tail = True
            elif name == "div" and _ATTRIBUTION.search(source, tag.end(), end):
                return self._skip("div", _DIV_END, end)
        return end

    def _behind(self, found: int, length: int) -> int:
        return len(self.source) if found < 0 else found + length

    def _skip(self, name: str, pattern: re.Pattern[str], at: int) -> int:
        """Where the content of a hidden element ends; it is not hidden when its end is missing."""
        if name in self._endless:
            return at
        found = pattern.search(self.source, at)
        if found is None:
            self._endless.add(name)
            # What a browser would take for a style sheet or a program to the end is no text.
            return len(self.source) if name in ("style", "script") else at
        return found.start()
