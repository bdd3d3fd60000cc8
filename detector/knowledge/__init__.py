"""Knowledge: what ships with the package (public roots, CT logs, catalogue, public suffixes), and how old it is.

Room: knowledge, above `trust`, which reads none of these files and gets them as arguments. Reads the package's own
data, and files that a caller names.
"""
