"""Makes the generators beside these tests importable."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
# How runs are written down is shared with the tests of room 2.
sys.path.insert(1, str(Path(__file__).resolve().parents[1] / "execution"))
