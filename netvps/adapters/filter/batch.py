"""Changes elements of nftables sets in one transaction, without the program `nft`.

What it does. A peer or session that comes, moves or goes changes a few elements of the packet filter's sets and maps.
`Batch.change` sends these as one nfnetlink transaction: NFNL_MSG_BATCH_BEGIN with the generation that the ruleset must
have, NFT_MSG_NEWSETELEM and NFT_MSG_DELSETELEM messages, NFNL_MSG_BATCH_END. elements.py encodes the messages. The
kernel applies all of them or none, and refuses the whole with ERESTART if another program changed nftables since that
generation, so a change never rests on a stale assumption. Everything else (chains, rules, tables, other kinds of keys,
more than 128 KiB) is left to `nft`; so is any change that this file refuses or fails to make. If `nft` refuses it, too,
nftables.py loads the whole ruleset.

Why not `nft`, or its library. Both read all chains and sets of the tables before they change one element: with 5,000
peers a change takes 17 to 44 ms, and most of that is reading. A transaction built here takes 2 to 4 ms
(`scripts/bench program`; ADR 0015). The socket stays open because closing an nfnetlink socket waits for the kernel to
free everything that was removed, about 10 ms.

How it is verified. tests/adapters/filter/test_elements.py generates elements of each kind (Hypothesis) and compares
what the kernel holds with what `nft` makes of the same text; test_batch.py checks in a network namespace that a
transaction is applied completely or not at all, that a foreign change in between is detected, and that lost and late
answers are handled. The isolation tests send packets through rules that were changed this way. At run time the runner
compares the ruleset with the kernel's whenever the generation is not the one it left, and at least once a minute.

How to switch it off. Construct `Nftables` without `batch` (netvps/programs/wiring/overlay.py): `nft` then makes every
change, with the same result. At log level debug, "packet filter is left to nft" names the reason of each fallback.
"""

from __future__ import annotations

import errno
import itertools
import socket
import struct
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Final

from netvps.adapters.filter.elements import NFTABLES, requests
from netvps.adapters.filter.rules.nft import Elements
from netvps.adapters.netlink.wire import ACK, NLMSG_ERROR, Refusal, attribute, message, messages, refusal

_NETLINK_NETFILTER: Final = 12
_BEGIN, _END = 0x10, 0x11
_GENERATION: Final = 1
_HEAD: Final = struct.pack(">BBH", 0, 0, NFTABLES)
_SECONDS: Final = 5.0
_LONGEST: Final = 128 * 1024
"""Bytes of a transaction, which is one datagram; `nft` takes over beyond it, where it is not slower."""
_RECEIVE: Final = 64 * 1024
_SOL_NETLINK, _CAP_ACK, _EXT_ACK = 270, 10, 11
_FLAGS_AND_SEQUENCE: Final = struct.Struct("=HI")
_FLAGS_AT: Final = 6


class Batch:
    """A private socket, of the network namespace in which it is first used.

    It stays open: closing one waits, about 10 ms, until the kernel freed what was removed.
    """

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._sequence = itertools.count(1)
        self._socket: socket.socket | None = None

    def close(self) -> None:
        """Closes the socket; idempotent. The next change opens another."""
        if self._socket:
            self._socket.close()
        self._socket = None

    def change(self, elements: Iterable[Elements], generation: int) -> Refusal | None:
        """Applies all changes or none, if nftables is at `generation`; it is at `generation` + 1 then. Blocks.

        Returns None, or why the change was refused. After a timeout it may have been applied all the same.
        """
        try:
            sent = [request for each in elements for request in requests(each)]
        except ValueError as error:
            return Refusal(errno.EOPNOTSUPP, str(error))
        begin = message(_BEGIN, 0, _HEAD + attribute(_GENERATION, struct.pack(">I", generation)))
        with self._turn:
            try:
                return self._made([begin, *sent, message(_END, 0, _HEAD)])
            except OSError as error:
                self.close()  # answers may be lost, or arrive late
                return Refusal(error.errno or errno.ETIMEDOUT, "")

    def _made(self, parts: Sequence[bytes]) -> Refusal | None:
        """Returns the first error, or None at the acknowledgement of the last request that changes something.

        The kernel answers after it has processed the batch, errors of the whole before errors of its requests.
        """
        numbers = [next(self._sequence) & 0xFFFFFFFF for _ in parts]
        self._socket = self._socket or _opened()
        self._socket.send(_packet(parts, numbers))
        for flags, number, body in _answers(self._socket):
            why = refusal(flags, body)
            if (why and number in numbers) or number == numbers[-2]:
                return why
        raise TimeoutError


def _packet(parts: Sequence[bytes], numbers: Sequence[int]) -> bytearray:
    """Joins the messages; only the last before the end asks for an acknowledgement, as errors come unasked."""
    packet = bytearray()
    for part, number in zip(parts, numbers, strict=True):
        at = len(packet) + _FLAGS_AT
        packet += part
        flags, _ = _FLAGS_AND_SEQUENCE.unpack_from(packet, at)
        _FLAGS_AND_SEQUENCE.pack_into(packet, at, flags | (ACK if number == numbers[-2] else 0), number)
    if len(packet) > _LONGEST:
        raise OSError(errno.EMSGSIZE, f"a transaction of more than {_LONGEST} bytes")
    return packet


def _opened() -> socket.socket:
    opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * _LONGEST)
    for option in (_CAP_ACK, _EXT_ACK):
        with suppress(OSError):  # an old kernel: longer answers, without messages
            opened.setsockopt(_SOL_NETLINK, option, 1)
    return opened


def _answers(opened: socket.socket) -> Iterator[tuple[int, int, bytes]]:
    """Yields flags, sequence number and body of each answer, until the timeout."""
    deadline = time.monotonic() + _SECONDS
    while (left := deadline - time.monotonic()) > 0:
        opened.settimeout(left)
        for kind, flags, number, _, body in messages(opened.recv(_RECEIVE)):
            if kind == NLMSG_ERROR:
                yield flags, number, body
