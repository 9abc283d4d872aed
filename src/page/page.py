"""The whole page: its tabs, and how it listens."""
from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import gradio as gr
from fastapi import Request, Response
from fastapi.exception_handlers import http_exception_handler
from fastapi.responses import PlainTextResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from src.page.compare import build_compare
from src.page.files import MINUTES_KEPT
from src.page.limits import Limits
from src.page.looks import CSS, HEAD, HEADER, TITLE, theme
from src.page.photo import build_picture
from src.page.video import build_video
from src.page.webcam import build_webcam

WAITING = 40


def build(networks: Mapping[str, Path], find_dense: Callable[[], Path], examples: list[str], limits: Limits) -> gr.Blocks:
    """Build the page for a set of networks by name, the best first; `find_dense` as `build_compare` has it."""
    # Served where they lie: copies among the uploads would be swept with them.
    gr.set_static_paths(examples)
    with gr.Blocks(title=TITLE, analytics_enabled=False) as page:
        gr.Markdown(HEADER, elem_id="head")
        with gr.Tab("Picture"):
            build_picture(networks, examples)
        with gr.Tab("Video"):
            build_video(networks, limits)
        with gr.Tab("Webcam"):
            build_webcam(networks)
        with gr.Tab("Compare"):
            build_compare(networks, find_dense, examples)
    return page


async def refused(request: Request, error: HTTPException) -> Response:
    """Answer a link to a file that was removed by a sentence; all else as FastAPI does."""
    if "/file=" in request.url.path:
        return PlainTextResponse(f"This file is not here: what nobody used for {MINUTES_KEPT} minutes is removed. Go back "
                                 "to the page and cut it out again.", status_code=404)
    return await http_exception_handler(request, error)


async def gone(_: Request, __: ClientDisconnect) -> Response:
    """Answer a visitor who left in the middle of an upload, which is no fault of the page: nobody reads it."""
    return Response(status_code=400)


def serve(page: gr.Blocks, limits: Limits, *, host: str, port: int) -> None:
    """Serve the page until Ctrl-C; the caller closes it. Raises `OSError` if the port is taken."""
    host = f"[{host}]" if ":" in host else host  # IPv6, as an address of the web has it
    # Not _frontend: Gradio would ask for the page, wait three seconds, and on a slow machine end for want of a share link.
    page.queue(default_concurrency_limit=2, max_size=WAITING, api_open=False)
    page.launch(server_name=host, server_port=port, share=False, inbrowser=False, quiet=True, prevent_thread_lock=True,
                max_file_size=f"{limits.upload_mb}mb", run_history=False, footer_links=[], ssr_mode=False, pwa=False,
                enable_monitoring=False, _frontend=False, theme=theme(), css=CSS, head=HEAD,
                app_kwargs={"exception_handlers": {HTTPException: refused, ClientDisconnect: gone}})
    print(f"http://{host}:{port}", flush=True)
    while True:
        time.sleep(3600)
