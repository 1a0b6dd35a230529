"""What the loopback Hub holds: repositories, their commits and files, all in memory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import yaml

# The real Hub decides by .gitattributes; its default for a new repository comes to these.
# fmt: off
LARGE_SUFFIXES = (
    ".safetensors", ".bin", ".pt", ".pth", ".onnx", ".parquet", ".arrow", ".npy", ".npz", ".zip",
    ".gz", ".tar", ".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".mp4",
)
# fmt: on
LARGE_BYTES = 10 * 2**20
GITATTRIBUTES = "".join(
    f"*{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in LARGE_SUFFIXES
)


class HubError(Exception):
    """An answer other than 200: its status, and the code by which the real client knows it."""

    def __init__(self, status: int, code: str | None, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.headers = {"X-Error-Code": code} if code else {}


def is_large(path: str, size: int) -> bool:
    """Whether a file goes by LFS."""
    return path.lower().endswith(LARGE_SUFFIXES) or size > LARGE_BYTES


@dataclass
class File:
    """A file of a repository; `content` is served, the hashes are announced."""

    content: bytes
    oid: str
    sha256: str | None = None

    @classmethod
    def of(cls, content: bytes, large: bool) -> File:
        if not large:
            return cls(content, _git_hash(content))
        sha256 = hashlib.sha256(content).hexdigest()
        return cls(content, _git_hash(f"LFS {sha256}".encode()), sha256)

    @property
    def etag(self) -> str:
        return self.sha256 or self.oid

    def entry(self, path: str) -> dict:
        """As the tree and paths-info list it."""
        entry = {"type": "file", "path": path, "size": len(self.content), "oid": self.oid}
        return entry | ({"lfs": self.lfs} if self.sha256 else {})

    def sibling(self, path: str, with_blobs: bool) -> dict:
        """As a repository's info lists it."""
        if not with_blobs:
            return {"rfilename": path}
        sibling = {"rfilename": path, "size": len(self.content), "blobId": self.oid}
        return sibling | ({"lfs": self.lfs} if self.sha256 else {})

    @property
    def lfs(self) -> dict:
        # The tree calls the hash oid, the info sha256.
        size = len(self.content)
        return {"oid": self.sha256, "sha256": self.sha256, "size": size, "pointerSize": 134}


@dataclass(frozen=True)
class Commit:
    oid: str
    title: str
    parent: str | None
    date: str
    tree: Mapping[str, File]


@dataclass
class Repo:
    id: str
    kind: str
    private: bool = False
    sdk: str | None = None
    variables: dict[str, str] = field(default_factory=dict)
    history: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def owner(self) -> str:
        return self.id.split("/")[0]

    def commit(self, tree: Mapping[str, File], title: str, branch: str = "main") -> Commit:
        """Put a commit on top of a branch."""
        parent = self.branches.get(branch)
        oid = _git_hash(f"{self.kind} {self.id} {len(self.history)} {parent} {title}".encode())
        date = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        self.history[oid] = Commit(oid, title, parent, date, dict(sorted(tree.items())))
        self.branches[branch] = oid
        return self.history[oid]

    def at(self, revision: str) -> Commit:
        """The commit that a branch, a tag or a hash names."""
        name = revision.removeprefix("refs/heads/").removeprefix("refs/tags/")
        oid = self.branches.get(name) or self.tags.get(name) or revision
        if oid not in self.history:
            raise HubError(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return self.history[oid]

    def log(self, revision: str) -> Iterator[Commit]:
        """The commits that lead to a revision, newest first."""
        commit: Commit | None = self.at(revision)
        while commit:
            yield commit
            commit = self.history.get(commit.parent or "")

    def info(self, revision: str, with_blobs: bool = False) -> dict:
        """As the Hub describes a repository, its tags read from the card."""
        commit = self.at(revision)
        card = read_card(commit)
        info = {
            "_id": _git_hash(f"{self.kind} {self.id}".encode())[:24],
            "id": self.id,
            "author": self.owner,
            "sha": commit.oid,
            "createdAt": next(iter(self.history.values())).date,
            "lastModified": commit.date,
            "private": self.private,
            "gated": False,
            "disabled": False,
            "downloads": 0,
            "likes": 0,
            "tags": _tags(card),
            "cardData": card,
            "siblings": [file.sibling(path, with_blobs) for path, file in commit.tree.items()],
        }
        if self.kind == "model":
            names = ("pipeline_tag", "library_name")
            info |= {name: card[name] for name in names if name in card}
        return info | ({"sdk": self.sdk or card.get("sdk")} if self.kind == "space" else {})


class Store:
    """Every repository, and the large files that were uploaded but may not be committed yet."""

    def __init__(self) -> None:
        self.repos: dict[tuple[str, str], Repo] = {}
        self.uploads: dict[str, bytes] = {}

    def create(self, repo: Repo, tree: Mapping[str, File]) -> Commit:
        """Add a repository with its first commit."""
        self.repos[repo.kind, repo.id] = repo
        return repo.commit(tree, "initial commit")


def list_tree(commit: Commit, folder: str, recursive: bool) -> list[dict]:
    """Files and folders under a folder ("" for the root), one level or all."""
    prefix = f"{folder}/" if folder else ""
    entries: dict[str, dict] = {}
    for path, file in commit.tree.items():
        if not path.startswith(prefix):
            continue
        parts = path.removeprefix(prefix).split("/")
        for depth in range(1, len(parts) if recursive else min(len(parts), 2)):
            name = prefix + "/".join(parts[:depth])
            entries[name] = folder_entry(name)
        if recursive or len(parts) == 1:
            entries[path] = file.entry(path)
    if folder and not entries:
        raise HubError(404, "EntryNotFound", f"{folder} does not exist on {commit.oid}")
    return list(entries.values())


def folder_entry(name: str) -> dict:
    """As the tree and paths-info list a folder."""
    return {"type": "directory", "path": name, "size": 0, "oid": _git_hash(name.encode())}


def read_card(commit: Commit) -> dict:
    """The front matter of README.md, with nothing in it that JSON can't say."""
    readme = commit.tree.get("README.md")
    card = parse_front_matter(readme.content.decode()) if readme else {}
    return json.loads(json.dumps(card, default=str))


def parse_front_matter(text: str) -> dict:
    """What stands between the lines `---`.

    Raises:
        yaml.YAMLError: when it is no YAML.
    """
    lines = text.strip().splitlines()
    if not lines or lines[0] != "---" or "---" not in lines[1:]:
        return {}
    return yaml.safe_load("\n".join(lines[1 : lines.index("---", 1)])) or {}


def _tags(card: dict) -> list[str]:
    tags = [card.get("library_name"), card.get("pipeline_tag"), *(card.get("tags") or [])]
    tags += [f"task_categories:{task}" for task in card.get("task_categories") or []]
    tags += [f"license:{card['license']}"] if card.get("license") else []
    return list(dict.fromkeys(filter(None, tags)))


def _git_hash(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
