"""Floors as a flow: raise loads to their floors along residual paths, or find the cut that forbids it.

Segments hold d_i visits, providers must receive f_j of them along eligible edges. From any plan within its rows, a
provider below its floor gains from a row's slack, or from visits that another provider can spare, or that in turn can
be replaced (Dinic 1970, on the residual network of the plan at hand). Capacities never stand in the way, since
f_j <= c_j and nobody is raised above the floor. An edge with a largest share takes visits up to ``most``. If no path is
left, the providers reached form a violated Hall set: together their floors exceed the demand of the segments reached,
with what the other segments may send them at most, which their bounded edges all do.
"""

from __future__ import annotations

import numba as nb
import numpy as np

# mypy: disable-error-code="no-untyped-def,untyped-decorator"

_TINY = 1e-14  # of a row's demand or of a provider's floor: counts as nothing


@nb.njit(cache=True, nogil=True)
def _layers(row_start, provider, column, demand, floor, most, flow, slack, load, level, row_level, queue):
    """Breadth-first distances from the providers in deficit; True where something spare is reached."""
    column_start, column_row, column_edge = column
    bounded = len(most) > 0
    level[:] = -1
    row_level[:] = -1
    tail = 0
    for j in range(len(floor)):
        if floor[j] - load[j] > _TINY * floor[j]:
            level[j] = 0
            queue[tail] = j
            tail += 1
    head, found = 0, -1
    while head < tail:
        j = queue[head]
        head += 1
        if found >= 0 and level[j] > found:
            break
        for at in range(column_start[j], column_start[j + 1]):
            i = column_row[at]
            if row_level[i] >= 0 or demand[i] <= 0.0:
                continue
            tiny = _TINY * demand[i]
            if bounded and not most[column_edge[at]] - flow[column_edge[at]] > tiny:
                continue
            row_level[i] = level[j]
            if slack[i] > tiny and found < 0:
                found = level[j]
            for e in range(row_start[i], row_start[i + 1]):
                k = provider[e]
                if flow[e] > tiny and level[k] < 0:
                    level[k] = level[j] + 1
                    queue[tail] = k
                    tail += 1
                    if load[k] - floor[k] > _TINY * floor[k] and found < 0:
                        found = level[j] + 1
    return found >= 0


@nb.njit(cache=True, nogil=True)
def _push(
    row_start, provider, column, demand, floor, most, flow, slack, load, level, row_level, place, row_place, start, path
):
    """Blocking flow out of the deficit of provider ``start``, along layers, with current arcs."""
    column_start, column_row, column_edge = column
    bounded = len(most) > 0
    node, via, up, down = path[0], path[1], path[2], path[3]
    depth = 0
    node[0] = start
    while True:
        j = node[depth]
        spare = load[j] - floor[j] if depth > 0 else 0.0
        from_slack = False
        deeper = False
        if not spare > _TINY * floor[j]:
            while place[j] < column_start[j + 1]:
                at = place[j]
                i = column_row[at]
                tiny = _TINY * demand[i]
                full = bounded and not most[column_edge[at]] - flow[column_edge[at]] > tiny
                if row_level[i] == level[j] and demand[i] > 0.0 and not full:
                    via[depth] = i
                    up[depth] = column_edge[at]
                    if slack[i] > tiny:
                        from_slack = True
                        break
                    while row_place[i] < row_start[i + 1]:
                        e = row_place[i]
                        if flow[e] > tiny and level[provider[e]] == level[j] + 1:
                            deeper = True
                            break
                        row_place[i] += 1
                    if deeper:
                        down[depth] = row_place[i]
                        break
                place[j] += 1
            if deeper:
                depth += 1
                node[depth] = provider[down[depth - 1]]
                continue
            if not from_slack:
                if depth == 0:
                    return
                depth -= 1
                row_place[via[depth]] += 1
                continue
        amount = floor[start] - load[start]
        amount = min(amount, slack[via[depth]] if from_slack else spare)
        for t in range(depth):
            amount = min(amount, flow[down[t]])
        if bounded:
            for t in range(depth + 1 if from_slack else depth):
                amount = min(amount, most[up[t]] - flow[up[t]])
        if from_slack:
            slack[via[depth]] -= amount
            flow[up[depth]] += amount
        else:
            load[j] -= amount
        for t in range(depth):
            flow[up[t]] += amount
            flow[down[t]] -= amount
        load[start] += amount
        if not floor[start] - load[start] > _TINY * floor[start]:
            return
        depth = 0


@nb.njit(cache=True, nogil=True)
def raise_to_floors(row_start, provider, column, demand, floor, most, flow, slack, load, level, row_level):
    """Raise every load to its floor where that can be done, changing ``flow``, ``slack`` and ``load`` in place.

    flow: visits (E,), load its column sums, slack = demand - row sums >= 0. most: largest visits of each edge (E,), or
    empty where none is bounded. Returns True when nothing was left
    wanting; else ``level`` (m,) and ``row_level`` (n,) are >= 0 on the violated Hall set. Loads above the floor may
    fall to it, never below; nobody else's load rises.
    """
    m = len(floor)
    queue = np.empty(m, dtype=np.int64)
    path = np.empty((4, m + 1), dtype=np.int64)
    while True:
        wanting = False
        for j in range(m):
            if floor[j] - load[j] > _TINY * floor[j]:
                wanting = True
        if not wanting:
            return True
        if not _layers(row_start, provider, column, demand, floor, most, flow, slack, load, level, row_level, queue):
            return False
        place = column[0][:-1].copy()
        row_place = row_start[:-1].copy()
        for q in range(m):
            if level[q] == 0:
                _push(
                    row_start, provider, column, demand, floor, most, flow, slack, load, level, row_level,
                    place, row_place, q, path,
                )  # fmt: skip
    return True
