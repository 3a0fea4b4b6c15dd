"""Is this box fit to relay? Every check of the box itself, for ``camrelay doctor``.

Nothing here runs in the daemon: a doctor must work where the daemon does not. What is read comes through ``Box``
(folders, programs, clocks are handed in), what is concluded is pure, and ends in facts (``camrelay.trace``); what only
the daemon knows comes from its status. The one check that the daemon must make itself is in ``tracing.speaking``.
"""
