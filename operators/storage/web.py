"""``http://`` and ``https://``: files of web servers, with ranges or without, behind redirects, of unknown
length.

Imports aiohttp: fsspec loads this module when such a URL is opened.
"""

from __future__ import annotations

import errno
import socket
import tempfile
from typing import Any
from urllib.parse import urljoin, urlsplit

import aiohttp
from fsspec.asyn import sync
from fsspec.implementations.http import HTTPFileSystem

from operators.storage.addresses import REASON, is_forbidden_host

#: Bytes of a file whose server serves no ranges, at most: it is copied to this machine's temporary folder.
SPOOL = 16 << 30
#: Bytes read at a time into the copy.
BLOCK = 1 << 20


def guarded_socket(address: Any) -> socket.socket:
    """Make a socket for an address that a name was resolved to; redirects come here too.

    Raises:
        PermissionError: the address is forbidden (`operators.storage.addresses`).
    """
    family, kind, protocol, _, where = address
    if is_forbidden_host(str(where[0])):
        raise PermissionError(errno.EACCES, f"{where[0]} {REASON}")
    made = socket.socket(family, kind, protocol)
    made.setblocking(False)
    return made


def _refuse(host: str) -> None:
    if is_forbidden_host(host):
        raise PermissionError(errno.EACCES, f"{host} {REASON}")


async def _begun(session: Any, context: Any, request: aiohttp.TraceRequestStartParams) -> None:
    del session, context
    _refuse(request.url.host or "")


async def _redirected(session: Any, context: Any, request: aiohttp.TraceRequestRedirectParams) -> None:
    del session, context
    place = request.response.headers.get("Location") or request.response.headers.get("URI") or ""
    _refuse(urlsplit(urljoin(str(request.url), place)).hostname or "")


async def guarded_client(**options: Any) -> aiohttp.ClientSession:
    """A session that connects to no forbidden address, however it is spelled, and follows no redirect to one."""
    guard = aiohttp.TraceConfig()
    guard.on_request_start.append(_begun)
    guard.on_request_redirect.append(_redirected)
    connector = aiohttp.TCPConnector(socket_factory=guarded_socket)
    return aiohttp.ClientSession(connector=connector, trace_configs=[guard], **options)


def _lasting(problem: aiohttp.ClientConnectorError) -> bool:
    """True for a failed connection that waiting does not mend: a name that does not exist, a certificate that is wrong."""
    if isinstance(problem, aiohttp.ClientConnectorDNSError):
        return getattr(problem.os_error, "errno", None) != socket.EAI_AGAIN
    return isinstance(problem, aiohttp.ClientConnectorCertificateError)


class WebFileSystem(HTTPFileSystem):
    """fsspec's file system of web servers, which asks with a request that presigned URLs allow, and reads files
    of servers without ranges through a copy.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{"get_client": guarded_client, **options})

    async def _info(self, url: str, **options: Any) -> dict[str, Any]:
        """Ask for the first byte: HEAD is not what a presigned URL is signed for, and servers that announce
        no ranges may serve them.
        """
        try:
            return await self._asked(url)
        except aiohttp.ClientConnectorError as problem:
            if isinstance(problem.os_error, PermissionError):
                raise problem.os_error from problem
            if _lasting(problem):
                raise FileNotFoundError(errno.ENOENT, f"no server answers ({problem})", url) from problem
            raise  # a server that starts again refuses connections for a while

    async def _asked(self, url: str) -> dict[str, Any]:
        headers = {"Range": "bytes=0-0", "Accept-Encoding": "identity"}
        session = await self.set_session()
        async with session.get(self.encode_url(url), headers=headers) as answer:
            found: dict[str, Any] = {"name": url, "type": "file", "size": None, "partial": False}
            if answer.status == 416:  # an empty file has no first byte
                return {**found, "size": 0}
            self._raise_not_found_for_status(answer, url)
            whole = answer.headers.get("Content-Length")
            if answer.status == 206:
                whole = answer.headers.get("Content-Range", "").rpartition("/")[2]
                found["partial"] = whole.isdigit()
            if whole and whole.isdigit() and "Content-Encoding" not in answer.headers:
                found["size"] = int(whole)
            for name, key in (("ETag", "ETag"), ("Last-Modified", "LastModified")):
                if name in answer.headers:
                    found[key] = answer.headers[name]
            return found

    def _open(self, path: str, mode: str = "rb", size: int | None = None, **options: Any) -> Any:
        if mode != "rb":
            raise NotImplementedError
        info = self.info(path)
        if info["partial"]:
            return super()._open(path, mode, size=info["size"], **options)
        return sync(self.loop, self._spooled, path)

    async def _spooled(self, url: str) -> Any:
        """Copy a file into a temporary one without a name, so that nothing is left of a killed process.

        Raises:
            OSError: it is larger than `SPOOL`.
            ConnectionError: it ends early.
        """
        copy = tempfile.TemporaryFile(prefix="retalk-io-")  # noqa: SIM115  (the caller closes it)
        try:
            session = await self.set_session()
            async with session.get(self.encode_url(url), headers={"Accept-Encoding": "identity"}) as answer:
                self._raise_not_found_for_status(answer, url)
                async for block in answer.content.iter_chunked(BLOCK):
                    if copy.tell() + len(block) > SPOOL:
                        raise OSError(
                            errno.EFBIG,
                            f"the server serves no ranges, and files over {SPOOL >> 20:,} MiB are not copied from one that "
                            "does not; put the file on this machine or into an object store",
                        )
                    copy.write(block)
            copy.seek(0)
        except BaseException:
            copy.close()
            raise
        return copy
