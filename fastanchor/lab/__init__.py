"""The laboratory: a configuration against upstreams that fail as told, in memory, under a virtual clock.

Nothing here opens a socket or waits for real time. The gateway is the real engine; what is played are its upstreams
(by the scripts of the demo provider, in each channel's own language), its client, and time. Chance has a seed, so a
run can be repeated.
"""
