"""Credentials that dubs are signed with: a certificate chain and its private key, checked before anything runs.

The private key stays in the process that has loaded it: it is never written, shown or pickled. Other processes send it what is to
be signed (`pipelines.execution.signing_desk`).
"""

from __future__ import annotations

import datetime
import os
import shlex
import stat
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import NameOID

from operators.storage.errors import refusal
from operators.storage.redact import redact
from pipelines.engine.profile_parts import ProvenanceConfig
from pipelines.errors import UsageError
from pipelines.provenance.home import CHAIN, KEY
from pipelines.provenance.identity import local_identity

#: Bytes of a key or a chain, at most.
MAX_PEM = 1 << 20
#: Seconds that a command may take to print a key.
COMMAND_SECONDS = 60
#: Bits of an RSA key, at least.
MIN_RSA = 2048
#: C2PA's names of the algorithms of elliptic curves, with hash and bytes of one number of a signature.
CURVES: dict[str, tuple[str, hashes.HashAlgorithm, int]] = {
    "secp256r1": ("es256", hashes.SHA256(), 32),
    "secp384r1": ("es384", hashes.SHA384(), 48),
    "secp521r1": ("es512", hashes.SHA512(), 66),
}
#: Extended key usages with which C2PA accepts a signer: emailProtection, documentSigning, and C2PA's own.
SIGNING_USAGES = ("1.3.6.1.5.5.7.3.4", "1.3.6.1.5.5.7.3.36", "1.3.6.1.4.1.62558.2.1")
Sign = Callable[[bytes], bytes]


@dataclass(frozen=True)
class Signing:
    """Everything that a process needs to sign files. Without a secret, if `sign` asks another process.

    Attributes:
        chain: PEM certificates, the signer's first.
        algorithm: C2PA's name, such as ``es256``.
        signer: common name of the signer's certificate.
        sign: returns the signature of some bytes.
        tsa: address of a time-stamp authority, "" for none.
        source_type: digital source type of what the engine draws, the last part of its IPTC address.
    """

    chain: str
    algorithm: str
    signer: str
    sign: Sign
    tsa: str = ""
    source_type: str = "compositeWithTrainedAlgorithmicMedia"


class CredentialsError(UsageError):
    """The key or the certificates cannot be used; the message says which, why and what to do, without any of the key."""


class PrivateKey:
    """A private key that signs, and that cannot be sent to another process.

    Args:
        key: of the `cryptography` package.
        name: for messages.
    """

    def __init__(self, key: Any, name: str) -> None:
        self._key = key
        self.algorithm, self._sign = _method(key, name)

    def sign(self, data: bytes) -> bytes:
        """Return the signature, in the form that COSE wants."""
        return self._sign(data)

    def belongs_to(self, certificate: x509.Certificate) -> bool:
        """Tell whether a certificate holds the public half."""
        form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        own = self._key.public_key().public_bytes(*form)
        return bool(own == certificate.public_key().public_bytes(*form))

    def __reduce__(self) -> NoReturn:
        raise TypeError("a private key is not sent to other processes")

    def __repr__(self) -> str:
        return f"PrivateKey({self.algorithm})"


def check_options(config: ProvenanceConfig) -> None:
    """Check the options of a run that signs, as far as that needs no key.

    Raises:
        CredentialsError: half of a signer, or an address that is none.
    """
    cert, key = config.sign_cert, config.sign_key
    if bool(cert) != bool(key):
        given, missing = ("sign-cert", "sign-key") if cert else ("sign-key", "sign-cert")
        raise CredentialsError(f"--{given} is given without --{missing}: a signer needs both")
    if config.tsa and (
        urlsplit(config.tsa).scheme not in ("http", "https") or not urlsplit(config.tsa).netloc
    ):
        raise CredentialsError(
            f"--tsa {config.tsa}: must be the http:// or https:// address of a time-stamp authority"
        )


def load_signing(config: ProvenanceConfig, source_type: str) -> Signing | None:
    """Load and check what a run signs with, None where it does not sign.

    Without a key of the user's, the user's own identity is taken; it is made on first use.

    Args:
        config: of the profile and the options.
        source_type: of what the engine draws.

    Raises:
        CredentialsError, UsageError: it cannot be used.
    """
    if not config.on:
        return None
    check_options(config)
    cert, key, name = config.sign_cert, config.sign_key, _shown(config.sign_key)
    if not cert:
        folder = local_identity()
        cert, key = str(folder / CHAIN), str(folder / KEY)
        name = key
    chain = _chain(cert)
    private = _private_key(key, name)
    if not private.belongs_to(chain[0]):
        raise CredentialsError(
            f"{name} is not the key of the first certificate of {cert}: the signer's certificate comes first, its issuers follow"
        )
    pem = "".join(one.public_bytes(serialization.Encoding.PEM).decode() for one in chain)
    return Signing(pem, private.algorithm, _common_name(chain[0]), private.sign, config.tsa, source_type)


def _chain(path: str) -> list[x509.Certificate]:
    """The certificates of a PEM file, the signer's first, valid now.

    Raises:
        CredentialsError: they cannot be used.
    """
    try:
        content = Path(path).expanduser().read_bytes()
    except OSError as problem:
        raise CredentialsError(f"--sign-cert {path}: cannot be read ({refusal(problem)})") from problem
    try:
        found = x509.load_pem_x509_certificates(content[:MAX_PEM])
    except ValueError:
        raise CredentialsError(
            f"--sign-cert {path}: holds no PEM certificates; give the signer's certificate and its issuers', one after the other"
        ) from None
    now = datetime.datetime.now(datetime.timezone.utc)
    for number, certificate in enumerate(found, 1):
        which = f"--sign-cert {path}: certificate {number} ({_common_name(certificate)})"
        if certificate.not_valid_after_utc < now:
            raise CredentialsError(f"{which} expired on {certificate.not_valid_after_utc:%Y-%m-%d}; renew it")
        if certificate.not_valid_before_utc > now:
            raise CredentialsError(
                f"{which} is valid from {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC on only; is this machine's clock right?"
            )
    return found


def unfit(chain: str) -> str:
    """Say why C2PA accepts no signature of the first certificate of a PEM chain; "" for no reason that is known.

    Its certificate profile asks for a leaf with the key usage digitalSignature and an extended key usage that it knows.
    """
    certificate = x509.load_pem_x509_certificates(chain.encode())[0]
    found = []
    usages = _extension(certificate, x509.ExtendedKeyUsage)
    if usages is None:
        found.append(
            "it has no extended key usage (EKU); C2PA wants one such as emailProtection or documentSigning"
        )
    elif not any(usage.dotted_string in SIGNING_USAGES for usage in usages):
        shown = ", ".join(getattr(usage, "_name", usage.dotted_string) for usage in usages)
        found.append(
            f"its extended key usage (EKU) is {shown}; C2PA wants emailProtection or documentSigning"
        )
    usage = _extension(certificate, x509.KeyUsage)
    if usage is None or not usage.digital_signature:
        found.append("its key usage lacks digitalSignature")
    constraints = _extension(certificate, x509.BasicConstraints)
    if constraints is not None and constraints.ca:
        found.append("it is the certificate of an authority (CA); sign with one that it has issued")
    elif certificate.subject == certificate.issuer:
        found.append("it is self-signed; make a root and a certificate that it issues")
    return "; ".join(found)


def _extension(certificate: x509.Certificate, kind: Any) -> Any:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except (x509.ExtensionNotFound, ValueError):
        return None


def _private_key(where: str, name: str) -> PrivateKey:
    """Load the private key of a file, an environment variable (``env:NAME``) or a command (``cmd:...``); messages call it ``name``.

    Raises:
        CredentialsError: it cannot be used.
    """
    content = _key_bytes(where, name)
    try:
        key = serialization.load_pem_private_key(content, password=None)
    except TypeError:
        raise CredentialsError(
            f"{name}: the key is encrypted, and nobody can be asked for its password; decrypt it for this run, for example "
            "--sign-key 'cmd:openssl pkey -in key.pem -passin file:password.txt'"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        if where.startswith("cmd:"):
            raise CredentialsError(
                f"{name}: the command printed no PEM private key; it runs without a shell (for several commands: cmd:sh -c '...')"
            ) from None
        raise CredentialsError(f"{name}: is no PEM private key") from None
    return PrivateKey(key, name)


def readable_by_others(path: Path, mode: int) -> str:
    """The complaint, with what mends it, about a secret's file of this `st_mode` that others may read; else empty."""
    if not stat.S_ISREG(mode) or not mode & 0o077:
        return ""
    return f"others may read it (mode {stat.S_IMODE(mode):04o}); chmod 600 {shlex.quote(str(path))}"


def _key_bytes(where: str, name: str) -> bytes:
    kind, colon, rest = where.partition(":")
    if "-----BEGIN" in where:
        raise CredentialsError(
            "--sign-key: holds a key itself, which others on this machine can see; give its file, env:NAME or cmd:COMMAND"
        )
    if colon and kind == "env":
        if not os.environ.get(rest):
            raise CredentialsError(f"{name}: the environment variable {rest} is not set")
        return os.environ[rest].encode()
    if colon and kind == "cmd":
        return _printed(rest)
    path = Path(where).expanduser()
    try:
        mode = path.stat().st_mode
        if readable := readable_by_others(path, mode):
            raise CredentialsError(f"{name}: {readable}")
        with path.open("rb") as file:
            return file.read(MAX_PEM)
    except OSError as problem:
        raise CredentialsError(f"{name}: cannot be read ({refusal(problem)})") from problem


def _printed(command: str) -> bytes:
    """The key that a command prints."""
    try:
        words = shlex.split(command)
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, timeout=COMMAND_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise CredentialsError(
            f"--sign-key cmd:…: the command took longer than {COMMAND_SECONDS} s"
        ) from None
    except (OSError, ValueError, IndexError) as problem:
        raise CredentialsError(f"--sign-key cmd:…: the command cannot be run ({refusal(problem)})") from None
    if done.returncode:
        said = redact(done.stderr.decode(errors="replace").strip().rpartition("\n")[2])[:200]
        raise CredentialsError(
            f"--sign-key cmd:…: the command failed with exit code {done.returncode}{f' ({said})' if said else ''}"
        )
    return done.stdout[:MAX_PEM]


def _shown(where: str) -> str:
    """A place of a key for messages: a command may hold a password."""
    return "--sign-key cmd:…" if where.startswith("cmd:") else f"--sign-key {where}"


def _method(key: Any, name: str) -> tuple[str, Sign]:
    """C2PA's name of a key's algorithm, and the function that signs."""
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "ed25519", key.sign
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in CURVES:
        algorithm, digest, size = CURVES[key.curve.name]

        def with_curve(data: bytes) -> bytes:
            numbers = decode_dss_signature(key.sign(data, ec.ECDSA(digest)))
            return b"".join(number.to_bytes(size, "big") for number in numbers)

        return algorithm, with_curve
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size >= MIN_RSA:
        pss = padding.PSS(padding.MGF1(hashes.SHA256()), salt_length=hashes.SHA256.digest_size)
        return "ps256", lambda data: key.sign(data, pss, hashes.SHA256())
    raise CredentialsError(
        f"{name}: C2PA signs with keys of the curves P-256, P-384 and P-521, Ed25519, or RSA from {MIN_RSA} bits on; this is another"
    )


def _common_name(certificate: x509.Certificate) -> str:
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    found = str(names[0].value) if names else certificate.subject.rfc4514_string()
    return "".join(c if c.isprintable() else "?" for c in found)[:200]
