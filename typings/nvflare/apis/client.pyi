class Client:
    name: str
