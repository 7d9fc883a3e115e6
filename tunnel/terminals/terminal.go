// Package terminals keeps pseudo-terminals that outlive the connections that show them.
package terminals

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// Bounds of one terminal.
const (
	historyBytes = 256 << 10
	maxClients   = 8  // that show it at a time
	queueChunks  = 64 // that wait for a client
	maxChunk     = 16 << 10
	// stalled is how long a client that takes no output holds the program up. Then it is detached: its link is dead.
	stalled = 5 * time.Second
)

// reset leaves a client's own terminal usable, whatever the program did to it.
const reset = "\x1b[?1049l\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?2004l\x1b[?25h\x1b[0m\r\n"

// Size of a window, in characters and pixels.
type Size struct{ Columns, Rows, Width, Height uint32 }

// Device is the side of a pseudo-terminal that the program does not have.
type Device interface {
	io.Writer
	Resize(Size) error
}

// Terminal is one that is kept. Its zero value is not usable: see Registry.Open.
type Terminal struct {
	Label   string
	Account string // name of the Unix user whose it is
	UID     uint32
	Began   time.Time

	device Device
	stall  time.Duration

	mu      sync.Mutex
	history history
	clients map[*client]struct{}
	size    Size
	used    time.Time // last output or input
	over    bool
	result  any           // how its program ended
	ended   chan struct{} // closed at that time
}

// Client is a connection that is to show a terminal.
type Client struct {
	Channel io.ReadWriter
	Left    <-chan struct{} // closed when the connection is
	Who     string          // for those who use the terminal
	Touch   func()          // called for each piece of data
}

// client is a connection that shows the terminal.
type client struct {
	who     string
	watches bool
	queue   chan []byte
	gone    chan struct{} // closed when it is detached
	once    sync.Once
	reason  string
}

func (c *client) detach(reason string) {
	c.once.Do(func() { c.reason = reason; close(c.gone) })
}

// Write takes output of the program, and holds the program up while an attached client takes none.
func (t *Terminal) Write(p []byte) (int, error) {
	for written := 0; written < len(p); written += maxChunk {
		t.output(append([]byte(nil), p[written:min(len(p), written+maxChunk)]...))
	}
	return len(p), nil
}

func (t *Terminal) output(chunk []byte) {
	t.mu.Lock()
	t.history.write(chunk)
	t.used = time.Now()
	clients := make([]*client, 0, len(t.clients))
	for c := range t.clients {
		clients = append(clients, c)
	}
	t.mu.Unlock()
	for _, c := range clients {
		t.offer(c, chunk)
	}
}

func (t *Terminal) offer(c *client, chunk []byte) {
	select {
	case c.queue <- chunk:
		return
	case <-c.gone:
		return
	default:
	}
	if c.watches {
		c.detach("this connection is too slow to watch")
		t.leave(c)
		return
	}
	timer := time.NewTimer(t.stall)
	defer timer.Stop()
	select {
	case c.queue <- chunk:
	case <-c.gone:
	case <-timer.C:
		c.detach(fmt.Sprintf("this connection took no output for %.0f s", t.stall.Seconds()))
		t.leave(c) // its own leave may have to wait for the connection's end
	}
}

// End says that the program has ended, after its last output; result is what Attach returns.
func (t *Terminal) End(result any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.over {
		t.over, t.result = true, result
		close(t.ended)
	}
}

// Attach shows the terminal to a client, and passes its input on, until the client leaves or the program ends; then it
// returns that program's result. Otherwise the result is nil, with the reason if it is not the client's. size is that of the
// client's window, which the terminal gets.
func (t *Terminal) Attach(client Client, size Size) (result any, reason string) {
	c, err := t.enter(client.Who, false)
	if err != nil {
		return nil, err.Error()
	}
	defer t.leave(c)
	t.redraw(size)
	// The end of the client's input is not passed on: it would hang up the program.
	go func() { _, _ = io.Copy(input{t, client.Touch}, client.Channel) }()
	return t.show(c, client)
}

// Watch is Attach without input: the client reads along. It ends with Ctrl-C or q.
func (t *Terminal) Watch(client Client) (result any, reason string) {
	c, err := t.enter(client.Who, true)
	if err != nil {
		return nil, err.Error()
	}
	t.tell(client.Who + " watches this terminal")
	defer t.tell(client.Who + " does not watch any more")
	defer t.leave(c)
	go func() {
		buffer := make([]byte, 256)
		for {
			n, err := client.Channel.Read(buffer)
			for _, key := range buffer[:n] {
				if key == 3 || key == 'q' {
					c.detach("")
				}
			}
			if err != nil {
				return
			}
		}
	}()
	return t.show(c, client)
}

func (t *Terminal) enter(who string, watches bool) (*client, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.clients) >= maxClients {
		return nil, fmt.Errorf("terminal %s is shown %d times already: close one", t.Label, maxClients)
	}
	c := &client{who: who, watches: watches, queue: make(chan []byte, queueChunks), gone: make(chan struct{})}
	for chunk := t.history.replay(); len(chunk) > 0; chunk = chunk[min(len(chunk), maxChunk):] {
		c.queue <- chunk[:min(len(chunk), maxChunk)] // there is room: the history is smaller than a queue
	}
	if !watches {
		for other := range t.clients {
			if other.watches {
				c.queue <- line(other.who + " watches this terminal")
			}
		}
	}
	t.clients[c] = struct{}{}
	return c, nil
}

func (t *Terminal) leave(c *client) {
	c.detach("")
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.clients, c)
}

// show writes what is queued until the client is gone, or the program has ended and all of its output is written.
func (t *Terminal) show(c *client, to Client) (any, string) {
	for {
		select {
		case chunk := <-c.queue:
			if !to.write(chunk) {
				return nil, ""
			}
		case <-to.Left:
			return nil, ""
		case <-c.gone:
			_, _ = io.WriteString(to.Channel, reset)
			return nil, c.reason
		case <-t.ended:
			for len(c.queue) > 0 && to.write(<-c.queue) {
				continue
			}
			return t.result, ""
		}
	}
}

func (c Client) write(chunk []byte) bool {
	c.Touch()
	_, err := c.Channel.Write(chunk)
	return err == nil
}

// tell shows a line to those who use the terminal; it is not part of the program's output.
func (t *Terminal) tell(text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for c := range t.clients {
		if !c.watches {
			select {
			case c.queue <- line(text):
			default: // its next attach says who watches
			}
		}
	}
}

func line(text string) []byte { return []byte("\r\n[netvps: " + text + "]\r\n") }

// Resize gives the terminal the size of a client's window. The last one counts.
func (t *Terminal) Resize(size Size) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.size = size
	return t.device.Resize(size)
}

// redraw changes the size twice, so that a full-screen program draws its screen again even if the size is the same.
func (t *Terminal) redraw(size Size) {
	if size.Columns == 0 || size.Rows == 0 {
		size = t.Size()
	}
	if size.Rows > 1 {
		smaller := size
		smaller.Rows--
		_ = t.Resize(smaller)
	}
	_ = t.Resize(size)
}

// Size is what the terminal's window is now.
func (t *Terminal) Size() Size {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.size
}

// Used is the time of its last output or input.
func (t *Terminal) Used() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.used
}

// Clients returns how many use it, and how many watch it.
func (t *Terminal) Clients() (attached, watching int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for c := range t.clients {
		if c.watches {
			watching++
		} else {
			attached++
		}
	}
	return attached, watching
}

// input is where a client's input goes.
type input struct {
	*Terminal
	touch func()
}

func (i input) Write(p []byte) (int, error) {
	i.touch()
	i.mu.Lock()
	i.used = time.Now()
	over := i.over
	i.mu.Unlock()
	if over {
		return 0, io.EOF
	}
	return i.device.Write(p)
}
