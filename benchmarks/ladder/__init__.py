"""The ladder from DDPM with 1000 steps to TensorRT: every rung that a machine can run, timed and judged."""

from export.quiet import quiet_libraries

quiet_libraries()  # before diffusers' pipelines are imported, which have much to say
