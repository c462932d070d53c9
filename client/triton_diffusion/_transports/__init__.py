"""Transports: the ways to a server. Types (`transport`, `address`) below, gRPC and HTTP with their wires beside each
other, and the factory above them."""
