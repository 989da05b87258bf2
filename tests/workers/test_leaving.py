"""Job runners, pools and servers whose processes leave in their own ways: what they recorded arrives. `nox -s workers`."""

from __future__ import annotations

import os
import subprocess
import sys
from textwrap import dedent

import pytest

from tests.support.deadlines import eventually
from tests.support.web_servers import ROOT, get, program

pytestmark = [pytest.mark.worker, pytest.mark.timeout(300)]
JOBS = [f"job {number}" for number in range(6)]


@pytest.fixture
def environment(receiver, stand_in, tmp_path):
    folders = [tmp_path / name for name in ("queue", "results")]
    for folder in folders:
        folder.mkdir()
    return {
        **os.environ,
        "MODEL_URL": stand_in.base_url,
        "LLM_OTEL_BROADCAST_ENDPOINT": receiver.endpoint,
        "LLM_OTEL_BROADCAST_EXIT_TIMEOUT": "60",
        "CELERY_FOLDER": str(tmp_path),
        "PYTHONPATH": str(ROOT),
    }


@pytest.fixture
def arrived(receiver):
    def read():
        return sorted(span.name.removeprefix("chat ") for span in receiver.store.spans())

    return read


def run(source, environment, tmp_path):
    """Run a program from a file, as spawned children want it."""
    path = tmp_path / "program.py"
    path.write_text("from tests.workers.jobs import begin, job\n" + dedent(source))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(path)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("max_tasks", [1, 2])
def test_celery_workers_that_are_replaced_after_some_tasks(environment, arrived, tmp_path, max_tasks):
    pytest.importorskip("celery")
    words = ["worker", "--pool", "prefork", "--concurrency", "2", "--max-tasks-per-child", str(max_tasks)]
    command = [sys.executable, "-m", "celery", "-A", "tests.workers.celery_app", *words]
    with (tmp_path / "celery.log").open("wb") as log:
        worker = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        sending = f"from tests.workers.celery_app import run\nfor name in {JOBS!r}: run.delay(name)"
        subprocess.run([sys.executable, "-c", sending], env=environment, check=True, timeout=120)
        eventually(lambda: len(list((tmp_path / "results").iterdir())) == len(JOBS), 120, "celery to do the jobs")
    finally:
        worker.terminate()
        worker.wait(120)
    assert arrived() == JOBS, (tmp_path / "celery.log").read_text()


POOLS = {
    "billiard": """
        import billiard
        if __name__ == "__main__":
            begin()
            pool = billiard.Pool(2, maxtasksperchild=1)
            pool.map(job, JOBS)
            pool.close()
            pool.join()
    """,
    "multiprocess": """
        import multiprocess
        if __name__ == "__main__":
            begin()
            with multiprocess.Pool(2) as pool:
                pool.map(job, JOBS)
    """,
    "joblib": """
        import joblib
        if __name__ == "__main__":
            begin()
            joblib.Parallel(n_jobs=2, backend="multiprocessing")(joblib.delayed(job)(name) for name in JOBS)
    """,
}


@pytest.mark.parametrize("package", POOLS)
def test_pools_of_packages_that_are_like_multiprocessing(environment, arrived, tmp_path, package):
    """They have copies of its code, or end its processes in ways of their own."""
    pytest.importorskip(package)
    run(f"JOBS = {JOBS!r}\n{dedent(POOLS[package])}", environment, tmp_path)
    assert arrived() == JOBS


def test_processes_of_joblib_that_outlive_the_work(environment, arrived, tmp_path):
    """loky's are ended by the program's end; each instruments itself, as nothing is inherited."""
    pytest.importorskip("joblib")
    source = f"""
        import joblib
        from tests.workers.jobs import job_anywhere

        if __name__ == "__main__":
            joblib.Parallel(n_jobs=2)(joblib.delayed(job_anywhere)(name) for name in {JOBS!r})
    """
    run(source, environment, tmp_path)
    assert arrived() == JOBS


def test_workers_of_ray_that_flush(environment, arrived, tmp_path):
    """`ray.shutdown()` ends them from C++: neither exit handlers nor handlers of signals run, nor does `os._exit`."""
    pytest.importorskip("ray")
    source = f"""
        import ray
        from tests.workers.jobs import job_with_flush

        if __name__ == "__main__":
            ray.init(num_cpus=2, include_dashboard=False)
            remote = ray.remote(job_with_flush)
            assert sorted(ray.get([remote.remote(name) for name in {JOBS!r}])) == {JOBS!r}
            ray.shutdown()
    """
    run(source, environment, tmp_path)
    assert arrived() == JOBS


@pytest.mark.parametrize("kind", ["Worker", "SpawnWorker"])
def test_rq_workers(environment, arrived, tmp_path, kind):
    """Each job has a process of its own, which leaves by `os._exit`."""
    pytest.importorskip("rq")
    pytest.importorskip("fakeredis")
    # In a process of its own: a child that is forked beside the server's threads would inherit their locks.
    serving = """
import fakeredis
server = fakeredis.TcpFakeServer(("127.0.0.1", 0), server_type="redis")
print(server.server_address[1], flush=True)
server.serve_forever()
"""
    source = f"""
        import subprocess, sys
        import redis
        from rq import Queue
        from rq.worker import {kind}

        if __name__ == "__main__":
            begin()
            server = subprocess.Popen([sys.executable, "-c", {serving!r}], stdout=subprocess.PIPE, text=True)
            try:
                connection = redis.Redis("127.0.0.1", int(server.stdout.readline()))
                # What the stand-in for redis says here is not what the client parses.
                connection.set_response_callback("CLIENT INFO", lambda *_, **__: {{"addr": "127.0.0.1"}})
                queue = Queue(connection=connection)
                for name in {JOBS!r}:
                    queue.enqueue("tests.workers.jobs.job_anywhere", name)
                {kind}([queue], connection=connection).work(burst=True)
            finally:
                server.kill()
    """
    run(source, environment, tmp_path)
    assert arrived() == JOBS


SERVERS = {
    "uvicorn": "uvicorn --port PORT --log-level warning tests.workers.asgi_app:app",
    "uvicorn with workers": "uvicorn --port PORT --workers 2 --log-level warning tests.workers.asgi_app:app",
    "gunicorn with uvicorn's worker": "gunicorn --bind 127.0.0.1:PORT --workers 2 -k uvicorn.workers.UvicornWorker --log-level warning tests.workers.asgi_app:app",
    "hypercorn": "hypercorn --bind 127.0.0.1:PORT --log-level warning tests.workers.asgi_app:app",
    "hypercorn with workers": "hypercorn --bind 127.0.0.1:PORT --workers 2 --log-level warning tests.workers.asgi_app:app",
}


@pytest.mark.parametrize("name", SERVERS)
def test_servers_that_are_told_to_stop(environment, arrived, tmp_path, name):
    """Batches would wait for a minute, and no code of the program's flushes."""
    words = SERVERS[name].split()
    pytest.importorskip(words[0])
    late = {**environment, "LLM_OTEL_BROADCAST_BATCH_DELAY": "60"}
    with program(words, late, tmp_path / "output.log") as running:
        for job in JOBS:
            assert get(f"{running.url}/{job.replace(' ', '-')}").status == 200
        running.end()
    assert arrived() == [job.replace(" ", "-") for job in JOBS], running.said()
