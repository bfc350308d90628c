"""Footfall: what each visitor is worth, where the next ones should go, and how to keep them.

import footfall

shop = footfall.make_workspace("shop")            # or open_workspace("shop")
shop.record(frame)                                # any Arrow-capable data frame
footfall.solve(footfall.Problem(...))             # the allocation solver on its own
footfall.Client("http://127.0.0.1:8420").decide(...)   # the live service
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from footfall.disk import place_for_kernels

if TYPE_CHECKING:
    from footfall.acquire import Allocation, LinearLimit, Problem, solve
    from footfall.app.build import Workspace, make_workspace, open_workspace
    from footfall.client import Client
    from footfall.errors import FootfallError, InfeasibleError

__version__ = "0.1.0"

__all__ = [
    "Allocation",
    "Client",
    "FootfallError",
    "InfeasibleError",
    "LinearLimit",
    "Problem",
    "Workspace",
    "__version__",
    "make_workspace",
    "open_workspace",
    "solve",
]

_HOMES = {
    "Allocation": "footfall.acquire",
    "Client": "footfall.client",
    "LinearLimit": "footfall.acquire",
    "Problem": "footfall.acquire",
    "solve": "footfall.acquire",
    "Workspace": "footfall.app.build",
    "make_workspace": "footfall.app.build",
    "open_workspace": "footfall.app.build",
    "FootfallError": "footfall.errors",
    "InfeasibleError": "footfall.errors",
}


place_for_kernels()


def __getattr__(name: str) -> Any:
    """Load a public name when it is first asked for, so that importing the package costs nothing."""
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'footfall' has no attribute {name!r}")


def __dir__() -> list[str]:
    """The public names, whether they are loaded or not."""
    return sorted(__all__)
