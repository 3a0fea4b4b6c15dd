"""camrelay makes IP Messenger (IPMSG) users on different LAN segments see each other.

Theory of operation
-------------------
IPMSG clients find each other by LAN broadcast, and routers stop broadcasts. One camrelay per segment (or one
for several) hears the users of its own segments, asks the addresses of remote segments one by one (the sweep),
and announces every user it knows into the segments that user does not live in. An announcement is one datagram
whose source address is the user's own: clients key users by that address, so messages and files then go directly
from client to client, and the relay carries none of them.

Three rooms, and imports go one way (cli -> daemon -> config -> relay -> ipmsg -> errors):

``ipmsg`` SPEAKS    bytes to packets and back. No I/O, no clock, no randomness.
``relay`` DECIDES   one synchronous object: a datagram and the time in, datagrams to send and events out.
``daemon`` ACTS     sockets, clock, database, control socket: the only folder that imports trio.

``Relay.receive(datagram, now)`` and ``Relay.tick(now)`` are all there is to it: everything else is what they decide.
"""

__version__ = "0.1.0"
