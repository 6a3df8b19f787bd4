"""Uploads: files that come directly, not in a JSON body."""

from __future__ import annotations

from typing import Annotated, Any, cast

from flask import Response, request
from flask_openapi.blueprint import APIBlueprint
from pydantic import BaseModel, Field, StringConstraints

from schemas.access import Action, Resource
from service.answers import AnswerModel, RequestModel, answer
from service.bodies import streamed
from service.bootstrap import Wiring
from service.context import principal, public, reach
from service.enrichment.uploads import MEDIA_TYPES, NewUpload, Uploads
from service.openapi import SECURITY, feature

_SHA256 = r"^[0-9a-fA-F]{64}$"


class NewUploadBody(RequestModel):
    """A file that is going to be sent."""

    content_type: str = Field(max_length=100, description=f"One of {', '.join(MEDIA_TYPES)}.")
    size: int = Field(ge=1, description="In bytes.")
    sha256: Annotated[str, StringConstraints(pattern=_SHA256, to_lower=True)] = Field(
        description="Of the content, in hexadecimal."
    )
    file_name: str | None = Field(
        default=None, max_length=255, description="Its ending tells the format; it is not kept."
    )


class UploadShown(AnswerModel):
    """Where to send the file, and what to call it afterwards."""

    upload_id: str
    input_file_key: str = Field(description="For `POST /v1/enrichment`.")
    method: str
    upload_url: str = Field(description="Send the content here; the address is signed.")
    headers: dict[str, str] = Field(description="These have to be sent along.")
    expires_at: str


class UploadPath(BaseModel):
    """Which upload."""

    upload_id: str = Field(description="The upload's id.")


class UploadQuery(RequestModel):
    """What makes the address good."""

    expires: int = Field(ge=0, le=2**40)
    signature: str = Field(min_length=64, max_length=64, pattern="^[0-9a-f]{64}$")


def blueprint(wiring: Wiring) -> APIBlueprint:
    """The routes."""
    api = feature("uploads", "Uploads", "Files that are too large for a JSON body.", secured=False)
    uploads = Uploads(wiring.files, wiring.settings.service.enrichment, wiring.clock)

    @api.post("/v1/uploads", responses={201: UploadShown}, security=SECURITY)
    def create_upload(body: NewUploadBody) -> Response:
        """Get an address to send a file to."""
        reach(Resource.UPLOAD, Action.CREATE)
        who = principal()
        asked = NewUpload(body.content_type, body.size, body.sha256, body.file_name)
        upload = uploads.begin(asked, who.organization, who.subject)
        address = uploads.address(upload)
        shown = UploadShown(
            upload_id=upload.id,
            input_file_key=upload.key,
            method="PUT",
            upload_url=address.url,
            headers=dict(address.headers),
            expires_at=address.expires_at.isoformat().replace("+00:00", "Z"),
        )
        return answer(shown, 201)

    @api.put("/v1/uploads/<id:upload_id>", responses={204: None}, request_body=_BYTES)
    @public
    @streamed
    def receive_upload(path: UploadPath, query: UploadQuery) -> Response:
        """Send the content of an upload, as its address says; repeatable."""
        upload = uploads.signed_for(path.upload_id, query.expires, query.signature)
        # One more than there may be, to tell the end from the limit.
        request.max_content_length = upload.size + 1
        uploads.receive(upload, cast(Any, request.stream))
        return Response(status=204)

    return api


_BYTES: dict[str, Any] = {
    "description": "The file.",
    "required": True,
    "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
}
