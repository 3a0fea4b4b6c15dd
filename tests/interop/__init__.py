"""Real clients, real wires: the daemon between other people's programs. Needs root; see README.md."""
