"""Artifacts over HTTP: up in pieces that can be resumed, down by ranges."""

import re
from typing import Annotated

from fastapi import APIRouter, Header, Path, Request, Response
from fastapi.responses import FileResponse
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send

from . import shown
from .errors import MEDIA_TYPE, Problem, problems
from .parts import Node, answer

router = APIRouter(prefix="/v1/artifacts", tags=["artifacts"])

CONTENT_RANGE = re.compile(r"bytes (?:([0-9]{1,18})-([0-9]{1,18})|\*)/([0-9]{1,18})")

RANGE_REFUSED = (400, 416)

Sha256 = Annotated[str, Path(pattern="^[0-9a-f]{64}$")]


class RangedFile(FileResponse):
    """A file, or a range of it; ranges that make no sense are refused as everything else is."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_or_refuse(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] in RANGE_REFUSED:
                length = next((v.decode() for k, v in self.raw_headers if k == b"content-length"), "*")
                headers = {"Content-Range": f"bytes */{length}"}
                raise Problem(416, "bad-range", "not a range of these bytes", headers=headers)
            await send(message)

        await super().__call__(scope, receive, send_or_refuse)


@router.head("/{sha256}", response_class=Response, responses=problems(401, 403, 404, 422, 503))
async def head(node: Node, sha256: Sha256) -> Response:
    """Tell whether it is whole (200), or how much of it is here (404 with Upload-Offset)."""
    row = await node.artifacts.wanted(sha256, node.now())
    if row is None:
        so_far = str(node.artifacts.offset(sha256))
        return Response(status_code=404, headers={"Upload-Offset": so_far}, media_type=MEDIA_TYPE)
    headers = {"Content-Length": str(row.bytes), "ETag": f'"{sha256}"', "Accept-Ranges": "bytes"}
    return Response(headers=headers, media_type=row.media_type)


@router.get(
    "/{sha256}",
    response_class=FileResponse,
    responses={206: {"description": "A range of the bytes"}, **problems(401, 403, 404, 416, 422, 503)},
)
async def get_artifact(node: Node, sha256: Sha256) -> Response:
    """Return the bytes, or a range of them."""
    row = await node.artifacts.found(sha256)
    if row is None:
        raise Problem(404, "unknown-id", f"no artifact {sha256}")
    # Never as a page: what devices send is not the node's own word.
    headers = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox", "ETag": f'"{sha256}"'}
    return RangedFile(
        node.artifacts.path(sha256),
        headers=headers,
        media_type=row.media_type,
        filename=sha256,
        content_disposition_type="attachment",
    )


@router.put(
    "/{sha256}",
    status_code=201,
    response_model=shown.ArtifactOut,
    responses={202: {"model": shown.ArtifactOut}, **problems(400, 401, 403, 408, 409, 413, 422, 503)},
    openapi_extra={"requestBody": {"content": {"*/*": {"schema": {"type": "string", "format": "binary"}}}}},
)
async def put(
    node: Node,
    request: Request,
    sha256: Sha256,
    content_range: Annotated[str, Header()] = "",
    content_length: Annotated[int, Header(ge=0, include_in_schema=False)] = 0,
    content_type: Annotated[
        str, Header(max_length=200, pattern="^[ -~]*$", include_in_schema=False)
    ] = "application/octet-stream",
) -> Response:
    """Take a piece: 201 when the artifact is whole and verified, 202 with Upload-Offset while it is not."""
    start, total = _range(content_range) if content_range else (0, content_length)
    if row := await node.artifacts.wanted(sha256, node.now()):
        return answer({"sha256": sha256, "bytes": row.bytes, "complete": True}, 201)
    try:
        whole = await node.artifacts.take(
            sha256, request.stream(), start=start, total=total, media_type=content_type, at=node.now()
        )
    except TimeoutError:
        raise Problem(408, "cut-short", "no more has come in time; what has come is kept") from None
    except ClientDisconnect:
        raise Problem(400, "cut-short", "the connection broke; what has come is kept") from None
    out = {"sha256": sha256, "bytes": node.artifacts.offset(sha256) if not whole else total, "complete": whole}
    return answer(out, 201 if whole else 202, {} if whole else {"Upload-Offset": str(out["bytes"])})


def _range(header: str) -> tuple[int, int]:
    match = CONTENT_RANGE.fullmatch(header)
    if match is None:
        raise Problem(422, "invalid-request", f"not a Content-Range: {header}", place="header:content-range")
    start, _, total = match.groups()
    return int(start or 0), int(total)
