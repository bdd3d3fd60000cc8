"""Detects middleware that decrypts TLS on the way to known endpoints."""
