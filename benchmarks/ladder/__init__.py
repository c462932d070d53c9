"""The ladder from DDPM with 1000 steps to TensorRT: every rung that a machine can run, timed and judged."""

import sys

from export.quiet import quiet_libraries
from export.repository import HAND_WRITTEN

quiet_libraries()  # before diffusers' pipelines are imported, which have much to say
sys.path.append(str(HAND_WRITTEN / "diffusion/1"))  # the sampling code is the server's own
