"""What TLS connections are made with: the authorities to believe, our own certificate, and both again when the files change."""

from __future__ import annotations

import os
import ssl
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Final, TypeAlias

from llm_otel_broadcast.host.import_lock import importing
from llm_otel_broadcast.settings.destination import Destination

# OpenSSL would ask the terminal for the password of an encrypted key, and wait.
_NO_PASSWORD: Final = ""
# Where the distributions keep their bundle; the list of truststore 0.10, Debian's and Red Hat's newest first, and those of Go.
_BUNDLES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/tls/cert.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/usr/local/share/certs/ca-root-nss.crt",
)
_HASH_LENGTH: Final = 8

_Signature: TypeAlias = tuple[tuple[int, int, int] | None, ...]


class UnusableFileError(OSError):
    """A certificate or key is not what it should be; the text may be shown."""


class Certificates:
    """The TLS context of one destination. Files that are replaced are read again, as the OTLP exporters of others do."""

    def __init__(self, destination: Destination) -> None:
        self._destination = destination
        self._context: ssl.SSLContext | None = None
        self._signature: _Signature = ()
        self.problem: OSError | None = None
        """Why the newest files cannot be used; the ones before are used meanwhile."""

    def context(self) -> ssl.SSLContext:
        """Return the context for new connections; another object after the files have changed.

        Raises:
            OSError: a certificate or key cannot be used, and none could before.
        """
        # Taken before the files are read: what changes meanwhile is read again next time.
        signature = _signature(self._destination)
        if self._context is not None and signature == self._signature:
            return self._context
        try:
            # OpenSSL has locks of its own while it looks its algorithms up, and a child would wait for them for ever.
            with importing:
                context = tls_context(self._destination)
        except OSError as error:
            # Certificate and key are two files: between their renewals they do not fit each other.
            if self._context is None:
                raise
            self.problem = error
            return self._context
        self._context, self._signature, self.problem = context, signature, None
        return context


def _signature(destination: Destination) -> _Signature:
    """Return what changes when a file is replaced or written anew. A mounted secret's link points to another file then."""
    authorities = destination.certificate or system_bundle()
    files = (authorities, destination.client_certificate, destination.client_key)
    states: list[tuple[int, int, int] | None] = []
    for file in filter(None, files):
        try:
            status = os.stat(_path(file))  # noqa: PTH116  # `Path.expanduser` raises where there is no home
        except OSError:
            states.append(None)
        else:
            states.append((status.st_mtime_ns, status.st_ino, status.st_size))
    return tuple(states)


def tls_context(destination: Destination) -> ssl.SSLContext:
    """Return what TLS connections to a destination are made with.

    Raises:
        OSError: a certificate or key cannot be used; the text says which file and why.
    """
    if destination.certificate is None:
        context = default_context()
    else:
        context = _new_context()
        _load(context.load_verify_locations, "certificate", destination.certificate)
    if destination.client_certificate is not None:
        certificate, key = destination.client_certificate, destination.client_key or destination.client_certificate
        load = partial(context.load_cert_chain, keyfile=_path(key), password=lambda: _NO_PASSWORD)
        _load(load, "client_certificate", certificate, key)
    return context


def default_context() -> ssl.SSLContext:
    """Return a context with the authorities of this machine: OpenSSL's, or those that the program's own client would use.

    A Python that was built elsewhere (uv's on Red Hat, PyInstaller's, python.org's on macOS) has an OpenSSL that looks for
    them where nothing is. httpx2 has truststore for that, requests and httpx have certifi.
    """
    context = _new_context()
    # Reads `SSL_CERT_FILE` and `SSL_CERT_DIR` too, and on Windows the system's store.
    context.load_default_certs()
    if context.cert_store_stats()["x509_ca"]:
        return context
    # A directory of authorities is read when a certificate comes, so the context counts none of it.
    paths = ssl.get_default_verify_paths()
    if os.environ.get(paths.openssl_cafile_env) or os.environ.get(paths.openssl_capath_env):
        return context
    names: list[str] = []
    with suppress(OSError):
        names = os.listdir(paths.capath) if paths.capath is not None else []  # noqa: PTH208  # names only
    for name in names:
        # OpenSSL finds an authority under its hash alone, `5ed36f99.0` for instance.
        stem, _, number = name.lower().partition(".")
        if len(stem) == _HASH_LENGTH and number.isdigit() and all(char in "0123456789abcdef" for char in stem):
            return context
    # Its authorities are in the keychain, which OpenSSL does not read.
    if sys.platform == "darwin":
        truststore = sys.modules.get("truststore")
        # Where the program has imported it, not before it is whole.
        if truststore is not None and not getattr(getattr(truststore, "__spec__", None), "_initializing", False):
            trusting: ssl.SSLContext = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            return trusting
    bundle = system_bundle()
    if bundle is not None:
        _load(context.load_verify_locations, "certificate", bundle)
    return context


def _new_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # RFC 8996 forbids TLS 1.0 and 1.1, which OpenSSL still allows on some systems.
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # A client must take the host from subjectAltName, never from the common name (RFC 9110, section 4.3.4).
    context.hostname_checks_common_name = False
    # A server may ask for the client's certificate after the handshake.
    context.post_handshake_auth = True
    return context


def system_bundle() -> str | None:
    """Return the file with the authorities of this machine; None where there is none."""
    paths = ssl.get_default_verify_paths()
    candidates = (os.environ.get(paths.openssl_cafile_env), paths.cafile, *_BUNDLES)
    bundle = next((file for file in candidates if file and os.path.isfile(file)), None)  # noqa: PTH113
    if bundle is not None:
        return bundle
    # Never imported: that is the program's to do, which may look at the half-loaded module meanwhile.
    try:
        spec = find_spec("certifi")
    except (ImportError, ValueError):
        return None
    folders = (spec.submodule_search_locations or ()) if spec is not None else ()
    files = (str(Path(folder) / "cacert.pem") for folder in folders)
    return next((file for file in files if os.path.isfile(file)), None)  # noqa: PTH113


def _load(load: Callable[[str], object], file_purpose: str, file: str, key: str = "") -> None:
    try:
        load(_path(file))
    except ssl.SSLError as error:
        # Latin-1 reads anything, also a file in binary form.
        text, secret = (Path(_path(name)).read_text(encoding="latin-1") if name else "" for name in (file, key))
        why = str(error.reason or "it holds no certificate").lower().replace("_", " ")
        if "ENCRYPTED" in secret:
            why = "its key is encrypted: give one without a password"
        elif error.reason == "KEY_VALUES_MISMATCH":
            why = "client_key is the key of another certificate"
        elif "-----BEGIN" not in text:
            why = "it is not in PEM format (-----BEGIN CERTIFICATE-----)"
        raise UnusableFileError(f'{file_purpose} "{file}" cannot be used: {why}') from None
    except OSError as error:
        raise UnusableFileError(f'{file_purpose} "{file}" cannot be read: {error.strerror}') from None


def _path(file: str) -> str:
    return os.path.expanduser(file)  # noqa: PTH111  # `Path.expanduser` raises where there is no home
