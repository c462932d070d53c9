"""TCP connections of this machine, as Linux tells of them."""

from pathlib import Path

KEEPALIVE = "02"  # the kind of the timer that runs
TICKS = 100  # a second


def keepalive(local: tuple[str, int], remote: tuple[str, int]) -> float | None:
    """Seconds until `local`'s end of a connection asks the other for a sign of life; None if it does not."""
    wanted = [_written(local), _written(remote)]
    for line in Path("/proc/net/tcp").read_text().splitlines():
        fields = line.split()
        if fields[1:3] == wanted:
            kind, left = fields[5].split(":")
            return int(left, 16) / TICKS if kind == KEEPALIVE else None
    raise LookupError(f"no connection from {local} to {remote}")


def _written(address: tuple[str, int]) -> str:
    host, port = address
    return f"{int.from_bytes(map(int, host.split('.')), 'little'):08X}:{port:04X}"
