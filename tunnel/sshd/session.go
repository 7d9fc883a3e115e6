package sshd

import (
	"os"
	"sync"

	"golang.org/x/crypto/ssh"
)

// session is one channel of type "session" (RFC 4254, 6): at most one terminal and one program.
type session struct {
	*connection
	channel  ssh.Channel
	sent     []string // environment that the client sent, "NAME=value"
	original *string  // the client's command, if the key has a forced one
	exact    bool     // the line of "exec" is a quoted argv, run without a shell

	terminal *terminal // nil: none
	kept     *kept     // not nil: the program runs on a terminal that outlives the session
	left     chan struct{}
	agent    *agentSocket
	display  *display
	started  bool

	mu      sync.Mutex
	process *process   // nil until it runs
	pipes   []*os.File // our ends, closed when the client disconnects
	gone    bool
}

func (c *connection) session(request ssh.NewChannel) {
	channel, requests, err := request.Accept()
	if err != nil {
		return
	}
	defer c.server.Activity.Channel()()
	s := &session{connection: c, channel: channel, left: make(chan struct{})}
	defer s.close()
	for request := range requests {
		ok, run := s.handle(request)
		if request.WantReply {
			_ = request.Reply(ok, nil)
		}
		if run != nil { // after the reply: a client must not see output before it
			go s.run(run)
		}
	}
}

// handle handles one request; returns the answer and what to run after it. Unknown requests are refused.
func (s *session) handle(request *ssh.Request) (ok bool, run program) {
	switch request.Type {
	case "pty-req":
		return s.openTerminal(request.Payload), nil
	case "window-change":
		return s.resize(request.Payload), nil
	case "env":
		return s.setEnv(request.Payload), nil
	case "auth-agent-req@openssh.com":
		return s.forwardAgent(), nil
	case "x11-req":
		return s.forwardX11(request.Payload), nil
	case "shell":
		s.keepTerminal()
		return s.start(s.loginShell, "")
	case "exec":
		var command struct{ Line string }
		if ssh.Unmarshal(request.Payload, &command) != nil {
			return false, nil
		}
		if argv, ok := splitQuoted(command.Line); ok && s.exact {
			return s.start(s.direct(argv), command.Line)
		}
		return s.start(s.shellCommand(command.Line), command.Line)
	case "subsystem":
		var subsystem struct{ Name string }
		if ssh.Unmarshal(request.Payload, &subsystem) != nil {
			return false, nil
		}
		switch {
		case subsystem.Name == "sftp":
			return s.start(s.sftpServer, internalSftp)
		case subsystem.Name == listTerminals && !s.login.limits.Forced && !s.started:
			s.started = true
			return true, s.listTerminals
		case subsystem.Name == udpRelay && s.server.UDP != nil && !s.login.limits.NoForwarding:
			return s.start(s.udpServer, "")
		default:
			return false, nil
		}
	case "signal":
		return s.signal(request.Payload), nil
	case "break":
		return s.sendBreak(), nil
	default:
		return false, nil
	}
}

// start prepares what to run; asked is the client's command line, for a forced command that runs instead.
func (s *session) start(run program, asked string) (bool, program) {
	if s.started {
		return false, nil
	}
	s.started = true
	limits := s.login.limits
	switch {
	case !limits.Forced:
		return true, run
	case limits.Command == internalSftp:
		run = s.sftpServer
	default:
		run = s.shellCommand(limits.Command)
	}
	if asked != "" {
		s.original = &asked
	}
	return true, run
}

func (s *session) signal(payload []byte) bool {
	var request struct{ Name string }
	if ssh.Unmarshal(payload, &request) != nil {
		return false
	}
	s.mu.Lock()
	process := s.process
	s.mu.Unlock()
	return process != nil && process.signal(request.Name)
}

// keep stores the pipes of a program; closes them and returns false if the client is gone already.
func (s *session) keep(p *process, pipes ...*os.File) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.process, s.pipes = p, pipes
	if s.gone {
		closeAll(pipes)
	}
	return !s.gone
}

// close ends what the client left: a program on a terminal gets SIGHUP, one on pipes SIGPIPE when it writes.
func (s *session) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone = true
	close(s.left)
	closeAll(s.pipes)
	if s.terminal != nil && !s.kept.hasTaken() {
		s.terminal.close()
	}
	if s.agent != nil {
		s.agent.close()
	}
	if s.display != nil {
		s.display.close(s.account.Do)
	}
	_ = s.channel.Close()
}

func closeAll(files []*os.File) {
	for _, file := range files {
		_ = file.Close()
	}
}
