"""The page: upload a photo, see how the part should look, where it differs, PASS or FAIL.

python app.py
python app.py --models runs/bracket ORG/NAME --port 7860
MODEL_NAMESPACE=ORG python app.py

What is on the page lies in page/; here it is put together and served.
From the environment:
MODEL_NAMESPACE           whose models on the Hub are offered too
MODEL_REVISION            their branch, tag or commit instead of the newest
HF_TOKEN                  for private ones
APP_USERNAME              with APP_PASSWORD: the page asks for both
APP_CALLS_PER_MINUTE      that one address may make: 600; 0 for any number
APP_UPLOAD_MB_PER_MINUTE  that one address may send: 2048; 0 for any number
FORWARDED_ALLOW_IPS       proxies that are believed when they say a visitor's address: those on this
                          machine, and in a Space the Hub's
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # the page asks nobody but its server
# Nor does it keep books about its visitors: Gradio would make a table of the last 10,000 answers
# after each one.
os.environ.setdefault("GRADIO_ANALYTICS_MAX_EVENTS", "1")
os.environ.setdefault("GRADIO_ANALYTICS_CACHE_FREQUENCY", str(10**9))

if __name__ == "__main__":
    from page.server.early_imports import begin_imports

    begin_imports()

import gradio as gr
from starlette.middleware import Middleware

from page.api.programs import mcp_is_installed
from page.components import translate
from page.inspection.inspector import Inspector
from page.models.catalogue import Catalogue
from page.models.entries import ASSETS, find_models, shipped_models
from page.server.gradio_internals import head_scripts, tidy_up_after_visitors
from page.server.guards import errors_in_sentences, file_elsewhere, refuse, security_headers
from page.server.limits import MAX_UPLOAD_BYTES
from page.server.login import Account, call_of_another_site
from page.server.quotas import Quotas
from page.server.rate_limits import RateLimits, believe_the_proxy_of_a_space
from page.server.temporary_files import visitors_folder
from page.wiring import build


def style() -> str:
    """The style sheets of all parts of the page."""
    sheets = Path(__file__).parent.glob("page/static/*.css")
    return "\n".join(path.read_text() for path in sorted(sheets))


def theme() -> gr.themes.Base:
    """Calm greys and one accent, system fonts only: nothing is fetched from elsewhere."""
    return gr.themes.Base(
        primary_hue="amber",
        neutral_hue="slate",
        font=["system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    ).set(button_primary_text_color="#241400", button_primary_text_color_dark="#241400")


def serve(
    catalogue: Catalogue, host: str, port: int | None, quotas: Quotas, account: Account | None
) -> None:
    """Serve the page until the process is stopped."""
    believe_the_proxy_of_a_space()
    tidy_up_after_visitors()
    login = [] if account is None else [Middleware(refuse, why=call_of_another_site)]
    guards = [  # outermost first
        Middleware(security_headers),
        *login,
        Middleware(RateLimits, quotas=quotas),
        Middleware(refuse, why=file_elsewhere),
        Middleware(errors_in_sentences),
        Middleware(head_scripts),
    ]
    with visitors_folder() as root:
        build(Inspector(catalogue), root).launch(
            server_name=host,
            server_port=port,
            theme=theme(),
            css=style(),
            i18n=translate,
            app_kwargs={"middleware": guards},
            auth=account,
            auth_message="Golden Sample",
            footer_links=[],
            run_history=False,
            share=False,
            ssr_mode=False,  # Node would stand before the guards, and write the page itself
            # Gradio's MCP server can't log in to its own app, and would list the tools to anybody.
            mcp_server=mcp_is_installed() and account is None,
            max_file_size=MAX_UPLOAD_BYTES,
            allowed_paths=[str(ASSETS / "examples"), str(root)],
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 2 on bad input."""
    parser = argparse.ArgumentParser(description="Inspect photos of parts in the browser.")
    parser.add_argument(
        "--models",
        nargs="+",
        default=[],
        metavar="MODEL",
        help="model folders, folders of them, or Hub ids ORG/NAME[@REVISION], beside the models "
        "that ship",
    )
    parser.add_argument("--host", default=os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1"))
    parser.add_argument("--port", type=int, default=None, help="default: the first free from 7860")
    options = parser.parse_args(arguments)
    try:
        quotas, account = Quotas.of(os.environ), Account.of(os.environ)
        given = [*find_models(options.models), *shipped_models()]
    except ValueError as error:
        print(f"app.py: {error}", file=sys.stderr)
        return 2
    catalogue = Catalogue(
        given,
        namespace=os.environ.get("MODEL_NAMESPACE"),
        revision=os.environ.get("MODEL_REVISION") or None,
    )
    serve(catalogue, options.host, options.port, quotas, account)
    return 0


if __name__ == "__main__":
    sys.exit(main())
