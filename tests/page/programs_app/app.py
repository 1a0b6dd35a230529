"""The functions for programs on a page of their own, in a process of its own.

Addresses at `localhost` count as public, so that the tests can answer them; `127.0.0.1` does not.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import gradio as gr
from gradio import processing_utils

from page.api.programs import Programs, mcp_is_installed, offer
from page.inspection.inspector import Inspector
from page.models.catalogue import Catalogue
from page.models.entries import find_models, shipped_models

parser = argparse.ArgumentParser()
parser.add_argument("--models", nargs="*", default=[])
parser.add_argument("--port", type=int, required=True)
options = parser.parse_args()

processing_utils.PUBLIC_HOSTNAME_WHITELIST.append("localhost")
catalogue = Catalogue([*shipped_models(), *find_models(options.models)])
with gr.Blocks(analytics_enabled=False) as blocks:
    offer(Programs(Inspector(catalogue), Path(tempfile.mkdtemp())))
blocks.queue(api_open=False).launch(
    server_name="127.0.0.1",
    server_port=options.port,
    max_file_size="64mb",
    mcp_server=mcp_is_installed(),
)
