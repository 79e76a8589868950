"""Filters and scanners of others, run beside a server of ours."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.helpers.daemon import free_port

__all__ = ["EICAR", "answers", "clamd", "rspamd", "service"]

_START = 60.0


@contextmanager
def service(argv: Sequence[str | Path], log: Path, ready: Callable[[], bool], home: Path) -> Iterator[None]:
    """Run a program in the foreground until the block ends; it is there when `ready` says so."""
    with log.open("ab") as out:
        process = subprocess.Popen(
            [str(each) for each in argv], stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=home,
            env={"PATH": os.environ["PATH"] + ":/usr/sbin:/sbin", "HOME": str(home), "LC_ALL": "C.UTF-8"},
        )  # fmt: skip
    try:
        deadline = time.monotonic() + _START
        while not ready():
            said = log.read_text("utf-8", "replace")[-3000:]
            assert process.poll() is None and time.monotonic() < deadline, f"{argv[0]} did not start:\n{said}"
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(60)


def answers(where: Path | int) -> Callable[[], bool]:
    """Does somebody take connections there, a socket's path or a port of 127.0.0.1?"""

    def there() -> bool:
        family = socket.AF_INET if isinstance(where, int) else socket.AF_UNIX
        with socket.socket(family) as probe, suppress(OSError):
            probe.connect(("127.0.0.1", where) if isinstance(where, int) else str(where))
            return True
        return False

    return there


#: The harmless text that all scanners know; in two pieces, so that this file is not one that they would take away.
EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$" + b"EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"


@contextmanager
def clamd(home: Path, more: str = "") -> Iterator[Path]:
    """ClamAV's daemon, which knows EICAR and nothing else; the path of its socket."""
    signatures, path, config = home / "signatures", home / "clamd.sock", home / "clamd.conf"
    signatures.mkdir()
    (signatures / "own.ndb").write_text(f"Own.Eicar:0:*:{EICAR.hex()}\n")
    config.write_text(
        f"DatabaseDirectory {signatures}\nLocalSocket {path}\nForeground yes\nTemporaryDirectory {home}\n{more}\n"
    )
    with service(["clamd", "-c", config], home / "clamd.log", answers(path), home):
        yield path


#: Rules of Rspamd's that do what the message's own field X-Do says.
_RULES = """
rspamd_config.OWN = {
  score = 1.0, description = "The message asks for it",
  callback = function(task) return true, tonumber(task:get_header("X-Points") or "0") end
}
rspamd_config.OWN_DO = {
  type = "postfilter", priority = 10, score = 0.0,
  callback = function(task)
    local wanted = task:get_header("X-Do")
    if wanted == "later" then task:set_pre_result("soft reject", "come again in a while") end
    if wanted == "never" then task:set_pre_result("reject", "no thank you") end
    if wanted == "subject" then task:set_metric_subject("*** changed ***")
      task:set_pre_result("rewrite subject") end
    if wanted == "headers" then
      task:set_milter_reply({
        add_headers = { ["X-Ip"] = tostring(task:get_ip()), ["X-Top"] = { value = "top", order = 0 },
          ["X-Known"] = tostring(task:get_from("smtp")[1].addr) .. " " .. tostring(task:get_helo()) .. " "
            .. tostring(task:get_recipients("smtp")[1].addr) .. " " .. tostring(task:get_user()) },
        remove_headers = { ["X-Old"] = 0 } })
    end
  end
}
"""


@contextmanager
def rspamd(home: Path) -> Iterator[tuple[int, int]]:
    """Rspamd with two rules and nothing else; the ports of its worker, and of its proxy that speaks milter."""
    worker, proxy = free_port(), free_port()
    (home / "tld").write_text("com\ntest\n")
    (home / "own.lua").write_text(_RULES)
    config = home / "rspamd.conf"
    config.write_text(
        f"""options {{
  pidfile = "{home}/rspamd.pid"; tempdir = "{home}"; url_tld = "{home}/tld"; filters = "";
  control_socket = "{home}/control"; dns {{ nameserver = ["127.0.0.1:9"]; timeout = 0.1s; retransmits = 1; }}
}}
logging {{ type = "console"; level = "info"; }}
lua = "{home}/own.lua";
worker "normal" {{ bind_socket = "127.0.0.1:{worker}"; count = 1; }}
worker "rspamd_proxy" {{ bind_socket = "127.0.0.1:{proxy}"; milter = yes; timeout = 60s; count = 1;
  upstream "local" {{ default = yes; self_scan = yes; }} }}
actions {{ reject = 15; add_header = 6; greylist = 4; }}
"""
    )
    ready = answers(worker), answers(proxy)
    with service(["rspamd", "-f", "-i", "-c", config], home / "rspamd.log", lambda: all(r() for r in ready), home):
        yield worker, proxy
