"""The loopback Hub's side of the HTTP interface: a request in, a reply out."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote

import yaml
from loopback_repos import (
    GITATTRIBUTES,
    Commit,
    File,
    HubError,
    Repo,
    Store,
    folder_entry,
    is_large,
    list_tree,
    parse_front_matter,
)

NAMESPACE = "org"  # the only one in which anyone may write, its owner


@dataclass(frozen=True)
class Request:
    """What a client wants, and the store that it wants it from."""

    store: Store
    method: str
    endpoint: str  # http://127.0.0.1:PORT, as the client wrote it
    path: str  # as it came, still quoted
    query: dict[str, list[str]]
    body: bytes
    user: str | None  # None without a token

    def json(self) -> dict:
        return json.loads(self.body or b"{}")

    def flag(self, name: str) -> bool:
        return self.query.get(name, [""])[0].lower() in ("true", "1")

    def readable(self, kind: str, name: str) -> Repo:
        """The repository, if this user may know that it exists."""
        repo = self.store.repos.get((kind, name))
        if repo is None or (repo.private and self.user != repo.owner):
            status = 401 if self.user is None else 404
            raise HubError(status, "RepoNotFound", f"Repository {name} not found")
        return repo

    def writable(self, kind: str, name: str) -> Repo:
        """The repository, if this user may change it."""
        repo = self.readable(kind, name)
        self.check_owner(repo.owner)
        return repo

    def check_owner(self, owner: str | None) -> None:
        """Refuse everyone but the owner."""
        if self.user is None:
            raise HubError(401, None, "Invalid username or password.")
        if self.user != NAMESPACE or self.user != owner:
            raise HubError(403, None, f"You don't have the rights to write under {owner}")

    def page_of(self, repo: Repo) -> str:
        """A repository's address."""
        prefix = "" if repo.kind == "model" else f"{repo.kind}s/"
        return f"{self.endpoint}/{prefix}{repo.id}"


@dataclass
class Reply:
    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    file: str | None = None  # "org/name/path" where the body is a file of a repository

    @classmethod
    def of(cls, content: object, status: int = 200) -> Reply:
        return cls(json.dumps(content).encode(), status, {"Content-Type": "application/json"})

    @classmethod
    def of_error(cls, error: HubError) -> Reply:
        reply = cls.of({"error": str(error)}, error.status)
        reply.headers |= {"X-Error-Message": ascii(str(error))[1:-1], **error.headers}
        return reply


Endpoint = Callable[..., Reply]
ROUTES: list[tuple[str, re.Pattern[str], Endpoint]] = []
API = "/api/(?P<kind>model|dataset|space)s/(?P<name>[^/]+/[^/]+)"
PAGE = "/((?P<kind>dataset|space)s/)?(?P<name>[^/]+/[^/]+)"
REVISION = "(?P<revision>[^/]+)"


def route(method: str, pattern: str) -> Callable[[Endpoint], Endpoint]:
    """The function answers requests of this method for paths like the pattern.

    It takes the request and the pattern's named groups.
    """

    def register(endpoint: Endpoint) -> Endpoint:
        ROUTES.append((method, re.compile(pattern), endpoint))
        return endpoint

    return register


def answer(request: Request) -> Reply:
    """Answer a request as the Hub would.

    Raises:
        HubError: when it refuses.
    """
    method = "GET" if request.method == "HEAD" else request.method
    for expected, pattern, endpoint in ROUTES:
        match = pattern.fullmatch(request.path)
        if match and method == expected:
            groups = {name: unquote(value or "") for name, value in match.groupdict().items()}
            if groups.get("kind") == "":
                groups["kind"] = "model"  # the only kind whose pages have no prefix
            return endpoint(request, **groups)
    raise HubError(404, None, f"The loopback Hub does not answer {method} {request.path}")


@route("GET", "/api/whoami-v2")
def whoami(request: Request) -> Reply:
    if request.user is None:
        raise HubError(401, None, "Invalid username or password.")
    role = "write" if request.user == NAMESPACE else "read"
    token = {"type": "access_token", "accessToken": {"displayName": "test", "role": role}}
    return Reply.of({"type": "user", "name": request.user, "orgs": [], "auth": token})


@route("POST", "/api/validate-yaml")
def validate_card(request: Request) -> Reply:
    try:
        parse_front_matter(request.json()["content"])
    except yaml.YAMLError as error:
        return Reply.of({"errors": [{"message": str(error)}], "warnings": []}, 400)
    return Reply.of({"errors": [], "warnings": []})


@route("POST", "/api/repos/create")
def create_repo(request: Request) -> Reply:
    wanted = request.json()
    owner = wanted.get("organization") or request.user
    request.check_owner(owner)
    repo = Repo(
        f"{owner}/{wanted['name']}",
        wanted.get("type") or "model",
        private=wanted.get("visibility") == "private",
        sdk=wanted.get("sdk"),
        variables={one["key"]: one["value"] for one in wanted.get("variables", ())},
    )
    described = {"name": repo.id, "url": request.page_of(repo)}
    if (repo.kind, repo.id) in request.store.repos:
        return Reply.of(described | {"error": f"You already created {repo.id}"}, 409)
    request.store.create(repo, {".gitattributes": File.of(GITATTRIBUTES.encode(), large=False)})
    return Reply.of(described)


@route("PUT", f"{API}/settings")
def change_settings(request: Request, kind: str, name: str) -> Reply:
    repo = request.writable(kind, name)
    repo.private = request.json().get("visibility") == "private"
    return Reply.of({"private": repo.private})


@route("GET", f"{API}/variables")
@route("POST", f"{API}/variables")
@route("DELETE", f"{API}/variables")
def space_variables(request: Request, kind: str, name: str) -> Reply:
    repo = request.writable(kind, name)
    if request.method == "POST":
        wanted = request.json()
        repo.variables[wanted["key"]] = wanted["value"]
    elif request.method == "DELETE":
        repo.variables.pop(request.json()["key"], None)
    return Reply.of({key: {"value": value} for key, value in repo.variables.items()})


@route("GET", "/api/(?P<kind>model|dataset|space)s")
def list_repos(request: Request, kind: str) -> Reply:
    def asked(name: str) -> list[str]:
        return [part for value in request.query.get(name, []) for part in value.split(",")]

    found = []
    for repo in request.store.repos.values():
        info = repo.info("main")
        if (
            repo.kind == kind
            and not (repo.private and request.user != repo.owner)
            and repo.owner in (asked("author") or [repo.owner])
            and {*asked("filter"), *asked("pipeline_tag")} <= {*info["tags"]}
            and all(text.lower() in repo.id.lower() for text in asked("search"))
        ):
            found.append(info)
    limit = int(request.query["limit"][0]) if "limit" in request.query else None
    return Reply.of(found[:limit])


@route("GET", API)
@route("GET", f"{API}/revision/{REVISION}")
def repo_info(request: Request, kind: str, name: str, revision: str = "main") -> Reply:
    repo = request.readable(kind, name)
    return Reply.of(repo.info(revision, with_blobs=request.flag("blobs")))


@route("GET", f"{API}/refs")
def refs(request: Request, kind: str, name: str) -> Reply:
    repo = request.readable(kind, name)

    def listed(folder: str, names: dict[str, str]) -> list[dict]:
        return [
            {"name": name, "ref": f"refs/{folder}/{name}", "targetCommit": oid}
            for name, oid in names.items()
        ]

    found = {"branches": listed("heads", repo.branches), "tags": listed("tags", repo.tags)}
    return Reply.of(found | {"converts": []})


@route("GET", f"{API}/commits/{REVISION}")
def commits(request: Request, kind: str, name: str, revision: str) -> Reply:
    repo = request.readable(kind, name)
    authors = [{"user": repo.owner}]
    return Reply.of(
        [
            {"id": one.oid, "title": one.title, "message": "", "date": one.date, "authors": authors}
            for one in repo.log(revision)
        ]
    )


@route("GET", f"{API}/tree/{REVISION}(/(?P<folder>.+))?")
def tree(request: Request, kind: str, name: str, revision: str, folder: str) -> Reply:
    commit = request.readable(kind, name).at(revision)
    last = _last_commit(commit) if request.flag("expand") else {}
    entries = list_tree(commit, folder.strip("/"), request.flag("recursive"))
    return Reply.of([entry | last for entry in entries])


@route("POST", f"{API}/paths-info/{REVISION}")
def paths_info(request: Request, kind: str, name: str, revision: str) -> Reply:
    commit = request.readable(kind, name).at(revision)
    wanted = parse_qs(request.body.decode())
    last = _last_commit(commit) if wanted.get("expand", [""])[0].lower() == "true" else {}
    found = []
    for path in wanted.get("paths", []):
        if path in commit.tree:
            found.append(commit.tree[path].entry(path) | last)
        elif any(other.startswith(f"{path}/") for other in commit.tree):
            found.append(folder_entry(path) | last)
    return Reply.of(found)


def _last_commit(commit: Commit) -> dict:
    # The newest one, whichever changed the file: nobody here asks for more.
    return {"lastCommit": {"id": commit.oid, "title": commit.title, "date": commit.date}}


@route("POST", f"{API}/branch/(?P<branch>[^/]+)")
def create_branch(request: Request, kind: str, name: str, branch: str) -> Reply:
    repo = request.writable(kind, name)
    start = repo.at(request.json().get("startingPoint") or "main")
    return _create_reference(repo.branches, branch, start)


@route("POST", f"{API}/tag/{REVISION}")
def create_tag(request: Request, kind: str, name: str, revision: str) -> Reply:
    repo = request.writable(kind, name)
    return _create_reference(repo.tags, request.json()["tag"], repo.at(revision))


def _create_reference(references: dict[str, str], name: str, commit: Commit) -> Reply:
    if name in references:
        raise HubError(409, None, f"Reference already exists: {name}")
    references[name] = commit.oid
    return Reply.of({})


@route("DELETE", f"{API}/(?P<place>branch|tag)/(?P<reference>[^/]+)")
def delete_reference(request: Request, kind: str, name: str, place: str, reference: str) -> Reply:
    repo = request.writable(kind, name)
    references = repo.branches if place == "branch" else repo.tags
    if references.pop(reference, None) is None:
        raise HubError(404, "RevisionNotFound", f"Invalid rev id: {reference}")
    return Reply.of({})


@route("POST", f"{API}/preupload/{REVISION}")
def say_how_to_upload(request: Request, kind: str, name: str, revision: str) -> Reply:
    present = request.writable(kind, name).at(revision).tree
    modes = []
    for file in request.json()["files"]:
        path = file["path"]
        modes.append(
            {
                "path": path,
                "uploadMode": "lfs" if is_large(path, file["size"]) else "regular",
                "shouldIgnore": False,
                "oid": present[path].etag if path in present else None,
            }
        )
    return Reply.of({"files": modes})


@route("POST", f"{PAGE}\\.git/info/lfs/objects/batch")
def offer_uploads(request: Request, kind: str, name: str) -> Reply:
    request.writable(kind, name)
    objects = []
    for wanted in request.json()["objects"]:
        oid = wanted["oid"]
        actions = {
            "upload": {"href": f"{request.endpoint}/lfs/{oid}"},
            "verify": {"href": f"{request.endpoint}/lfs/{oid}/verify"},
        }
        offered = {"oid": oid, "size": wanted["size"]}
        objects.append(offered | ({} if oid in request.store.uploads else {"actions": actions}))
    return Reply.of({"transfer": "basic", "objects": objects})


@route("PUT", "/lfs/(?P<oid>[0-9a-f]{64})")
def upload(request: Request, oid: str) -> Reply:
    if hashlib.sha256(request.body).hexdigest() != oid:
        raise HubError(400, None, "The uploaded bytes have another hash than was announced")
    request.store.uploads[oid] = request.body
    return Reply()


@route("POST", "/lfs/(?P<oid>[0-9a-f]{64})/verify")
def verify_upload(request: Request, oid: str) -> Reply:
    if len(request.store.uploads.get(oid, b"")) != request.json()["size"]:
        raise HubError(404, None, f"{oid} was not uploaded whole")
    return Reply.of({})


@route("POST", f"{API}/commit/{REVISION}")
def commit_files(request: Request, kind: str, name: str, revision: str) -> Reply:
    repo = request.writable(kind, name)
    if revision not in repo.branches:
        raise HubError(404, "RevisionNotFound", f"Invalid rev id: {revision}")
    if request.flag("create_pr"):
        raise HubError(400, None, "The loopback Hub has no pull requests")
    changed, title = dict(repo.at(revision).tree), ""
    for line in request.body.splitlines():
        operation, value = json.loads(line).values()
        if operation == "header":
            title = value["summary"]
            if value.get("parentCommit") not in (None, repo.branches[revision]):
                raise HubError(412, None, "A commit has happened since. Please refresh.")
        else:
            _apply(request.store, changed, operation, value)
    oid = repo.commit(changed, title, revision).oid
    address = f"{request.page_of(repo)}/commit/{oid}"
    return Reply.of({"success": True, "commitOid": oid, "commitUrl": address})


def _apply(store: Store, changed: dict[str, File], operation: str, value: dict) -> None:
    """One line of a commit, on the files that it changes."""
    path = value["path"]
    if operation == "file":
        changed[path] = File.of(base64.b64decode(value["content"]), large=False)
    elif operation == "lfsFile":
        if value["oid"] not in store.uploads:
            raise HubError(400, None, f"{path} points to a large file that was not uploaded")
        changed[path] = File.of(store.uploads[value["oid"]], large=True)
    elif operation == "deletedFile":
        if changed.pop(path, None) is None:
            raise HubError(404, "EntryNotFound", f"{path} does not exist")
    elif operation == "deletedFolder":
        for inside in [other for other in changed if other.startswith(f"{path.rstrip('/')}/")]:
            del changed[inside]
    else:
        raise HubError(400, None, f"The loopback Hub does not know the operation {operation}")


@route("GET", f"{PAGE}/resolve/{REVISION}/(?P<path>.+)")
def download(request: Request, kind: str, name: str, revision: str, path: str) -> Reply:
    commit = request.readable(kind, name).at(revision)
    if path not in commit.tree:
        error = HubError(404, "EntryNotFound", f"{path} does not exist on {revision}")
        error.headers["X-Repo-Commit"] = commit.oid  # the client remembers what is missing there
        raise error
    file = commit.tree[path]
    headers = {
        "Content-Type": "application/octet-stream",
        "Accept-Ranges": "bytes",
        "X-Repo-Commit": commit.oid,
        "ETag": f'"{file.etag}"',
    }
    if file.sha256:
        size = str(len(file.content))
        headers |= {"X-Linked-ETag": f'"{file.sha256}"', "X-Linked-Size": size}
    return Reply(file.content, headers=headers, file=f"{name}/{path}")
