"""Artifacts over HTTP: up in pieces that can be resumed, down by ranges."""

import re
from typing import Annotated

from fastapi import APIRouter, Header, Path, Request, Response
from fastapi.responses import FileResponse

from . import schemas
from .errors import Problem
from .parts import Node, answer

router = APIRouter(prefix="/v1/artifacts", tags=["artifacts"])

PIECE_BYTES_MAX = 16 << 20
CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+)")

Sha256 = Annotated[str, Path(pattern="^[0-9a-f]{64}$")]


@router.head("/{sha256}", response_class=Response)
async def head(node: Node, sha256: Sha256) -> Response:
    """Tell whether it is whole (200), or how much of it is here (404 with Upload-Offset)."""
    row = await node.artifacts.found(sha256)
    if row is None:
        return Response(status_code=404, headers={"Upload-Offset": str(node.artifacts.offset(sha256))})
    headers = {"Content-Length": str(row.bytes), "ETag": f'"{sha256}"', "Accept-Ranges": "bytes"}
    return Response(headers=headers, media_type=row.media_type)


@router.get("/{sha256}", response_class=FileResponse)
async def get_artifact(node: Node, sha256: Sha256) -> Response:
    """Return the bytes, or a range of them."""
    row = await node.artifacts.found(sha256)
    if row is None:
        raise Problem(404, "unknown-id", f"no artifact {sha256}")
    # Never as a page: what devices send is not the node's own word.
    headers = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox", "ETag": f'"{sha256}"'}
    return FileResponse(
        node.artifacts.path(sha256),
        headers=headers,
        media_type=row.media_type,
        filename=sha256,
        content_disposition_type="attachment",
    )


@router.put("/{sha256}", status_code=201, response_model=schemas.ArtifactOut, max_body_size=PIECE_BYTES_MAX)
async def put(
    node: Node,
    request: Request,
    sha256: Sha256,
    content_range: Annotated[str, Header()] = "",
    content_length: Annotated[int, Header()] = 0,
    content_type: Annotated[str, Header(max_length=200)] = "application/octet-stream",
) -> Response:
    """Take a piece: 201 when the artifact is whole and verified, 202 with Upload-Offset while it is not."""
    start, total = _range(content_range) if content_range else (0, content_length)
    if await node.artifacts.found(sha256):
        return answer({"sha256": sha256, "bytes": total, "complete": True}, 201)
    whole = await node.artifacts.take(
        sha256, request.stream(), start=start, total=total, media_type=content_type, at=node.now()
    )
    out = {"sha256": sha256, "bytes": node.artifacts.offset(sha256) if not whole else total, "complete": whole}
    return answer(out, 201 if whole else 202, {} if whole else {"Upload-Offset": str(out["bytes"])})


def _range(header: str) -> tuple[int, int]:
    match = CONTENT_RANGE.fullmatch(header)
    if match is None:
        raise Problem(422, "invalid-request", f"not a Content-Range: {header}", place="header:content-range")
    start, _, total = match.groups()
    return int(start or 0), int(total)
