"""The configuration: what is read, and that every mistake is told with file, line, key and remedy."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camrelay.config import BadConfig, Config, as_toml, load, parse, sample
from camrelay.config.kinds import LONGEST_DIALLED, duration_seconds, duration_text
from camrelay.daemon.membership import LONGEST_ADDRESS
from camrelay.errors import ConfigError
from camrelay.relay.rules import Settings, Share

# Keys, and the headers of those sections that may stand there several times.
UNCOMMENT = r"(?m)^# ((?:[a-z_]+ = )|(?:\[\[))"
SHIPPED = Path(__file__).parents[2] / "etc" / "camrelay.toml"


def problems(text: str) -> tuple[str, ...]:
    """What is wrong with a file called "x"."""
    with pytest.raises(BadConfig) as caught:
        parse(text.encode(), "x")
    return caught.value.problems


def test_defaults_are_those_of_the_relay() -> None:
    assert Config().settings("pc1") == Settings(name="pc1")


def test_a_file_is_taken_over() -> None:
    config = parse(
        b"""
        [relay]
        name = "hq-2f"
        also = ["eth0=192.168.9.0/24", "eth0=192.168.10.0/24"]
        [remote]
        segments = ["192.168.1.*", "10.1.5.20", "192.168.1.*"]
        sweep_every = "90s"
        [users]
        silent_after = "2s"
        """,
        "x",
    )
    settings = config.settings("pc1")
    assert settings.name == "hq-2f"
    assert settings.remote == ("192.168.1.*", "10.1.5.20")
    assert (settings.sweep_every, settings.silent_after) == (90.0, 2.0)
    assert config.also() == {"eth0": ["192.168.9.0/24", "192.168.10.0/24"]}
    assert config.path == "x"


def test_the_shipped_file_is_the_sample() -> None:
    assert SHIPPED.read_text() == sample()


def test_the_sample_as_it_stands_gives_the_defaults() -> None:
    assert parse(sample().encode(), "") == Config()


def test_the_sample_with_every_key_uncommented_loads_and_names_every_key() -> None:
    text, found = re.subn(UNCOMMENT, r"\1", sample())
    config = parse(text.encode(), "")
    parts = config.relay, config.remote, config.peers, config.users, config.master
    rules = len(config.share)
    assert found == sum(len(part.__struct_fields__) for part in (*parts, *config.share)) + rules
    assert config.settings("") == Settings(
        name="hq-2f",
        accept_from=("10.9.0.0/16",),
        remote=("192.168.1.*", "192.168.2.*", "10.1.5.20"),
        shares=(Share(("group:Directors", "192.168.9.*"), ("192.168.1.*", "192.168.2.*")),),
    )


def test_what_is_shown_reads_back_the_same() -> None:
    text = re.sub(UNCOMMENT, r"\1", sample())
    config = parse(text.encode(), "")
    assert parse(as_toml(config).encode(), "") == config
    assert parse(as_toml(Config()).encode(), "") == Config()


def test_a_byte_order_mark_of_a_windows_editor_is_no_mistake() -> None:
    assert parse(b'\xef\xbb\xbf[relay]\r\nname = "a"\r\n', "x").relay.name == "a"


def test_no_file_at_the_default_place_means_defaults_and_a_note(tmp_path: Path) -> None:
    config = (
        load(None, {}) if not Path("/etc/camrelay/camrelay.toml").exists() else Config(notes=("defaults",))
    )
    assert "defaults" in config.notes[0]


def test_a_file_that_was_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"a\.toml: no such file: write one with `camrelay config init"):
        load(tmp_path / "a.toml", {})
    with pytest.raises(ConfigError, match=r"b\.toml: no such file"):
        load(None, {"CAMRELAY_CONFIG": str(tmp_path / "b.toml")})


def test_the_file_named_goes_before_the_environment(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('[relay]\nname = "a"')
    assert load(tmp_path / "a.toml", {"CAMRELAY_CONFIG": "/nowhere"}).relay.name == "a"


def test_a_directory_or_a_huge_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: is a directory"):
        load(tmp_path, {})
    (tmp_path / "big").write_bytes(b"#" * 300_000)
    with pytest.raises(ConfigError, match="larger than 256 KiB"):
        load(tmp_path / "big", {})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        # unknown words
        ("[relay]\nnam = 1", "x:2: relay.nam: unknown key: did you mean name?"),
        ("[remote]\nsegment = []", "x:2: remote.segment: unknown key: did you mean segments?"),
        ("[users]\nzzz = 1", "x:2: users.zzz: unknown key: known are silent_after, forget_after"),
        ("\n[user]\nsilent_after = '9s'", "x:2: user: unknown section: did you mean users?"),
        ("sweep_rate = 5", "x:1: sweep_rate: unknown key outside a section: did you mean [remote] sweep_rate?"),
        ("relay = 5", "x:1: relay: expected a section: write [relay] on a line of its own"),
        # texts
        ("[relay]\nname = ''", "x:2: relay.name: expected a text that is not empty, without control characters: "
         'write name = "hq-2f"'),
        ("[relay]\ngroup = 7", "x:2: relay.group: expected a text that is not empty"),
        ("[relay]\nname = 'a\\b'\ngroup = \"a\\u0007\"", "x:3: relay.group: expected a text"),
        (f"[relay]\nname = '{'x' * 65}'", "x:2: relay.name: expected at most 64 characters, found 65"),
        # durations
        ("[remote]\nsweep_every = 600", 'x:2: remote.sweep_every: expected a time with its unit: write "600s"'),
        ("[remote]\nsweep_every = true", "x:2: remote.sweep_every: expected a time such as 90s, 10m, 2h or 7d"),
        ("[remote]\nsweep_every = '10 min'", "x:2: remote.sweep_every: expected a time such as"),
        ("[remote]\nsweep_every = '10s'", "x:2: remote.sweep_every: expected at least 30s and at most 7d, found 10s"),
        ("[users]\nsilent_after = '1s'", "x:2: users.silent_after: expected at least 2s"),
        ("[users]\nforget_after = '3m'", "x:2: users.forget_after: expected more than silent_after, which is 200s"),
        # numbers, switches, words
        ("[remote]\nsweep_rate = 500", "x:2: remote.sweep_rate: expected 1 to 200, found 500 (above 200 the"),
        ("[remote]\nsweep_rate = 0", "x:2: remote.sweep_rate: expected 1 to 200, found 0"),
        ("[remote]\nsweep_rate = '9'", "x:2: remote.sweep_rate: expected a whole number from 1 to 200: write "
         "sweep_rate = 150"),
        ("[remote]\nbetween_remote = 1", "x:2: remote.between_remote: expected true or false"),
        ("[relay]\nlog_level = 'loud'", "x:2: relay.log_level: expected one of debug, info, warning, error"),
        ("[relay]\ncodepage = 'utf-16'", "x:2: relay.codepage: expected a character set that contains ASCII"),
        ("[relay]\ncodepage = 'rot13'", "x:2: relay.codepage: expected a character set that contains ASCII"),
        ("[relay]\nstate = 'here'", "x:2: relay.state: expected an absolute path"),
        (f"[relay]\ncontrol = '/{'x' * 107}'", "x:2: relay.control: expected at most 107 bytes"),
        (f"[peers]\naddress = '{'x' * 95}'", "x:2: peers.address: expected a host of at most 94 characters, as other "
         "relays do, found 95: write its IPv4 address or a shorter name"),
        ("[peers]\naddress = 'hq:000080'", "x:2: peers.address: expected a port from 1 to 65535 behind the colon"),
        # lists
        ("[relay]\ninterfaces = []", "x:2: relay.interfaces: an empty list serves no segment"),
        ("[relay]\ninterfaces = 'eth0'", "x:2: relay.interfaces: expected a list of interface names"),
        ("[relay]\ninterfaces = ['a/b']", "x:2: relay.interfaces: 'a/b': no interface name"),
        ("[relay]\nalso = ['eth0']", "x:2: relay.also: 'eth0': neither interface nor network"),
        ("[relay]\nalso = ['eth0=1.2.3.4/24']", "x:2: relay.also: 'eth0=1.2.3.4/24': has host bits set: "
         'write "1.2.3.0/24"'),
        ("[relay]\naccept_from = ['ten']", "x:2: relay.accept_from: 'ten': no IPv4 network"),
        ("[remote]\nsegments = [\n'10.1.1.*',\n'10.1.*.*']", "x:4: remote.segments: '10.1.*.*': only the fourth "
         "octet may be *"),
        ("[remote]\nsegments = ['10.1.1.0/24']", "x:2: remote.segments: '10.1.1.0/24': neither x.y.z.* nor one "
         'address: write "10.1.1.*"'),
        ("[remote]\nsegments = ['10.1.1']", "x:2: remote.segments: '10.1.1': neither x.y.z.* nor one IPv4 address"),
        ("[remote]\nsegments = ['10.1.1.256']", "neither x.y.z.* nor one IPv4 address"),
        ("[remote]\nsegments = ['10.01.1.2']", "neither x.y.z.* nor one IPv4 address"),
        ("[remote]\nsegments = ['224.0.0.*']", "x:2: remote.segments: '224.0.0.*': no host of a LAN"),
        ("[remote]\nsegments = [1]", "x:2: remote.segments: expected a list of segments: write segments = ["),
        (f"[remote]\nsegments = {['1.1.1.1'] * 1025}", "expected at most 1024 entries, found 1025: split it"),
        # sections that may stand there several times
        ("share = 3", "x:1: share: expected a list of sections: write [[share]] above each of them"),
        ("[share]\nfrom = ['*']", "x:1: share: expected a list of sections: write [[share]] above each of them"),
        ("[[shares]]\nto = ['*']", "x:1: shares: unknown section: did you mean share?"),
        ("\n[[share]]\nto = ['*']", 'x:2: share[1].from: missing: write from = ["group:Directors", '),
        ("[[share]]\nfrom = ['*']\nto = []", 'x:3: share[1].to: an empty list is about nobody: write ["*"]'),
        ("[[share]]\nfrom = ['*']\nto = ['*']\nalow = true", "x:4: share[1].alow: unknown key: did you mean allow?"),
        ("[[share]]\nfrom = ['*']\nto = ['*']\nallow = 1", "x:4: share[1].allow: expected true or false"),
        ("[[share]]\nfrom = [3]\nto = ['*']", "x:2: share[1].from: expected a list of segments,"),
        ("[[share]]\nfrom = ['Sales']\nto = ['*']", "x:2: share[1].from: 'Sales': neither a segment nor group:, peer:, "
         'here or *: write "group:Sales" or "peer:Sales"'),
        ("[[share]]\nfrom = ['users:a']\nto = ['*']", "x:2: share[1].from: 'users:a': neither a segment nor group:"),
        ("[[share]]\nfrom = ['group: ']\nto = ['*']", "x:2: share[1].from: 'group: ': names no group: write"),
        ("[[share]]\nfrom = ['10.1.1.4/24']\nto = ['*']", "x:2: share[1].from: '10.1.1.4/24': has host bits set: "
         'write "10.1.1.0/24"'),
        ("[[share]]\nfrom = ['10.1.*.*']\nto = ['*']", "x:2: share[1].from: '10.1.*.*': only the fourth octet"),
        ("[[share]]\nfrom = ['*']\nto = ['here',\n'group:Sales']", "x:4: share[1].to: 'group:Sales': a whole segment "
         "hears what is announced there: name its segment; groups stand in from"),
        ("[[share]]\nfrom = ['*']\nto = ['10.1.1.5']", "x:3: share[1].to: '10.1.1.5': a whole segment hears what is "
         'announced there: write "10.1.1.*"'),
        ("[[share]]\nfrom = ['*']\nto = ['*']\n\n[[share]]\nfrom = ['*']\nto = ['no']", "x:7: share[2].to: 'no': "),
        ("share = [{from = ['*'], to = ['*']},\n{from = ['*'], to = ['no']}]", "x:1: share[2].to: 'no': "),
        # not TOML at all
        ("[relay]\n\nname 5", "x:3: not TOML: expected '=' after a key in a key/value pair"),
        ('[relay]\nname = "', "x:2: not TOML: "),
        ("[relay]\nname = 'a'\nname = 'b'", "x:3: not TOML: a key or section stands there for the second time"),
    ],
)  # fmt: skip
def test_each_mistake_is_told_with_line_key_and_remedy(text: str, said: str) -> None:
    (problem,) = problems(text)
    assert said in problem


def test_the_longest_address_that_may_be_written_is_one_that_other_relays_take() -> None:
    address = f"{'x' * LONGEST_DIALLED}:65535"
    assert parse(f"[peers]\naddress = '{address}'".encode(), "x").peers.address == address
    assert len(address) == LONGEST_ADDRESS


def test_rules_of_sharing_are_taken_over_in_their_order() -> None:
    config = parse(
        b"""
        [[share]]
        from = ["Group: Sales*", "10.1.2.3", "peer:hq"]
        to = ["192.168.1.*", "192.168.1.*", "peer:*"]
        allow = true
        [[share]]
        from = ["*"]
        to = ["here"]
        """,
        "x",
    )
    assert config.settings("").shares == (
        Share(("group:Sales*", "10.1.2.3/32", "peer:hq"), ("192.168.1.*", "peer:*"), allow=True),
        Share(("*",), ("here",)),
    )
    assert parse(as_toml(config).encode(), "x") == config


def test_a_rule_behind_one_that_speaks_of_everybody_is_noted() -> None:
    text = "[[share]]\nfrom = ['*']\nto = ['*']\n[[share]]\nfrom = ['here']\nto = ['*']\nallow = true"
    assert parse(text.encode(), "x").notes == (
        "share[2] is never asked: share[1] decides about everybody everywhere",
    )


def test_a_file_in_another_charset_is_told_with_its_line() -> None:
    with pytest.raises(ConfigError, match="x:2: not UTF-8 text: save the file in UTF-8"):
        parse('[relay]\nname = "本社"'.encode("cp932"), "x")


def test_all_mistakes_come_at_once_in_the_order_of_the_file() -> None:
    found = problems(
        '[users]\nsilent_after = 5\n[remote]\nsegments = ["a", "b",\n"c"]\nsweep_rate = -1\n[relay]\nname = 3\n'
    )
    assert [line.split(":")[1] for line in found] == ["2", "4", "4", "5", "6", "8"]


def test_many_mistakes_are_cut_and_summed_up() -> None:
    with pytest.raises(BadConfig) as caught:
        parse(b"[relay]\n" + b"".join(b"k%d = 1\n" % n for n in range(50)), "x")
    assert str(caught.value).splitlines()[-1] == "... and 30 more problems"
    assert caught.value.summary.endswith("(and 49 more: camrelay config check)")


def test_dotted_and_inline_forms_have_their_line_too() -> None:
    assert problems("\nusers.silent_after = 3")[0].startswith("x:2: users.silent_after: ")
    assert problems("\nrelay = { nam = 3 }")[0].startswith("x:2: relay.nam: ")


def test_a_pass_that_takes_longer_than_its_interval_is_noted() -> None:
    segments = ", ".join(f'"10.1.{n}.*"' for n in range(100))
    config = parse(f'[remote]\nsegments = [{segments}]\nsweep_unknown_every = "60s"'.encode(), "x")
    assert config.notes == (
        "25400 addresses take 169s at sweep_rate 150: longer than sweep_unknown_every, "
        "so passes follow without pause",
    )


@given(st.integers(0, 10**8))
def test_durations_read_back_as_written(seconds: int) -> None:
    assert duration_seconds(duration_text(float(seconds))) == seconds


@given(
    st.binary(max_size=200) | st.text(alphabet="[]relaynmotusg.*=\"'0123 {}\n", max_size=80).map(str.encode)
)
def test_any_bytes_give_a_config_or_a_bad_config(raw: bytes) -> None:
    try:
        parse(raw, "x")
    except BadConfig as error:
        assert error.problems  # noqa: PT017 - either outcome is right
