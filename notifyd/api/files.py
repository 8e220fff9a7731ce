"""Files that options name, and TLS made of them."""

from __future__ import annotations

import errno
import os
import ssl
import stat
from pathlib import Path
from typing import Annotated, BinaryIO

from pydantic import AfterValidator, ValidationInfo

from notifyd.api.options import SETTINGS_ONLY, sends


def trust_only(ca_file: Path) -> ssl.SSLContext:
    """TLS that trusts the certificates of this file and no others; ValueError says why it cannot be used."""
    _check_readable(ca_file)
    try:
        return ssl.create_default_context(cafile=ca_file)
    except ssl.SSLError:
        raise ValueError(f"{ca_file} holds no certificate in PEM form") from None


def show(context: ssl.SSLContext, client_cert: Path, client_key: Path | None) -> None:
    """Have the context show this certificate to whoever asks; ValueError says why it cannot be used."""
    for path in filter(None, (client_cert, client_key)):
        _check_readable(path)
    try:
        context.load_cert_chain(client_cert, client_key, password=_no_password)
    except ssl.SSLError as error:
        raise ValueError(_unusable(client_cert, client_key or client_cert, error)) from None


def _unusable(cert: Path, key: Path, error: ssl.SSLError) -> str:
    if error.reason == "KEY_VALUES_MISMATCH":
        return f"the key in {key} is not the key of the certificate in {cert}"
    return f"{cert} must hold a certificate and {key} its key, both in PEM form"


def _no_password() -> str:
    """Called for an encrypted key; without it OpenSSL would ask the terminal, and wait."""
    raise ValueError("the key of the client certificate is encrypted; give one that is not, readable by notifyd alone")


def opened(path: Path) -> BinaryIO:
    """A regular file, to be read; OSError for a pipe or a device, which might be waited for without an end."""
    file = open(path, "rb", opener=_at_once)  # noqa: SIM115 - Path.open takes no opener
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return file


def _at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def _check_readable(path: Path) -> None:
    try:
        with opened(path) as file:
            file.read(1)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {(error.strerror or str(error)).lower()}") from None


def _file(path: Path, info: ValidationInfo) -> Path:
    if not path.is_absolute():
        raise ValueError("must be an absolute path")
    if sends(info):
        _check_readable(path)
    return path


def _authorities(path: Path, info: ValidationInfo) -> Path:
    if sends(info):
        trust_only(path)
    return path


FilePath = Annotated[Path, AfterValidator(_file), SETTINGS_ONLY]
"""A file on the daemon's machine: it must be there and readable, and the API may not name it."""

CaFile = Annotated[FilePath, AfterValidator(_authorities)]
"""A PEM file of certificates to trust."""
