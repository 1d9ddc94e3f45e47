# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""A stand-in for the REST API of AWX, as much as the modules of awx.awx need to set things up, on loopback.

It objects to what AWX objects to (rules.py), and answers as AWX does where that decides what a module does next.
"""

from __future__ import annotations

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from . import rules

Item = dict[str, Any]
TEMPLATES = ("projects", "job_templates", "workflow_job_templates", "workflow_approval_templates")
EDGES = ("success_nodes", "failure_nodes", "always_nodes")
# A reference that has to be there, by the name of the field.
REFERENCES = {
    "organization": "organizations",
    "credential_type": "credential_types",
    "project": "projects",
    "inventory": "inventories",
    "execution_environment": "execution_environments",
    "workflow_job_template": "workflow_job_templates",
}


class Objection(Exception):
    """What is answered with status 400, or another."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class Controller:
    """What AWX knows. `project` is the folder whose playbooks its projects have."""

    def __init__(self, project: Path, token: str) -> None:
        self.project, self.token = project, token
        self.items: dict[str, list[Item]] = {}
        self.writes: list[str] = []
        self._last = 0
        self.add("organizations", {"name": "Default"})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (_Handler,), {"controller": self}))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Controller:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_reason: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def add(self, kind: str, fields: Item) -> Item:
        self._last += 1
        url = f"/api/v2/{kind}/{self._last}/"
        item = {"id": self._last, "url": url, "type": kind.rstrip("s"), "related": {}, "summary_fields": {}, **fields}
        item["survey_spec"], item["associated"] = {}, {}
        item["related"]["survey_spec"] = f"{url}survey_spec/"
        self.items.setdefault(kind, []).append(item)
        return item

    def named(self, kind: str, name: str) -> Item:
        """For tests: the one with that name, or of nodes that identifier."""
        (found,) = [item for item in self.items[kind] if name in (item.get("name"), item.get("identifier"))]
        return found

    def get(self, kind: str, number: str | int) -> Item:
        for item in self.items.get(kind, []):
            if item["id"] == int(number):
                return item
        raise Objection("Not found.", 404)

    def answer(self, method: str, path: str, query: Item, data: Item) -> tuple[int, Any]:
        kind, number, sub = re.fullmatch(r"/api/v2/(\w+)/(?:(\d+)/(?:(\w+)/)?)?", path).groups()  # type: ignore[union-attr]
        if method != "GET":
            self.writes.append(f"{method} {path}")
        if number is None:
            return self._list(kind, query) if method == "GET" else (201, _shown(self._create(kind, data)))
        item = self.get(kind, number)
        if sub is None:
            if method == "PATCH":
                item.update(self._checked(kind, data, item))
            return 200, _shown(item)
        if sub == "survey_spec":
            return self._survey(method, item, data)
        if sub == "create_approval_template":
            return 201, _shown(self._approve(item, data))
        return self._associate(method, item, sub, data)

    def _list(self, kind: str, query: Item) -> tuple[int, Any]:
        kinds = TEMPLATES if kind == "unified_job_templates" else (kind,)
        every = [item for each in kinds for item in self.items.get(each, [])]
        found = [_shown(item) for item in every if all(str(item.get(key)) == value for key, value in query.items())]
        return 200, {"count": len(found), "next": None, "previous": None, "results": found}

    def _create(self, kind: str, data: Item) -> Item:
        item = self.add(kind, {})
        self.items[kind].remove(item)
        item.update(self._checked(kind, data, item))
        self.items[kind].append(item)
        if kind == "projects":
            item["scm_revision"] = "0" * 40
            update = self.add("project_updates", {"status": "successful"})
            item["summary_fields"]["current_update"] = {"id": update["id"]}
        return item

    def _checked(self, kind: str, data: Item, item: Item) -> Item:
        """Return the fields that are taken; the others are ignored, as AWX does."""
        whole = {**item, **data}
        for field, place in REFERENCES.items():
            if whole.get(field) is not None:
                self.get(place, whole[field])
        faults: list[str] = []
        if kind == "credential_types":
            faults = rules.credential_type(whole["inputs"], whole.get("injectors", {}))
            if whole["kind"] not in ("cloud", "net"):
                faults.append(f"{whole['kind']} is no kind of a custom type")
        elif kind == "credentials":
            fields = self.get("credential_types", whole["credential_type"])["inputs"]["fields"]
            unknown = set(whole.get("inputs", {})) - {field["id"] for field in fields}
            faults = [f"{name} is no field" for name in unknown]
        elif kind == "job_templates":
            if whole["playbook"] not in rules.playbooks(self.project):
                faults.append("Playbook not found for project.")
            # A job template is in the organization of its project, whatever was sent.
            data = {**data, "organization": self.get("projects", whole["project"])["organization"]}
        elif kind == "workflow_approval_templates":
            data = {key: value for key, value in data.items() if key in ("name", "description", "timeout")}
        elif kind == "workflow_job_template_nodes" and whole.get("unified_job_template"):
            (place,) = [k for k in TEMPLATES for i in self.items.get(k, []) if i["id"] == whole["unified_job_template"]]
            related = f"/api/v2/{place}/{whole['unified_job_template']}/"
            data = {**data, "related": {**item["related"], "unified_job_template": related}}
        key = "identifier" if kind == "workflow_job_template_nodes" else "name"
        scope = ("workflow_job_template", "organization", "credential_type")
        for other in self.items.get(kind, []):
            if other is not item and all(other.get(each) == whole.get(each) for each in (key, *scope)):
                faults.append(f"{whole.get(key)} exists")
        if faults:
            raise Objection("; ".join(faults))
        return data

    def _survey(self, method: str, item: Item, data: Item) -> tuple[int, Any]:
        if method == "POST":
            if faults := rules.survey(data):
                raise Objection("; ".join(faults))
            item["survey_spec"] = data
        return 200, item["survey_spec"] if method == "GET" else {}

    def _approve(self, node: Item, data: Item) -> Item:
        kind = "workflow_approval_templates"
        template = self.add(kind, {})
        template.update(self._checked(kind, data, template))
        node["unified_job_template"] = template["id"]
        node["related"]["unified_job_template"] = template["url"]
        return template

    def _associate(self, method: str, item: Item, sub: str, data: Item) -> tuple[int, Any]:
        nodes = item["type"] == "workflow_job_template_node"
        if sub not in (EDGES if nodes else ("credentials",)):
            raise Objection("Not found.", 404)
        kind = "workflow_job_template_nodes" if nodes else "credentials"
        there = item["associated"].setdefault(sub, [])
        if method == "GET":
            found = [_shown(self.get(kind, number)) for number in there]
            return 200, {"count": len(found), "next": None, "previous": None, "results": found}
        other = self.get(kind, data["id"])
        if data.get("disassociate"):
            there.remove(other["id"])
        elif nodes:
            if other["workflow_job_template"] != item["workflow_job_template"]:
                raise Objection("the nodes are not of one workflow")
            every = [(each["id"], child) for each in self.items[kind] for child in self._children(each)]
            if rules.cycle([*every, (item["id"], other["id"])]):
                raise Objection("Cycle detected.")
            there.append(other["id"])
        else:
            types = [self.get(kind, number)["credential_type"] for number in there]
            if other["credential_type"] in types:
                raise Objection("Cannot assign multiple credentials of one type")
            there.append(other["id"])
        return 204, None

    @staticmethod
    def _children(node: Item) -> list[int]:
        return [child for edge in EDGES for child in node["associated"].get(edge, [])]


def _shown(item: Item) -> Item:
    return {key: value for key, value in item.items() if key not in ("survey_spec", "associated")}


class _Handler(BaseHTTPRequestHandler):
    controller: Controller
    protocol_version = "HTTP/1.1"

    def _handle(self) -> None:
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            if self.headers.get("Authorization") != f"Bearer {self.controller.token}":
                raise Objection("Authentication credentials were not provided.", 401)
            data = json.loads(body) if body else {}
            status, answer = self.controller.answer(self.command, url.path, dict(parse_qsl(url.query)), data)
        except Objection as objection:
            status, answer = objection.status, {"detail": str(objection), "error": str(objection)}
        sent = b"" if answer is None else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(sent)))
        self.send_header("X-API-Product-Name", "AWX")
        self.send_header("X-API-Product-Version", "24.6.1")
        self.end_headers()
        self.wfile.write(sent)

    do_GET = do_POST = do_PATCH = _handle

    def log_message(self, format: str, *args: object) -> None:
        pass
