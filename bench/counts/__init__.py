"""What a request and an event cost in counts that no other program on the machine can change.

`python -m bench counts` explains the command. `lockstep` is client and provider at once and lets one thing happen at a
time; `works` says what; `meters` count syscalls (strace) and instructions (callgrind) of a worker between two points;
`gate` makes slopes of them and holds these against `recorded.json`.
"""
