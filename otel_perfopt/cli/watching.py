"""What is to be shown in; shown again and again until Ctrl-C, on a screen of its own where there is a terminal, out."""

from __future__ import annotations

import time
from collections.abc import Callable

from rich.console import Console, RenderableType
from rich.live import Live


def watch(view: Callable[[], RenderableType], console: Console, *, every_s: float, looks: int | None = None) -> None:
    """Show `view()` every `every_s` seconds, `looks` times or until Ctrl-C.

    In a terminal it has a screen of its own, and the last view stays when it ends; without one each view is
    printed below the one before.
    """
    if not console.is_terminal:
        _printed(view, console, every_s, looks)
        return
    last: RenderableType | None = None
    try:
        with Live(console=console, screen=True, auto_refresh=False) as live:
            for look in range(looks) if looks is not None else iter(int, 1):
                if look or last is not None:
                    time.sleep(every_s)
                last = view()
                live.update(last, refresh=True)
    except KeyboardInterrupt:
        pass
    if last is not None:
        console.print(last)


def _printed(view: Callable[[], RenderableType], console: Console, every_s: float, looks: int | None) -> None:
    done = 0
    try:
        while True:
            console.print(view())
            done += 1
            if done == looks:
                return
            time.sleep(every_s)
            console.print()
    except KeyboardInterrupt:
        return
