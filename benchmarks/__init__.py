"""Benchmarks of servers, of the loop and of the networks on this machine."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "model_repository/diffusion/1"))  # the server's own sampling code
