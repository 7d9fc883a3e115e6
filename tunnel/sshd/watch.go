package sshd

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"netvps/tunnel/terminals"
)

// watcher stands for the account of a login that only watches kept terminals. Such a login needs a certificate.
const watcher = ".watch"

// errPrinted says that a program has done its work without a process.
var errPrinted = errors.New("printed")

const noTerminals = "no terminal is kept here: netvps ssh --persist NAME starts one"

// watch serves a channel of a login that only watches: `ssh watch+NAME@GATEWAY [LABEL]`. It runs nothing.
func (c *connection) watch(request ssh.NewChannel) {
	channel, requests, err := request.Accept()
	if err != nil {
		return
	}
	defer c.server.Activity.Channel()()
	left := make(chan struct{})
	defer func() { close(left); _ = channel.Close() }()
	label, started := "", false
	for request := range requests {
		ok := request.Type == "pty-req" || request.Type == "window-change"
		var text struct{ Value string }
		switch {
		case request.Type == "env":
			var variable struct{ Name, Value string }
			if ssh.Unmarshal(request.Payload, &variable) == nil && variable.Name == labelEnv {
				label, ok = variable.Value, true
			}
		case started:
		case request.Type == "shell":
			ok = true
		case request.Type == "exec" && ssh.Unmarshal(request.Payload, &text) == nil:
			label, ok = strings.TrimSpace(text.Value), true
		}
		if request.WantReply {
			_ = request.Reply(ok, nil)
		}
		if ok && (request.Type == "shell" || request.Type == "exec") {
			started = true
			go c.show(channel, left, label)
		}
	}
}

func (c *connection) show(channel ssh.Channel, left <-chan struct{}, label string) {
	code := uint32(1)
	defer func() {
		exit{code: code}.tell(channel)
		_ = channel.CloseWrite()
		_ = channel.Close()
	}()
	terminal := c.server.Terminals.Find(label)
	if terminal == nil {
		c.explain(channel, label)
		return
	}
	size := terminal.Size()
	_, _ = fmt.Fprintf(channel.Stderr(), "netvps: terminal %s of %s, %dx%d; Ctrl-C ends watching\r\n",
		terminal.Label, terminal.Account, size.Columns, size.Rows)
	_, reason := terminal.Watch(terminals.Client{
		Channel: channel, Left: left, Who: c.login.who, Touch: func() {},
	})
	if reason != "" {
		_, _ = fmt.Fprintf(channel.Stderr(), "netvps: %s\r\n", reason)
		return
	}
	code = 0
}

// explain says which terminals there are.
func (c *connection) explain(channel ssh.Channel, label string) {
	found := c.server.Terminals.List(0)
	if label == "" || len(found) == 0 {
		_, _ = fmt.Fprintf(channel.Stderr(), "netvps: %s\r\n", noTerminals)
		return
	}
	names := make([]string, len(found))
	for i, each := range found {
		names[i] = each.Label
	}
	_, _ = fmt.Fprintf(channel.Stderr(), "netvps: no terminal %q is kept here, but: %s\r\n", label, strings.Join(names, ", "))
}

// listTerminals prints the kept terminals that the account may see.
func (s *session) listTerminals() (string, []string, error) {
	found := s.server.Terminals.List(s.account.UID)
	if len(found) == 0 {
		_, _ = fmt.Fprintf(s.channel.Stderr(), "netvps: %s\n", noTerminals)
		return "", nil, errPrinted
	}
	var table bytes.Buffer
	terminals.Print(&table, found, time.Now())
	_, _ = s.channel.Write(table.Bytes())
	return "", nil, errPrinted
}
