"""Many clients on one machine: in this process or in worker processes, with simulated drop-outs."""
