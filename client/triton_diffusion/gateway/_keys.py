"""API keys: who may ask.

A key is 256 random bits, so its plain SHA-256 in the file tells nobody the key: there is nothing to guess that a slow
hash would protect. A line of the file is a name and that hash; empty lines and lines that begin with # are skipped. A
name may have several keys, to replace one without a pause.
"""

import hashlib
import logging
import os
import re
import secrets
from pathlib import Path

from .._errors import InvalidRequest
from ._failures import Refusal

_LINE = re.compile(r"([\w.@-]{1,64})\s+sha256:([0-9a-f]{64})")
_NAME = re.compile(r"[\w.@-]{1,64}")
_log = logging.getLogger("uvicorn.error")  # where uvicorn says whatever happens


class Keys:
    """The keys in a file, which is read again when it has changed."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Raises OSError, or InvalidRequest where the file is none of keys."""
        self._path = Path(path)
        self._read_at = self._path.stat().st_mtime_ns
        self._names = _read(self._path)

    def __len__(self) -> int:
        return len(self._names)

    def caller(self, authorization: str | None) -> str:
        """The name of the key in the header `Authorization`. Raises Refusal."""
        scheme, _, key = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            raise _unauthorized("the API key is missing: send the header Authorization: Bearer KEY")
        self._read_again()
        name = self._names.get(_hashed(key.strip()))
        if name is None:
            raise _unauthorized("the API key is wrong: ask who runs this server for one")
        return name

    def _read_again(self) -> None:
        try:
            changed = self._path.stat().st_mtime_ns
            if changed != self._read_at:
                self._read_at = changed
                self._names = _read(self._path)
        except (OSError, InvalidRequest) as error:  # those that were good before stay good
            _log.error("%s", error)


def new_key(name: str) -> tuple[str, str]:
    """A new key for `name`, and the line for the file."""
    if not _NAME.fullmatch(name):
        raise InvalidRequest(f"name is {name!r}: use 1 to 64 letters, digits, _, ., @ or -", "name", name)
    key = f"td-{secrets.token_urlsafe(32)}"
    return key, f"{name} sha256:{_hashed(key)}\n"


def _hashed(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _read(path: Path) -> dict[str, str]:
    """Names by hash."""
    names = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        found = _LINE.fullmatch(line.strip())
        if found is None:
            raise InvalidRequest(
                f"line {number} of {path} is no key: use lines that `triton-diffusion gateway-key` wrote", "keys"
            )
        names[found[2]] = found[1]
    return names


def _unauthorized(message: str) -> Refusal:
    return Refusal(401, "invalid_api_key", message, headers={"www-authenticate": "Bearer"})
