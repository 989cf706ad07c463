"""TLS contexts from certificate files: the trusted certificate authorities and the client certificate."""

import base64
import codecs
import contextlib
import os
import re
import ssl
import tempfile
from collections.abc import Iterator
from pathlib import Path

from .._runtime import files
from .._runtime.file_reads import FILE_READS, FileTimeout
from .._runtime.threads import NoThread
from ..config import Config
from ..errors import ConfigurationError

MAX_CERTIFICATES = 4 << 20  # bytes of a file
# A block of PEM. Text outside blocks is ignored, in any encoding. Source: RFC 7468, sections 2 and 5.2.
_BEGIN = rb"(?m)^-----BEGIN ((?:TRUSTED |X509 )?CERTIFICATE)-----[ \t\r]*$"
_BLOCK = _BEGIN + rb"([^-]*)^-----END \1-----"


class Trust:
    """
    The TLS context of a client, made from files when the first connection with TLS needs it.

    Args:
        config: Resolved options.

    Attributes:
        context: The TLS context; None until it is made.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self.context: ssl.SSLContext | None = None

    @classmethod
    def from_config(cls, config: Config) -> "Trust | None":
        """Return the trust that resolved options require, or None for a default TLS context."""
        own = config.verify and (config.ca_bundle is not None or config.fault("ca_bundle") is not None)
        return cls(config) if own or not config.verify or config.client_certificate is not None else None

    async def load(self) -> ssl.SSLContext:
        """
        Return the TLS context. The files are read once, in a thread; after an error, the next call reads them again.

        Raises:
            ConfigurationError: A file cannot be read within 5 s, or its contents are invalid. The message names the
                option or variable with the path.
        """
        if self.context is not None:
            return self.context
        paths = self._paths()
        try:
            return await FILE_READS.run(next(iter(paths.values()), ""), self._read)
        except FileTimeout as error:
            reason = error.strerror
        except NoThread:
            reason = "the system starts no more threads"
        raise ConfigurationError(f"{' or '.join(f'{name}: {path!a}' for name, path in paths.items())}: {reason}")

    def _paths(self) -> dict[str, str]:
        """Return the paths of the files by the option or variable that sets each."""
        config = self._config
        options = ("ca_bundle",) * config.verify + ("client_certificate", "client_key")
        paths = {config.origin_of(option): getattr(config, option) for option in options}
        return {name: path for name, path in paths.items() if path is not None}

    def _read(self) -> ssl.SSLContext:
        if self.context is None:  # another caller can have made it
            self.context = trust_of(self._config)
        return self.context


def trust_of(config: Config) -> ssl.SSLContext:
    """
    Return the TLS context for resolved options. Reads files, so it blocks.

    Raises:
        ConfigurationError: A file cannot be read, or its contents are invalid. The message names the option or variable
            with the path.
    """
    context = _authorities(config)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not config.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if config.client_certificate is not None:
        key = None if config.client_key is None else files.expand(config.client_key, os.environ)
        _load_client_certificate(context, files.expand(config.client_certificate, os.environ), key)
    return context


def _authorities(config: Config) -> ssl.SSLContext:
    if not config.verify:
        return ssl.create_default_context()
    config.need("ca_bundle")
    if config.ca_bundle is None:
        return ssl.create_default_context()
    try:
        data, _ = files.read(files.expand(config.ca_bundle, os.environ), max_bytes=MAX_CERTIFICATES)
        plain, trusted = _certificates(data)
        if not trusted:
            return ssl.create_default_context(cadata=plain)
        # Only OpenSSL's own loader applies the trust settings of such a certificate, and it reads files.
        with _as_file(trusted) as path:
            return ssl.create_default_context(cafile=path, cadata=plain or None)
    except (OSError, ValueError) as error:  # includes ssl.SSLError, a subclass of OSError
        reason = "contains an invalid certificate"
        if isinstance(error, _NoCertificate):
            reason = "contains no PEM certificates"
        elif not isinstance(error, ssl.SSLError):
            reason = getattr(error, "strerror", None) or reason
    raise ConfigurationError(f"{config.origin_of('ca_bundle')}: {config.ca_bundle!a}: {reason}")


class _NoCertificate(ValueError):
    """A file contains no block with a certificate."""


def _certificates(data: bytes) -> tuple[bytes, bytes]:
    """
    Return the plain certificates of a bundle in binary form, and its trusted certificates as PEM.

    A "TRUSTED CERTIFICATE" of OpenSSL also has the purposes that it is trusted for.

    Raises:
        ValueError: There is no certificate, or one is not base64 or has no end line.
    """
    plain, trusted = [], []
    data = data.removeprefix(codecs.BOM_UTF8)
    for block in re.finditer(_BLOCK, data):
        der = base64.b64decode(b"".join(block[2].split()), validate=True)
        if block[1].startswith(b"TRUSTED"):
            trusted.append(block[0])
        else:
            plain.append(der)
    if not plain and not trusted:
        raise _NoCertificate
    if len(re.findall(_BEGIN, data)) > len(plain) + len(trusted):
        raise ValueError
    return b"".join(plain), b"\n".join([*trusted, b""]) if trusted else b""


@contextlib.contextmanager
def _as_file(data: bytes) -> Iterator[str]:
    """Yield the path of a file that only this process can read. It is in memory if the system supports that."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("sts-async")
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            yield f"/proc/self/fd/{descriptor}"
    else:
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory, "pem")
            path.write_bytes(data)
            yield str(path)


def _load_client_certificate(context: ssl.SSLContext, certificate: Path, key: Path | None) -> None:
    """Load a client certificate into *context*. The module `ssl` accepts only paths."""
    option, path = "client_certificate", certificate
    try:
        files.read(certificate, max_bytes=MAX_CERTIFICATES)
        if key is not None:
            option, path = "client_key", key
            files.read(key, max_bytes=MAX_CERTIFICATES)
        context.load_cert_chain(certificate, key, password=_no_password)
        return
    except ssl.SSLError:
        reason = "not a matching PEM certificate and private key"
    except OSError as error:
        reason = error.strerror or str(error)
    except ValueError:
        reason = "the private key is encrypted"
    raise ConfigurationError(f"{option}: {str(path)!a}: {reason}")


def _no_password() -> str:
    raise ValueError  # without this function, OpenSSL prompts for the password at the terminal
