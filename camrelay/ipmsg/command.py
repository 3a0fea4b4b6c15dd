"""The numbers of the IPMSG wire: commands (low 8 bits) and option bits (high 24).

Names are the field's own. Source: IP Messenger for Windows 4.99r3 ``ipmsg.h`` and the public protocol text;
the private numbers of iptux and FeiQ as seen in their public sources.
"""

from enum import IntEnum, IntFlag

PORT = 2425


class Command(IntEnum):
    """What a packet is for: ``COMMAND & 0xff``."""

    NOOPERATION = 0x00
    BR_ENTRY = 0x01
    BR_EXIT = 0x02
    ANSENTRY = 0x03
    BR_ABSENCE = 0x04
    BR_ISGETLIST = 0x10
    OKGETLIST = 0x11
    GETLIST = 0x12
    ANSLIST = 0x13
    ANSLIST_DICT = 0x14
    BR_ISGETLIST2 = 0x18
    SENDMSG = 0x20
    RECVMSG = 0x21
    READMSG = 0x30
    DELMSG = 0x31
    ANSREADMSG = 0x32
    GETINFO = 0x40
    SENDINFO = 0x41
    GETABSENCEINFO = 0x50
    SENDABSENCEINFO = 0x51
    GETFILEDATA = 0x60
    RELEASEFILES = 0x61
    GETDIRFILES = 0x62
    GETPUBKEY = 0x72
    ANSPUBKEY = 0x73
    # Of a member master, its agents and its users. Dictionaries, as ANSLIST_DICT is.
    DIR_POLL = 0xB0
    DIR_POLLAGENT = 0xB1
    DIR_BROADCAST = 0xB2
    DIR_ANSBROAD = 0xB3
    DIR_PACKET = 0xB4
    DIR_REQUEST = 0xB5
    DIR_AGENTPACKET = 0xB6
    DIR_EVBROAD = 0xB7
    DIR_AGENTREJECT = 0xB8


class Option(IntFlag):
    """Option bits. Several have a second meaning on messages; these are the presence meanings."""

    ABSENCE = 0x00000100
    SERVER = 0x00000200
    DIALUP = 0x00010000
    FILEATTACH = 0x00200000
    ENCRYPT = 0x00400000
    UTF8 = 0x00800000
    CAPUTF8 = 0x01000000
    CAPIPDICT = 0x02000000
    ENCEXTMSG = 0x04000000
    CLIPBOARD = 0x08000000
    DIR_MASTER = 0x10000000


# On messages the same bits mean something else.
SENDCHECKOPT = 0x00000100
RETRYOPT = 0x00004000
AUTORETOPT = 0x00002000
NOADDLISTOPT = 0x00080000

MODE_MASK = 0xFF
OPTION_MASK = 0xFFFFFF00

# Never repeated when a relay speaks for a user: who reads them would treat that user as dial-up peer, server
# or member master and send it traffic that it never asked for (design rule 3).
NEVER_ANNOUNCED = Option.DIALUP | Option.SERVER | Option.DIR_MASTER
