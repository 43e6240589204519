"""What lies behind an error."""

import importlib
import sys

import pytest

from wsanalyze.causes import explain_import, find_interrupt


class Termination(KeyboardInterrupt):
    """Another kind of interrupt."""


def catch(module, folder, monkeypatch):
    """The error of importing a module from a folder."""
    monkeypatch.syspath_prepend(str(folder))
    with pytest.raises(BaseException) as caught:  # noqa: PT011 - whatever it is
        __import__(module)
    for name in [name for name in sys.modules if name.partition(".")[0] == module]:
        del sys.modules[name]
    return caught.value


def test_an_interrupt_is_found_behind_whatever_became_of_it():
    interrupt = Termination()
    behind = RuntimeError("Error calling __set_name__")
    behind.__cause__ = ValueError("another cause")
    behind.__context__ = interrupt
    outer = ImportError("numpy could not be imported")
    outer.__cause__ = behind
    assert find_interrupt(outer) is find_interrupt(interrupt) is Termination
    interrupt.__context__ = outer  # a circle
    assert find_interrupt(outer) is Termination
    behind.__context__ = None
    behind.__cause__ = outer
    assert find_interrupt(outer) is None
    assert find_interrupt(SystemExit()) is None


FAULTS = (
    "import nowhere_at_all",
    "raise ValueError('numpy.dtype size changed\\n by 8')",
    "1 / 0",
    "raise OSError(2, '')",
)


@pytest.mark.parametrize("content", FAULTS)
def test_a_package_that_breaks_in_its_import_is_named_whatever_it_raises(tmp_path, monkeypatch, content):
    (tmp_path / "brittle").mkdir()
    (tmp_path / "brittle" / "__init__.py").write_text("from brittle import inner")
    (tmp_path / "brittle" / "inner.py").write_text(content)
    said = explain_import(catch("brittle", tmp_path, monkeypatch))
    assert said.startswith("the package brittle cannot be imported (")
    assert said.endswith("); install it again")
    assert "\n" not in said


def test_a_package_that_is_not_there_is_named(tmp_path, monkeypatch):
    said = explain_import(catch("nowhere_at_all", tmp_path, monkeypatch))
    assert said == "the package nowhere_at_all cannot be imported (No module named 'nowhere_at_all'); install it again"


def test_faults_of_this_program_and_interrupts_are_no_faults_of_packages(tmp_path, monkeypatch):
    with pytest.raises(ImportError) as caught:
        from wsanalyze.errors import NoSuchError  # noqa: F401 - its error is what is asked for
    assert explain_import(caught.value) is None
    with pytest.raises(ImportError) as caught:
        importlib.import_module("wsanalyze.nothing")
    assert explain_import(caught.value) is None
    assert explain_import(ValueError("of a function")) is None
    (tmp_path / "slow.py").write_text("try:\n    raise KeyboardInterrupt\nexcept BaseException:\n    raise ValueError")
    error = catch("slow", tmp_path, monkeypatch)
    assert isinstance(error, ValueError)
    assert explain_import(error) is None
