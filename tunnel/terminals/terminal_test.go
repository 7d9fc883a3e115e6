package terminals

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"
)

// fake is a device that remembers its input and sizes, and a client's channel.
type fake struct {
	mu    sync.Mutex
	wrote bytes.Buffer
	sizes []Size
	block chan struct{} // not nil: writes wait for it
	input io.Reader
}

func (f *fake) Write(p []byte) (int, error) {
	f.mu.Lock()
	block := f.block
	f.mu.Unlock()
	if block != nil {
		<-block
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.wrote.Write(p)
}

func (f *fake) Read(p []byte) (int, error) { return f.input.Read(p) }

func (f *fake) Resize(size Size) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sizes = append(f.sizes, size)
	return nil
}

func (f *fake) text() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.wrote.String()
}

func (f *fake) await(t *testing.T, part string) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !strings.Contains(f.text(), part); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no %q in %q", part, f.text())
		}
	}
}

// shown is a client with its channel and its end.
type shown struct {
	*fake
	keys   *io.PipeWriter
	left   chan struct{}
	result chan any
	reason string
}

func (t *Terminal) by(who string, watches bool) *shown {
	reader, writer := io.Pipe()
	s := &shown{fake: &fake{input: reader}, keys: writer, left: make(chan struct{}), result: make(chan any, 1)}
	client := Client{Channel: s.fake, Left: s.left, Who: who, Touch: func() {}}
	go func() {
		var result any
		if watches {
			result, s.reason = t.Watch(client)
		} else {
			result, s.reason = t.Attach(client, Size{Columns: 80, Rows: 24})
		}
		s.result <- result
	}()
	return s
}

func opened(t *testing.T, registry *Registry, label string) (*Terminal, *fake) {
	t.Helper()
	device := &fake{}
	terminal, isNew, err := registry.Open(0, "root", label, func(*Terminal) (Device, error) { return device, nil })
	if err != nil || !isNew {
		t.Fatalf("got %v, new %t", err, isNew)
	}
	return terminal, device
}

func say(t *testing.T, to io.Writer, text string) {
	t.Helper()
	if _, err := io.WriteString(to, text); err != nil {
		t.Fatal(err)
	}
}

func TestWhoComesBackSeesWhatWasWrittenMeanwhile(t *testing.T) {
	terminal, device := opened(t, &Registry{}, "work")
	first := terminal.by("ann", false)
	say(t, first.keys, "make\n")
	device.await(t, "make\n")
	say(t, terminal, "one\r\n")
	first.await(t, "one\r\n")
	close(first.left)
	<-first.result
	say(t, terminal, "two\r\n")
	second := terminal.by("ann", false)
	second.await(t, "one\r\ntwo\r\n")
	terminal.End(7)
	if result := <-second.result; result != 7 {
		t.Fatalf("got %v", result)
	}
	want := []Size{{80, 23, 0, 0}, {80, 24, 0, 0}}
	if got := device.sizes[len(device.sizes)-2:]; got[0] != want[0] || got[1] != want[1] {
		t.Fatalf("the window does not change: %v", got)
	}
}

func TestSeveralUseItAtOnce(t *testing.T) {
	terminal, device := opened(t, &Registry{}, "work")
	ann, bob := terminal.by("ann", false), terminal.by("bob", false)
	say(t, ann.keys, "a")
	say(t, bob.keys, "b")
	device.await(t, "a")
	device.await(t, "b")
	say(t, terminal, "both")
	ann.await(t, "both")
	bob.await(t, "both")
}

func TestWatcherIsAnnouncedAndTypesNothing(t *testing.T) {
	terminal, device := opened(t, &Registry{}, "work")
	ann := terminal.by("ann", false)
	say(t, terminal, "$ ")
	ann.await(t, "$ ")
	bob := terminal.by("bob", true)
	bob.await(t, "$ ")
	ann.await(t, "[netvps: bob watches this terminal]")
	again := terminal.by("ann", false)
	again.await(t, "[netvps: bob watches this terminal]")
	say(t, bob.keys, "rm -rf /\n")
	say(t, bob.keys, "q")
	if result := <-bob.result; result != nil {
		t.Fatalf("got %v", result)
	}
	ann.await(t, "[netvps: bob does not watch any more]")
	if device.text() != "" || !strings.HasSuffix(bob.text(), reset) || strings.Contains(bob.text(), "netvps") {
		t.Fatalf("device %q, watcher %q", device.text(), bob.text())
	}
}

func TestDeadLinkHoldsTheProgramUpForAWhileOnly(t *testing.T) {
	terminal, _ := opened(t, &Registry{Stall: 50 * time.Millisecond}, "work")
	dead := terminal.by("ann", false)
	dead.await(t, clear)
	watcher := terminal.by("bob", true)
	watcher.await(t, clear)
	block := make(chan struct{})
	for _, each := range []*shown{dead, watcher} {
		each.mu.Lock()
		each.block = block
		each.mu.Unlock()
	}
	for range 3 * queueChunks {
		say(t, terminal, "output\r\n")
	}
	close(block)
	<-dead.result
	<-watcher.result
	if !strings.Contains(dead.reason, "took no output for") || !strings.Contains(watcher.reason, "too slow") {
		t.Fatalf("got %q and %q", dead.reason, watcher.reason)
	}
}

func TestBounds(t *testing.T) {
	registry := &Registry{}
	terminal, _ := opened(t, registry, "t0")
	for n := 1; n < MaxTerminals; n++ {
		opened(t, registry, fmt.Sprintf("t%d", n))
	}
	start := func(*Terminal) (Device, error) { return nil, errors.New("started") }
	for label, want := range map[string]string{"one-more": "keeps 16 terminals already", "No": "is not a label", "": "is not a label"} {
		if _, _, err := registry.Open(0, "root", label, start); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v", label, err)
		}
	}
	for range maxClients {
		terminal.by("ann", false).await(t, clear)
	}
	more := terminal.by("ann", false)
	<-more.result
	if !strings.Contains(more.reason, "is shown 8 times already") {
		t.Fatalf("got %q", more.reason)
	}
	terminal.End(nil)
	for deadline := time.Now().Add(10 * time.Second); len(registry.List(0)) == MaxTerminals; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("an ended one stays")
		}
	}
}

func TestUsersHaveTheirOwnAndRootSeesAll(t *testing.T) {
	registry := &Registry{}
	mine, _ := opened(t, registry, "work")
	theirs, isNew, err := registry.Open(1000, "ann", "work", func(*Terminal) (Device, error) { return &fake{}, nil })
	if err != nil || !isNew || mine == theirs {
		t.Fatalf("got %v, new %t", err, isNew)
	}
	if got := registry.List(1000); len(got) != 1 || got[0] != theirs {
		t.Fatalf("got %v", got)
	}
	say(t, mine, "x")
	if registry.Find("") != mine || registry.Find("work") != mine || registry.Find("other") != nil {
		t.Fatal("the one that was used last is not found")
	}
	var table strings.Builder
	Print(&table, registry.List(0), mine.Began.Add(90*time.Second))
	if lines := strings.Split(table.String(), "\n"); len(lines) != 4 || !strings.HasPrefix(lines[2], "work   root  1m30s") {
		t.Fatalf("got %s", table.String())
	}
}
