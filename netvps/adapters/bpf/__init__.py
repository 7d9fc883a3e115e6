"""The fast path of the overlay: BPF programs at the tc ingress of interfaces, assembled here and loaded by bpf(2).

What it does. A packet between two sessions of one owner on two machines normally passes br_netfilter, iptables' filter
and NAT (Docker's included), connection tracking and our nftables rules, and is accepted in the end. Two programs of
about 100 instructions see it first, at the interface where it enters, and redirect it straight to the interface where
it leaves. They read three maps (owner by session address, subnet by first address, interface by session address) and
keep no other state. A packet they do not fully recognise (TCP SYN, fragments, IP options, too long, other owners,
gateways, the outside) continues on the slow path, where the packet filter decides. They drop nothing and accept
nothing that the filter would not, so the fast path may be missing at any time.

    assembly.py     encodes the 29 kinds of instructions that are used (RFC 9669)
    programs.py     the two programs: `leaving` for sessions' interfaces, `arriving` for the VXLAN device
    tables.py       the maps, and which entries they hold
    syscall.py      bpf(2): creates maps, loads programs
    classifiers.py  attaches and detaches programs (clsact, direct action), over rtnetlink
    placed.py       what is in the kernel now: maps, programs, attachments; replaces an earlier process' ones
    fast_path.py    the asynchronous front: follows the netmap, falls back to the slow path when the kernel refuses

Why no library. bcc needs LLVM on every machine; libbpf has no Python binding; programs compiled from C need a compiler
for everyone who builds netvps, or checked-in binaries that no reviewer can read. The programs use no kernel structure
that differs between versions, so there is nothing to relocate, and constants (MACs, MTU) are immediate operands.
The kernel's verifier checks every program when it is loaded. nftables' flowtable learns from connection tracking, which
is off between sessions; nftables' `fwd` was measured and is slower (21.7 µs against 18.0 µs a round trip; the slow
path takes 27.2 µs). ADR 0017 has the options and all figures.

How it is verified. tests/adapters/bpf compares instructions with RFC 9669 byte by byte; has the kernel run both
programs (BPF_PROG_TEST_RUN) on random frames for random netmaps and compares the verdicts with those of the filter's
rules; inspects maps and attachments with tc and bpf(2), without the code under test; and sends real packets between
network namespaces. The isolation tests of the packet filter run with the fast path and without it. At run time the
attachments are compared with the kernel's twice a minute, and `scripts/bench overlay` measures throughput and latency.

How to switch it off. `netvps runner --overlay-fast-path off` removes the programs at the next start and loads none
(`netvps purge` removes them, too). Without Linux 5.10, CONFIG_BPF_SYSCALL, CONFIG_NET_CLS_BPF, and CAP_BPF or
CAP_SYS_ADMIN, the runner logs one warning and uses the slow path. By hand: `tc filter del dev IFACE ingress`.
`tc filter show dev nv0 ingress` lists what is attached; names begin with `netvps/`.
"""
