"""Where the links of HTML lead, and what is shown for them: no tree, one pass from `<a` to `<a`, bounded throughout."""

from __future__ import annotations

import html
import re
from typing import NamedTuple
from urllib.parse import unquote

__all__ = ["Link", "html_links", "shown_host"]

_MOST = 200
_LONGEST_TAG, _LONGEST_TEXT = 4096, 1000
_OPENS = re.compile(r"<a(?=[\s/])", re.IGNORECASE)
_TAG = re.compile(r"""<a(?:[^<>"']++|"[^"]*+"|'[^']*+')*+>""", re.IGNORECASE)
_TARGET = re.compile(r"""[\s"'/]href\s*+=\s*+(?:"([^"]*+)"|'([^']*+)'|([^\s"'>]++))""", re.IGNORECASE)
_CLOSES = re.compile(r"</?a(?=[\s/>])", re.IGNORECASE)
_MARKUP = re.compile(r"<[^>]*+>")
# More digits than any character has would be a number that int() refuses.
_ENDLESS_REFERENCE = re.compile(r"&#[xX]?[0-9A-Fa-f]{9,}+;?")
#: What browsers leave out of an address.
_LEFT_OUT = re.compile(r"[\t\r\n]")
_AUTHORITY = re.compile(r"(?:https?:)?//+([^/?#]{1,300})", re.IGNORECASE)
_SHOWN = re.compile(
    r"(?:(https?)://)?((?:[\w-]{1,63}\.){1,10}([a-z]{2,24}|xn--[a-z0-9-]{1,59}))(?::[0-9]{1,5})?([/?#]\S*+)?",
    re.IGNORECASE,
)
#: Ends of names of files, which nobody takes for a server.
_FILES = frozenset(
    ("asp", "avi", "csv", "doc", "docx", "exe", "gif", "gz", "htm", "html", "ics", "java", "jpeg", "jpg", "js", "json",
     "log", "md", "mov", "mp3", "mp4", "odt", "pdf", "php", "png", "ppt", "pptx", "ps", "py", "rar", "rs", "rtf", "sh",
     "svg", "tar", "tex", "toml", "ts", "txt", "webp", "xls", "xlsx", "xml", "yaml", "yml", "zip")
)  # fmt: skip


class Link(NamedTuple):
    """`host` is where it leads, in lower case, "" for what is no server's address; `user` is what stands before an `@`
    there, which is nobody's name but a trick. `text` is what is shown."""

    host: str
    user: str
    text: str


def html_links(source: str) -> list[Link]:
    """The first links, at most 200, of a text as it was decoded from its part."""
    found: list[Link] = []
    at = 0
    for _ in range(_MOST):
        opens = _OPENS.search(source, at)
        if opens is None:
            break
        at = opens.end()
        tag = _TAG.match(source, opens.start(), opens.start() + _LONGEST_TAG)
        target = _TARGET.search(tag[0]) if tag is not None else None
        if tag is None or target is None:
            continue
        at = tag.end()
        closes = _CLOSES.search(source, at, at + _LONGEST_TEXT)
        inner = source[at : closes.start() if closes is not None else at + _LONGEST_TEXT]
        host, user = _host(_unescape(target[1] or target[2] or target[3] or ""))
        if host:
            text = _MARKUP.sub(" ", inner) if "<" in inner else inner
            found.append(Link(host, user, " ".join(_unescape(text).split())))
    return found


def shown_host(text: str) -> str:
    """The server that a shown text is the address of, in lower case; "" when it is no such text."""
    shown = _SHOWN.fullmatch(text) if "." in text and " " not in text else None
    if shown is None or (not shown[1] and not shown[4] and shown[3].lower() in _FILES):
        return ""
    return shown[2].lower()


def _host(address: str) -> tuple[str, str]:
    # A browser takes `\\` for `/`, and undoes %-escapes in the name of a server.
    plain = _LEFT_OUT.sub("", address).strip().replace("\\", "/")
    authority = _AUTHORITY.match(plain)
    if authority is None:
        return "", ""
    user, _, host = unquote(authority[1]).rpartition("@")
    name = f"{host.partition(']')[0]}]" if host.startswith("[") else host.partition(":")[0]
    return name.lower().strip("."), user


def _unescape(text: str) -> str:
    return html.unescape(_ENDLESS_REFERENCE.sub(" ", text)) if "&" in text else text
