"""This user's own signing identity: a root certificate and a leaf with their keys, made on first use."""

from __future__ import annotations

import contextlib
import datetime
import os
import secrets
import shutil
import tempfile
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from operators.storage.errors import refusal
from pipelines.errors import UsageError
from pipelines.provenance.home import (
    CHAIN,
    KEY,
    LOCAL,
    REPLACED,
    ROOT,
    ROOT_KEY,
    has_identity,
    provenance_home,
)

#: Days that root and leaf are valid for. A signature without a time stamp is valid no longer than its certificate, so this is long.
DAYS = 3650
#: Modes of the folder and of the files in it.
PRIVATE_FOLDER, PRIVATE_FILE = 0o700, 0o600
Key = ec.EllipticCurvePrivateKey


def local_identity() -> Path:
    """Return the folder of this user's identity; it is made where there is none.

    Any number of processes may ask at once: all get the same one.

    Raises:
        UsageError: it cannot be made or read.
    """
    folder = provenance_home() / LOCAL
    if has_identity():
        return folder
    return _placed(folder)


def new_identity(force: bool = False) -> Path:
    """Make this user's identity, and return its folder.

    Args:
        force: replace the one that is there. Its root certificate is kept, so that files that it has signed stay trusted here; its
            keys are deleted.

    Raises:
        UsageError: there is one already, or it cannot be made.
    """
    home = provenance_home()
    folder = home / LOCAL
    if folder.exists():
        if not force:
            raise UsageError(
                f"{folder}: there is a signing identity already; --force replaces it (files signed with it stay trusted on this machine)"
            )
        now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%S.%fZ")
        try:
            kept = folder.rename(home / f"{REPLACED}{now}")
            for name in (KEY, ROOT_KEY, CHAIN):
                (kept / name).unlink(missing_ok=True)
        except OSError as problem:
            raise UsageError(f"{folder}: cannot be replaced ({refusal(problem)})") from problem
    return _placed(folder)


def _placed(folder: Path) -> Path:
    """Make an identity under another name and move it into place as a whole; one that came first stays."""
    home = folder.parent
    try:
        home.mkdir(parents=True, exist_ok=True, mode=PRIVATE_FOLDER)
        made = Path(tempfile.mkdtemp(prefix=".new-", dir=home))
    except OSError as problem:
        raise UsageError(
            f"{home}: a signing key cannot be kept there ({refusal(problem)}). Set XDG_CONFIG_HOME to a folder that can be "
            "written, name your own with --sign-cert and --sign-key, or run with --provenance off"
        ) from problem
    try:
        for name, content in make_identity(secrets.token_hex(4)).items():
            descriptor = os.open(made / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                os.fsync(descriptor)
        with contextlib.suppress(FileExistsError, OSError):  # another process was faster
            made.rename(folder)
        if not (folder / KEY).exists():
            raise UsageError(
                f"{folder}: is there, but holds no {KEY}; `retalk provenance init --force` replaces it"
            )
        return folder
    except OSError as problem:
        raise UsageError(f"{home}: a signing key cannot be kept there ({refusal(problem)})") from problem
    finally:
        shutil.rmtree(made, ignore_errors=True)


def make_identity(whose: str, days: int = DAYS) -> dict[str, bytes]:
    """Return the files of a new identity by name: certificates and unencrypted PKCS 8 keys (P-256), all PEM.

    Args:
        whose: for the certificates' names. They stand in every file that is signed, so the user's own names them by chance alone.
        days: that it is valid for.
    """
    now = datetime.datetime.now(datetime.timezone.utc)
    root_key, leaf_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root_name = _name(f"retalk local root {whose}")
    begin, end = now - datetime.timedelta(hours=1), now + datetime.timedelta(days=days)
    root = (
        _builder(root_name, root_name, root_key, begin, end)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(key_cert_sign=True), critical=True)
        .sign(root_key, hashes.SHA256())
    )
    leaf = (
        _builder(_name(f"retalk local signer {whose}"), root_name, leaf_key, begin, end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), critical=False
        )
        .sign(root_key, hashes.SHA256())
    )
    return {
        ROOT: _pem(root),
        CHAIN: _pem(leaf) + _pem(root),
        ROOT_KEY: _key_pem(root_key),
        KEY: _key_pem(leaf_key),
    }


def _name(common: str) -> x509.Name:
    organization = x509.NameAttribute(NameOID.ORGANIZATION_NAME, "retalk (self-signed)")
    return x509.Name([organization, x509.NameAttribute(NameOID.COMMON_NAME, common[:64])])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: Key, begin: datetime.datetime, end: datetime.datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(digital_signature: bool = False, key_cert_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        crl_sign=key_cert_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: Key) -> bytes:
    encryption = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
