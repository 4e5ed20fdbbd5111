"""The viewer inside one HTML file: its modules, its style and a bundle, without a server."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from importlib.resources import files

from ktb.outputs.bundle import Bundle

COMPRESSION = 6
START = """import { showEmbedded } from "ktb/viewer.js";
const root = document.getElementById("ktb-viewer");
showEmbedded(root, document.getElementById("ktb-bundle")).catch((error) => {
  root.textContent = `The viewer cannot start: ${error.message}`;
});"""


def viewer_parts(bundle: Bundle) -> tuple[str, str, str]:
    """The viewer's section, its style, and what a Content-Security-Policy must allow as `script-src`.

    The page's own scripts are allowed by their hashes, the viewer's modules as `data:` addresses.
    """
    modules = {name: _bare_imports(text) for name, text in viewer_files(".js").items()}
    imports = {f"ktb/{name}": _data_url(text) for name, text in modules.items()}
    import_map = json.dumps({"imports": imports})
    data = base64.b64encode(gzip.compress(bundle.to_bytes(), COMPRESSION, mtime=0)).decode()
    section = (
        '<div id="ktb-viewer" class="ktb-v"></div>'
        "<noscript><p>The viewer needs JavaScript; the figures below do not.</p></noscript>"
        f'<script type="application/octet-stream" id="ktb-bundle">{data}</script>'
        f'<script type="importmap">{import_map}</script><script type="module">{START}</script>'
    )
    return section, viewer_files(".css")["viewer.css"], f"{_hash(import_map)} {_hash(START)} data:"


def viewer_files(suffix: str) -> dict[str, str]:
    """Name → text of the viewer's files with a suffix."""
    folder = files("ktb.outputs") / "viewer"
    found = (file for file in folder.iterdir() if file.name.endswith(suffix))
    return {file.name: file.read_text(encoding="utf-8") for file in sorted(found, key=lambda f: f.name)}


def _bare_imports(text: str) -> str:
    """A module whose relative imports (`./name.js`) are names of the import map (`ktb/name.js`)."""
    return re.sub(r'from "\./([\w-]+\.js)"', r'from "ktb/\1"', text)


def _data_url(text: str) -> str:
    return f"data:text/javascript;base64,{base64.b64encode(text.encode()).decode()}"


def _hash(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
