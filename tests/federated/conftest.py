"""What the tests of federations share; the small models are those of tests/emulator."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "emulator"))
