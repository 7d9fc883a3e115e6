package relay

import (
	"encoding/json"
	"io"
	"net"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// tcpPair returns both ends of a TCP connection, the first as the relay gets it.
func tcpPair() (*os.File, net.Conn) {
	listener := must(net.Listen("tcp", "127.0.0.1:0"))
	defer func() { _ = listener.Close() }()
	far := must(net.Dial("tcp", listener.Addr().String()))
	accepted := must(listener.Accept())
	file := must(accepted.(*net.TCPConn).File())
	_ = accepted.Close()
	_ = unix.SetNonblock(int(file.Fd()), true)
	return os.NewFile(uintptr(must(unix.Dup(int(file.Fd())))), "near"), far
}

func BenchmarkStreamGCM(b *testing.B) {
	stream(b, keys{Cipher: "aes128-gcm@openssh.com", Key: counting(16, 0), IV: counting(12, 0)})
}

func BenchmarkStreamChaCha(b *testing.B) {
	stream(b, keys{Cipher: "chacha20-poly1305@openssh.com", Key: counting(64, 0)})
}

// stream passes packets of 32 KiB, the size of OpenSSH's; encrypted by one goroutine, and dropped by another.
func stream(b *testing.B, with keys) {
	control, controlConn := socketPair()
	client, clientConn := tcpPair()
	agent, agentConn := tcpPair()
	side := state{Recv: with, Send: with, Limit: 256 << 10, RekeyBytes: 1 << 60}
	go func() { _ = run(control, client, agent) }()
	body := must(json.Marshal(start{Sides: [2]state{side, side}}))
	m := &maker{t: nil, conn: controlConn}
	head := append([]byte{byte(len(body) >> 24), byte((len(body) + 2) >> 16), byte((len(body) + 2) >> 8), byte(len(body) + 2)}, kindStart, 0)
	_, _ = m.conn.Write(append(head, body...))
	go func() { _, _ = io.Copy(io.Discard, controlConn) }()
	go func() { _, _ = io.CopyBuffer(struct{ io.Writer }{io.Discard}, agentConn, make([]byte, 1<<20)) }()
	sending := &peer{seal: codecOf(with)}
	b.SetBytes(32 << 10)
	var before, after unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &before)
	for b.Loop() {
		if _, err := clientConn.Write(sending.encode(data(32<<10 - 1))); err != nil {
			b.Fatal(err)
		}
	}
	_ = unix.Getrusage(unix.RUSAGE_SELF, &after)
	cpu := float64(after.Utime.Nano()+after.Stime.Nano()-before.Utime.Nano()-before.Stime.Nano()) / 1e9
	b.ReportMetric(cpu/(float64(b.N)*(32<<10)/1e9), "s/GB")
	_ = controlConn.Close()
}
