"""Load tests with NVIDIA's perf_analyzer: `triton-diffusion bench`."""
