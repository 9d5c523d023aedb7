"""``python tests/fuzz/run.py NAME FOLDER -runs=5000 [-max_total_time=60]``: atheris on one of the targets.

It writes the input that broke something into FOLDER and ends with a code that is not 0. Other words are libFuzzer's.
"""

import sys
from pathlib import Path


def main(name: str, folder: Path, *limits: str) -> None:
    """Fuzz until the limits are reached; our own modules are instrumented while they are imported."""
    import atheris

    with atheris.instrument_imports(include=["configs", "features", "serving"]):
        from targets import SEEDS, TARGETS

    seeds = folder / "seeds"
    seeds.mkdir(parents=True)
    for number, seed in enumerate(SEEDS[TARGETS[name]]):
        (seeds / str(number)).write_bytes(seed)
    atheris.Setup([sys.argv[0], *limits, f"-artifact_prefix={folder}/", str(seeds)], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
