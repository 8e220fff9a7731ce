"""Whose certificates are trusted, and which one is shown."""

import functools
import ssl
from pathlib import Path

import certifi

from notifyd.api import HttpOptions
from notifyd.api.files import show, trust_only

_PROTOCOLS = ["http/1.1"]


def context_for(options: HttpOptions) -> ssl.SSLContext:
    """The TLS of one config. Raises ValueError, in one line, where a file cannot be used."""
    if not options.ca_file and not options.client_cert:
        return system_trust()
    context = trust_only(options.ca_file) if options.ca_file else _trusting_the_system()
    context.set_alpn_protocols(_PROTOCOLS)
    if options.client_cert:
        show(context, options.client_cert, options.client_key)
    return context


@functools.cache
def system_trust() -> ssl.SSLContext:
    """One for all configs that name no file: reading the system's list is slow."""
    context = _trusting_the_system()
    context.set_alpn_protocols(_PROTOCOLS)
    return context


def _trusting_the_system() -> ssl.SSLContext:
    """A context that trusts what the system trusts; Mozilla's list where the system has none, as in slim containers.

    SSL_CERT_FILE and SSL_CERT_DIR are honoured, as everywhere in OpenSSL.
    """
    context = ssl.create_default_context()
    if not _system_has_certificates():
        context.load_verify_locations(certifi.where())
    return context


def _system_has_certificates() -> bool:
    # The context itself cannot say: the certificates of a folder are only read when needed.
    paths = ssl.get_default_verify_paths()
    return bool(paths.cafile or (paths.capath and any(Path(paths.capath).iterdir())))
