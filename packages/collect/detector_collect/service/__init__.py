"""Serves the collector over HTTP.

Room: detector_collect.service, above everything but the command line. Opens sockets in `serving` alone.
"""
