"""Lifetime: how often a customer still buys, whether they are still there, and what a purchase of theirs is worth.

BG/NBD (Fader, Hardie & Lee 2005) for purchases, Gamma-Gamma (Fader & Hardie 2013) for money, both by maximum likelihood
with Newton's method on the logarithms of the parameters. ``frequency`` counts repeat purchases (purchase days after the
first), ``recency`` is the time from the first to the last purchase, ``age`` the time from the first purchase to now.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from footfall.errors import InputError
from footfall.model import Floats
from footfall.value import _lifetime_kernels as kernels

_STEPS = 200
_FLAT = 1e-9  # slope a customer at which a maximum is taken as reached
_EDGE = 12.0  # |log parameter| beyond which the likelihood has no maximum inside: the data are too thin
FEWEST_REPEATERS = 30  # customers with a repeat purchase, below which nothing is fitted


@dataclass(frozen=True, slots=True)
class BgNbd:
    """Fitted BG/NBD: purchases at a gamma(r, alpha) rate, drop-out after each with a beta(a, b) chance.

    alpha is in the unit of time of the data. log_likelihood is the sum over customers, natural logarithm.
    ``converged`` is False where the likelihood has no clear maximum; figures are then the best found.
    """

    r: float
    alpha: float
    a: float
    b: float
    log_likelihood: float
    customers: int
    converged: bool

    def alive(self, frequency: npt.ArrayLike, recency: npt.ArrayLike, age: npt.ArrayLike) -> Floats:
        """Probability that each customer is still one, float64 (n,); 1 for those without a repeat purchase."""
        x, t, end = _customers(frequency, recency, age)
        out = np.empty(len(x))
        kernels.alive_rows(x, t, end, self.r, self.alpha, self.a, self.b, out)
        return out

    def expected(self, frequency: npt.ArrayLike, recency: npt.ArrayLike, age: npt.ArrayLike, horizon: float) -> Floats:
        """Expected purchases of each customer in the next ``horizon`` (> 0, unit of the data), float64 (n,)."""
        if not (np.isfinite(horizon) and horizon > 0):
            raise InputError(f"horizon {horizon} must be above 0", "give the time ahead in the unit of the data")
        x, t, end = _customers(frequency, recency, age)
        out = np.empty(len(x))
        kernels.expected_rows(x, t, end, float(horizon), self.r, self.alpha, self.a, self.b, out)
        return out


@dataclass(frozen=True, slots=True)
class GammaGamma:
    """Fitted Gamma-Gamma: a purchase is gamma(p, nu), nu is gamma(q, gamma) across customers; money in any unit.

    ``converged`` is False where the likelihood has no clear maximum; figures are then the best found.
    """

    p: float
    q: float
    gamma: float
    log_likelihood: float
    customers: int
    converged: bool

    @property
    def mean(self) -> float:
        """Expected money of a purchase of a customer nobody knows yet; inf where q <= 1."""
        return self.p * self.gamma / (self.q - 1) if self.q > 1 else float("inf")

    def expected(self, count: npt.ArrayLike, mean: npt.ArrayLike) -> Floats:
        """Expected money of the next purchase given ``count`` purchases (>= 0) of that mean, float64 (n,).

        p (gamma + x z) / (p x + q - 1); Fader & Hardie (2013), equation 5. NaN where q <= 1 and nothing was bought.
        """
        x, z = np.asarray(count, np.float64), np.asarray(mean, np.float64)
        below = self.p * x + self.q - 1
        money = self.p * (self.gamma + x * np.where(x > 0, z, 0.0))
        out: Floats = np.full(np.shape(below), np.nan)
        np.divide(money, below, out=out, where=below > 0)
        return out


def fit_bg_nbd(
    frequency: npt.ArrayLike, recency: npt.ArrayLike, age: npt.ArrayLike, weight: npt.ArrayLike | None = None
) -> BgNbd:
    """Fit BG/NBD by maximum likelihood (Fader, Hardie & Lee 2005, equation 6).

    frequency: whole numbers >= 0, (n,). recency, age: (n,), 0 <= recency <= age, recency 0 where frequency is 0, any
    unit of time. weight: (n,), customers each row stands for, default 1. Raises InputError with the row where the data
    are not such, and where fewer than 30 customers bought again: nothing can be told from them.
    """
    x, t, end = _customers(frequency, recency, age)
    w = np.ones(len(x)) if weight is None else np.asarray(weight, np.float64)
    repeaters = float(w[x > 0].sum())
    if repeaters < FEWEST_REPEATERS:
        raise InputError(
            f"{repeaters:,.0f} customers bought again; a lifetime is fitted from {FEWEST_REPEATERS} on",
            "wait for more purchases, or import an older log",
        )
    kept, where = np.unique(np.column_stack((x, t, end)), axis=0, return_inverse=True)
    if len(kept) < 0.5 * len(x):
        x, t, end = (np.ascontiguousarray(kept[:, k]) for k in range(3))
        w = np.bincount(where.ravel(), w, minlength=len(kept)).astype(np.float64)
    beyond = np.bincount(x.astype(np.int64), w)[::-1].cumsum()[::-1][1:]
    customers, unit = float(w.sum()), float(end @ w / w.sum()) or 1.0

    def at(theta: Floats) -> tuple[float, Floats, Floats]:
        slope, bend = np.zeros(4), np.zeros((4, 4))
        r, alpha, a, b = theta
        value = kernels.bg_nbd_counts(beyond, customers, r, alpha, a, b, slope, bend)
        value += kernels.bg_nbd_rows(x, t, end, w, r, alpha, a, b, slope, bend)
        return value, slope, kernels.mirror(bend)

    # Time is measured in mean ages while fitting, so that the starting point suits days and years alike.
    t, end = t / unit, end / unit
    theta, value, converged = _maximise(at, np.array([0.5, 0.5, 1.0, 2.0]), customers)
    # In the data's unit each of the x purchase times of a customer has a density 1 / unit as large.
    value -= float(w @ x) * np.log(unit)
    return BgNbd(
        r=float(theta[0]),
        alpha=float(theta[1] * unit),
        a=float(theta[2]),
        b=float(theta[3]),
        log_likelihood=float(value),
        customers=round(customers),
        converged=converged,
    )


def fit_gamma_gamma(count: npt.ArrayLike, mean: npt.ArrayLike, weight: npt.ArrayLike | None = None) -> GammaGamma:
    """Fit Gamma-Gamma by maximum likelihood to customers' mean money over ``count`` purchases.

    count: (n,), > 0. mean: (n,), > 0, money of a purchase in any unit. weight: as in ``fit_bg_nbd``. The model takes
    money and frequency as independent. Raises InputError where the data are not such, or of fewer than 30 customers.
    """
    x, z = np.asarray(count, np.float64), np.asarray(mean, np.float64)
    if x.shape != z.shape or x.ndim != 1:
        raise InputError(f"count has shape {x.shape}, mean {z.shape}", "give two arrays of one length")
    bad = np.flatnonzero(~(np.isfinite(x) & (x > 0) & np.isfinite(z) & (z > 0)))
    if len(bad):
        i = int(bad[0])
        raise InputError(f"row {i}: count {x[i]:g}, mean {z[i]:g}", "both must be above 0; leave other customers out")
    w = np.ones(len(x)) if weight is None else np.asarray(weight, np.float64)
    if w.sum() < FEWEST_REPEATERS:
        raise InputError(
            f"{w.sum():,.0f} customers with money; it is fitted from {FEWEST_REPEATERS} on", "wait for more purchases"
        )
    unit = float(z @ w / w.sum())
    z = z / unit

    def at(theta: Floats) -> tuple[float, Floats, Floats]:
        slope, bend = np.zeros(3), np.zeros((3, 3))
        p, q, scale = theta
        value = kernels.gamma_gamma_rows(x, z, w, p, q, scale, slope, bend)
        return value, slope, kernels.mirror(bend)

    theta, value, converged = _maximise(at, np.array([2.0, 3.0, 1.0]), float(w.sum()))
    return GammaGamma(
        p=float(theta[0]),
        q=float(theta[1]),
        gamma=float(theta[2] * unit),
        log_likelihood=float(value - w.sum() * np.log(unit)),
        customers=round(float(w.sum())),
        converged=converged,
    )


def _maximise(
    at: Callable[[Floats], tuple[float, Floats, Floats]], start: Floats, customers: float
) -> tuple[Floats, float, bool]:
    """Levenberg-Marquardt on log parameters: (parameters, value, whether the maximum is inside and reached)."""
    log_theta = np.log(start)
    value, slope, bend = _in_logs(at, log_theta)
    damping = 1e-3
    for _ in range(_STEPS):
        if np.abs(slope).max() <= _FLAT * customers or damping > 1e12:
            break
        # A saddle has directions that bend up: lift them, so that the step still climbs.
        top = float(np.linalg.eigvalsh(bend)[-1])
        lifted = bend - max(0.0, top) * 1.1 * np.eye(len(slope))
        step = np.clip(kernels.solve_damped(lifted, slope, damping), -1.5, 1.5)
        trial, trial_slope, trial_bend = _in_logs(at, log_theta + step)
        if np.isfinite(trial) and trial >= value:
            small = trial - value <= 1e-15 * abs(value)
            log_theta, value, slope, bend = log_theta + step, trial, trial_slope, trial_bend
            damping = max(damping / 10, 1e-12)
            if small and np.abs(step).max() < 1e-8:
                break
        else:
            damping *= 10
        if np.abs(log_theta).max() > _EDGE:
            break
    inside = bool(np.abs(log_theta).max() < _EDGE and np.abs(slope).max() <= 1e-6 * customers)
    return np.exp(log_theta), value, inside


def _in_logs(at: Callable[[Floats], tuple[float, Floats, Floats]], log_theta: Floats) -> tuple[float, Floats, Floats]:
    theta = np.exp(log_theta)
    value, slope, bend = at(theta)
    return value, slope * theta, bend * np.outer(theta, theta) + np.diag(slope * theta)


def _customers(frequency: npt.ArrayLike, recency: npt.ArrayLike, age: npt.ArrayLike) -> tuple[Floats, Floats, Floats]:
    """The three arrays as float64, refused with the row where they are no customers."""
    x, t, end = (np.ascontiguousarray(part, np.float64) for part in (frequency, recency, age))
    if not x.shape == t.shape == end.shape or x.ndim != 1:
        raise InputError(
            f"frequency has shape {x.shape}, recency {t.shape}, age {end.shape}", "give three arrays of one length"
        )
    good = np.isfinite(x) & (x >= 0) & (x == np.floor(x)) & np.isfinite(end) & (t >= 0) & (t <= end)
    good &= (x > 0) | (t == 0)
    bad = np.flatnonzero(~good)
    if len(bad):
        i = int(bad[0])
        raise InputError(
            f"row {i}: frequency {x[i]:g}, recency {t[i]:g}, age {end[i]:g}",
            "frequency is a whole number >= 0, 0 <= recency <= age, and recency is 0 where frequency is 0",
        )
    return x, t, end
