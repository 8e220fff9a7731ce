"""Whose certificates are trusted."""

import functools
import ssl
from pathlib import Path

import certifi


@functools.cache
def system_trust() -> ssl.SSLContext:
    """A context that trusts what the system trusts; Mozilla's list where the system has none, as in slim containers.

    SSL_CERT_FILE and SSL_CERT_DIR are honoured, as everywhere in OpenSSL. Made once: reading the list is slow.
    """
    context = ssl.create_default_context()
    if not _system_has_certificates():
        context.load_verify_locations(certifi.where())
    return context


def _system_has_certificates() -> bool:
    # The context itself cannot say: the certificates of a folder are only read when needed.
    paths = ssl.get_default_verify_paths()
    return bool(paths.cafile or (paths.capath and any(Path(paths.capath).iterdir())))
