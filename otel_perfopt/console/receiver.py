"""The OTLP/HTTP receiver: exports of agents in, answered when they are on disk where the loop reads them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from otel_perfopt.console.durable_stream import DurableStream
from otel_perfopt.console.otlp_request import (
    METRICS,
    SIGNALS,
    TRACES,
    Export,
    RefusedError,
    Signal,
    answer,
    export_of,
    unpacked,
)
from otel_perfopt.console.received import Received
from otel_perfopt.console.request_body import read_body
from otel_perfopt.console.session import same
from otel_perfopt.loop.observatory import TELEMETRY_FOLDER

# Packed and unpacked; the reader of telemetry files takes lines of up to 64 MiB.
MOST_BYTES, MOST_UNPACKED_BYTES = 8 << 20, 32 << 20
# Exports held in memory at once; beyond that agents are asked to come again.
MOST_AT_ONCE = 8
FILE_BYTES, TOTAL_BYTES = 32 << 20, 512 << 20
_RETRY_S = "2"
_SERVICE = "received"
_METRICS_FOLDER = "metrics"


class Receiver:
    """Takes exports in; what was answered with success is on disk."""

    def __init__(self, home: Path, token: str, received: Received) -> None:
        self._token = token
        self._received = received
        self._at_once = 0
        self._telemetry, self._metrics = (
            DurableStream(home / folder, _SERVICE, file_bytes=FILE_BYTES, total_bytes=TOTAL_BYTES)
            for folder in (TELEMETRY_FOLDER, _METRICS_FOLDER)
        )

    def routes(self) -> list[Route]:
        """Return the routes of OTLP/HTTP."""
        return [Route(signal.path, self._endpoint(signal), methods=["POST"]) for signal in SIGNALS]

    def close(self) -> None:
        """Close the files."""
        self._telemetry.close()
        self._metrics.close()

    def _endpoint(self, signal: Signal) -> Callable[[Request], object]:
        async def endpoint(request: Request) -> Response:
            try:
                return await self._take(signal, request)
            except RefusedError as refused:
                self._received.refuse()
                headers = {"Retry-After": _RETRY_S} if refused.status == 503 else {}
                return PlainTextResponse(f"{refused}\n", refused.status, headers)
            except HTTPException as refused:
                self._received.refuse()
                return PlainTextResponse(f"{refused.detail}\n", refused.status_code)

        return endpoint

    async def _take(self, signal: Signal, request: Request) -> Response:
        if self._token and not same(request.headers.get("authorization", ""), f"Bearer {self._token}"):
            raise RefusedError(401, "say who you are: OTEL_EXPORTER_OTLP_HEADERS='authorization=Bearer TOKEN'")
        content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        encoding = request.headers.get("content-encoding", "").strip().lower()
        if self._at_once >= MOST_AT_ONCE:
            raise RefusedError(503, "too many exports at once; come again")
        self._at_once += 1
        try:
            body = await read_body(request, MOST_BYTES)
            export = await run_in_threadpool(self._keep, signal, body, content_type, encoding)
        finally:
            self._at_once -= 1
        self._received.kept(export.kept if signal is TRACES else 0, export.rejected)
        return Response(answer(signal, export, content_type), media_type=content_type)

    def _keep(self, signal: Signal, body: bytes, content_type: str, encoding: str) -> Export:
        export = export_of(signal, unpacked(body, encoding, MOST_UNPACKED_BYTES), content_type)
        if export.line:
            stream = self._metrics if signal is METRICS else self._telemetry
            try:
                stream.keep(export.line)
            except OSError as error:
                raise RefusedError(503, f"this could not be written down: {error}") from error
        return export
