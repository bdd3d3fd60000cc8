"""Fills a store with a simulated term, so that a collector can be seen working with nothing else installed.

Room: detector_collect.demo. Uses the store and the worker. Nothing here is about a real institution: every title says
"(simulated)", and the products are those of the catalogue in roles that a random generator gave them.

    await demo.fill(store, now=now)
"""

from .people import add_people
from .term import Clients, Term, assess_again, fill

__all__ = ["Clients", "Term", "add_people", "assess_again", "fill"]
