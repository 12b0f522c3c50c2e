"""A fast lane beside a translation of event streams: it repeats what the general way has shown it, with another text.

Nearly every event of an answer is the one before with other words in it, and so is what it is translated into. A `Lane`
stands before the general way (a decoder and an encoder) and learns from it:

    lane = Lane(idle=(b"obfuscation",), counts=b"usage")
    lane.feed(data, general)             # what it does not know, it gives to `general`, event by event and in order
    lane.learn(raw, b'"Hello"', out)     # said by `general`: the event `raw` became `out`, by its text and nothing else
    lane.forget()                        # said by `general`: from here on the same event may mean something else
    lane.take()                          # the texts that did not go the general way, for its counters

The lane takes an event only if it is, byte for byte, the one that it has learned, but for

- the text: a valid JSON string that is not empty. It is copied; escapes that orjson would not have written are spelled
  as orjson spells them, so that the bytes are those of the general way. Where the text was there twice, as vendors do
  with reasoning, it must be there twice again;
- white space around the tokens of its JSON (Anthropic pads its events so);
- strings of top-level members named in `idle`, which mean nothing to the decoder;
- positive whole numbers inside the top-level member `counts`: cumulative counters, of which the last count;

and only once the general way has itself made of such an event, with another text, what the lane foretold. So there is
no knowledge of formats here, and nothing that could drift away from the general way: the lane's user promises that a
learned event leaves the state of decoder and encoder as it found it, but for counters in which texts add up.

`counter` names the member of an outgoing event that numbers the events (with its quotes and colon); `number` is the
next one. `carried` is how many events the lane has taken. Events that are cut by a read, or longer than 64 KiB, go
the general way; nothing is ever held back. Texts
are kept until they are taken, 4 KiB at most, then one event goes the general way. A lane that finds nothing to do
steps aside for good.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastanchor._speedups import compiled

if TYPE_CHECKING or not compiled("translate"):
    from fastanchor._speedups._translate_pure import Data, General, Lane
else:
    from fastanchor._speedups._translate import Data, General, Lane

__all__ = ["Data", "General", "Lane"]
