"""Acquire: values, demand, limits and a reference in; a plan out, with prices, a certificate and reasons."""

# LEAD'S NOTE to whoever writes the solver (read, do, then delete this comment): the plan needs an upper bound on
# single edges (`max_provider_share` of a segment: x_ij <= u_ij). Add to Problem a last, optional field
# `upper: float32|float64[E] | None = None` (shares, in [0, 1]; None = no bound), honoured by inertia 0 and > 0 alike:
#  - inertia > 0: x = min(u, p exp((v-l)/tau) / z) with z >= 1 the least that makes the row sum <= 1 (clamp and re-sum;
#    few passes since few edges clamp); row dual value = the concave maximum at that x plus the multipliers
#    (equivalently evaluate sum d[(v-l)x - tau(x log(x/p) - x + p)] at the row maximiser).
#  - inertia 0: capped simplex in the ridge row step; the LP bound H(l) takes a fractional knapsack per row.
#  - repair, floors' max-flow (edge capacity d_i u_ij), infeasibility proofs and the HiGHS tests must respect it.
#  - keep the fast path without `upper` free of cost (separate kernel or a compile-time flag).
# Correct first, fast second. If your time is short, inertia > 0 with `upper` matters most.
