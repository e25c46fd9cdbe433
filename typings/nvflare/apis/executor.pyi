from nvflare.apis.fl_component import FLComponent

class Executor(FLComponent):
    def __init__(self) -> None: ...
