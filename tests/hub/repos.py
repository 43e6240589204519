"""Repositories of the test Hub: contents, commits and refs, with the ids that git gives them."""

import hashlib
import io
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from threading import RLock

EPOCH = datetime(2024, 1, 1, tzinfo=UTC)
SECURITY = {"status": "safe", "avScan": None, "pickleImportScan": None}
SHA = re.compile(r"[0-9a-f]{5,40}")
WEIGHTS = {".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".npz", ".onnx"}


def git_oid(kind, data):
    """The id that git gives an object."""
    return hashlib.sha1(f"{kind} {len(data)}\0".encode() + data, usedforsecurity=False).hexdigest()


def to_text(date):
    return date.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


@dataclass(frozen=True)
class Content:
    """Bytes of a file, in memory or on disk; `lfs` if git holds only a pointer to them."""

    data: bytes | Path
    size: int
    sha256: str
    oid: str
    pointer: bytes | None

    @classmethod
    def of(cls, data, lfs_bytes):
        """Read once for the hashes; a file stays on disk."""
        if isinstance(data, str):
            data = data.encode()
        size = data.stat().st_size if isinstance(data, Path) else len(data)
        sha256 = hashlib.sha256()
        with data.open("rb") if isinstance(data, Path) else io.BytesIO(data) as file:
            while chunk := file.read(1 << 20):
                sha256.update(chunk)
        if size < lfs_bytes:
            blob = data.read_bytes() if isinstance(data, Path) else data
            return cls(data, size, sha256.hexdigest(), git_oid("blob", blob), None)
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256.hexdigest()}\nsize {size}\n".encode()
        return cls(data, size, sha256.hexdigest(), git_oid("blob", pointer), pointer)

    @property
    def lfs(self):
        return self.pointer is not None

    @property
    def etag(self):
        return f'"{self.sha256 if self.lfs else self.oid}"'

    def open(self):
        return self.data.open("rb") if isinstance(self.data, Path) else io.BytesIO(self.data)

    def lfs_info(self, digest="oid"):
        if not self.lfs:
            return {}
        return {"lfs": {digest: self.sha256, "size": self.size, "pointerSize": len(self.pointer)}}


@dataclass(frozen=True)
class Commit:
    """A tree of files with a date, a title and the commit before it."""

    files: dict
    parent: "Commit | None"
    date: datetime
    title: str
    message: str = ""

    @cached_property
    def _trees(self):
        """What git writes for every folder, the root under the empty name."""
        children = {"": {}}
        for path, content in self.files.items():
            *parents, name = path.split("/")
            for depth in range(len(parents)):
                children.setdefault("/".join(parents[: depth + 1]), {})
            children["/".join(parents)][name] = b"100644", content.oid
        trees = {}
        for folder in sorted(children, key=lambda path: path.count("/") if path else -1, reverse=True):
            entries = sorted(children[folder].items(), key=lambda item: item[0] + "/" * (item[1][0] == b"40000"))
            trees[folder] = b"".join(
                mode + b" " + name.encode() + b"\0" + bytes.fromhex(oid) for name, (mode, oid) in entries
            )
            if folder:
                parent, _, name = folder.rpartition("/")
                children[parent][name] = b"40000", git_oid("tree", trees[folder])
        return trees

    @cached_property
    def folders(self):
        """Id of every folder, the root under the empty name."""
        return {folder: git_oid("tree", tree) for folder, tree in self._trees.items()}

    @cached_property
    def _text(self):
        who = f"Tester <tester@localhost> {int(self.date.timestamp())} +0000"
        parent = f"parent {self.parent.sha}\n" if self.parent else ""
        message = f"{self.title}\n\n{self.message}\n" if self.message else f"{self.title}\n"
        return f"tree {self.folders['']}\n{parent}author {who}\ncommitter {who}\n\n{message}".encode()

    @cached_property
    def sha(self):
        return git_oid("commit", self._text)

    def objects(self):
        """What git writes for the commit and its folders, each with its kind."""
        return [("commit", self._text), *(("tree", tree) for tree in self._trees.values())]

    def history(self):
        commit = self
        while commit is not None:
            yield commit
            commit = commit.parent

    def oid(self, path):
        return self.files[path].oid if path in self.files else self.folders.get(path)

    def last_change(self, path):
        """The newest commit that the path came or changed with."""
        for commit in self.history():
            if commit.parent is None or commit.parent.oid(path) != self.oid(path):
                break
        return {"id": commit.sha, "title": commit.title, "date": to_text(commit.date)}

    def entry(self, path, *, expand=False):
        """What the Hub says of a path, or None."""
        if path in self.files:
            content = self.files[path]
            entry = {"type": "file", "oid": content.oid, "size": content.size, "path": path} | content.lfs_info()
        elif path and path in self.folders:
            entry = {"type": "directory", "oid": self.folders[path], "size": 0, "path": path}
        else:
            return None
        if expand:
            entry["lastCommit"] = self.last_change(path)
            if entry["type"] == "file":
                entry["securityFileStatus"] = SECURITY
        return entry

    def tree(self, folder, *, recursive):
        """Paths below a folder in order, or None where there is no such folder."""
        if folder not in self.folders:
            return None
        prefix = folder + "/" if folder else ""
        paths = [path for path in (*self.folders, *self.files) if path and path.startswith(prefix)]
        return sorted(path for path in paths if recursive or "/" not in path[len(prefix) :])


@dataclass
class Repo:
    """A repository; every change is seen by the requests that come after it.

    `readers` are the tokens that may read it where it is private or gated; None stands for every known token.
    """

    id: str
    kind: str = "model"
    private: bool = False
    gated: bool = False
    disabled: bool = False
    readers: frozenset | None = None
    lfs_bytes: int = 1024
    refs: dict = field(default_factory=dict)
    lock: RLock = field(default_factory=RLock, repr=False)
    contents: dict = field(default_factory=dict, repr=False)
    num_commits: int = 0

    def commit(self, branch, files, *, title=None, message="", date=None, replace=True, parent=None):
        """Put a commit on a branch, which is made where it is not there; returns its sha.

        Args:
            branch: Name of the branch.
            files: Bytes, text or a path on this machine by path in the repository. None removes a file.
            title: First line of the message.
            message: What follows it.
            date: When; an hour after the one made before where it is not given.
            replace: The tree is these files and no others; else they are laid over those of the commit before.
            parent: Revision that a new branch starts from; by default it starts from nothing.
        """
        with self.lock:
            ref = f"refs/heads/{branch}"
            before = self.refs.get(ref) or (self.find(parent) if parent else None)
            tree = {} if replace or before is None else dict(before.files)
            for path, data in files.items():
                tree.pop(path, None)
                if data is not None:
                    tree[path] = self._content(data)
            date = date or EPOCH + timedelta(hours=self.num_commits)
            self.num_commits += 1
            title = f"Upload {', '.join(files)}" if title is None else title
            self.refs[ref] = Commit(tree, before, date, title, message)
            return self.refs[ref].sha

    def _content(self, data):
        if not isinstance(data, Path):
            content = Content.of(data, self.lfs_bytes)
        else:
            stat = data.stat()
            key = str(data), stat.st_mtime_ns, stat.st_size, self.lfs_bytes
            content = self.contents.get(key) or self.contents.setdefault(key, Content.of(data, self.lfs_bytes))
        return self.contents.setdefault((content.sha256, content.oid), content)

    def branch(self, name, at):
        self._point(f"refs/heads/{name}", at)

    def tag(self, name, at):
        self._point(f"refs/tags/{name}", at)

    def pull_request(self, number, at):
        self._point(f"refs/pr/{number}", at)

    def convert(self, name, at):
        self._point(f"refs/convert/{name}", at)

    def _point(self, ref, at):
        with self.lock:
            self.refs[ref] = self.find(at)

    def delete_revision(self, name):
        """Take a branch, tag or other ref away, and the commits that no ref leads to any more."""
        with self.lock:
            gone = [ref for ref in (f"refs/heads/{name}", f"refs/tags/{name}", name) if ref in self.refs]
            if not gone:
                raise KeyError(name)
            for ref in gone:
                del self.refs[ref]

    def add_folder_as_branches(self, folder):
        """Make each subfolder and each weight file of a folder a branch, in the order of the numbers in their names.

        A file becomes `model` with its ending. Returns the shas by branch.
        """
        shas = {}
        for path in sorted(Path(folder).iterdir(), key=_natural):
            if path.is_dir():
                shas[path.name] = self.commit(path.name, files_of(path), title=path.name)
            elif path.suffix in WEIGHTS:
                shas[path.stem] = self.commit(path.stem, {f"model{path.suffix}": path}, title=path.stem)
        return shas

    @property
    def created(self):
        with self.lock:
            return min(commit.date for tip in self.refs.values() for commit in tip.history())

    def find(self, revision):
        """The commit of a branch, tag, other ref, or full or short sha; raises KeyError."""
        with self.lock:
            for ref in (f"refs/heads/{revision}", f"refs/tags/{revision}", revision):
                if ref in self.refs:
                    return self.refs[ref]
            if SHA.fullmatch(revision):
                for tip in self.refs.values():
                    for commit in tip.history():
                        if commit.sha.startswith(revision):
                            return commit
        raise KeyError(revision)

    def names_of(self, sha):
        """Names of the branches, tags and other refs at a commit, after its sha."""
        with self.lock:
            refs = [ref for ref, tip in self.refs.items() if tip.sha == sha]
        return [sha, *(re.sub(r"^refs/(heads|tags)/", "", ref) for ref in refs)]

    def find_content(self, sha256):
        with self.lock:
            return next((c for c in self.contents.values() if c.sha256 == sha256 and c.lfs), None)


def files_of(folder):
    """Every file of a folder by its path in it, as `commit` takes them."""
    return {p.relative_to(folder).as_posix(): p for p in sorted(Path(folder).rglob("*")) if p.is_file()}


def _natural(path):
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path.name)]
