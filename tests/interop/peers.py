"""Postfix, Exim and OpenSMTPD on loopback, as other people's reading of the SMTP specifications.

Each lives in a directory of its own and accepts mail for anna@ and ben@example.test; nothing is delivered anywhere.
Only one of their Debian packages can be installed: Exim and OpenSMTPD are the unpacked packages in EXIM_ROOT and
OPENSMTPD_ROOT (`get-servers` puts them there).
"""

from __future__ import annotations

import abc
import os
import pwd
import shutil
import subprocess
import time
from pathlib import Path
from typing import Self

import pytest

from tests.helpers.daemon import DOMAIN, free_port
from tests.helpers.smtp import Closed, Smtp

__all__ = ["Exim", "OpenSmtpd", "Peer", "Postfix", "needs_peers"]

_START = 60.0
_CACHE = Path.home() / ".cache" / "mailserver"
_EXIM = Path(os.environ.get("EXIM_ROOT") or _CACHE / "exim") / "usr" / "sbin" / "exim4"
_OPENSMTPD = Path(os.environ.get("OPENSMTPD_ROOT") or _CACHE / "opensmtpd") / "usr" / "sbin" / "smtpd"
_NOBODY = 65534


def _postfix_user() -> bool:
    try:
        pwd.getpwnam("postfix")
    except KeyError:
        return False
    return True


_programs = all(map(shutil.which, ("postfix", "unshare", "setpriv"))) and _EXIM.exists() and _OPENSMTPD.exists()
needs_peers = pytest.mark.skipif(
    not (_programs and _postfix_user() and os.geteuid() == 0),
    reason="needs root, Postfix, and Exim and OpenSMTPD unpacked (tests/interop/get-servers fetches them)",
)


class Peer(abc.ABC):
    """A running server; `port` answers. A context manager."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        directory.mkdir(parents=True)
        directory.chmod(0o755)

    @abc.abstractmethod
    def __exit__(self, *exc: object) -> None: ...

    def _started(self) -> Self:
        deadline = time.monotonic() + _START
        while True:
            try:
                with Smtp(self.port, timeout=5):
                    return self
            except (OSError, Closed):
                if time.monotonic() > deadline:
                    self.__exit__()
                    raise AssertionError(f"{type(self).__name__} does not start:\n{self.log()}") from None
                time.sleep(0.1)

    def log(self) -> str:
        """The end of its log."""
        return "\n".join(
            path.read_text(errors="replace")[-2000:] for path in self.directory.rglob("*log*") if path.is_file()
        )


class Postfix(Peer):
    """Its defaults, but for the times it makes clients wait.

    With `passes_on_to` mail goes to that port here instead of nowhere; `certificate` is one with its key.
    """

    def __init__(self, directory: Path, *, passes_on_to: int = 0, certificate: Path | None = None) -> None:
        super().__init__(directory)
        self._passes_on_to = passes_on_to
        self._certificate = certificate

    def __enter__(self) -> Postfix:
        etc = self.directory / "etc"
        for name in ("etc", "spool", "data"):
            (self.directory / name).mkdir()
        shutil.chown(self.directory / "data", "postfix")
        (etc / "mailboxes").write_text(f"anna@{DOMAIN} x\nben@{DOMAIN} x\npostmaster@{DOMAIN} x\n")
        settings = {
            "compatibility_level": "3.6",
            "queue_directory": self.directory / "spool",
            "data_directory": self.directory / "data",
            "command_directory": "/usr/sbin",
            "daemon_directory": "/usr/lib/postfix/sbin",
            "maillog_file": self.directory / "mail.log",
            "maillog_file_prefixes": self.directory,
            "multi_instance_name": "",
            "myhostname": "peer.example.test",
            "myorigin": DOMAIN,
            "mydestination": "",
            "inet_interfaces": "127.0.0.1",
            "inet_protocols": "ipv4",
            "mynetworks": "192.0.2.1/32",
            "smtpd_peername_lookup": "no",
            "smtp_dns_support_level": "disabled",
            "smtpd_error_sleep_time": "0",
            "in_flow_delay": "0",
            "smtpd_tls_security_level": "none",
            "alias_maps": "",
            "virtual_mailbox_domains": DOMAIN,
            "virtual_mailbox_maps": f"texthash:{etc}/mailboxes",
            "virtual_transport": f"smtp:[127.0.0.1]:{self._passes_on_to}" if self._passes_on_to else "discard:",
            # The same as ours, and as Exim's.
            "message_size_limit": 50 << 20,
            "mailbox_size_limit": 0,
            "virtual_mailbox_limit": 0,
        }
        if self._certificate is not None:
            settings |= {"smtpd_tls_security_level": "may", "smtpd_tls_chain_files": self._certificate}
        (etc / "main.cf").write_text("".join(f"{name} = {value}\n" for name, value in settings.items()))
        services = [f"127.0.0.1:{self.port} inet n - n - - smtpd"]
        services += [f"{name} unix n - n - 0 {name}" for name in ("cleanup", "showq", "flush")]
        services += ["qmgr unix n - n 300 1 qmgr"]
        services += [f"{name} unix - - n - - {name}" for name in ("discard", "error", "proxymap", "smtp")]
        services += [f"{name} unix - - n - 1 {name}" for name in ("anvil", "verify")]
        services += [f"{name} unix - - n - 0 bounce" for name in ("bounce", "defer", "trace")]
        services += ["rewrite unix - - n - - trivial-rewrite", "retry unix - - n - - error"]
        services += ["tlsmgr unix - - n 1000? 1 tlsmgr", "postlog unix-dgram n - n - 1 postlogd"]
        (etc / "master.cf").write_text("\n".join(services) + "\n")
        self._run("start")
        return self._started()

    def __exit__(self, *exc: object) -> None:
        self._run("stop")

    def _run(self, what: str) -> None:
        command = ["postfix", "-c", str(self.directory / "etc"), what]
        # It keeps its standard output open in the background: a pipe would never end.
        with (self.directory / "start.log").open("ab") as log:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, timeout=60, check=False)
        assert done.returncode == 0, self.log()


class Exim(Peer):
    """Its defaults. It runs under a name that only exists in a mount namespace of its own.

    With `passes_on_to` mail goes to that port here instead of nowhere.
    """

    def __init__(self, directory: Path, *, passes_on_to: int = 0) -> None:
        super().__init__(directory)
        self._passes_on_to = passes_on_to

    def __enter__(self) -> Exim:
        here, port = self.directory, self._passes_on_to
        sending, transport = "queue_only = true", "driver = appendfile\n  file = /dev/null"
        if port:
            sending = "deliver_drop_privilege\ndsn_advertise_hosts = *"
            transport = f"driver = smtp\n  hosts = 127.0.0.1\n  hosts_override\n  port = {port}\n  allow_localhost"
        for name in ("spool", "log"):
            (here / name).mkdir()
            os.chown(here / name, _NOBODY, _NOBODY)
        config = here / "exim.conf"
        config.write_text(
            f"""exim_path = {here}/exim4
spool_directory = {here}/spool
log_file_path = {here}/log/%slog
pid_file_path = {here}/spool/exim.pid
daemon_smtp_ports = {self.port}
local_interfaces = 127.0.0.1
primary_hostname = peer.example.test
keep_environment =
never_users = root
{sending}
host_lookup =
tls_advertise_hosts =
rfc1413_query_timeout = 0s
acl_smtp_rcpt = rcpt
acl_smtp_data = accept
domainlist local = {DOMAIN}

begin acl
rcpt:
  deny local_parts = ^[.] : ^.*[@%!/|]
  accept domains = +local
         local_parts = anna : ben : postmaster
  deny domains = +local
       message = no such user
  deny message = relay not permitted

begin routers
all:
  driver = accept
  transport = none

begin transports
none:
  {transport}
"""
        )
        for name, line in (("passwd", f"Debian-exim:x:{_NOBODY}:{_NOBODY}::{here}:/bin/false\n"),
                           ("group", f"Debian-exim:x:{_NOBODY}:\n")):  # fmt: skip
            (here / name).write_text((Path("/etc") / name).read_text() + line)
        program = shutil.copy(_EXIM, here / "exim4")
        mounts = " && ".join(f'mount --bind "$0/{name}" /etc/{name}' for name in ("passwd", "group"))
        drop = f"setpriv --reuid {_NOBODY} --regid {_NOBODY} --clear-groups"
        start = f'{mounts} && exec {drop} {program} -C "$0/exim.conf" -bdf'
        with (here / "start.log").open("ab") as log:
            self._process = subprocess.Popen(
                ["unshare", "-m", "sh", "-c", start, str(here)], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        return self._started()

    def __exit__(self, *exc: object) -> None:
        self._process.terminate()
        self._process.wait(60)


class OpenSmtpd(Peer):
    """Its defaults. Its users, and the fixed places of its spool and socket, exist in a mount namespace of its own.

    What it took stays in its queue: the server that it would pass it on to is not there.
    """

    def __enter__(self) -> OpenSmtpd:
        here = self.directory
        (here / "smtpd.conf").write_text(
            f"""smtp max-message-size "50M"
listen on 127.0.0.1 port {self.port} hostname peer.example.test
action "none" relay host "smtp://127.0.0.1:{free_port()}"
match from any for rcpt-to {{ "anna@{DOMAIN}", "ben@{DOMAIN}" }} action "none"
"""
        )
        users = {"opensmtpd": 64990, "opensmtpq": 64991}
        passwd = "".join(f"{name}:x:{number}:{number}::/:/bin/false\n" for name, number in users.items())
        group = "".join(f"{name}:x:{number}:\n" for name, number in users.items())
        for name, lines in (("passwd", passwd), ("group", group)):
            (here / name).write_text((Path("/etc") / name).read_text() + lines)
        mounts = [f'mount --bind "$0/{name}" /etc/{name}' for name in ("passwd", "group")]
        mounts += [f"mount -t tmpfs -o mode=755 none {place}" for place in ("/var/spool", "/var/lib", "/run")]
        mounts += ["mkdir -p /var/lib/opensmtpd/empty", "mkdir -m 711 /var/spool/smtpd"]
        start = " && ".join([*mounts, f'exec {_OPENSMTPD} -d -f "$0/smtpd.conf"'])
        with (here / "start.log").open("ab") as log:
            self._process = subprocess.Popen(
                ["unshare", "-m", "sh", "-c", start, str(here)], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        return self._started()

    def __exit__(self, *exc: object) -> None:
        self._process.terminate()
        self._process.wait(60)
