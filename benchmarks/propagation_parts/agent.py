"""An agent that does next to nothing but follow: input that ends it in, one line a command with its treatment out."""

from __future__ import annotations

import json
import os
import sys
import threading
import time

from orders import answer, made

PAUSE_S = 0.02


def main() -> None:
    """Answer until the input ends."""
    over = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.buffer.read(), over.set()), daemon=True).start()
    number = 0
    while not over.is_set():
        number, began_ns = number + 1, time.time_ns()
        made.clear()
        answer(number)
        print(json.dumps({"at": began_ns, "treated": len(made) == 1}), flush=True)
        time.sleep(PAUSE_S)
    os._exit(0)


if __name__ == "__main__":
    main()
