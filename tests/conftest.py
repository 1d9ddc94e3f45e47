"""Make `ansible_collections.alicloud.rds` importable, wherever this repository lies."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# A shell without job control starts what runs in the background with SIGINT ignored, and children inherit that:
# the tests of an interrupt would wait for ever.
signal.signal(signal.SIGINT, signal.default_int_handler)


def use_project_environment() -> None:
    """For a pytest started by hand or by an editor: the environment that `make` gives."""
    output = subprocess.run(
        [ROOT / "tests/tools/run.sh", "env", "-0"], check=True, text=True, stdout=subprocess.PIPE
    ).stdout
    starts, ends = ("ANSIBLE_", "ALIBABA_CLOUD_", "ALICLOUD_"), ("_proxy", "_ca_bundle")
    for name in list(os.environ):
        if name.startswith(starts) or name.lower().endswith(ends):
            del os.environ[name]
    os.environ.update(line.split("=", 1) for line in output.rstrip("\0").split("\0"))


# In a real .../ansible_collections/alicloud/rds it is ansible-test that runs pytest. It has installed a collection
# finder already; with a second one it would collect no test and call that a success.
if ROOT.parents[1].name != "ansible_collections":
    if os.environ.get("HOME") != str(ROOT / ".build" / "home"):
        use_project_environment()

    from ansible.plugins.loader import init_plugin_loader

    init_plugin_loader()

    pytest_plugins = ["tests.freeze.recorder"]
