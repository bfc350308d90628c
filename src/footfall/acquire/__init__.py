"""Acquire: values, demand, limits and a reference in; a plan out, with prices, a certificate and reasons."""

from footfall.acquire.conflict import LimitNames
from footfall.acquire.problem import Allocation, LinearLimit, Problem
from footfall.acquire.solver import solve

__all__ = ["Allocation", "LimitNames", "LinearLimit", "Problem", "solve"]
