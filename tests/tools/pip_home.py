"""Let the pip that ansible-test starts work: usage: pip_home.py HOME

ansible-test makes a venv for each of its checks. It fetches pip for them from a server of its own, which CI may not
reach, and hides all of the environment from it but HOME and PATH. Hence two things are laid into HOME:
the settings that pip has here (index, certificates, proxy, cache), and a stand-in for get-pip.py, found in
ansible-test's cache, which runs pip out of a wheel from the package index.
"""

from __future__ import annotations

import ast
import configparser
import os
import re
import subprocess
import sys
from pathlib import Path

import ansible_test

GET_PIP = '''\
"""Stand-in for get-pip.py: run pip out of the wheel that lies beside this file."""
import os, runpy, sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), {wheel!r}))
unknown = ("--no-setuptools", "--no-wheel")
sys.argv = ["pip", "install", "--force-reinstall"] + [word for word in sys.argv[1:] if word not in unknown]
runpy.run_module("pip", run_name="__main__", alter_sys=True)
'''


def pip(*words: str, check: bool = True) -> str:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *words]
    return subprocess.run(command, check=check, text=True, stdout=subprocess.PIPE).stdout


def write_settings(file: Path) -> None:
    settings = configparser.RawConfigParser()
    settings.add_section("global")
    for line in pip("config", "list").splitlines():
        name, value = line.split("=", 1)
        section, option = name.rsplit(".", 1)
        section = "global" if section == ":env:" else section  # PIP_* variables
        if not settings.has_section(section):
            settings.add_section(section)
        settings.set(section, option, ast.literal_eval(value))
    proxy = os.environ.get("https_proxy") or os.environ.get("HTTPS_PROXY")
    if proxy:
        settings.set("global", "proxy", proxy)
    cache = pip("cache", "dir", check=False).strip()  # fails when the cache is switched off
    if cache:
        settings.set("global", "cache-dir", cache)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch(mode=0o600)  # an index URL may hold a password
    with file.open("w") as stream:
        settings.write(stream)


def seed_get_pip(cache: Path) -> None:
    cache.mkdir(parents=True, exist_ok=True)
    source = Path(ansible_test.__path__[0], "_internal", "python_requirements.py").read_text()
    for version in sorted(set(re.findall(r"pip='([0-9.]+)'", source))):
        pip("download", "--quiet", "--no-deps", "--dest", str(cache), f"pip=={version}")
        stand_in = GET_PIP.format(wheel=f"pip-{version}-py3-none-any.whl")
        (cache / f"get_pip_{version.replace('.', '_')}.py").write_text(stand_in)


if __name__ == "__main__":
    home = Path(sys.argv[1])
    write_settings(home / ".config" / "pip" / "pip.conf")
    seed_get_pip(home / ".ansible" / "test" / "cache")
