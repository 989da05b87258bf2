"""What the celery worker of these tests runs."""

from __future__ import annotations

import os

from celery import Celery

from tests.workers.jobs import begin, job

app = Celery("jobs", broker="filesystem://", backend=f"file://{os.environ['CELERY_FOLDER']}/results")
app.conf.broker_transport_options = {
    "data_folder_in": f"{os.environ['CELERY_FOLDER']}/queue",
    "data_folder_out": f"{os.environ['CELERY_FOLDER']}/queue",
    "control_folder": f"{os.environ['CELERY_FOLDER']}/control",
}
run = app.task(job, name="run")
begin()
