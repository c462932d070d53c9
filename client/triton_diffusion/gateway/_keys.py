"""API keys: the callers that are let in, each with the priority of its requests.

A key is 256 random bits, so its plain SHA-256 in the file tells nobody the key: there is nothing to guess that a slow
hash would protect. A line of the file is a name, that hash and, if it is not normal, the priority; empty lines and
lines that begin with # are skipped. A name may have several keys, to replace one without a pause.
"""

import hashlib
import logging
import os
import re
import secrets
from pathlib import Path
from typing import NamedTuple

from .._errors import InvalidRequest
from ._api_error import ApiError

PRIORITIES = ("low", "normal", "high")
_LINE = re.compile(rf"([\w.@-]{{1,64}})\s+sha256:([0-9a-f]{{64}})(?:\s+({'|'.join(PRIORITIES)}))?")
_NAME = re.compile(r"[\w.@-]{1,64}")
_log = logging.getLogger("uvicorn.error")  # where uvicorn says whatever happens


class Caller(NamedTuple):
    """The owner of a key."""

    name: str
    priority: str | None = None  # of PRIORITIES; None leaves it to the server, and is normal


class Keys:
    """The keys in a file, which is read again when it has changed."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Raises OSError, or InvalidRequest if a line of the file holds no key."""
        self._path = Path(path)
        self._read_at = self._path.stat().st_mtime_ns
        self._callers = _read(self._path)

    def __len__(self) -> int:
        return len(self._callers)

    def caller(self, authorization: str | None) -> Caller:
        """The owner of the key in the header `Authorization`. Raises ApiError."""
        scheme, _, key = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            raise _unauthorized("the API key is missing: send the header Authorization: Bearer KEY")
        self._read_again()
        caller = self._callers.get(_hashed(key.strip()))
        if caller is None:
            raise _unauthorized("the API key is wrong: ask who runs this server for one")
        return caller

    def _read_again(self) -> None:
        try:
            changed = self._path.stat().st_mtime_ns
            if changed != self._read_at:
                self._read_at = changed
                self._callers = _read(self._path)
        except (OSError, InvalidRequest) as error:  # the keys of the last good file stay valid
            _log.error("%s", error)


def new_key(name: str, priority: str | None = None) -> tuple[str, str]:
    """A new key for `name`, and the line for the file. Raises InvalidRequest."""
    if not _NAME.fullmatch(name):
        raise InvalidRequest(f"name is {name!r}: use 1 to 64 letters, digits, _, ., @ or -", "name", name)
    if priority not in (None, *PRIORITIES):
        raise InvalidRequest(f"priority is {priority!r}: use {', '.join(PRIORITIES)}", "priority", priority)
    key = f"td-{secrets.token_urlsafe(32)}"
    return key, " ".join([name, f"sha256:{_hashed(key)}", *filter(None, [priority])]) + "\n"


def _hashed(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _read(path: Path) -> dict[str, Caller]:
    """The callers in the file, by the hash of their key."""
    callers = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        found = _LINE.fullmatch(line.strip())
        if found is None:
            raise InvalidRequest(
                f"line {number} of {path} is no key: use lines that `triton-diffusion gateway-key` wrote", "keys"
            )
        name, hashed, priority = found.groups()
        callers[hashed] = Caller(name, priority)
    return callers


def _unauthorized(message: str) -> ApiError:
    return ApiError(401, "invalid_api_key", message, headers={"www-authenticate": "Bearer"})
