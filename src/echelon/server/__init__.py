"""Asynchronous training: a server that keeps the parameters, and workers that never wait for each other."""
