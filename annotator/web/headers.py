"""Headers of every answer: what a page may do, and what may be kept of it. Data first."""

from flask import Flask, Response, request

from annotator.core.config import Settings

CSP: dict[str, str] = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' blob:",
    "connect-src": "'self'",
    "font-src": "'none'",
    "object-src": "'none'",
    "worker-src": "'self'",
    "form-action": "'self'",
    "frame-ancestors": "'none'",
    "base-uri": "'none'",
}

HEADERS: dict[str, str] = {
    "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in CSP.items()),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": (
        "accelerometer=(), browsing-topics=(), camera=(), display-capture=(), geolocation=(), "
        "gyroscope=(), magnetometer=(), microphone=(), midi=(), payment=(), usb=()"
    ),
}
HSTS = "max-age=63072000; includeSubDomains"
FOREVER = "public, max-age=31536000, immutable"  # static addresses change with their content


def init_headers(app: Flask, settings: Settings) -> None:
    """Puts the headers on every answer."""

    @app.after_request
    def add(response: Response) -> Response:
        response.headers.extend(
            {name: value for name, value in HEADERS.items() if name not in response.headers}
        )
        if settings.secure:
            response.headers["Strict-Transport-Security"] = HSTS
        found = response.status_code in {200, 206, 304}
        versioned = request.endpoint == "static" and found and not app.debug
        response.headers["Cache-Control"] = FOREVER if versioned else "no-store"
        return response
