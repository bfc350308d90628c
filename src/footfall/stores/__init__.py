"""Stores: where events and plans live. Adapters of the seams in ``ports.py``; they know nothing of the loop."""
