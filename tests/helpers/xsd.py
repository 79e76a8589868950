"""As much of XML Schema as the one of RFC 9990 uses: sequences, `all`, how often, enumerations, numbers, text."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

__all__ = ["faults"]

_XS = "{http://www.w3.org/2001/XMLSchema}"
_PATTERNS = {"xs:integer": r"[+-]?[0-9]+", "xs:decimal": r"[+-]?[0-9]+(\.[0-9]*)?"}


class _Schema:
    def __init__(self, path: Path) -> None:
        root = ET.parse(path).getroot()
        self.namespace = f"{{{root.get('targetNamespace')}}}"
        self.types = {each.get("name"): each for each in root if each.tag != f"{_XS}element"}
        (self.root,) = root.findall(f"{_XS}element")

    def element(self, found: ET.Element, declared: ET.Element, path: str) -> Iterator[str]:
        name = declared.get("type", "")
        kind = self.types[name] if name in self.types else declared.find(f"{_XS}complexType")
        if kind is None:
            if not re.fullmatch(_PATTERNS.get(name, r"(?s:.*)"), found.text or "") or len(found):
                yield f"{path}: {found.text!r} is no {name}"
            return
        values = [one.get("value") for one in kind.iter(f"{_XS}enumeration")]
        if values and found.text not in values:
            yield f"{path}: {found.text!r} is none of {values}"
        for model in ("sequence", "all"):
            content = kind.find(f"{_XS}{model}")
            if content is not None:
                yield from self.children(found, content, path, ordered=model == "sequence")

    def children(self, found: ET.Element, content: ET.Element, path: str, *, ordered: bool) -> Iterator[str]:
        declared = {f"{self.namespace}{one.get('name')}": one for one in content.findall(f"{_XS}element")}
        tags = [child.tag for child in found]
        known = list(declared)
        if ordered and [known.index(tag) for tag in tags if tag in known] != sorted(
            known.index(tag) for tag in tags if tag in known
        ):
            yield f"{path}: the order of {tags}"
        for tag, one in declared.items():
            most = one.get("maxOccurs", "1")
            if not int(one.get("minOccurs", "1")) <= tags.count(tag) <= (10**9 if most == "unbounded" else int(most)):
                yield f"{path}: {tags.count(tag)} times {tag}"
        for child in found:
            if child.tag in declared:
                yield from self.element(child, declared[child.tag], f"{path}/{child.tag.rpartition('}')[2]}")
            else:
                yield f"{path}: {child.tag} is unknown"


def faults(document: bytes, schema: Path) -> list[str]:
    """What is wrong with a document."""
    rules = _Schema(schema)
    root = ET.fromstring(document)
    if root.tag != f"{rules.namespace}{rules.root.get('name')}":
        return [f"the root is {root.tag}"]
    return list(rules.element(root, rules.root, "feedback"))
