// Package x11 gives a session a display whose windows appear at the client (RFC 4254, 6.3).
package x11

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strconv"

	"golang.org/x/crypto/ssh"
)

const (
	firstPort    = 6000 // of display 0
	firstDisplay = 10   // sshd's X11DisplayOffset
	lastDisplay  = 1000
	maxName      = 64  // of an authorization protocol
	maxCookie    = 512 // bytes
	maxScreen    = 400
)

// Request is a client's "x11-req".
type Request struct {
	Single   bool // only one connection
	Protocol string
	Cookie   []byte // chosen by the client, which replaces it by the real one
	Screen   uint32
}

// Parse parses a request.
func Parse(payload []byte) (Request, error) {
	var wire struct {
		Single           bool
		Protocol, Cookie string
		Screen           uint32
	}
	if err := ssh.Unmarshal(payload, &wire); err != nil {
		return Request{}, err
	}
	cookie, err := hex.DecodeString(wire.Cookie)
	if err != nil {
		return Request{}, errors.New("the cookie is not hexadecimal")
	}
	if len(cookie) == 0 || len(cookie) > maxCookie || !isName(wire.Protocol) || wire.Screen > maxScreen {
		return Request{}, errors.New("protocol, cookie or screen is not valid in X11")
	}
	return Request{wire.Single, wire.Protocol, cookie, wire.Screen}, nil
}

func isName(text string) bool {
	for _, c := range text {
		if c != '-' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return text != "" && len(text) <= maxName
}

// Display is where programs of the session connect to.
type Display struct {
	Listeners []net.Listener
	Number    int
}

// Listen takes the first free display on loopback, IPv4 and, if available, IPv6.
func Listen() (*Display, error) {
	var err error
	for number := firstDisplay; number < lastDisplay; number++ {
		port := strconv.Itoa(firstPort + number)
		var first, second net.Listener
		if first, err = net.Listen("tcp4", net.JoinHostPort("127.0.0.1", port)); err != nil {
			continue
		}
		display := &Display{Listeners: []net.Listener{first}, Number: number}
		if second, err = net.Listen("tcp6", net.JoinHostPort("::1", port)); err == nil {
			display.Listeners = append(display.Listeners, second)
		}
		return display, nil
	}
	return nil, fmt.Errorf("no display is free: %w", err)
}

// Name is what goes into DISPLAY.
func (d *Display) Name(screen uint32) string { return fmt.Sprintf("localhost:%d.%d", d.Number, screen) }

// Close ends the display; its connections live on.
func (d *Display) Close() {
	for _, listener := range d.Listeners {
		_ = listener.Close()
	}
}

// Header is what a channel of type "x11" opens with.
func Header(conn net.Conn) []byte {
	origin := conn.RemoteAddr().(*net.TCPAddr)
	return ssh.Marshal(struct {
		Host string
		Port uint32
	}{origin.IP.String(), uint32(origin.Port)})
}
