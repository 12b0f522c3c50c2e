class Asked:
    model_start: int
    model_end: int
    text: int
    max_tokens: int

def asked(body: bytes) -> Asked | None: ...
def answer(body: bytes) -> tuple[int, int, int] | None: ...
