"""Trust: reading certificates, roots, verified paths from the leaf, Certificate Transparency.

Room: trust. Pure: no sockets, no asyncio, no clock. Files are read only by the loaders named `load` and `shipped`.
"""
