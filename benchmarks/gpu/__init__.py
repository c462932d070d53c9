"""The GPU proof: what a machine with an NVIDIA GPU makes of every step of the ladder, without a network.

`make gpu-kit` prepares what such a machine lacks; there, `python3 benchmarks/gpu/install.py build/gpu-kit DIR` makes an
environment of it, and `DIR/bin/python -m benchmarks.gpu --output DIR` measures.
"""
