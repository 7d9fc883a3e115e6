// Package gatewaytest is a minimal gateway and runner for tests: real gRPC and real mTLS over the sockets of a runtime
// folder.
package gatewaytest

import (
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"

	"netvps/tunnel/api"
)

// SessionUID is the session of all tests.
const SessionUID = "s1"

// Gateway serves one session. Its exported channels and fields are for tests.
type Gateway struct {
	api.UnimplementedTunnelServiceServer

	CA     *CA
	Dir    string
	Hellos chan *api.AgentHello
	Others chan *api.ControlRequest // what agents say on Control but Hello and DialFailure
	Direct bool                     // dials ask for direct connections

	t       testing.TB
	mu      sync.Mutex
	servers []*grpc.Server
	config  *api.AgentConfig
	control *control            // the newest
	waiting map[string]chan any // *Stream or *api.DialFailure
}

type control struct {
	out  chan *api.ControlResponse
	gone chan struct{}
}

// New starts a gateway for an agent whose runtime folder is dir.
func New(t testing.TB, dir string, config *api.AgentConfig) *Gateway {
	g := &Gateway{
		CA: NewCA(t), Dir: dir, t: t, config: config, waiting: map[string]chan any{},
		Hellos: make(chan *api.AgentHello, 100), Others: make(chan *api.ControlRequest, 1000),
	}
	g.WriteBoot(1)
	g.Start()
	t.Cleanup(g.Stop)
	return g
}

// WriteBoot writes identity.pem and boot.json for an epoch, as a runner does.
func (g *Gateway) WriteBoot(epoch int64) {
	g.WriteIdentity(epoch)
	data, err := json.Marshal(map[string]any{
		"session_uid": SessionUID, "epoch": epoch, "ca_certificate": g.CA.PEM(), "server_name": ServerName,
	})
	check(g.t, err)
	check(g.t, os.WriteFile(filepath.Join(g.Dir, "boot.json"), data, 0o600))
}

// WriteIdentity writes identity.pem alone.
func (g *Gateway) WriteIdentity(epoch int64) {
	identity := g.CA.identity(g.t, fmt.Sprintf("netvps://session/%s/epoch/%d", SessionUID, epoch))
	check(g.t, os.WriteFile(filepath.Join(g.Dir, "identity.pem"), identity, 0o600))
}

// Start listens on a new socket. Servers that run already continue: a gateway that drains.
func (g *Gateway) Start() {
	tunnel := g.listen("tunnel.sock", tls.RequireAndVerifyClientCert)
	api.RegisterTunnelServiceServer(tunnel.server, g)
	go func() { _ = tunnel.server.Serve(tunnel.listener) }()
}

type endpoint struct {
	server   *grpc.Server
	listener net.Listener
}

func (g *Gateway) listen(name string, clients tls.ClientAuthType) endpoint {
	path := filepath.Join(g.Dir, name)
	_ = os.Remove(path)
	listener, err := net.Listen("unix", path)
	check(g.t, err)
	server := grpc.NewServer(
		grpc.Creds(credentials.NewTLS(g.CA.server(g.t, clients))),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
		grpc.InitialWindowSize(2<<20), grpc.InitialConnWindowSize(16<<20),
	)
	g.mu.Lock()
	g.servers = append(g.servers, server)
	g.mu.Unlock()
	return endpoint{server, listener}
}

// Stop ends the servers and all that they carry.
func (g *Gateway) Stop() {
	g.mu.Lock()
	servers := g.servers
	g.servers = nil
	g.mu.Unlock()
	for _, server := range servers {
		server.Stop()
	}
}

// NextHello waits for an agent.
func (g *Gateway) NextHello() *api.AgentHello {
	g.t.Helper()
	select {
	case hello := <-g.Hellos:
		return hello
	case <-time.After(15 * time.Second):
		g.t.Fatal("no agent came")
		return nil
	}
}

// Next waits for a message on Control that want accepts.
func (g *Gateway) Next(want func(*api.ControlRequest) bool) {
	g.t.Helper()
	timeout := time.After(15 * time.Second)
	for {
		select {
		case message := <-g.Others:
			if want(message) {
				return
			}
		case <-timeout:
			g.t.Fatal("the agent did not say it")
		}
	}
}

func randomID() string { return rand.Text() }
