import pytest

from rllib_mec.emulator import texts
from rllib_mec.emulator.texts import Text, general_text, task_text
from rllib_mec.errors import InputError


def test_every_python_installation_has_text_for_all_tasks():
    sizes = {task: sum(map(len, task_text(task).documents)) for task in texts.BUILTIN}
    assert all(size > 300_000 for size in sizes.values()), sizes


def test_the_reference_is_prose_and_code_is_code_without_docstrings():
    assert "The if statement" in "".join(task_text("reference").documents).replace('"', "")
    code = set("\n".join(task_text("code").documents).splitlines())
    for docstring in task_text("docstrings").documents[:50]:
        for line in docstring.splitlines():
            if len(line) > 60 and line.count("  ") == 0:
                assert line not in code


def test_no_task_is_in_the_general_text():
    general = set(general_text().documents)
    for task in texts.BUILTIN:
        common = general & set(task_text(task).documents)
        assert sum(map(len, common)) < 0.01 * sum(map(len, general)), task


def test_the_same_text_has_the_same_digest():
    assert Text("a", ("x", "y")).digest == Text("b", ("x", "y")).digest
    assert Text("a", ("x", "y")).digest != Text("a", ("xy",)).digest
    assert task_text("reference").digest == task_text("reference").digest


def test_files_and_directories_are_tasks(tmp_path):
    (tmp_path / "b.txt").write_text("bee")
    (tmp_path / "a.md").write_text("ay")
    (tmp_path / "c.bin").write_bytes(b"\xff")
    assert task_text(str(tmp_path / "b.txt")) == Text("b", ("bee",))
    assert task_text(f"mine={tmp_path}") == Text("mine", ("ay", "bee"))


def test_empty_text_is_refused(tmp_path):
    (tmp_path / "empty.txt").write_text(" \n")
    with pytest.raises(InputError, match="text empty: expected some text, and there is none"):
        task_text(str(tmp_path / "empty.txt"))
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match="text none: expected some text"):
        task_text(str(tmp_path / "none"))


def test_what_is_no_task_is_refused(tmp_path):
    with pytest.raises(InputError, match="unknown task 'referense': did you mean 'reference'"):
        task_text("referense")
    with pytest.raises(InputError, match=r"task text .*gone.txt: cannot be read: No such file"):
        task_text(str(tmp_path / "gone.txt"))
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    with pytest.raises(InputError, match=r"latin.txt: cannot be read: 'utf-8' codec"):
        task_text(str(tmp_path / "latin.txt"))
    with pytest.raises(InputError, match="task '=x': name '': expected letters"):
        task_text("=x")
