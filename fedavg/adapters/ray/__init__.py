"""Ray: studies and federations on more than one machine (docs/embedding/ray.md).

`RayTasks` runs a study's cells as tasks (`fedavg sweep --engine ray`), and `RaySimulation` puts the clients
of a federation on actors.  All that is sent is bytes.
"""

from fedavg.adapters.ray.simulation import RaySimulation
from fedavg.adapters.ray.tasks import RayTasks

__all__ = ["RaySimulation", "RayTasks"]
