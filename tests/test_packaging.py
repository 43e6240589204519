"""What is built and installed: a wheel with and without a compiler, and the archive of sources that both come from."""

import shlex
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from email.parser import HeaderParser
from importlib import import_module
from pathlib import Path
from zipfile import ZipFile

import pytest

from wsanalyze.version import __version__

ROOT = Path(__file__).parents[1]
BUILT = ("_sums*.so", "_sums*.pyd", "__pycache__", "*.egg-info")
SOURCES = tuple(f"wsanalyze/changes/_sums{rest}" for rest in (".c", "_elements.h", "_blocks.h", "_lanes.h"))
INCLUDE = sysconfig.get_path("include")
COMPILER = shlex.split(sysconfig.get_config_var("CC") or "cc")

needs_compiler = pytest.mark.skipif(
    shutil.which(COMPILER[0]) is None or not Path(INCLUDE, "Python.h").is_file(),
    reason="needs a C compiler and Python's headers",
)


def build(source, what, **environment):
    """Build a "wheel" or an "sdist" beside some sources, without the network; returns the file and what was said."""
    code = f"import sys\nfrom setuptools.build_meta import build_{what}\nbuild_{what}(sys.argv[1])"
    out = source.parent / what
    done = subprocess.run(
        [sys.executable, "-c", code, str(out)],
        cwd=source,
        env={"PATH": "/usr/bin:/bin", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (path,) = out.iterdir()
    return path, done.stdout + done.stderr


def list_wheel(path):
    with ZipFile(path) as wheel:
        return set(wheel.namelist())


def list_package():
    """Every file of the package but the C sources and what was built of them."""
    paths = {path for path in ROOT.glob("wsanalyze/**/*") if path.is_file() and path.suffix not in {".c", ".h"}}
    built = {path for pattern in BUILT[:2] for path in ROOT.glob(f"wsanalyze/**/{pattern}")}
    return {path.relative_to(ROOT).as_posix() for path in paths - built if path.parent.name != "__pycache__"}


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    """The archive of sources, made of a copy: a build leaves things behind."""
    source = tmp_path_factory.mktemp("sdist") / "source"
    source.mkdir()
    for path in ROOT.iterdir():
        if path.is_file() and path.suffix != ".so":
            shutil.copy(path, source)
    for folder in ("wsanalyze", "tests", "fixtures", "docs", "benchmarks"):
        shutil.copytree(ROOT / folder, source / folder, ignore=shutil.ignore_patterns(*BUILT))
    (source / "wsanalyze" / "changes" / "_sums.abi3.so").write_bytes(b"built for another machine")
    return build(source, "sdist")[0]


@pytest.fixture
def unpacked(sdist, tmp_path):
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / f"wsanalyze-{__version__}"


def test_the_archive_of_sources_holds_all_that_builds_and_tests_the_program(unpacked):
    for name in (*SOURCES, "setup.py", "Makefile", "constraints.txt", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md"):
        assert (unpacked / name).read_bytes() == (ROOT / name).read_bytes(), name
    for name in ("tests/conftest.py", "fixtures/make.py", "docs/method.md", "benchmarks/speed.py"):
        assert (unpacked / name).is_file(), name
    assert list_package() <= {path.relative_to(unpacked).as_posix() for path in unpacked.rglob("*")}
    assert not list(unpacked.rglob("*.so"))


@needs_compiler
def test_a_wheel_holds_the_package_with_its_kernel_for_every_python(unpacked):
    path, _ = build(unpacked, "wheel")
    names = list_wheel(path)
    kernel = {name for name in names if name.endswith((".so", ".pyd"))}
    assert {name for name in names if name.startswith("wsanalyze/")} - kernel == list_package()
    (name,) = kernel
    if not sysconfig.get_config_var("Py_GIL_DISABLED"):
        assert path.name.startswith(f"wsanalyze-{__version__}-cp311-abi3-")
        assert name in {"wsanalyze/changes/_sums.abi3.so", "wsanalyze/changes/_sums.pyd"}


def test_without_a_compiler_there_is_a_wheel_without_the_kernel(unpacked):
    path, told = build(unpacked, "wheel", CC="false")
    assert {name for name in list_wheel(path) if name.startswith("wsanalyze/")} == list_package()
    assert 'building extension "wsanalyze.changes._sums" failed' in told


def test_a_wheel_says_what_it_is_and_under_which_licences(unpacked):
    with ZipFile(build(unpacked, "wheel", CC="false")[0]) as wheel:
        info = f"wsanalyze-{__version__}.dist-info"
        told = HeaderParser().parsestr(wheel.read(f"{info}/METADATA").decode())
        licences = {name: wheel.read(f"{info}/licenses/{name}") for name in told.get_all("License-File")}
        commands = wheel.read(f"{info}/entry_points.txt").decode()
    assert (told["Name"], told["Version"], told["License-Expression"]) == ("wsanalyze", __version__, "Apache-2.0")
    assert licences == {name: (ROOT / name).read_bytes() for name in licences}
    assert {Path(name).name for name in licences} == {"LICENSE", "plotly.js-LICENSE.txt"}
    assert "wsanalyze = wsanalyze.cli:main" in commands


@needs_compiler
def test_the_kernel_is_here_where_there_is_a_compiler():
    kernel = import_module("wsanalyze.changes._sums")
    newest = max((ROOT / name).stat().st_mtime for name in (*SOURCES, "setup.py"))
    assert Path(kernel.__file__).stat().st_mtime >= newest, "older than its sources: run `make` again"


@needs_compiler
def test_the_kernel_compiles_without_a_warning():
    options = ["-fsyntax-only", "-Wall", "-Wextra", "-Werror", "-Wno-psabi", f"-I{INCLUDE}"]
    done = subprocess.run([*COMPILER, *options, str(ROOT / SOURCES[0])], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
