"""``lethe job``: what the service starts for each job; not for people."""

from __future__ import annotations

from typing import Annotated

import typer

from runners.commands.options import configured


def command(job_id: Annotated[str, typer.Argument(metavar="ID", help="The job.")]) -> None:
    """Do the work of a job of the service, which starts this itself."""
    from runners.jobs import run_job
    from runners.traces import traced_run

    settings = configured()
    with traced_run("job", settings, job=job_id):
        run_job(job_id, settings)
