"""Open the page that searches the indexes, for this machine alone."""

import argparse
import os
import sys
import threading
import webbrowser

from pipeline.config.params import params_here
from pipeline.runtime import device
from pipeline.search.session import Session
from pipeline.search.web.server import address, listen, serve
from pipeline.search.web.worker import Worker
from pipeline.stages import guarded
from pipeline.stages.arguments import add_indexes


def main() -> None:
    args = _arguments()
    with listen(args.port) as listening:  # before the backbone is loaded: a port that is taken is told at once
        device.prepare(device.choose(args.device), threads=args.threads, seed=0)
        params = params_here()  # names the method that the page begins with
        first = params.method if params else ""
        worker = Worker(Session(args.indexes, place=args.device, backbone=args.backbone), first=first)

        def ready() -> None:
            print(f"search: {address(listening)} (end with Ctrl-C)", flush=True)
            if args.open and _has_screen():
                threading.Thread(target=webbrowser.open, args=(address(listening),), daemon=True).start()

        serve(worker, listening, ready=ready)


def _has_screen() -> bool:
    """Without one, a browser that runs in the terminal would take it over."""
    return sys.platform == "darwin" or bool({"DISPLAY", "WAYLAND_DISPLAY"} & {*os.environ})


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8417, help="of 127.0.0.1, the only address it listens on; 0: a free one")
    parser.add_argument("--open", action="store_true", help="open the page in the browser, where there is a screen")
    parser.add_argument("--backbone", help="whose indexes are searched; without it, that of most indexes")
    add_indexes(parser)
    return parser.parse_args()


if __name__ == "__main__":
    guarded(main)
