"""Dagster's in-process executor with a presence that other processes see, and patient waiting.

Dagster's own executor polls a taken pool without a pause, ignores signals meanwhile, and waits for
the slots of dead runs for ever (InstanceConcurrencyContext.interval_to_next_pending_claim_check
never returns more than 0 in 1.13). It takes a signal of which a library has made an error for a
fault of the step: such a run would not be tried again.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import dagster as dg
from dagster import DagsterExecutionInterruptedError
from dagster._core.execution.api import ExecuteRunWithPlanIterable
from dagster._core.execution.context.system import PlanExecutionContext, PlanOrchestrationContext
from dagster._core.execution.context_creation_job import PlanExecutionContextManager
from dagster._core.execution.plan.execute_plan import inner_plan_execution_iterator
from dagster._core.execution.plan.instance_concurrency_context import InstanceConcurrencyContext
from dagster._core.execution.plan.plan import ExecutionPlan
from dagster._core.execution.retries import RetryMode
from dagster._core.executor.in_process import InProcessExecutor
from dagster._utils.interrupts import pop_captured_interrupt
from dagster_shared.error import SerializableErrorInfo

from ticket_assets.orchestration.launcher import starts_runs_elsewhere
from ticket_assets.orchestration.living_runs import (
    POLL_SECONDS,
    WAITS_FOR,
    describe,
    end_dead_runs,
    is_of_command,
    show_presence,
)
from ticket_assets.orchestration.termination import ending_in_time

_INTERRUPTIONS = {KeyboardInterrupt.__name__, DagsterExecutionInterruptedError.__name__}


class PatientClaims(InstanceConcurrencyContext):
    """The pool slots of a run: waiting for one costs no CPU and ends with a signal."""

    def __init__(self, instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
        super().__init__(instance, run)
        self._run = run
        self._waits_for: set[str] = set()

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)  # type: ignore[arg-type]
        # An interrupted step has not freed its slot.
        self._instance.event_log_storage.free_concurrency_slots_for_run(self._run.run_id)

    def claim(self, concurrency_key: str, step_key: str, step_priority: int = 0) -> bool:
        if pop_captured_interrupt():
            raise DagsterExecutionInterruptedError
        if super().claim(concurrency_key, step_key, step_priority):
            return True
        if self._pending_timeouts[step_key] > time.time() + POLL_SECONDS:
            end_dead_runs(self._instance)
            self._name_the_holder(concurrency_key)
            self._pending_timeouts[step_key] = time.time() + POLL_SECONDS
        return False

    def interval_to_next_pending_claim_check(self) -> float:
        return POLL_SECONDS if self._pending_claims else 0.0

    def _name_the_holder(self, pool: str) -> None:
        holders = self._instance.event_log_storage.get_concurrency_info(pool).active_run_ids
        for run_id in holders - self._waits_for - {self._run.run_id}:
            self._waits_for.add(run_id)
            if record := self._instance.get_run_record_by_id(run_id):
                self._instance.report_engine_event(f"{WAITS_FOR}{describe(record)}", self._run)


class PatientExecutor(InProcessExecutor):
    """Dagster's in-process executor with patient claims and a presence that others can see."""

    def execute(
        self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan
    ) -> Iterator[dg.DagsterEvent]:
        instance, run = plan_context.instance, plan_context.dagster_run
        show_presence(instance, run.run_id)
        end_dead_runs(instance)
        if is_of_command(run) or not starts_runs_elsewhere(instance):
            yield from self._execute(plan_context, execution_plan)
            return
        with ending_in_time(instance, run):
            yield from self._execute(plan_context, execution_plan)

    def _execute(
        self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan
    ) -> Iterator[dg.DagsterEvent]:
        instance, run = plan_context.instance, plan_context.dagster_run
        try:
            yield from ExecuteRunWithPlanIterable(
                execution_plan=execution_plan,
                iterator=_execute_steps,
                execution_context_manager=PlanExecutionContextManager(
                    job=plan_context.job,
                    retry_mode=plan_context.retry_mode,
                    execution_plan=execution_plan,
                    run_config=plan_context.run_config,
                    dagster_run=run,
                    instance=instance,
                    raise_on_error=plan_context.raise_on_error,
                    output_capture=plan_context.output_capture,
                    step_dependency_config=self.step_dependency_config,
                ),
            )
        except (KeyboardInterrupt, DagsterExecutionInterruptedError):
            # A person ended the command. A run of the daemon fails instead, and is tried again.
            if is_of_command(run):
                instance.report_run_canceling(run, "Interrupted by Ctrl-C or SIGTERM.")
            raise


def _execute_steps(
    job_context: PlanExecutionContext, execution_plan: ExecutionPlan
) -> Iterator[dg.DagsterEvent]:
    # Of the definitions, which a run has loaded by now, and which load this module.
    from ticket_assets.defs.partitions import DESK
    from ticket_assets.orchestration.day_turns import wait_for_days

    if DESK.settings.warehouse:
        wait_for_days(job_context.instance, job_context.dagster_run, DESK.leases)
    with PatientClaims(job_context.instance, job_context.dagster_run) as claims:
        for event in inner_plan_execution_iterator(job_context, execution_plan, claims):
            yield event
            if event.is_step_failure and _is_interrupted(event.step_failure_data.error):
                raise DagsterExecutionInterruptedError


def _is_interrupted(error: SerializableErrorInfo | None) -> bool:
    """Whether the error was made of a signal; DuckDB does so during a query."""
    while error is not None and error.cls_name not in _INTERRUPTIONS:
        error = error.cause or error.context
    return error is not None


@dg.executor(name="in_process")
def patient_executor(_: dg.InitExecutorContext) -> PatientExecutor:
    """One process per run: the steps share one import of the libraries, and the embedded database
    takes one writer anyway."""
    return PatientExecutor(retries=RetryMode.ENABLED)
