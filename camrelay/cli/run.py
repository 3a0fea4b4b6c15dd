"""``camrelay run``: the daemon in the foreground."""

from __future__ import annotations

from camrelay.cli.options import ConfigOption, subcommand

app = subcommand()


@app.command()
def run(config: ConfigOption = None) -> int:
    """Run the relay in the foreground, logging to stderr, until SIGTERM or Ctrl-C.

    systemd starts it this way, with a socket from camrelay.socket; then it needs no privilege at all. By hand
    it opens UDP port 2425 itself, and needs CAP_NET_RAW to speak for others. SIGHUP reads the configuration
    again; one with a mistake is refused and the old one stays in use.

    \b
    Examples:
      systemctl enable --now camrelay.socket camrelay
      camrelay run --config ./camrelay.toml

    \b
    Exit codes:
      0  ended by SIGTERM or Ctrl-C
      1  cannot start (one line says why: port 2425 is busy, the state directory is not writable)
      2  wrong usage or configuration (every mistake is listed)
      70 a bug; systemd starts it again
    """
    from camrelay.cli.foreground import serve

    return serve(config)
