"""How a run of the UI, a sensor or GraphQL is executed: in the one process of the run, which says in tags that it is.

Commands do without: `execute_in_process` has an executor of its own, and `running` tags their runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import dagster as dg

from monarch_dagster.defs.dead_runs import process_tags, report_dead_runs, tell_reported

if TYPE_CHECKING:
    from dagster._core.execution.context.system import PlanOrchestrationContext
    from dagster._core.execution.plan.plan import ExecutionPlan


class TaggingExecutor(dg.Executor):
    """Tags the run, reports runs whose process is gone, then leaves the steps to another executor."""

    def __init__(self, steps: dg.Executor) -> None:
        self._steps = steps

    @property
    def retries(self) -> Any:
        """Return the retry mode of the steps."""
        return self._steps.retries

    def execute(
        self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan
    ) -> Iterator[dg.DagsterEvent]:
        """Run the steps of a plan; yield what happens."""
        plan_context.instance.add_run_tags(plan_context.run_id, process_tags(plan_context.run_id))
        if dead := report_dead_runs(plan_context.instance):
            plan_context.log.warning(tell_reported(dead))
        yield from self._steps.execute(plan_context, execution_plan)


@dg.executor(name="in_process")
def in_process_executor(context: dg.InitExecutorContext) -> dg.Executor:
    """Run all steps in the run's process: one a step costs twenty seconds and buys nothing, the work is one database's.

    It has no settings: retries of steps are off, whatever an asset asks for.
    """
    create = dg.in_process_executor.executor_creation_fn
    assert create is not None
    return TaggingExecutor(create(context._replace(executor_config={"retries": {"disabled": {}}})))
