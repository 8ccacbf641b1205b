"""JupyterLab on a free port and the system's Chromium, for tests marked `browser`."""

import json
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

from mammo_utils import doctor
from mammo_utils.course.write import ENVIRONMENT

# Cells out of sight are taken out of the page unless windowing is off; news would cover the buttons.
SETTINGS = {
    "notebook-extension/tracker": {"windowingMode": "none"},
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"]
QUIET += ["--disable-component-update", "--disable-sync", "--no-first-run", "--no-default-browser-check"]


@pytest.fixture(scope="session")
def page():
    """A page of a headless Chromium; a skip where there is none, unless MAMMO_REQUIRE_BROWSER forbids it."""
    executable = doctor.chromium()
    if executable is None:
        reason = f"no browser: none of {', '.join(doctor.CHROMIUM)} is installed (apt-get install chromium)"
        if os.environ.get("MAMMO_REQUIRE_BROWSER") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=QUIET)
        yield browser.new_page(viewport={"width": 1400, "height": 1000})
        browser.close()


@pytest.fixture(scope="session")
def lab(page, tmp_path_factory):
    """JupyterLab in an empty folder with settings of its own: (folder, file name -> address)."""
    home = tmp_path_factory.mktemp("lab")
    settings, folder = home / "settings", home / "course" / "notebooks"
    folder.mkdir(parents=True)
    for name, values in SETTINGS.items():
        file = settings / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    token = secrets.token_hex(16)
    own = {"JUPYTER_CONFIG_DIR": home / "config", "JUPYTER_RUNTIME_DIR": home / "runtime"}
    own |= {"JUPYTERLAB_SETTINGS_DIR": settings, "JUPYTERLAB_WORKSPACES_DIR": home / "workspaces"}
    own |= {"IPYTHONDIR": home / "ipython", "JUPYTER_TOKEN": token, "MAMMO_CACHE": home / "cache"}
    environment = os.environ | ENVIRONMENT | {name: str(value) for name, value in own.items()}
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1"]
    command += [f"--port={port}", "--ServerApp.port_retries=0"]
    with open(home / "log", "w") as log:
        server = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        base = f"http://127.0.0.1:{port}"
        _wait_for(f"{base}/api?token={token}", server, home / "log")
        yield folder, lambda name: f"{base}/lab/tree/{name}?token={token}&reset"
    finally:
        server.terminate()
        server.wait(timeout=20)


def _wait_for(address, server, log, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end and server.poll() is None:
        try:
            urllib.request.urlopen(address, timeout=2).close()
            return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"JupyterLab did not start:\n{log.read_text()}")
