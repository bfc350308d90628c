"""App: where adapters are named, the loop stands on one page (``cycle.py``), and people and programs come in."""
