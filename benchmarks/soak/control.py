"""A process that leaks at a known rate, which the judge must see: python -m benchmarks.soak.control BYTES_A_SECOND"""

import sys
import time

BALLAST = 64 * 2**20  # bytes


def main() -> None:
    held = [bytearray(b"x") * BALLAST]
    start, leaked, rate = time.monotonic(), 0.0, float(sys.argv[1])
    while True:
        time.sleep(1)
        due = int(rate * (time.monotonic() - start) - leaked)
        held.append(bytearray(b"x") * due)
        leaked += due


if __name__ == "__main__":
    main()
