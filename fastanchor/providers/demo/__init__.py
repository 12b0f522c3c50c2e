"""The demo provider: what an upstream would answer, as a script, without I/O and without a clock.

It speaks OpenAI chat, Responses, completions and embeddings, Anthropic messages and Gemini, streamed and not. The same
prompt gets the same text in each of them and from every demo model, so that two demo channels agree to the token.
Asked to call a tool (`tool_choice`, or "use the tool" / "use the tools" in the last message) it calls it with a minimal
instance of its schema; asked for structured output it answers with one of the schema. A last message of the assistant
is the beginning of the answer, from which Messages goes on. Usage is exact in its own count:
a word of the prompt is a token, and so is each piece that a stream sends.

How it behaves is in the model's name, "demo" and then any of these words after dashes ("demo-n200-p20-cut40"), or in
the fields `x-demo-fault` and `x-demo-pace` ("cut=40, ttft=500"), which win:

    n200            length in tokens (60); a request's own limit still holds
    p20             pace: milliseconds between tokens (20)
    ttft500         milliseconds before the first token (50); the head and the opening events come at once.
                    A plain answer comes whole after this time
    fast, slow      p0-ttft0, p100-ttft1000
    variant2        another text for the same prompt
    d256            dimensions of embeddings (64)
    embed           says what a model is for, does nothing

    fail503         answer with this status and the dialect's error; fail429r2: and `Retry-After: 2`
    html            errors are an HTML page, as a proxy in between would answer
    reset           close the connection without an answer
    slowhead3000    milliseconds before the head
    empty           200 and no body
    cut40           break the connection after 40 tokens (a plain answer: in mid-body)
    stall20         fall silent after 20 tokens (a plain answer: never)
    end30           end the body cleanly after 30 tokens (a plain answer: in mid-body)
    malformed15     an event that is not JSON after 15 tokens, nothing else lost (a plain answer: not JSON)
    errorinband10   an error in the stream after 10 tokens (a plain answer: an error with status 200)
    nodone          no terminal marker after a whole answer
    nousage         no usage
    every20         the faults and a longer ttft are for each 20th request only
    first3          … for the first 3 requests of the process only

A model whose name starts otherwise is answered like "demo"; an unknown word after "demo-" is an unknown model.
"""

from fastanchor.providers.demo.play import answer
from fastanchor.providers.demo.script import Cut, Script, Send, SlowHead, Stall, Step, Wait

__all__ = ["Cut", "Script", "Send", "SlowHead", "Stall", "Step", "Wait", "answer"]
