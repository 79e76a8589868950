"""SASL on the server's side, without I/O: PLAIN (RFC 4616), LOGIN (draft-murchison-sasl-login), SCRAM-SHA-256.

Messages here are octets after base64. `decode_response` is the strict base64 of the line protocols: SMTP (RFC 4954 §4)
and IMAP (RFC 9051 §6.2.2) share it.

SCRAM (RFC 5802, RFC 7677), with -PLUS bound to the server's certificate (RFC 5929). Without -PLUS a client flag "p" is
refused, and "y" where -PLUS is offered (§6). The GS2 header that the client signed must be the one that it sent, octet
for octet; the nonce of the final message must be ours, whole. An authorization identity is taken only when it equals
the user name.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from dataclasses import dataclass, field

from mailserver.model.errors import MailError
from mailserver.model.password import ScramVerifier
from mailserver.wire.saslprep import saslprep

__all__ = [
    "LOGIN_PASSWORD", "LOGIN_USER", "SCRAM_ITERATIONS", "Credentials", "SaslCancelled", "SaslError", "ScramServer",
    "decode_base64", "decode_initial", "decode_response", "make_verifier", "parse_login_answer", "parse_plain",
    "saslname", "usable",
]  # fmt: skip

#: DESIGN §9. RFC 7677 §4 asks for 4096 at least.
SCRAM_ITERATIONS = 100_000
_MIN_ITERATIONS = 4096
_MAX_MESSAGE = 4096
_BINDING_TYPE = b"tls-server-end-point"
#: The names of draft-murchison-sasl-login-00 are "User Name" and "Password"; these are what all clients expect.
LOGIN_USER = b"Username:"
LOGIN_PASSWORD = b"Password:"

_FIRST = re.compile(
    rb"(?P<gs2>(?P<flag>n|y|p=[A-Za-z0-9.-]+),(?:a=(?P<authzid>[^,\x00]+))?,)"
    rb"(?P<bare>(?P<mext>m=[^,\x00]+,)?n=(?P<user>[^,\x00]+),r=(?P<nonce>[\x21-\x2b\x2d-\x7e]+)"
    rb"(?:,[A-Za-z]=[^,\x00]+)*)"
)
_FINAL = re.compile(
    rb"(?P<bare>c=(?P<binding>[A-Za-z0-9+/=]*),r=(?P<nonce>[\x21-\x2b\x2d-\x7e]+)(?:,[A-Za-z]=[^,\x00]+)*)"
    rb",p=(?P<proof>[A-Za-z0-9+/=]+)"
)


class SaslError(MailError):
    """The exchange is over, by the client's fault. `text` says nothing about users or passwords."""

    status = "5.5.2"


class SaslCancelled(SaslError):
    """The client sent `*` (RFC 4954 §4, RFC 9051 §6.2.2)."""

    status = "5.7.0"


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a client claims; not to be logged."""

    user: str = field(repr=False)
    password: str = field(repr=False)


def decode_base64(text: bytes) -> bytes:
    """Canonical base64 (RFC 4648 §4) and nothing else: no white space, no missing padding, no stray bits (ATTACKS K07).

    Raises:
        SaslError: it is not.
    """
    try:
        decoded = binascii.a2b_base64(text, strict_mode=True) if text else b""
    except (binascii.Error, ValueError):
        raise SaslError("the answer is not base64") from None
    if base64.b64encode(decoded) != text:
        raise SaslError("the answer is not base64")
    return decoded


def decode_response(line: bytes) -> bytes:
    """An answer to a challenge, without its CRLF. Raises SaslCancelled for `*`, SaslError for what is not base64."""
    if line == b"*":
        raise SaslCancelled("authentication cancelled")
    return decode_base64(line)


def decode_initial(text: bytes) -> bytes:
    """An initial response; `=` stands for an empty one (RFC 4954 §4, RFC 9051 §6.2.2). Raises SaslError."""
    return b"" if text == b"=" else decode_base64(text)


def _text(octets: bytes) -> str:
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        raise SaslError("the answer is not UTF-8") from None


def parse_plain(message: bytes) -> Credentials:
    """`[authzid] NUL authcid NUL passwd` (RFC 4616 §2). Raises SaslError."""
    parts = message.split(b"\0")
    if len(parts) != 3 or not parts[1] or not parts[2]:
        raise SaslError("PLAIN needs a user name and a password")
    authzid, user, password = (_text(part) for part in parts)
    if authzid not in ("", user):
        raise SaslError("acting as another user is not supported", status="5.7.8")
    return Credentials(user, password)


def parse_login_answer(message: bytes) -> str:
    """One answer of LOGIN. Raises SaslError."""
    text = _text(message)
    if not text or "\0" in text:
        raise SaslError("LOGIN needs a user name and a password")
    return text


def make_verifier(password: str, salt: bytes, iterations: int = SCRAM_ITERATIONS) -> ScramVerifier:
    """What RFC 5802 §3 keeps of a password. Slow by design (PBKDF2): not for the event loop.

    Raises:
        InvalidInput: SASLprep forbids the password.
    """
    salted = hashlib.pbkdf2_hmac("sha256", saslprep(password).encode(), salt, iterations)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    return ScramVerifier(
        salt=salt,
        iterations=iterations,
        stored_key=hashlib.sha256(client_key).digest(),
        server_key=hmac.digest(salted, b"Server Key", "sha256"),
    )


def usable(verifier: ScramVerifier) -> bool:
    """Strong enough and whole: weak iteration counts and damaged keys prove nothing (ATTACKS K08)."""
    return (
        verifier.iterations >= _MIN_ITERATIONS
        and len(verifier.salt) >= 8
        and len(verifier.stored_key) == len(verifier.server_key) == 32
    )


class ScramServer:
    """One exchange: `receive_first` → `challenge` → `receive_final`, each once, in this order."""

    def __init__(self, nonce: bytes, *, binding: bytes = b"", plus: bool = False) -> None:
        """`nonce` is our part: fresh random printable ASCII without a comma, 18 octets of entropy at least.

        `binding` is the connection's tls-server-end-point where -PLUS is offered, else b""; `plus`: it was chosen.
        """
        self._server_nonce = nonce
        self._binding, self._plus = binding, plus
        self._gs2 = self._client_bare = self._nonce = self._server_first = b""
        self._verifier: ScramVerifier | None = None

    def receive_first(self, message: bytes) -> str:
        """Take the client-first-message (RFC 5802 §7) and give the user name in it. Raises SaslError."""
        match = _FIRST.fullmatch(message) if len(message) <= _MAX_MESSAGE else None
        if match is None:
            raise SaslError("the first message is not SCRAM")
        flag = match["flag"]
        if self._plus and flag != b"p=" + _BINDING_TYPE:
            raise SaslError("the channel binding is tls-server-end-point")
        if not self._plus and flag.startswith(b"p="):
            raise SaslError("channel binding is not supported")
        if flag == b"y" and self._binding:
            # §6: the client could have bound the channel, and was told that we cannot; somebody in between said so.
            raise SaslError("channel binding was offered", status="5.7.8")
        if match["mext"]:
            raise SaslError("the extension is not supported")
        user = saslname(match["user"])
        if match["authzid"] is not None and saslname(match["authzid"]) != user:
            raise SaslError("acting as another user is not supported", status="5.7.8")
        self._gs2, self._client_bare = match["gs2"], match["bare"]
        self._nonce = match["nonce"] + self._server_nonce
        return user

    def challenge(self, verifier: ScramVerifier) -> bytes:
        """The server-first-message, for the user's verifier (or an invented one: nobody can tell)."""
        self._verifier = verifier
        salt = base64.b64encode(verifier.salt)
        self._server_first = b"r=%b,s=%b,i=%d" % (self._nonce, salt, verifier.iterations)
        return self._server_first

    def receive_final(self, message: bytes) -> bytes:
        """Check the client-final-message and give the server-final-message.

        Raises:
            SaslError: wrong proof, nonce or channel binding. Status 5.7.8 when it may be the wrong password.
        """
        verifier, self._verifier = self._verifier, None
        match = _FINAL.fullmatch(message) if len(message) <= _MAX_MESSAGE else None
        if match is None or verifier is None:
            raise SaslError("the final message is not SCRAM")
        # §6: what the client signed as GS2 header must be what arrived, or someone changed the flag on the way.
        signed_binding = self._gs2 + (self._binding if self._plus else b"")
        if not hmac.compare_digest(decode_base64(match["binding"]), signed_binding):
            raise SaslError("the channel binding does not match", status="5.7.8")
        if not hmac.compare_digest(match["nonce"], self._nonce):
            raise SaslError("the nonce is not ours", status="5.7.8")
        proof = decode_base64(match["proof"])
        signed = b",".join((self._client_bare, self._server_first, match["bare"]))
        signature = hmac.digest(verifier.stored_key, signed, "sha256")
        if len(proof) != len(signature):
            raise SaslError("the proof is not valid", status="5.7.8")
        client_key = bytes(a ^ b for a, b in zip(proof, signature, strict=True))
        if not hmac.compare_digest(hashlib.sha256(client_key).digest(), verifier.stored_key):
            raise SaslError("the proof is not valid", status="5.7.8")
        return b"v=" + base64.b64encode(hmac.digest(verifier.server_key, signed, "sha256"))


def saslname(octets: bytes) -> str:
    """RFC 5802 §5.1: `=2C` is a comma and `=3D` an equals sign; any other `=` is an error."""
    if re.search(rb"=(?!2C|3D)", octets):
        raise SaslError("the user name is not encoded as SCRAM has it")
    return _text(octets.replace(b"=2C", b",").replace(b"=3D", b"="))
