"""Assesses what was received: takes it from the queue, has it assessed by a process that can be killed, stores it.

Room: detector_collect.worker. Uses the store and starts processes; opens no socket.

    async with Worker(store, config) as worker:
        await worker.run()
"""

from .periods import assess_period
from .runner import Worker, WorkerSettings, expire, requeue
from .work import MaterialConfig

__all__ = ["MaterialConfig", "Worker", "WorkerSettings", "assess_period", "expire", "requeue"]
