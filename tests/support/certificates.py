"""Certificates for tests, made with openssl: authorities, and what they sign for servers and clients."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


@dataclass(frozen=True)
class Signed:
    """A certificate and its key, PEM files."""

    certificate: Path
    key: Path


class Authority:
    """A certificate authority, which keeps its files in a folder."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name
        self.certificate = folder / f"{name}.pem"
        self._key = folder / f"{name}.key"
        _openssl(
            *("req", "-x509", *_KEY, "-days", "2", "-subj", f"/CN={name}"),
            *("-keyout", str(self._key), "-out", str(self.certificate)),
        )

    def sign(self, name: str, days: int = 2, host: str = "localhost") -> Signed:
        """A new certificate for `name` at `host` and 127.0.0.1; a negative number of `days` has it expired."""
        paths = {suffix: self._folder / f"{self._name}-{name}.{suffix}" for suffix in ("pem", "key", "csr")}
        names = f"subjectAltName=DNS:{host},IP:127.0.0.1"
        _openssl(
            *("req", "-new", *_KEY, "-subj", f"/CN={name}", "-addext", names),
            *("-keyout", str(paths["key"]), "-out", str(paths["csr"])),
        )
        _openssl(
            *("x509", "-req", "-in", str(paths["csr"]), "-CA", str(self.certificate), "-CAkey", str(self._key)),
            *("-days", str(days), "-copy_extensions", "copy", "-out", str(paths["pem"])),
        )
        return Signed(paths["pem"], paths["key"])


def _openssl(*arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
