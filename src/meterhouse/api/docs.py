"""The page at `/docs`: Swagger UI over both OpenAPI documents, from an installed package, not from the internet."""

from importlib.resources import files

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

DOCUMENTS = {"v3": "/api/v3/openapi.json", "v1": "/api/swagger.json"}

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Meterhouse API {version}</title>
<link rel="stylesheet" href="/docs/static/swagger-ui.css">
<link rel="icon" href="/docs/static/favicon.png">
<style>body{{margin:0}}nav{{font:16px sans-serif;padding:12px 20px;background:#1b1b1b;color:#fff}}
nav a{{color:#8ec8ff;margin-left:16px}}</style>
</head>
<body>
<nav>Meterhouse API {links}</nav>
<div id="ui"></div>
<script src="/docs/static/swagger-ui-bundle.js"></script>
<script>SwaggerUIBundle({{url: "{document}", dom_id: "#ui", docExpansion: "none", filter: true}})</script>
</body>
</html>
"""


def create_docs() -> Starlette:
    """Build the application of `/docs` (v3) and `/docs/v1`."""

    async def page(request: Request) -> HTMLResponse:
        version = request.path_params.get("version", "v3")
        links = "".join(f'<a href="/docs/{name}">{name}</a>' for name in DOCUMENTS)
        return HTMLResponse(_PAGE.format(version=version, links=links, document=DOCUMENTS[version]))

    async def versioned(request: Request) -> HTMLResponse:
        if request.path_params["version"] not in DOCUMENTS:
            return HTMLResponse("no such version", 404)
        return await page(request)

    static = StaticFiles(directory=str(files("fastapi_offline") / "static"))
    return Starlette(routes=[Route("/docs", page), Mount("/docs/static", static), Route("/docs/{version}", versioned)])
