"""The ladder from DDPM with 1000 steps to TensorRT: every rung that a machine can run, timed and judged."""

import sys

from export.repository import HAND_WRITTEN

sys.path.append(str(HAND_WRITTEN / "diffusion/1"))  # the sampling code is the server's own
