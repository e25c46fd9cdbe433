class ReturnCode:
    OK: str
    BAD_TASK_DATA: str
    EXECUTION_EXCEPTION: str
