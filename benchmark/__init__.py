"""What `scripts/benchmark.py` is made of: an origin, contenders, how they are measured, and the page."""
