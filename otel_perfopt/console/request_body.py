"""What a request carries: a request and a limit in, its body (or the form in it) out, or a refusal."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl

from starlette.exceptions import HTTPException
from starlette.requests import Request

_FORM_BYTES = 64 << 10
_FORM_TYPE = "application/x-www-form-urlencoded"
_MOST_FIELDS = 20


async def read_body(request: Request, most_bytes: int) -> bytes:
    """Return the body; nothing beyond the limit is ever held.

    Raises:
        HTTPException: 413 where it is larger.
    """
    stated = request.headers.get("content-length", "")
    if stated.isdigit() and int(stated) > most_bytes:
        raise HTTPException(413, f"the body is larger than {most_bytes:,} bytes")
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > most_bytes:
            raise HTTPException(413, f"the body is larger than {most_bytes:,} bytes")
    return bytes(body)


async def read_form(request: Request) -> Mapping[str, str]:
    """Return a form's fields, the last of each name.

    Raises:
        HTTPException: it is too large, of another type, or no form.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM_TYPE:
        raise HTTPException(415, f"send a form as {_FORM_TYPE}")
    body = await read_body(request, _FORM_BYTES)
    try:
        return dict(parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=_MOST_FIELDS))
    except ValueError as error:
        raise HTTPException(400, "that is no form") from error
