"""The review room: what staff see of the evidence, who may see what, and what goes out to others.

Room: detector_collect.review. Reads and writes through `detector_collect.store`; assesses nothing.
"""
