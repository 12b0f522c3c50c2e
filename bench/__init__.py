"""What FastAnchor costs, measured beside a bare nginx and the direct connection in the same run.

`python -m bench --help` explains the command. A run goes down this list and comes back up as a report:

`build` compiles the load generator and the stub provider in `native/`; `rig` runs them and weighs one window;
`recipes` says how a gateway is set up and `subjects` starts it; `cases` says what is measured, a module for each kind
of work; `rounds` interleaves it; `verdicts` turns rounds into medians and refuses those that cannot be trusted;
`report` and `chart` write them down.

`counts` looks in another way: at syscalls and instructions for each request and event, which no machine changes.
"""
