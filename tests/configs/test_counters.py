"""Services of one account count apart; what ended leaves nothing."""

import os
import subprocess
import sys

from configs.counters import own_counters


def test_every_process_has_a_folder_of_its_own_and_what_ended_goes(tmp_path):
    code = "import sys; from pathlib import Path; from configs.counters import own_counters; "
    code += "print(own_counters(Path(sys.argv[1]), {})['BENTOML_HOME'], flush=True); sys.stdin.read()"
    words = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        theirs = other.stdout.readline().strip()
        mine = own_counters(tmp_path, {})["BENTOML_HOME"]
        assert theirs != mine
        assert sorted(os.listdir(tmp_path / "service")) == sorted(os.path.basename(one) for one in (mine, theirs))
        other.stdin.close()
        other.wait(timeout=60)
    (tmp_path / "service" / str(os.getpid()) / "counter_1.db").touch()
    assert own_counters(tmp_path, {}) == {"BENTOML_HOME": mine}
    assert os.listdir(tmp_path / "service") == [os.path.basename(mine)]
    assert os.listdir(mine) == []


def test_a_folder_that_is_named_is_taken_and_a_home_that_is_no_folder_refuses_nobody(tmp_path):
    assert own_counters(tmp_path, {"BENTOML_HOME": "/elsewhere"}) == {}
    (tmp_path / "file").touch()
    assert own_counters(tmp_path / "file", {}) == {}
    assert os.listdir(tmp_path) == ["file"]
