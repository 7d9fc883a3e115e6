package sshd

import (
	"cmp"
	"strings"
	"sync"
	"time"

	"netvps/tunnel/faults"
	"netvps/tunnel/forward"
	"netvps/tunnel/terminals"
)

const (
	// labelEnv is how a client asks for a terminal that outlives its connection: `ssh -o SetEnv=NETVPS_TERMINAL=LABEL`.
	labelEnv = "NETVPS_TERMINAL"
	// listTerminals is the subsystem that prints the terminals that are kept.
	listTerminals = "terminals@netvps"
)

// kept is a session's part in a terminal that outlives it.
type kept struct {
	label string

	mu       sync.Mutex
	terminal *terminals.Terminal // nil: not known yet
	taken    bool                // the session's own terminal is the one that is kept
	size     terminals.Size      // that the client wants
}

func (k *kept) resize(size terminals.Size) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.size = size
	if k.terminal == nil {
		return nil
	}
	return k.terminal.Resize(size)
}

// hasTaken reports whether the session's own terminal must not be closed with it. A nil kept has not.
func (k *kept) hasTaken() bool {
	if k == nil {
		return false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.taken
}

// keepTerminal notes that the client asked for a terminal that is kept, before its shell starts. Without a terminal of its
// own, a client gets a shell like any other.
func (s *session) keepTerminal() {
	if s.terminal == nil || s.started || s.login.limits.Forced {
		return
	}
	for _, variable := range s.sent {
		if label, found := strings.CutPrefix(variable, labelEnv+"="); found {
			s.kept = &kept{label: label, size: s.terminal.opened}
		}
	}
}

// runOnKept shows a kept terminal until the client leaves or the program ends; it starts the program if there is none.
func (s *session) runOnKept(path string, argv []string) exit {
	var ended exit
	terminal, _, err := s.server.Terminals.Open(s.account.UID, s.account.Name, s.kept.label,
		func(t *terminals.Terminal) (terminals.Device, error) {
			process, err := s.startKept(path, argv)
			if err != nil {
				return nil, err
			}
			go s.terminal.carry(t, process)
			return device{s.terminal}, nil
		})
	if err != nil {
		return s.fail(exitCannotRun, err)
	}
	faults.Point("agent.terminal_kept")
	k := s.kept
	k.mu.Lock()
	k.terminal = terminal
	size := k.size
	k.mu.Unlock()
	result, reason := terminal.Attach(terminals.Client{
		Channel: s.channel, Left: s.left, Who: cmp.Or(s.login.who, s.account.Name), Touch: s.server.Activity.Touch,
	}, size)
	if reason != "" {
		return s.fail(exitCannotRun, sayingError(reason))
	}
	if result, ok := result.(exit); ok {
		ended = result
	}
	return ended
}

// startKept starts the program on the session's terminal, which from then on is not the session's.
func (s *session) startKept(path string, argv []string) (*process, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone {
		return nil, sayingError("the client left")
	}
	cmd, err := s.launch(path, argv, s.terminal.slave, s.terminal.slave, s.terminal.slave)
	if err != nil {
		return nil, err
	}
	_ = s.terminal.slave.Close()
	s.kept.mu.Lock()
	s.kept.taken = true
	s.kept.mu.Unlock()
	return &process{cmd: cmd}, nil
}

// carry passes the program's output on until it has ended, as runOnTerminal does.
func (t *terminal) carry(to *terminals.Terminal, program *process) {
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		_ = forward.Copy(to, &drain{terminal: t, left: drainBytes}, func() {})
	}()
	ended := program.wait()
	t.ended.Store(true)
	_ = t.master.SetReadDeadline(time.Now().Add(drainIdle))
	<-drained
	to.End(ended)
	t.close()
}

// device is a terminal as package terminals uses it.
type device struct{ *terminal }

func (d device) Write(p []byte) (int, error) { return d.master.Write(p) }

func (d device) Resize(size terminals.Size) error {
	return d.resize(size.Columns, size.Rows, size.Width, size.Height)
}

// sayingError is a reason as an error.
type sayingError string

func (e sayingError) Error() string { return string(e) }
