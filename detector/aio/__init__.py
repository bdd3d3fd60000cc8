"""Helpers for asynchronous code: tasks, threads, a bounded map, lazy imports.

Room: aio. No clock of its own; only `accepting` opens sockets.
"""
