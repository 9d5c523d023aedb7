"""Digests of sources: another line, another file or another name is another digest."""

import pytest

from features.source_code import HERE, NO_VALUES, digest_of, features_digest


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "part").mkdir()
    (tmp_path / "one.py").write_text("a = 1\n")
    (tmp_path / "part" / "two.py").write_text("b = 2\n")
    return tmp_path


def test_any_change_of_a_source_is_seen(folder):
    found = {digest_of(folder, ("one.py", "part"))}
    (folder / "part" / "two.py").write_text("b = 3\n")
    found.add(digest_of(folder, ("one.py", "part")))
    (folder / "part" / "three.py").write_text("")
    found.add(digest_of(folder, ("one.py", "part")))
    (folder / "part" / "three.py").rename(folder / "part" / "four.py")
    found.add(digest_of(folder, ("one.py", "part")))
    assert len(found) == 4
    (folder / "part" / "notes.txt").write_text("no code")
    assert digest_of(folder, ("one.py", "part")) in found


def test_what_computes_no_value_is_named_rightly():
    assert all((HERE / name).exists() for name in NO_VALUES)
    assert features_digest() == features_digest() != digest_of(HERE, ("build.py",))
