"""Benchmarks of servers, of the loop and of the networks on this machine."""

import export.loop  # noqa: F401  puts the loop's own code on the path, for all modules here
