"""The command `python app.py`: its arguments, and the start of the page."""

from __future__ import annotations

import argparse
import logging
import os
from pathlib import Path
from typing import get_args

from app.gradio_ext.blocks import Unsafe
from app.mcp.route import Tools
from app.page import build_page, launch_options
from app.server import logs
from app.server.environment import in_space, own_hosts
from app.server.housekeeping import Page
from app.service import Service
from app.web.rate_limits import EVENTS_PER_MINUTE, RateLimit
from app.widgets.examples import CustomExamples
from ktb.inference.runtimes import Precision, RuntimeName

MAX_WAITING = 128
"""Maximum number of waiting events of all visitors; beyond it, a request is asked to try again."""


def start(caches: Path | None) -> Page:
    """Parse the arguments, build the service and the page, launch it.

    Args:
        caches: the folder of caches if the home folder is read-only.
    """
    parser = argparse.ArgumentParser(description="The KTB page: RGB+X segmentation and its fusion.")
    parser.add_argument("--model", action="append", default=[], help="a file or hf://ORG/NAME to offer")
    parser.add_argument(
        "--custom-dataset", "--own-data", metavar="FILE.yaml", help="custom dataset to offer as examples"
    )
    parser.add_argument(
        "--custom-split", "--own-split", metavar="SPLIT", help="its split (default: test, else the first)"
    )
    parser.add_argument("--runtime", choices=get_args(RuntimeName), default="auto", help="network runtime")
    parser.add_argument(
        "--precision", choices=get_args(Precision), default="float32", help="precision of the network"
    )
    parser.add_argument(
        "--device",
        default="auto",
        help="cpu, cuda, cuda:1, mps, ... (default: auto, an NVIDIA GPU that works, else Apple's if it "
        "computes as the CPU, else the CPU)",
    )
    parser.add_argument("--host", default=None, help="address to listen on (default 127.0.0.1)")
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="an allowed host name, such as seg.example.org (this machine's own are always allowed)",
    )
    parser.add_argument("--port", type=int, default=None, help="port (default: the first free from 7860)")
    parser.add_argument("--open", action="store_true", help="open the page in the browser")
    parser.add_argument(
        "--rate-limit",
        type=int,
        metavar="N",
        default=EVENTS_PER_MINUTE,
        help="events per minute and address, and a tenth as many uploads (default: %(default)s; 0: no limit)",
    )
    parser.add_argument(
        "--proxies",
        type=int,
        metavar="N",
        default=os.environ.get("KTB_PROXIES", "1" if in_space() else "0"),
        help="trusted proxies that set X-Forwarded-For (default: KTB_PROXIES, else 0; in a Space 1)",
    )
    parser.add_argument(
        "--no-ablations",
        action="store_true",
        help="ablate the sensors only when a visitor asks for it, not after each run",
    )
    parser.add_argument(
        "--mcp", action="store_true", help="offer tools for agents at /mcp (Model Context Protocol)"
    )
    parser.add_argument("--log-json", action="store_true", help="log a JSON object per line")
    parser.add_argument(
        "--log-texts", action="store_true", help="log error messages, which may quote visitors' files"
    )
    options = parser.parse_args()
    logs.configure(options.log_json, options.log_texts)
    if caches:
        logging.getLogger(__name__).info("The home folder is read-only: caches are in %s.", caches)
    if options.custom_split and not options.custom_dataset:
        parser.error("--custom-split needs --custom-dataset FILE.yaml")
    try:
        tools = Tools() if options.mcp else None
        file, split = options.custom_dataset, options.custom_split
        own = CustomExamples(file, split) if file else None
        service = Service(options.model, options.runtime, options.precision, options.device)
        service.sandbox.start()  # loads in parallel to the following steps
        service.move_models_to_gpu()
        page = build_page(service, own, ablates=not options.no_ablations)
        limit = RateLimit(options.rate_limit, options.proxies)
        hosts = [*options.allow_host, *own_hosts(options.host)]
        launching = launch_options(limit, hosts, tools)
    except ValueError as error:
        parser.error(str(error))
    # Gradio's statistics after each event are unused and take 18 ms of CPU time.
    os.environ.setdefault("GRADIO_ANALYTICS_CACHE_FREQUENCY", "1000000")
    os.environ.setdefault("FORWARDED_ALLOW_IPS", "")  # otherwise uvicorn trusts every process of this machine
    try:
        page.queue(max_size=MAX_WAITING).launch(
            server_name=options.host,
            server_port=options.port,
            inbrowser=options.open,
            prevent_thread_lock=True,
            **launching,
        )
    except Unsafe as error:
        raise SystemExit(str(error)) from error
    logs.take_over("uvicorn")
    return page
