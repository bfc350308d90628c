"""What is read: value, plan, explanations, decisions, health, metrics, and the description of all of it (Litestar)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from litestar import Litestar, Request, Response, get
from litestar.datastructures import State
from litestar.exceptions import HTTPException
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import HeaderParameter, PathParameter, QueryParameter
from msgspec import Meta

from footfall.app.http.context import Context
from footfall.app.http.problems import App, Problem, not_found, of_error, wrong_method
from footfall.app.http.reading import Question, Reply
from footfall.app.http.schema import POLICY, VIEWER, describe
from footfall.app.http.words import known_words
from footfall.errors import FootfallError

PROBLEM = "application/problem+json"
METHODS = "GET, HEAD, OPTIONS"  # HEAD and OPTIONS by app.py
PAGE = 100
MOST = 1000

Limit = Annotated[int, QueryParameter(ge=1, le=MOST, description=f"Rows of a page, 1 to {MOST}.")]
Cursor = Annotated[
    str, QueryParameter(max_length=200, description="`next` of the page before; empty for the first page.")
]
Version = Annotated[
    int | None, QueryParameter(ge=0, le=2**53, description="Version of the plan; else the one in force.")
]
Day = Annotated[str | None, QueryParameter(pattern=r"^\d{4}-\d{2}-\d{2}$", description="A local day, YYYY-MM-DD.")]
Provider = Annotated[str, PathParameter(max_length=500, description="The provider, as events name it.")]
DecisionId = Annotated[str, PathParameter(max_length=200, description="As `decide` answered it.")]
Known = Annotated[
    str,
    HeaderParameter(name="If-None-Match", max_length=2000, description="ETag of what you have: 304 if it is still so."),
]


class ValueRow(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What a visitor of a provider, segment, pair or day is worth; money in major units."""

    provider_id: str | None = None
    segment: str | None = None
    day: str | None = None
    visitors: float | None = None
    orders: float | None = None
    gmv: float | None = None
    conversion: float | None = None
    aov: float | None = None
    visitor_value: float | None = None
    value_mean: float | None = None
    value_sd: float | None = None
    value_low: float | None = None
    value_high: float | None = None
    evidence: float | None = None


class ValuePage(msgspec.Struct, kw_only=True):
    """A page of values."""

    by: Literal["provider", "segment", "pair", "day"]
    notes: tuple[str, ...]
    items: list[ValueRow]
    total: int
    next: Annotated[str | None, Meta(description="Cursor of the next page; null at the end.")]


class PlanPage(msgspec.Struct, kw_only=True):
    """A plan, and a page of its providers or pairs."""

    version: int
    plan_id: str
    status: Literal["draft", "published", "retired"]
    day: str
    as_of: str
    created_at: str
    inertia: float
    objective: float
    bound: float
    gap: float
    comparison: dict[str, float | None]
    unassigned: dict[str, float]
    today: dict[str, float | None]
    tomorrow: dict[str, float | None]
    limits: list[dict[str, Any]]
    notes: tuple[str, ...]
    demand: list[dict[str, Any]]
    nightly: Annotated[
        dict[str, Any] | None,
        Meta(description="What became of the latest nightly plan: whether it was published, and if not why."),
    ]
    by: Literal["provider", "pair"]
    items: list[dict[str, Any]]
    total: int
    next: str | None


class ExplanationView(msgspec.Struct, kw_only=True):
    """Why a provider's visits change: lines whose visits sum to the change. More members as `footfall explain` has."""

    provider_id: str
    lines: list[dict[str, Any]]


class DecisionView(msgspec.Struct, kw_only=True):
    """A decision as it stands in the log."""

    message_id: str
    ts: str
    segment: str
    choices: list[str]
    propensities: list[float]
    plan_version: int
    pacing_version: int


class Health(msgspec.Struct, kw_only=True):
    """Whether the service does its work."""

    status: Literal["ok", "failing"]
    checks: dict[str, Any]


def _spec(kind: Any, meaning: str) -> dict[int, ResponseSpec]:
    return {
        200: ResponseSpec(kind, description=meaning, generate_examples=False),
        304: ResponseSpec(None, description="Still as you have it.", generate_examples=False),
    }


def _response(reply: Reply) -> Response[bytes]:
    headers = {"cache-control": "no-cache"} | ({"etag": reply.etag} if reply.etag else {})
    media = "application/json" if reply.status == 200 else PROBLEM
    body = b"" if reply.status == 304 else reply.body
    return Response(body, status_code=reply.status, media_type=media, headers=headers)


def _context(state: State) -> Context:
    context: Context = state.context
    return context


@get(
    "/v1/value",
    guards=[known_words],
    responses=_spec(ValuePage, "A page of values."),
    summary="What a visitor is worth",
    tags=["read"],
)
async def value(
    state: State,
    by: Annotated[
        Literal["provider", "segment", "pair", "day"], QueryParameter(description="What a row is.")
    ] = "provider",
    as_of: Day = None,
    first: Annotated[
        str | None,
        QueryParameter(name="from", pattern=r"^\d{4}-\d{2}-\d{2}$", description="First day of visits counted."),
    ] = None,
    last: Annotated[
        str | None, QueryParameter(name="to", pattern=r"^\d{4}-\d{2}-\d{2}$", description="Last day of visits counted.")
    ] = None,
    limit: Limit = PAGE,
    cursor: Cursor = "",
    known: Known = "",
) -> Response[bytes]:
    """Plain GMV / visitors, and the estimate of a visit on the as-of day with its 90 % interval."""
    words = {"by": by, "as_of": as_of, "from": first, "to": last}
    question = Question(kind="value", words=words, limit=limit, cursor=cursor, etag=known)
    return _response(await _context(state).reader.ask(question))


@get(
    "/v1/plan",
    guards=[known_words],
    responses=_spec(PlanPage, "A plan."),
    summary="The plan in force",
    tags=["read"],
)
async def plan(
    state: State,
    version: Version = None,
    by: Annotated[Literal["provider", "pair"], QueryParameter(description="What the items are.")] = "provider",
    limit: Limit = PAGE,
    cursor: Cursor = "",
    known: Known = "",
) -> Response[bytes]:
    """Shares, prices, limits and certificate; and whether the latest nightly plan was published, else why not."""
    words = {"version": version, "by": by}
    question = Question(kind="plan", words=words, limit=limit, cursor=cursor, etag=known)
    return _response(await _context(state).reader.ask(question))


@get(
    "/v1/providers/{provider_id:str}/explain",
    guards=[known_words],
    responses=_spec(ExplanationView, "The reasons."),
    summary="Why a provider's visits change",
    tags=["read"],
)
async def explain(state: State, provider_id: Provider, version: Version = None, known: Known = "") -> Response[bytes]:
    """The change from today to the planned day, in parts that sum to it."""
    question = Question(kind="explain", words={"provider_id": provider_id, "version": version}, etag=known)
    return _response(await _context(state).reader.ask(question))


@get(
    "/v1/decisions/{decision_id:str}",
    guards=[known_words],
    responses=_spec(DecisionView, "The decision."),
    summary="A decision as logged",
    tags=["read"],
)
async def decision(state: State, decision_id: DecisionId, known: Known = "") -> Response[bytes]:
    """From the inbox or, once drained, from the lake."""
    question = Question(kind="decision", words={"decision_id": decision_id}, etag=known)
    return _response(await _context(state).reader.ask(question))


HEALTH = {200: ResponseSpec(Health, description="It does.", generate_examples=False)}


@get("/healthz", summary="Whether the process lives", tags=["service"], responses=HEALTH)
async def healthz() -> Response[bytes]:
    """Always 200 where it answers at all."""
    return _health(Health(status="ok", checks={}))


@get("/readyz", summary="Whether requests should be sent here", tags=["service"], responses=HEALTH)
async def readyz(state: State) -> Response[bytes]:
    """200 where events can be acknowledged and the state answers, else 503; what is in force and what was held back."""
    ok, checks = await _context(state).live.health()
    return _health(Health(status="ok" if ok else "failing", checks=checks))


def _health(health: Health) -> Response[bytes]:
    return Response(
        msgspec.json.encode(health),
        status_code=200 if health.status == "ok" else 503,
        media_type="application/json",
        headers={"cache-control": "no-store"},
    )


@get("/metrics", summary="Counters for Prometheus", tags=["service"], media_type="text/plain", sync_to_thread=False)
def metrics(state: State) -> Response[bytes]:
    """Of all processes of this host's service."""
    text = _context(state).metrics.text()
    return Response(text, media_type="text/plain; version=0.0.4")  # Litestar adds the charset


def _refused(_request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Litestar's own refusals (no such address, a parameter out of its range) and ours, as problems."""
    if isinstance(error, Problem):
        problem = error
    elif isinstance(error, FootfallError):
        problem = of_error(error)
    elif isinstance(error, HTTPException) and error.status_code < 500:
        told = [
            f"{part.get('key', '')}: {part.get('message', '')}" for part in error.extra or () if isinstance(part, dict)
        ]
        if error.status_code == 404:
            problem = not_found("there is nothing at this address", "/schema lists the addresses")
        elif error.status_code == 405:
            problem = wrong_method(METHODS)
        else:
            problem = Problem(
                error.status_code, "bad-request", "; ".join(told) or error.detail, "/schema has the ranges"
            )
    else:
        raise error
    headers = {name.decode(): text.decode() for name, text in problem.headers}
    return Response(problem.body(), status_code=problem.status, media_type=PROBLEM, headers=headers)


HANDLERS = (value, plan, explain, decision, healthz, readyz, metrics)


def make_app(context: Context) -> App:
    """The Litestar application for ``context``."""
    described: dict[str, bytes] = {}

    @get("/schema", media_type="text/html", include_in_schema=False, sync_to_thread=False)
    def viewer() -> Response[str]:
        headers = {"content-security-policy": POLICY, "x-content-type-options": "nosniff"}
        return Response(VIEWER, media_type="text/html", headers=headers)

    @get("/schema/openapi.json", include_in_schema=False, sync_to_thread=False)
    def openapi() -> Response[bytes]:
        if not described:
            described["json"] = msgspec.json.encode(describe(list(HANDLERS)))
        return Response(described["json"], media_type="application/json")

    app = Litestar(
        [*HANDLERS, viewer, openapi],
        state=State({"context": context}),
        exception_handlers={Exception: _refused},
        openapi_config=None,
        logging_config=None,
        pdb_on_exception=False,
    )
    return app  # type: ignore[return-value]
