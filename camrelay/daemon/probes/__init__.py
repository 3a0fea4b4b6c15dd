"""Raw measuring of the network: each probe gives Facts (camrelay.trace.facts), and means nothing by them.

Rules kept here: nothing knows IPMSG (payloads are handed in); a probe is bounded in time and datagrams, never blocks
the loop and needs no privilege, or says in its Fact that it was not checked and how to allow it. What the network or
a missing privilege does is an outcome, never an exception. Each module is imported only when it is asked for.
"""
