"""Ray: studies on more than one machine (docs/embedding/ray.md).

`RayTasks` runs a study's cells as tasks (`fedavg sweep --engine ray`).  All that is sent is bytes.
"""

from fedavg.adapters.ray.tasks import RayTasks

__all__ = ["RayTasks"]
