"""What the example's server processes share: an ASGI application in, a server on a free loopback port out."""

import os
import socket
import threading


def end_with_parent():
    """End this process as soon as its parent closes our standard input, which its death does too."""

    def watch():
        while os.read(0, 1024):
            pass
        os._exit(0)

    threading.Thread(target=watch, name="end-with-parent", daemon=True).start()


def announce(text):
    """Tell the parent that we are ready, on one line of standard output."""
    print(f"READY {text}", flush=True)


def serve(application):
    """Serve until the parent goes away; prints `READY <port>` when connections are accepted."""
    import uvicorn  # the back office, which uses the rest of this file, starts sooner without it

    end_with_parent()
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.bind(("127.0.0.1", 0))
    listening.listen(512)
    announce(listening.getsockname()[1])
    configuration = uvicorn.Config(
        application,
        log_level="warning",
        access_log=False,
        lifespan="off",
        ws="none",
        timeout_keep_alive=300,  # clients keep connections for shorter than that, so none breaks under a request
    )
    uvicorn.Server(configuration).run(sockets=[listening])
