"""The promoter's service: one question, what became of the answer in a run, and a sign of life."""

import logging
import re
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from pipeline.errors import OutageError
from pipeline.promotions.answer import Answer
from pipeline.promotions.answers import Answers

RUN_ID = re.compile(r"[A-Za-z0-9_.~:+\-]{1,250}")  # what Airflow lets a run be called
MOST_BODY_BYTES = 1024  # nothing is read from it
AWAY_S = "10"  # after which to ask again
LOGGER = logging.getLogger("segloop.promoter")


def make_app(answers: Answers, requests_per_minute: int) -> FastAPI:
    """The service.

    It believes nothing that it is told, so there is no secret between it and whoever calls: a call names a run, and
    all else is read from Airflow, with the promoter's own account, and from the decision log. Who calls without need
    gets what was decided, and decides nothing.

    Args:
        answers: What takes answers.
        requests_per_minute: Of all callers together; the sign of life is free.
    """
    app = FastAPI(title="Segloop promoter", docs_url=None, redoc_url=None, openapi_url=None)
    app.middleware("http")(_limited(requests_per_minute))

    @app.get("/healthz")
    def healthz() -> dict[str, str]:
        """Says that the service is there."""
        return {"status": "ok"}

    @app.post("/v1/answers/{dag_run_id}")
    def answer(dag_run_id: str) -> JSONResponse:
        """Takes the answer of a run: 200 with the outcome, 409 where it is refused, 503 where something is away."""
        if not RUN_ID.fullmatch(dag_run_id):
            return _said(HTTPStatus.CONFLICT, Answer(outcome="refused", reason="This is no id of a run of Airflow."))
        try:
            taken = answers.take(dag_run_id)
        except OutageError as error:
            LOGGER.warning("run %s: %s", dag_run_id, error)
            return _later(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
        LOGGER.info("run %s: %s: %s", dag_run_id, taken.outcome, " ".join(taken.reason.split()))
        return _said(HTTPStatus.CONFLICT if taken.outcome == "refused" else HTTPStatus.OK, taken)

    return app


def _limited(
    requests_per_minute: int,
) -> Callable[[Request, Callable[[Request], Awaitable[Response]]], Awaitable[Response]]:
    from limits import RateLimitItemPerMinute
    from limits.storage import MemoryStorage
    from limits.strategies import MovingWindowRateLimiter

    limiter, rate = MovingWindowRateLimiter(MemoryStorage()), RateLimitItemPerMinute(requests_per_minute)

    async def limit(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        """Turns away what is too much or too many; the web server bounds headers and connections."""
        length = request.headers.get("content-length", "0")
        if "transfer-encoding" in request.headers or not length.isdecimal() or int(length) > MOST_BODY_BYTES:
            reason = f"A request has no body; {MOST_BODY_BYTES} bytes are passed over."
            return JSONResponse({"reason": reason}, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, {"Connection": "close"})
        if request.method == "POST" and not limiter.hit(rate):
            return _later(HTTPStatus.TOO_MANY_REQUESTS, f"More than {requests_per_minute} requests within a minute.")
        return await call_next(request)

    return limit


def _said(status: HTTPStatus, answer: Answer) -> JSONResponse:
    return JSONResponse(answer.model_dump(), status)


def _later(status: HTTPStatus, reason: str) -> JSONResponse:
    return JSONResponse({"reason": reason}, status, {"Retry-After": AWAY_S})
