"""Every error crosses from one process to another as it is."""

from __future__ import annotations

import copy
import pickle

import pytest

from footfall import errors
from footfall.errors import FootfallError, InfeasibleError, ServiceError
from footfall.model import Conflict

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, FootfallError)]


@pytest.mark.parametrize("kind", KINDS)
def test_errors_cross_processes(kind):
    conflict = Conflict(excess=3.0, limits=())
    error = InfeasibleError("limits", conflict, "loosen") if kind is InfeasibleError else kind("what", "do")
    for again in (pickle.loads(pickle.dumps(error)), copy.deepcopy(error)):
        assert type(again) is kind
        assert (str(again), again.message, again.way_out) == (str(error), error.message, error.way_out)
        assert again.__dict__.keys() == error.__dict__.keys()


def test_what_an_error_carries_comes_along():
    conflict = Conflict(excess=3.0, limits=())
    assert pickle.loads(pickle.dumps(InfeasibleError("limits", conflict))).conflict == conflict
    assert pickle.loads(pickle.dumps(ServiceError("away", status=503))).status == 503
