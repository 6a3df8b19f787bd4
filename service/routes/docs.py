"""The OpenAPI document, and a page to read it and try it: all from here, nothing from elsewhere."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from flask import Blueprint, Response, current_app, send_file

from service.answers import answer
from service.bootstrap import Wiring
from service.context import public

DOCUMENT = "/openapi/openapi.json"
PAGE = "/openapi/"

_ASSETS = {"swagger-ui.css": "css", "swagger-ui-bundle.js": "js"}
_KEPT_SECONDS = 3600
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_HTML = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Lethe: API</title>
<link rel="stylesheet" href="swagger-ui.css">
</head>
<body>
<div id="docs"></div>
<script src="swagger-ui-bundle.js"></script>
<script src="start.js"></script>
</body>
</html>
"""
_START = """\
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#docs",
  deepLinking: true,
  persistAuthorization: false,
  validatorUrl: null,
});
"""


def blueprint(wiring: Wiring) -> Blueprint:
    """The routes; they are no operations of the document."""
    del wiring
    pages = Blueprint("docs", __name__)

    @pages.get(DOCUMENT)
    @public
    def document() -> Response:
        app: Any = current_app
        return answer(app.api_doc)

    @pages.get(PAGE)
    @public
    def page() -> Response:
        return Response(_HTML, headers={"Content-Security-Policy": _POLICY})

    @pages.get(PAGE.rstrip("/"))
    @public
    def page_without_slash() -> Response:
        return Response(status=308, headers={"Location": PAGE})

    @pages.get(PAGE + "start.js")
    @public
    def start() -> Response:
        return Response(_START, mimetype="text/javascript")

    @pages.get(PAGE + "<any('swagger-ui.css', 'swagger-ui-bundle.js'):name>")
    @public
    def asset(name: str) -> Response:
        folder = files("flask_openapi_swagger") / "templates" / "swagger" / _ASSETS[name]
        return send_file(str(folder / name), max_age=_KEPT_SECONDS)

    return pages
