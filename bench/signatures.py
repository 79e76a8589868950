"""What checking a message's signatures costs, beside dkimpy and mailauth on the same message.

    python -m bench.signatures

CPU time, the least of five runs: keys are parsed already, DNS is a table. dkimpy is Debian's (python3-dkim), mailauth
what tests/interop/get-node-clients fetches; what is not there is left out.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from mailserver.mime.dkim.chain import Chain
from mailserver.mime.dkim.verifying import Verification
from mailserver.mime.headers import header_block_end
from tests.helpers.signing import Signer, seal, signer

NOW = 1_795_000_000.0
NODE_ROOT = Path(os.environ.get("NODE_CLIENTS_ROOT", Path.home() / ".cache/mailserver/node"))
COVERED = (
    "from", "to", "subject", "date", "message-id", "reply-to", "mime-version", "content-type", "references", "from",
)  # fmt: skip
HEADER = (
    b"Received: from mail.signer.test (mail.signer.test [192.0.2.1])\r\n\tby mx.example.test with ESMTPS id abc\r\n"
    b"\tfor <b@example.test>; Fri, 20 Nov 2026 10:00:00 +0000\r\n"
    b"From: Anna <anna@signer.test>\r\nTo: Ben <b@example.test>\r\nSubject: The minutes of our meeting on Thursday\r\n"
    b"Date: Fri, 20 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1234567890@signer.test>\r\nReply-To: anna@signer.test\r\n"
    b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nReferences: <a@b.test>\r\n\r\n"
)
LINE = b"The quick brown fox jumps over the lazy dog, and then it goes home for tea.\r\n"
_DKIMPY = """
import base64, json, sys, time
import dkim
given = json.load(sys.stdin)
look = lambda name, timeout=5: given["record"].encode()
message, sealed = base64.b64decode(given["message"]), base64.b64decode(given["sealed"])
def least(work):
    best = 9e9
    for _ in range(5):
        start = time.process_time()
        for _ in range(50):
            work()
        best = min(best, (time.process_time() - start) / 50)
    return best * 1e6
print(least(lambda: dkim.DKIM(message).verify(dnsfunc=look)), least(lambda: dkim.ARC(sealed).verify(dnsfunc=look)))
"""
_MAILAUTH = """
const fs = require("node:fs");
const { arc } = require("mailauth/lib/arc/index.js");
const { dkimVerify } = require("mailauth/lib/dkim/verify.js");
const given = JSON.parse(fs.readFileSync(0));
const options = { resolver: async () => [[given.record]], sender: "a@b.test" };
async function least(work) {
  let best = 1e12;
  for (let run = 0; run < 6; run++) {
    const start = process.cpuUsage();
    for (let n = 0; n < 200; n++) await work();
    const used = process.cpuUsage(start);
    best = Math.min(best, (used.user + used.system) / 200);
  }
  return best;
}
(async () => {
  const message = Buffer.from(given.message, "base64"), sealed = Buffer.from(given.sealed, "base64");
  const one = await least(() => dkimVerify(message, options));
  console.log(one, await least(async () => arc((await dkimVerify(sealed, options)).arc, options)));
})();
"""


def mail(size: int) -> bytes:
    return HEADER + LINE * ((size - len(HEADER)) // len(LINE))


def verify(message: bytes, *signers: Signer) -> None:
    verification = Verification(message, NOW)
    digests = verification.check({each.name: (each.record.encode(),) for each in signers})
    digests.feed(message[header_block_end(message) :])
    digests.end()
    assert {result.result for result in verification.results(digests)} == {"pass"}


def validate(message: bytes, *signers: Signer) -> None:
    chain = Chain(message, NOW)
    digests = chain.check({each.name: (each.record.encode(),) for each in signers})
    digests.feed(message[header_block_end(message) :])
    digests.end()
    assert chain.result(digests).result == "pass"


def least(work: Callable[[], None], times: int) -> float:
    """Microseconds of CPU."""
    best = float("inf")
    for _ in range(5):
        start = time.process_time()
        for _ in range(times):
            work()
        best = min(best, (time.process_time() - start) / times)
    return best * 1e6


def others(record: str, message: bytes, sealed: bytes) -> None:
    texts = {"message": base64.b64encode(message).decode(), "sealed": base64.b64encode(sealed).decode()}
    given = json.dumps({"record": record, **texts})
    for name, argv in (("dkimpy", ["/usr/bin/python3", "-c", _DKIMPY]), ("mailauth", ["node", "-e", _MAILAUTH])):
        cwd = NODE_ROOT if name == "mailauth" and NODE_ROOT.exists() else None
        done = subprocess.run(argv, input=given, capture_output=True, text=True, check=False, cwd=cwd)
        if done.returncode == 0:
            one, chain = map(float, done.stdout.split())
            print(f"{name:44}{one:8.0f} µs one signature{chain:8.0f} µs three sets")


def main() -> None:
    rsa, ed = signer(), signer("ed25519", domain="other.test")
    for by in (rsa, signer(bits=4096), ed):
        for c in ("relaxed/relaxed", "simple/simple"):
            message = by.sign(mail(4096), c=c, h=COVERED)
            verify(message, by)
            name = f"4 KB, {by.kind} {getattr(by.key, 'key_size', '')}, {c}"
            print(f"{name:44}{least(partial(verify, message, by), 200):8.0f} µs")
    both = ed.sign(rsa.sign(mail(4096), h=COVERED), h=COVERED)
    print(f"{'4 KB, RSA-2048 and Ed25519':44}{least(partial(verify, both, rsa, ed), 200):8.0f} µs")
    large = rsa.sign(mail(1 << 20), h=COVERED)
    print(f"{'1 MiB, RSA-2048':44}{least(partial(verify, large, rsa), 10):8.0f} µs")
    sealed = mail(4096)
    for number in (1, 2, 3):
        sealed = seal(sealed, rsa, number, h=COVERED)
        print(f"{f'4 KB, ARC, sets: {number}':44}{least(partial(validate, sealed, rsa), 100):8.0f} µs")
    others(rsa.record, rsa.sign(mail(4096), h=COVERED), sealed)


if __name__ == "__main__":
    main()
