"""What the loop calls: make a plan, and explain one provider's part of it."""

from footfall.acquire.explain import Explanation, explain
from footfall.acquire.plan import make_plan

__all__ = ["Explanation", "explain", "make_plan"]
