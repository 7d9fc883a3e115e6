package forward

import (
	"errors"
	"io"
	"sync"
	"testing"
)

// end is one end of a pipe: it gives what it was given, and remembers what was done to it.
type end struct {
	mu     sync.Mutex
	gives  string
	fails  error // instead of EOF
	silent chan struct{}
	got    []byte
	events string
}

func (e *end) note(event string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.events += event + " "
}

func (e *end) Read(p []byte) (int, error) {
	if e.silent != nil {
		<-e.silent
		return 0, io.ErrClosedPipe
	}
	n := copy(p, e.gives)
	if e.gives = e.gives[n:]; n > 0 {
		return n, nil
	}
	if e.fails != nil {
		return 0, e.fails
	}
	return 0, io.EOF
}

func (e *end) Write(p []byte) (int, error) {
	e.got = append(e.got, p...)
	return len(p), nil
}

func (e *end) CloseWrite() error   { e.note("eof"); return nil }
func (e *end) Reset(reason string) { e.note("reset:" + reason) }
func (e *end) Close() error {
	e.note("close")
	if e.silent != nil {
		select {
		case <-e.silent:
		default:
			close(e.silent)
		}
	}
	return nil
}

func TestPipeEndsEachDirectionThenCloses(t *testing.T) {
	a, b := &end{gives: "to b"}, &end{gives: "to a"}
	touched := sync.WaitGroup{}
	touched.Add(2)
	Pipe(a, b, touched.Done)
	touched.Wait()
	if string(a.got) != "to a" || string(b.got) != "to b" || a.events != "eof close " || b.events != "eof close " {
		t.Fatalf("a got %q, %s; b got %q, %s", a.got, a.events, b.got, b.events)
	}
}

func TestPipeBreaksBothEndsWhenOneBreaks(t *testing.T) {
	a, b := &end{fails: errors.New("broken")}, &end{silent: make(chan struct{})}
	Pipe(a, b, func() {})
	for _, e := range []*end{a, b} {
		if e.events[:len("reset:broken")] != "reset:broken" {
			t.Fatalf("a: %s; b: %s", a.events, b.events)
		}
	}
}
