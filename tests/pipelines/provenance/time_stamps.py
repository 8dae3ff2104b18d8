"""A time-stamp authority (RFC 3161) on this machine: `openssl ts` behind a web server."""

from __future__ import annotations

import http.server
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

#: Extensions of the authority's certificates, and what it puts into its answers.
CONFIG = """\
[ req ]
distinguished_name = name
prompt = no
[ name ]
CN = Test time stamps
[ root ]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[ leaf ]
basicConstraints = critical, CA:false
keyUsage = critical, digitalSignature
extendedKeyUsage = critical, timeStamping
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[ tsa ]
default_tsa = here
[ here ]
serial = {folder}/serial
signer_cert = {folder}/leaf.pem
signer_key = {folder}/leaf.key
certs = {folder}/root.pem
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256, sha384, sha512
ess_cert_id_chain = no
ess_cert_id_alg = sha256
"""


class Authority:
    """A time-stamp authority.

    Args:
        folder: for its keys.

    Attributes:
        root: its root certificate, PEM.
        refusals: how many of the next requests are answered with an error.
        asked: how many requests came.
        url: its address.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self.refusals, self.asked, self.url = folder, 0, 0, ""
        (folder / "tsa.cnf").write_text(CONFIG.format(folder=folder))
        (folder / "serial").write_text("01\n")
        common = ("-config", "tsa.cnf", "-newkey", "rsa:2048", "-nodes", "-x509", "-days", "30")
        self._openssl("req", *common, "-extensions", "root", "-keyout", "root.key", "-out", "root.pem")
        self._openssl(
            *("req", *common, "-subj", "/CN=Test time stamp signer", "-extensions", "leaf"),
            *("-CA", "root.pem", "-CAkey", "root.key", "-keyout", "leaf.key", "-out", "leaf.pem"),
        )
        self.root = (folder / "root.pem").read_text()

    def _openssl(self, *words: str) -> None:
        subprocess.run(["openssl", *words], cwd=self._folder, check=True, capture_output=True)

    def answer(self, query: bytes) -> bytes:
        """The reply to a request for a time stamp."""
        (self._folder / "query").write_bytes(query)
        self._openssl("ts", "-reply", "-config", "tsa.cnf", "-queryfile", "query", "-out", "reply")
        return (self._folder / "reply").read_bytes()


@contextmanager
def authority(folder: Path) -> Iterator[Authority]:
    """Run a time-stamp authority."""
    made = Authority(folder)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            query = self.rfile.read(int(self.headers["Content-Length"]))
            made.asked += 1
            if made.refusals:
                made.refusals -= 1
                self.send_error(503)
                return
            content = made.answer(query)
            self.send_response(200)
            self.send_header("Content-Type", "application/timestamp-reply")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        made.url = f"http://127.0.0.1:{server.server_port}/tsa"
        yield made
        server.shutdown()
