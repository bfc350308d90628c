"""Stores: where events and plans live. Adapters of the seams in ``ports.py``; they import nothing of the loop itself."""
