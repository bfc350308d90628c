"""Acquire: values, demand, limits and a reference in; a plan out, with prices, a certificate and reasons."""
