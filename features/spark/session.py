"""The session on a standalone cluster: UTC everywhere, quiet on the terminal, one per process."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from configs import Config
from configs.errors import FeatureError
from features.spark.cluster import missing

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

__all__ = ["LOG", "cut", "end", "partitions", "session"]

_SHUFFLE = "spark.sql.shuffle.partitions"
_BYTES = 8_000_000  # of stored events, 16 bytes each
#: What Spark's driver says, in the home folder.
LOG = "spark.log"
_SETTINGS = {
    "spark.sql.session.timeZone": "UTC",
    "spark.executorEnv.TZ": "UTC",  # of Java and of Python
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.parquet.compression.codec": "zstd",
    # Python sees batches of Arrow as long as a row group of our own files.
    "spark.sql.execution.arrow.maxRecordsPerBatch": "10240",
    "spark.ui.enabled": "false",  # it would listen on every address of this machine
    "spark.ui.showConsoleProgress": "false",
    "spark.log.level": "WARN",
}


def session(config: Config) -> SparkSession:
    """The session of this process, connected to ``config.spark_master``.

    Whatever else Spark should know (memory and cores of executors, partitions) it reads from its own
    ``spark-defaults.conf`` in ``SPARK_CONF_DIR``. Workers run the Python of ``PYSPARK_PYTHON``, by default this one,
    and our code from where it lies here.

    Raises
    ------
    FeatureError
        When Java or pyspark is missing, or the master does not answer.
    """
    lacking = missing()
    if lacking:
        raise FeatureError("Spark cannot run here", because=lacking)
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

    running = SparkContext._active_spark_context
    if running is not None and running.master == config.spark_master:
        return SparkSession(running)
    host = _reached(config.spark_master)
    if running is not None:
        running.stop()
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    os.environ["TZ"] = "UTC"  # of the driver
    settings = {**_SETTINGS, "spark.executorEnv.PYTHONPATH": str(Path(__file__).parents[2])}
    if host in ("127.0.0.1", "localhost"):  # then nothing of the driver need listen elsewhere
        settings |= {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
    return _started(config, settings)


def cut(session: SparkSession, stored: int) -> None:
    """Cut shuffles by the size of the events, unless somebody configured ``spark.sql.shuffle.partitions``.

    Parameters
    ----------
    stored
        Bytes of the stored events; 0 where nobody knows: then Spark decides.
    """
    context = session.sparkContext
    if stored and not context.getConf().contains(_SHUFFLE):
        session.conf.set(_SHUFFLE, partitions(stored, context.defaultParallelism))


def partitions(stored: int, cores: int) -> int:
    """How many parts a shuffle has: some 500,000 events in each, and two for every core.

    Spark's own 200 are too many for a small shop, and for a large one so few that a part outgrows its worker. What
    becomes small on the way Spark joins again by itself.

    Examples
    --------
    >>> partitions(16_000_000, 2), partitions(14_000_000_000, 64)
    (4, 1750)
    """
    return max(2 * cores, stored // _BYTES)


def end() -> None:
    """End the session of this process, if there is one, and its JVM."""
    from pyspark import SparkContext

    if SparkContext._active_spark_context is not None:
        SparkContext._active_spark_context.stop()
    gateway, SparkContext._gateway, SparkContext._jvm = SparkContext._gateway, None, None
    if gateway is not None:
        gateway.shutdown()
        gateway.proc.stdin.close()  # which is how the JVM learns of it
        gateway.proc.wait(30)


def _started(config: Config, settings: dict[str, str]) -> SparkSession:
    from pyspark import SparkConf, SparkContext
    from pyspark.java_gateway import launch_gateway
    from pyspark.sql import SparkSession

    conf = SparkConf().setMaster(config.spark_master).setAppName("userops").setAll(list(settings.items()))
    config.home.mkdir(parents=True, exist_ok=True)
    try:
        if SparkContext._gateway is None:
            with (config.home / LOG).open("ab") as log:
                SparkContext._gateway = launch_gateway(conf, {"stdout": log, "stderr": log})  # type: ignore[no-untyped-call,unused-ignore]
                SparkContext._jvm = SparkContext._gateway.jvm
        return SparkSession.builder.config(conf=conf).getOrCreate()
    except Exception as error:
        raise FeatureError(
            f"the Spark cluster {config.spark_master} cannot be used",
            because=f"{str(error).splitlines()[0]}; see {config.home / LOG}",
        ) from None


def _reached(master: str) -> str:
    """The host of the first master that listens: Spark itself would look for one for a minute."""
    problem = "not spark://host:port"
    for place in master.removeprefix("spark://").split(","):
        host, _, port = place.rpartition(":")
        if master.startswith("spark://") and host and port.isdecimal():
            try:
                socket.create_connection((host, int(port)), timeout=5).close()
            except OSError as error:
                problem = str(error)
            else:
                return host
    raise FeatureError(
        f"no Spark master answers at {master}",
        because=problem,
        expected="USEROPS_SPARK=spark://host:7077",
        run="python -m features.spark.cluster   # a small one on this machine, to try",
    )
