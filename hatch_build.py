"""Puts the built front end into sdists and wheels, so that people who install a wheel need no Node.js.

Hatch calls this before it collects files. The bundles in nbkit/widgets/static are built again with npm when
they are missing or older than their TypeScript sources; a tree unpacked from our sdist carries them already.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

STATIC = Path("nbkit/widgets/static")
SOURCES = Path("widgets")
NO_NODE = (
    "nbkit's front end is not built ({static} is {state}) and npm is not on PATH: "
    "install Node.js 20 or newer and build again, or install a released wheel, which carries the front end."
)


class FrontEndHook(BuildHookInterface[Any]):
    """Builds the front end when it is needed, and says so when it cannot."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Bring nbkit/widgets/static up to date; `version` is 'standard' or 'editable'."""
        root = Path(self.root)
        state = front_end_state(root)
        if state == "current":
            return
        npm = shutil.which("npm")
        if npm is None:
            message = NO_NODE.format(static=STATIC, state=state)
            if version == "editable" or state == "outdated":
                self.app.display_warning(message)
                return
            raise RuntimeError(message)
        for arguments in (["ci"], ["run", "build"]):
            subprocess.run([npm, *arguments], cwd=root / SOURCES, check=True, env={**os.environ, "CI": "1"})


def front_end_state(root: Path) -> str:
    """Say whether the bundles under `root` are 'current', 'outdated' or 'missing', by file times."""
    built = [path.stat().st_mtime for path in (root / STATIC).glob("*.js")]
    if not built:
        return "missing"
    patterns = ("src/**/*", "*.json", "*.mjs")
    inputs = [path for pattern in patterns for path in (root / SOURCES).glob(pattern) if path.is_file()]
    newest = max((path.stat().st_mtime for path in inputs), default=0.0)
    return "current" if max(built) >= newest else "outdated"
