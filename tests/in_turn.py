"""Runs the commands that it reads one after another, in one process: each would import the same libraries for seconds.

A line of its input is ``[words, folder, environment]``, a line of its output ``[code, stdout, stderr]``, as JSON.
"""

import contextlib
import io
import json
import os
import sys
import traceback
from pathlib import Path


def run(words):
    """``userops WORDS``: what it ended with, and what it said."""
    import userops

    sys.argv = ["userops", *words]
    said, errors, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(errors):
        try:
            userops.main()
        except SystemExit as end:
            code = end.code or 0
        except BaseException:
            traceback.print_exc()
            code = 1
    return code, said.getvalue(), errors.getvalue()


def main():
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library writes past Python's own streams is no answer
    sys.path.insert(0, str(Path(__file__).parents[1]))
    own = dict(os.environ)
    for line in sys.stdin:
        words, folder, environment = json.loads(line)
        os.environ.clear()
        os.environ.update({**own, **environment})
        os.chdir(folder)
        answers.write(f"{json.dumps(run(words))}\n")
        answers.flush()


if __name__ == "__main__":
    main()
