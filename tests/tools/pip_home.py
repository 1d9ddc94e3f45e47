"""Let the pip that ansible-test starts work: pip_home.py HOME

ansible-test makes a venv for each of its checks. It fetches pip for them from a server of its own, which CI may not
reach, and hides all of the environment from it but HOME and PATH. So HOME gets the settings that pip has here (index,
certificates, proxy, cache), and ansible-test's cache a stand-in for get-pip.py: it links a venv with the one copy of
pip there, at once, where ten installations of it take 20 seconds.
"""

import ast
import configparser
import os
import re
import subprocess
import sys
from pathlib import Path

import ansible_test

GET_PIP = """\
import pathlib, sys, sysconfig
pathlib.Path(sysconfig.get_path("purelib"), "pip.pth").write_text({folder!r})
if unknown := [word for word in sys.argv[1:] if not word.startswith(("-", "pip=="))]:
    sys.exit(f"no copy of {{unknown}}: see tests/tools/pip_home.py")
"""


def pip(*words: str, check: bool = True) -> str:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *words]
    return subprocess.run(command, check=check, text=True, stdout=subprocess.PIPE).stdout


home = Path(sys.argv[1]).resolve()
settings = configparser.RawConfigParser()
proxy = os.environ.get("https_proxy") or os.environ.get("HTTPS_PROXY")
cache = pip("cache", "dir", check=False).strip()  # fails when the cache is switched off
settings.read_dict({"install": {"no-compile": "yes"}})  # Python compiles what is used, a part of it
settings.read_dict({"global": {name: value for name, value in (("proxy", proxy), ("cache-dir", cache)) if value}})
for line in pip("config", "list").splitlines():
    name, value = line.split("=", 1)
    section, option = name.replace(":env:", "global").rsplit(".", 1)  # :env: are the variables PIP_*
    settings.read_dict({section: {option: ast.literal_eval(value)}})
file = home / ".config/pip/pip.conf"
file.parent.mkdir(parents=True, exist_ok=True)
file.touch(mode=0o600)  # an index URL may hold a password
with file.open("w") as stream:
    settings.write(stream)

cache_of_ansible_test = home / ".ansible/test/cache"
cache_of_ansible_test.mkdir(parents=True, exist_ok=True)
source = Path(ansible_test.__path__[0], "_internal", "python_requirements.py").read_text()
for version in sorted(set(re.findall(r"pip='([0-9.]+)'", source))):
    folder = cache_of_ansible_test / f"pip-{version}"
    pip("install", "--quiet", "--no-deps", "--target", str(folder), f"pip=={version}")
    stand_in = cache_of_ansible_test / f"get_pip_{version.replace('.', '_')}.py"
    stand_in.write_text(GET_PIP.format(folder=str(folder)))
