"""Helpers for asynchronous code: tasks, threads, a bounded map, lazy imports.

Room: aio. No network, no clock of its own.
"""
