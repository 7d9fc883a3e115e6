package sshd

import (
	"errors"
	"net"
	"os"
	"path/filepath"

	"netvps/tunnel/x11"
)

// display is a listener whose connections go to the client's screen.
type display struct {
	*x11.Display
	name      string // DISPLAY
	authority string // XAUTHORITY; empty where it is the usual file, in the home
}

// forwardX11 handles "x11-req". The agent writes the cookie itself, so images without xauth work, too.
func (s *session) forwardX11(payload []byte) bool {
	if s.display != nil || s.started || s.login.limits.NoX11 {
		return false
	}
	request, err := x11.Parse(payload)
	if err == nil {
		s.display, err = s.newDisplay(request)
	}
	if err != nil {
		s.log.Warn("cannot forward X11", "error", err)
		return false
	}
	for _, listener := range s.display.Listeners {
		go s.forwards.Accept(listener, "x11", func(conn net.Conn) []byte {
			if request.Single {
				s.display.Close()
			}
			return x11.Header(conn)
		})
	}
	return true
}

// newDisplay acts as the account, which owns the listener and the file with the cookie.
func (s *session) newDisplay(request x11.Request) (made *display, err error) {
	hostname, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	made = &display{}
	err = s.account.Do(func() (err error) {
		if made.Display, err = x11.Listen(); err != nil {
			return err
		}
		made.name = made.Name(request.Screen)
		usual := filepath.Join(s.account.Home, ".Xauthority")
		if err = x11.Authorize(usual, hostname, made.Number, request); err == nil {
			return nil
		}
		folder, folderErr := os.MkdirTemp("/tmp", "netvps-x11-") // 0700
		if folderErr == nil {
			made.authority = filepath.Join(folder, "Xauthority")
			folderErr = x11.Authorize(made.authority, hostname, made.Number, request)
		}
		if folderErr != nil {
			made.Close()
			return errors.Join(err, folderErr)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return made, nil
}

func (d *display) close(do func(func() error) error) {
	d.Close()
	if d.authority != "" {
		_ = do(func() error { return os.RemoveAll(filepath.Dir(d.authority)) })
	}
}
