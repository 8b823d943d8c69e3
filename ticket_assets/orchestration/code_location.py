"""Where the UI and the daemon find the jobs of the definitions."""

from __future__ import annotations

from dagster._core.definitions.repository_definition import SINGLETON_REPOSITORY_NAME
from dagster._core.remote_origin import (
    ManagedGrpcPythonEnvCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

MODULE = "ticket_assets.definitions"
NAME = "ticket_assets"


def job_origin(job_name: str) -> RemoteJobOrigin:
    """The job as the workspace knows it. A run without it is missing from the UI's timeline, which
    is the page that opens first."""
    location = ManagedGrpcPythonEnvCodeLocationOrigin(
        LoadableTargetOrigin(module_name=MODULE), NAME
    )
    return RemoteRepositoryOrigin(location, SINGLETON_REPOSITORY_NAME).get_job_origin(job_name)
