"""A release is what was written, whole, or it is refused; ``current`` is the old one or the new one."""

from __future__ import annotations

import json
import threading
from datetime import datetime, timedelta

import pytest

from configs.errors import BundleError
from serving.scoring import Bundle, Model, current, write_release
from serving.scoring.bundle import release_digest
from serving.scoring.release import make_current


def test_a_release_holds_what_training_wrote(releases, model_folders, x, digest):
    folder = current(releases)
    bundle = Bundle.load(folder, digest)
    assert folder.name == bundle.release_id
    assert bundle.release_id.startswith("2026-11-21T101112Z-")
    assert sorted(bundle.models) == ["churn", "repurchase", "value"]
    assert bundle.meta["alias"] == "champion"
    trained = Model.load(model_folders["churn"])
    assert bundle.models["churn"].digest == trained.digest
    assert (bundle.models["churn"].raw(x, "p_inactive_30d") == trained.raw(x, "p_inactive_30d")).all()


def test_the_same_content_is_the_same_release(releases, model_folders, digest):
    created_at = _created_at(releases)
    again = write_release(releases, model_folders, digest, created_at, {"alias": "champion"})
    assert again == current(releases).name
    assert sorted(path.name for path in releases.iterdir()) == sorted([again, "current"])


FILES = ["release.json", "churn/model.json", "churn/inactive.txt", "repurchase/first.txt"]


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("damage", ["missing", "truncated", "altered", "symlink", "empty"])
def test_damage_is_found_and_named(releases, tmp_path, file, damage, digest):
    folder = current(releases)
    path = folder / file
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(content[:-40])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "altered":
        place = content.rindex(b"0")
        path.write_bytes(content[:place] + b"1" + content[place + 1 :])
    else:
        (tmp_path / "elsewhere").write_bytes(content)
        path.unlink()
        path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BundleError) as refused:
        Bundle.load(folder, digest)
    assert str(path) in str(refused.value)
    assert refused.value.got is not None


def test_a_linked_model_folder_is_refused(releases, tmp_path):
    folder = current(releases)
    (folder / "churn").rename(tmp_path / "churn")
    (folder / "churn").symlink_to(tmp_path / "churn")
    with pytest.raises(BundleError, match="symbolic link"):
        Bundle.load(folder)


@pytest.mark.parametrize("name", ["../churn/model.json", "/etc/passwd", "churn//model.json", "churn/.hidden", ""])
def test_a_file_outside_the_release_is_refused(releases, name):
    folder = current(releases)
    meta = json.loads((folder / "release.json").read_text())
    meta["files"][name] = "sha256:00"
    _sign(folder, meta)
    with pytest.raises(BundleError, match="leaves its folder"):
        Bundle.load(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(format=9), "unknown format"),
        (lambda m: m.pop("files"), "incomplete"),
        (lambda m: m["models"]["churn"].update(version="4"), "version"),
        (lambda m: m["models"]["churn"].update(model_json_sha256="sha256:00"), "churn"),
        (lambda m: m["models"].update(other=m["models"].pop("churn")), "name"),
        (lambda m: m.update(catalogue_digest="sha256:00"), "catalogue_digest"),
    ],
)
def test_a_manifest_that_contradicts_its_files_is_refused(releases, change, message):
    folder = current(releases)
    meta = json.loads((folder / "release.json").read_text())
    change(meta)
    _sign(folder, meta)
    with pytest.raises(BundleError, match=message):
        Bundle.load(folder)


def test_another_catalogue_is_refused_with_both_digests(releases, digest):
    with pytest.raises(BundleError, match="another feature catalogue") as refused:
        Bundle.load(current(releases), "sha256:other")
    assert refused.value.got == digest
    assert refused.value.expected == "sha256:other"


def test_writing_a_release_of_another_catalogue_leaves_the_old_one(releases, model_folders):
    before = current(releases)
    with pytest.raises(BundleError, match="catalogue_digest"):
        write_release(releases, model_folders, "sha256:other", _created_at(releases) + timedelta(days=1))
    assert current(releases) == before
    assert sorted(path.name for path in releases.iterdir()) == sorted([before.name, "current"])


def test_no_release_yet(tmp_path):
    with pytest.raises(BundleError, match="no release yet"):
        current(tmp_path)


@pytest.mark.parametrize("target", ["../elsewhere", "/etc", "missing", "."])
def test_current_may_only_name_a_release_beside_it(tmp_path, target):
    (tmp_path / "current").symlink_to(target)
    with pytest.raises(BundleError, match="does not name a release"):
        current(tmp_path)


def test_back_to_an_earlier_release(releases, model_folders, digest):
    first = current(releases).name
    second = write_release(releases, model_folders, digest, _created_at(releases) + timedelta(hours=1))
    assert current(releases).name == second
    make_current(releases, first)
    assert current(releases).name == first
    with pytest.raises(BundleError, match="no such release"):
        make_current(releases, "2000-01-01T000000Z-000000000000")


def test_readers_always_find_a_whole_release(releases, model_folders, digest):
    stop, failures, seen = threading.Event(), [], set()

    def read() -> None:
        while not stop.is_set():
            try:
                seen.add(Bundle.load(current(releases), digest).release_id)
            except BundleError as error:
                failures.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for hour in range(1, 6):
            write_release(releases, model_folders, digest, _created_at(releases) + timedelta(hours=hour))
    finally:
        stop.set()
        reader.join()
    assert failures == []
    assert seen


def _created_at(releases):
    return datetime.fromisoformat(json.loads((current(releases) / "release.json").read_text())["created_at"])


def _sign(folder, meta):
    """What an attacker who knows the format would do: the manifest agrees with itself again."""
    meta["release_id"] = f"2026-11-21T101112Z-{release_digest(meta)}"
    (folder / "release.json").write_text(json.dumps(meta))
