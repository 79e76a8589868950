"""Thunderbird without a window, driven over Marionette: its own remote protocol, JSON over a socket."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

from tests.helpers.daemon import free_port

__all__ = ["Thunderbird"]

_START = 60.0
_SCRIPT = 60.0
_PREFERENCES = {
    "app.update.enabled": False,
    "mail.shell.checkDefaultClient": False,
    "mail.provider.suppress_dialog_on_startup": True,
    "mailnews.start_page.enabled": False,
    "datareporting.policy.dataSubmissionPolicyBypassNotification": True,
    "mail.biff.show_alert": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
}
#: What every script may use. `until` waits for something to become true, and gives null when it does not.
_PRELUDE = """
const done = arguments[arguments.length - 1];
const { MailServices } = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
const server = () => MailServices.accounts.allServers.find(s => s.type == "imap");
const folder = name => {
  const found = [...server().rootFolder.descendants].find(f => f.name == name);
  return found && found.QueryInterface(Ci.nsIMsgImapMailFolder);
};
// Of some operations it never tells the end; what is awaited afterwards shows whether they worked.
const late = new Promise(resolve => setTimeout(resolve, 10000));
const url = start => Promise.race([late, new Promise(resolve => start({
  QueryInterface: ChromeUtils.generateQI(["nsIUrlListener"]),
  OnStartRunningUrl() {}, OnStopRunningUrl(_, status) { resolve(status); } }))]);
const copy = start => new Promise(resolve => start({
  QueryInterface: ChromeUtils.generateQI(["nsIMsgCopyServiceListener"]),
  onStartCopy() {}, onProgress() {}, setMessageKey() {}, getMessageId() { return null; },
  onStopCopy(status) { resolve(status); } }));
const until = async test => {
  for (let i = 0; i < 400; i++) {
    const value = test();
    if (value) return value;
    await new Promise(resolve => setTimeout(resolve, 50));
  }
  return null;
};
const open = name => url(listener => folder(name).updateFolderWithListener(null, listener));
const find = (name, subject) => [...folder(name).messages].find(m => m.mime2DecodedSubject == subject);
(async (...args) => { %s })(...[...arguments].slice(0, -1)).then(
  value => done(JSON.stringify(value === undefined ? null : value)), error => done("ERROR " + error + error.stack));
"""


class Thunderbird:
    """One process with a profile of its own in `home`. A context manager."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._port = free_port()
        self._number = 0

    def __enter__(self) -> Thunderbird:
        profile = self._home / "profile"
        profile.mkdir()
        preferences = _PREFERENCES | {"marionette.port": self._port}
        lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in preferences.items()]
        (profile / "user.js").write_text("".join(lines))
        program = shutil.which("thunderbird")
        assert program is not None
        with (self._home / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    program, "--headless", "--marionette", "-remote-allow-system-access", "--no-remote",
                    "--profile", profile,
                ],
                env={"HOME": str(self._home), "PATH": "/usr/bin:/bin", "MOZ_HEADLESS": "1", "LANG": "C.UTF-8"},
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        try:
            self._sock = self._connect()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self._file.close()
        self._sock.close()
        self._stop()

    def _stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _connect(self) -> socket.socket:
        deadline = time.monotonic() + _START
        while True:
            try:
                sock = socket.create_connection(("127.0.0.1", self._port), timeout=_SCRIPT + 10)
                break
            except OSError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise AssertionError((self._home / "log").read_text(errors="replace")[-2000:]) from None
                time.sleep(0.1)
        self._sock, self._file = sock, sock.makefile("rb")
        self._read()
        self._command("WebDriver:NewSession", {})
        self._command("Marionette:SetContext", {"value": "chrome"})
        self._command("WebDriver:SetTimeouts", {"script": int(_SCRIPT * 1000)})
        return sock

    def _read(self) -> Any:
        size = b""
        while (octet := self._file.read(1)) != b":":
            assert octet, (self._home / "log").read_text(errors="replace")[-2000:]
            size += octet
        return json.loads(self._file.read(int(size)))

    def _command(self, name: str, parameters: dict[str, Any]) -> Any:
        self._number += 1
        data = json.dumps([0, self._number, name, parameters]).encode()
        self._sock.sendall(b"%d:%b" % (len(data), data))
        _, _, error, result = self._read()
        assert error is None, error
        return result

    def run(self, script: str, *arguments: object) -> Any:
        """The value that a script (the body of an async function of `args`) returns."""
        parameters = {"script": _PRELUDE % script, "args": list(arguments), "sandbox": "system"}
        value = self._command("WebDriver:ExecuteAsyncScript", parameters)["value"]
        assert not value.startswith("ERROR "), value
        return json.loads(value)

    def add_account(self, port: int, user: str, password: str, *, tls: bool = False) -> None:
        """An IMAP account, and its password; the folders are there when this returns."""
        self.run(
            """
            const [port, user, password, socket] = args;
            const login = Cc["@mozilla.org/login-manager/loginInfo;1"].createInstance(Ci.nsILoginInfo);
            login.init("imap://127.0.0.1", null, "imap://127.0.0.1", user, password, "", "");
            await Services.logins.addLoginAsync(login);
            const made = MailServices.accounts.createIncomingServer(user, "127.0.0.1", "imap");
            made.port = port; made.socketType = socket; made.authMethod = 3;
            const account = MailServices.accounts.createAccount();
            account.incomingServer = made;
            const identity = MailServices.accounts.createIdentity();
            identity.email = user;
            account.addIdentity(identity);
            made.QueryInterface(Ci.nsIImapIncomingServer).performExpand(null);
            await until(() => folder("INBOX"));
            await open("INBOX");
            if (!await until(() => folder("Trash"))) throw new Error("no folders");
            """,
            port, user, password, 3 if tls else 0,
        )  # fmt: skip
