# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""A process that runs the module's operation once for each line of JSON that it reads, and answers with a line.

It is what a controller does for a task, without the seconds that ansible-playbook needs to start: for races.
"""

from __future__ import annotations

import json
import sys
import time

from ansible_collections.alicloud.rds.plugins.module_utils._ansible.links import LINK
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.run import run
from ansible_collections.alicloud.rds.plugins.module_utils._ansible.specs import REPLICATION_LINK

DEFAULTS = {name: spec.get("default") for name, spec in REPLICATION_LINK["argument_spec"].items()}


def main() -> None:
    print("ready", flush=True)
    for line in sys.stdin:
        options = json.loads(line)
        time.sleep(options.pop("head_start"))
        parameters = {**DEFAULTS, **options}
        result = run(LINK, parameters, check_mode=False, diff=False)
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
