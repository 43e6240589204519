"""Builds the compiled kernel where there is a compiler; without one, NumPy does its work. All else: pyproject.toml."""

import sysconfig
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

# One build fits all versions from 3.11 on, except those without the global lock: they have no limited API yet.
LIMITED = not sysconfig.get_config_var("Py_GIL_DISABLED")


class BuildKernel(build_ext):
    """Compiles for any processor of the platform: the kernel picks its vectors when it runs."""

    def build_extensions(self) -> None:
        """Add the options that the compiler at hand understands."""
        if self.compiler.compiler_type != "msvc":
            for extension in self.extensions:
                extension.extra_compile_args = ["-O3", "-g0", "-fno-strict-aliasing", "-Wno-psabi"]
                extension.libraries = ["m"]
        super().build_extensions()


setup(
    cmdclass={"build_ext": BuildKernel},
    ext_modules=[
        Extension(
            "wsanalyze.changes._sums",
            sources=["wsanalyze/changes/_sums.c"],
            depends=[path.as_posix() for path in sorted(Path("wsanalyze/changes").glob("_sums*.h"))],
            py_limited_api=LIMITED,
            optional=True,
        )
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if LIMITED else {},
)
