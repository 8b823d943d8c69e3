"""The code location in which the UI and the daemon find the jobs."""

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
    """The job's origin in the workspace. The UI's timeline, its first page, leaves out runs without
    one."""
    location = ManagedGrpcPythonEnvCodeLocationOrigin(
        LoadableTargetOrigin(module_name=MODULE), NAME
    )
    return RemoteRepositoryOrigin(location, SINGLETON_REPOSITORY_NAME).get_job_origin(job_name)
