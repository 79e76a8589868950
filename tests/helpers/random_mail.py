"""Signed messages such as programs make, odd ones among them, and what relays and liars do to them on the way."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from tests.helpers.signing import Signer, canonical_body, canonical_field, split

__all__ = ["SignedMail", "random_mail"]

_NAMES = ("To", "Cc", "Subject", "Date", "Message-ID", "Reply-To", "X-Odd", "Received", "MIME-Version", "List-Id")
_WORDS = ("a", "hello", "grün", "x=1;", "<a@b.test>", '"q, r"', "=?utf-8?q?=20?=", ":", "100%", "end.")
_FORMS = ("simple/simple", "simple/relaxed", "relaxed/simple", "relaxed/relaxed")


@dataclass(frozen=True)
class SignedMail:
    """`relayed` is `signed` after `change`; `still_good` says whether the signature on top survived that."""

    signed: bytes
    relayed: bytes
    change: str
    still_good: bool
    signers: tuple[Signer, ...]
    c: str


def random_mail(chance: random.Random, signers: Sequence[Signer]) -> SignedMail:
    """A message of one or two signatures."""
    fields = [b"From: Anna <anna@signer.test>\r\n"]
    fields += [_field(chance, chance.choice(_NAMES)) for _ in range(chance.randrange(8))]
    chance.shuffle(fields)
    message = b"".join(fields) + b"\r\n" + _body(chance)
    present = [field.partition(b":")[0].decode() for field in fields]
    if chance.random() < 0.2:
        message = _sign(chance, chance.choice(signers), present, message)[0]
        present.append("DKIM-Signature")
    by = chance.choice(signers)
    signed, c, names = _sign(chance, by, present, message)
    change, relayed = _change(chance, signed)
    top = split(signed)[0][0]
    still_good = _covered(relayed, top, c, names) == _covered(signed, top, c, names) and relayed.startswith(top)
    return SignedMail(signed, relayed, change, still_good, tuple(signers), c)


def _sign(chance: random.Random, by: Signer, present: Sequence[str], message: bytes) -> tuple[bytes, str, list[str]]:
    names = ["from", *(name for name in present if name != "From" and chance.random() < 0.7)]
    if chance.random() < 0.4:
        names += [chance.choice(["from", "subject", "x-none", "received", "Reply-To"])]
    chance.shuffle(names)
    c = chance.choice(_FORMS)
    fold = chance.choice([b" ", b"\r\n\t", b"\r\n "])
    return by.sign(message, c=c, h=names, fold=fold, last=chance.choice(["", "", ";"])), c, names


def _field(chance: random.Random, name: str) -> bytes:
    name = chance.choice([name, name.lower(), name.upper()])
    value = "".join(
        chance.choice([" ", " ", "  ", "\t", "\r\n ", "\r\n\t "]) + chance.choice(_WORDS)
        for _ in range(chance.randrange(6))
    )
    return f"{name}:{value}{chance.choice(['', '', ' ', chr(9)])}\r\n".encode()


def _body(chance: random.Random) -> bytes:
    line = ["", "", " ", "\t", "text", "two  spaces", "end ", " begin", "grün", "x" * 900, "a\tb \t", "."]
    body = "".join(chance.choice(line) + "\r\n" for _ in range(chance.randrange(12)))
    return body.encode()


def _change(chance: random.Random, signed: bytes) -> tuple[str, bytes]:
    fields, body = split(signed)
    place = chance.randrange(1, len(fields))
    name, _, value = fields[place].partition(b":")
    kind = chance.choice(
        ["nothing", "nothing", "received", "case", "fold", "spaces", "value", "removed", "doubled", "lines", "body",
         "space in body", "end of lines"]
    )  # fmt: skip
    if kind == "received":
        fields.insert(0, b"")
        fields[0], fields[1] = fields[1], b"Received: from relay.test; today\r\n"
    elif kind == "case":
        fields[place] = name.swapcase() + b":" + value
    elif kind == "fold":
        folded = name + b":" + value.replace(b" ", b"\r\n ", 1)
        # A line of nothing but white space is no part of a field any more.
        if not re.search(rb"\n[ \t]*\r\n", folded):
            fields[place] = folded
    elif kind == "spaces":
        fields[place] = name + b": " + value
    elif kind == "value":
        fields[place] = name + b":" + value.removesuffix(b"\r\n") + b"x\r\n"
    elif kind == "removed" and name.lower() != b"from":
        del fields[place]
    elif kind == "doubled" and name.lower() != b"from":
        fields.insert(1, fields[place])
    elif kind == "lines":
        body += b"\r\n\r\n"
    elif kind == "body":
        body += b"more\r\n"
    elif kind == "space in body":
        body = body.replace(b"t", b" t", 1)
    elif kind == "end of lines":
        body = body.replace(b"\r\n", b" \r\n")
    return kind, b"".join(fields) + b"\r\n" + body


def _covered(message: bytes, top: bytes, c: str, names: Sequence[str]) -> tuple[list[bytes], bytes]:
    fields, body = split(message)
    header, _, form = c.partition("/")
    if top in fields:
        fields.remove(top)
    found = []
    for wanted in names:
        for place in reversed(range(len(fields))):
            if fields[place].partition(b":")[0].lower() == wanted.lower().encode():
                found.append(canonical_field(fields.pop(place), relaxed=header == "relaxed"))
                break
    return found, canonical_body(body, relaxed=form == "relaxed")
