// Package dialback is the tunnel's client: one Control stream to the gateway, and one DialBack stream for each connection
// that the gateway requests.
package dialback

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"

	"netvps/tunnel/activity"
	"netvps/tunnel/api"
	"netvps/tunnel/faults"
	"netvps/tunnel/identity"
	"netvps/tunnel/resume"
	"netvps/tunnel/rundir"
)

const (
	maxDials   = 256  // connecting
	maxStreams = 2000 // connected
	// maxDirect leaves some of the 512 connections that the runner relays for Control, which is one of them.
	maxDirect = 448
	// stableAfter is how long a connection must have lasted for the backoff to start over. It also prevents a tight loop
	// with a gateway that drains every connection.
	stableAfter = 10 * time.Second

	socketWait = 200 * time.Millisecond // between attempts to reach the runner, at least

	// Flow control is by credits; HTTP/2's own must not limit a stream.
	streamWindow     = 2 << 20
	connectionWindow = 16 << 20
	writeBuffer      = 128 << 10
)

// ErrOtherSession means that the runtime folder now belongs to another session.
var ErrOtherSession = errors.New("boot.json names another session")

// Client keeps the agent connected.
type Client struct {
	Dir        rundir.Dir // written by the runner
	Private    rundir.Dir // the agent's own
	SessionUID string
	Version    string
	HostKey    string                 // public, OpenSSH form
	ServeSSH   func(net.Conn)         // serves one connection to its end
	Kept       *resume.Registry       // connections that outlive streams
	Apply      func(*api.AgentConfig) // applies a config
	Notify     func(*api.SleepNotice) // tells people in the session
	Activity   *activity.Tracker
	Log        *slog.Logger
	// ActivityEvery is the shortest interval of activity reports; there is one only after a change.
	ActivityEvery time.Duration
	// MaxDirect bounds the direct connections; further dials are answered with streams. 0 for the usual bound.
	MaxDirect int

	dials   slots
	streams slots
	asking
	directs slots
}

// slots bounds the number of concurrent items.
type slots chan struct{}

func (s slots) take() bool {
	select {
	case s <- struct{}{}:
		return true
	default:
		return false
	}
}

func (s slots) free() { <-s }

// Run keeps connecting until the context ends or the folder belongs to another session.
func (c *Client) Run(ctx context.Context) error {
	c.dials, c.streams = make(slots, maxDials), make(slots, maxStreams)
	c.directs = make(slots, cmp.Or(c.MaxDirect, maxDirect))
	var pause pauses
	for ctx.Err() == nil {
		start := time.Now()
		err := c.connect(ctx)
		if errors.Is(err, ErrOtherSession) {
			return err
		}
		stable := time.Since(start) >= stableAfter
		if stable {
			pause = pauses{}
		}
		if err == nil && stable { // drained: reconnect at once
			continue
		}
		c.Log.Info("tunnel is down", "error", reasonDown(err))
		pause.wait(ctx, start)
	}
	return nil
}

func reasonDown(err error) string {
	switch {
	case err == nil:
		return "drained"
	case errors.Is(err, fs.ErrNotExist):
		return "the runner has not written boot.json and identity.pem yet"
	default:
		return err.Error()
	}
}

// connect serves one connection until it ends, or the gateway drains it (nil). Its streams may outlive it.
func (c *Client) connect(ctx context.Context) error {
	boot, err := c.Dir.Boot()
	if err != nil {
		return err
	}
	if boot.SessionUID != c.SessionUID {
		return fmt.Errorf("%w: %s", ErrOtherSession, boot.SessionUID)
	}
	own, err := identity.Load(c.Dir, boot)
	if err != nil {
		return err
	}
	faults.Point("agent.before_connect")
	conn, err := c.dial(boot, own)
	if err != nil {
		return err
	}
	link := &link{client: c, conn: conn, boot: boot, out: make(chan *api.ControlRequest, maxDials)}
	err = link.run(ctx)
	go link.retire()
	return err
}

// awaitRunner connects to the runner's socket. While that is away, it tries again and again until the context ends: a local
// attempt costs nothing, and a backoff would keep the session unreachable after the runner's restart.
func (c *Client) awaitRunner(ctx context.Context, _ string) (net.Conn, error) {
	for {
		conn, err := c.Dir.Dial(ctx, rundir.TunnelSocket)
		if err == nil {
			return conn, nil
		}
		select {
		case <-time.After(socketWait + rand.N(socketWait)):
		case <-ctx.Done():
			return nil, err
		}
	}
}

func (c *Client) dial(boot rundir.Boot, own tls.Certificate) (*grpc.ClientConn, error) {
	config, err := configOf(boot, own)
	if err != nil {
		return nil, err
	}
	return grpc.NewClient("passthrough:///"+boot.ServerName,
		grpc.WithTransportCredentials(credentials.NewTLS(config)),
		grpc.WithContextDialer(c.awaitRunner),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: longWait}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{
			Time: 20 * time.Second, Timeout: 10 * time.Second, PermitWithoutStream: true}),
		grpc.WithInitialWindowSize(streamWindow), grpc.WithInitialConnWindowSize(connectionWindow),
		grpc.WithWriteBufferSize(writeBuffer),
	)
}

func configOf(boot rundir.Boot, own tls.Certificate) (*tls.Config, error) {
	roots, err := identity.Roots(boot)
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		RootCAs: roots, ServerName: boot.ServerName, MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{own},
	}, nil
}
