class Run:
    run_id: int
