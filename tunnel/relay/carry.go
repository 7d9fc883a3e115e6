package relay

import (
	"io"
	"net"
	"os"
	"sync"
)

// carry passes the bytes of two sockets on as they are, until either ends or the maker half-closes its connection, and
// tells it how many from the client and from the agent. The kernel moves them (splice): this process does not see them.
func carry(controlFile, client, agent *os.File) error {
	control := newControl(controlFile)
	defer func() { _ = controlFile.Close() }()
	var ends [2]io.ReadWriteCloser
	for i, file := range []*os.File{client, agent} {
		conn, err := net.FileConn(file)
		_ = file.Close()
		if err != nil {
			return err
		}
		ends[i] = conn
	}
	var once sync.Once
	over := func() { once.Do(func() { _, _ = ends[0].Close(), ends[1].Close() }) }
	defer over()
	go func() {
		_, _ = control.in.ReadByte()
		over()
	}()
	var counts [2]uint64
	var both sync.WaitGroup
	for from := range ends {
		both.Go(func() {
			n, _ := io.Copy(ends[1-from], ends[from])
			counts[from] = uint64(n)
			over()
		})
	}
	both.Wait()
	control.counts(counts)
	return nil
}
