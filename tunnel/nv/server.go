// Package nv lets programs in a session ask for what keeps it awake: the agent serves a socket, and is the program nv.
package nv

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/types/known/durationpb"

	"netvps/tunnel/api"
	"netvps/tunnel/passwd"
)

const (
	// Program is where nv is in a session.
	Program = "/.netvps/bin/nv"
	// Socket is in a folder of root's, so that no other user can be there first.
	Socket = "/.netvps/nv.sock"

	maxClients = 8
	maxRequest = 1 << 10
	readTime   = 5 * time.Second
	answerTime = 20 * time.Second
)

// Kinds of requests.
const (
	keep     = "keep"
	sleep    = "sleep"
	snapshot = "snapshot"
	status   = "status"
)

// request is one line of JSON from nv.
type request struct {
	Kind    string `json:"kind"`
	Seconds int64  `json:"seconds,omitempty"`
}

// response is one line of JSON to nv.
type response struct {
	Text   string `json:"text"`
	Failed bool   `json:"failed,omitempty"`
}

// Server serves nv on a socket.
type Server struct {
	Users passwd.Database
	Ask   func(context.Context, *api.SelfServiceRequest) (*api.SelfServiceResponse, error)
	Log   *slog.Logger
}

// Install makes the program a link to the agent, unless it is that already.
func Install(program, agent string) error {
	if target, err := os.Readlink(program); err == nil && target == agent {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(program), 0o755); err != nil {
		return err
	}
	if err := os.Remove(program); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return os.Symlink(agent, program)
}

// Listen serves until the context ends. A socket that an earlier agent left is replaced.
func (s *Server) Listen(ctx context.Context, path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	defer func() { _ = listener.Close() }()
	if err := os.Chmod(path, 0o666); err != nil { // who may use it is decided for each connection
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = listener.Close() })
	defer stop()
	clients := make(chan struct{}, maxClients)
	for {
		clients <- struct{}{}
		conn, err := listener.Accept()
		if err != nil {
			<-clients
			if errors.Is(err, net.ErrClosed) {
				return nil
			}
			time.Sleep(readTime / 50)
			continue
		}
		go func() {
			defer func() { <-clients }()
			defer func() { _ = conn.Close() }()
			s.serve(ctx, conn.(*net.UnixConn))
		}()
	}
}

func (s *Server) serve(ctx context.Context, conn *net.UnixConn) {
	_ = conn.SetDeadline(time.Now().Add(readTime))
	answer := response{Failed: true}
	if uid, err := peer(conn); err != nil {
		answer.Text = err.Error()
	} else if !s.Users.MayLogIn(uid) {
		answer.Text = fmt.Sprintf("user %d may not ask for that: root and users with a login shell may", uid)
	} else {
		answer = s.answer(ctx, conn, uid)
	}
	_ = conn.SetWriteDeadline(time.Now().Add(readTime))
	_ = json.NewEncoder(conn).Encode(answer)
}

// answer reads a request and passes it on.
func (s *Server) answer(ctx context.Context, from io.Reader, uid uint32) response {
	var asked request
	if err := json.NewDecoder(io.LimitReader(from, maxRequest)).Decode(&asked); err != nil {
		return response{"malformed request: " + err.Error(), true}
	}
	message, err := asked.message()
	if err != nil {
		return response{err.Error(), true}
	}
	s.Log.Info("asked from inside", "request", asked.Kind, "seconds", asked.Seconds, "uid", uid)
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	found, err := s.Ask(ctx, message)
	if err != nil {
		return response{err.Error(), true}
	}
	return response{found.GetText(), found.GetFailed()}
}

func (r request) message() (*api.SelfServiceRequest, error) {
	switch r.Kind {
	case keep:
		if r.Seconds < 0 {
			return nil, fmt.Errorf("%d seconds are less than none", r.Seconds)
		}
		length := &durationpb.Duration{Seconds: r.Seconds}
		return &api.SelfServiceRequest{Request: &api.SelfServiceRequest_Keep{Keep: length}}, nil
	case sleep:
		return &api.SelfServiceRequest{Request: &api.SelfServiceRequest_Sleep{Sleep: true}}, nil
	case snapshot:
		return &api.SelfServiceRequest{Request: &api.SelfServiceRequest_Snapshot{Snapshot: true}}, nil
	case status:
		return &api.SelfServiceRequest{Request: &api.SelfServiceRequest_Status{Status: true}}, nil
	}
	return nil, fmt.Errorf("unknown request %q", r.Kind)
}

// peer returns the user at the other end, as the kernel knows it.
func peer(conn *net.UnixConn) (uid uint32, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	var found *unix.Ucred
	var optErr error
	if err := raw.Control(func(fd uintptr) {
		found, optErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return 0, err
	}
	if optErr != nil {
		return 0, optErr
	}
	return found.Uid, nil
}
