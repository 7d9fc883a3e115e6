// Package gatewaytest is a gateway and a runner small enough for tests: real gRPC and real mTLS over the sockets of a
// runtime folder.
package gatewaytest

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"netvps/tunnel/api"
)

// BootToken is the one that the gateway takes.
const BootToken = "boot-token"

// SessionUID is the session of all tests.
const SessionUID = "s1"

// Gateway serves one session. Its exported channels and fields are for tests to look at.
type Gateway struct {
	api.UnimplementedEnrollmentServiceServer
	api.UnimplementedCertificateServiceServer
	api.UnimplementedTunnelServiceServer

	CA     *CA
	Dir    string
	Hellos chan *api.AgentHello
	Others chan *api.ControlRequest // what agents say on Control but Hello and DialFailure

	t        testing.TB
	mu       sync.Mutex
	servers  []*grpc.Server
	config   *api.AgentConfig
	control  *control            // the newest
	waiting  map[string]chan any // *Stream or *api.DialFailure
	boots    int                 // certificates given for tokens
	renewals int
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

// WriteBoot writes boot.json for an epoch.
func (g *Gateway) WriteBoot(epoch int64) {
	data, err := json.Marshal(map[string]any{
		"session_uid": SessionUID, "epoch": epoch, "ca_certificate": g.CA.PEM(),
		"server_name": ServerName, "boot_token": BootToken,
	})
	check(g.t, err)
	check(g.t, os.WriteFile(filepath.Join(g.Dir, "boot.json"), data, 0o600))
}

// Start listens on both sockets, made anew. Servers that run already go on: a gateway that drains.
func (g *Gateway) Start() {
	boot := g.listen("boot.sock", tls.NoClientCert)
	api.RegisterEnrollmentServiceServer(boot.server, g)
	tunnel := g.listen("tunnel.sock", tls.RequireAndVerifyClientCert)
	api.RegisterTunnelServiceServer(tunnel.server, g)
	api.RegisterCertificateServiceServer(tunnel.server, g)
	go func() { _ = boot.server.Serve(boot.listener) }()
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

// BootAgent implements EnrollmentService.
func (g *Gateway) BootAgent(_ context.Context, request *api.BootAgentRequest) (*api.BootAgentResponse, error) {
	if request.GetBootToken() != BootToken {
		return nil, status.Error(codes.Unauthenticated, "unknown token")
	}
	g.mu.Lock()
	g.boots++
	g.mu.Unlock()
	cert, err := g.CA.Sign(request.GetCsr(), "netvps://session/"+SessionUID+"/epoch/"+g.epoch())
	return &api.BootAgentResponse{Certificate: cert}, err
}

func (g *Gateway) epoch() string {
	var boot struct{ Epoch json.Number }
	data, err := os.ReadFile(filepath.Join(g.Dir, "boot.json"))
	check(g.t, errors.Join(err, json.Unmarshal(data, &boot)))
	return boot.Epoch.String()
}

// RenewCertificate implements CertificateService.
func (g *Gateway) RenewCertificate(ctx context.Context, request *api.RenewCertificateRequest) (*api.RenewCertificateResponse, error) {
	caller, _ := peer.FromContext(ctx)
	uri := caller.AuthInfo.(credentials.TLSInfo).State.PeerCertificates[0].URIs[0]
	g.mu.Lock()
	g.renewals++
	g.mu.Unlock()
	cert, err := g.CA.Sign(request.GetCsr(), uri.String())
	return &api.RenewCertificateResponse{Certificate: cert}, err
}

// Counts returns how many certificates were given for tokens and for renewal.
func (g *Gateway) Counts() (boots, renewals int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.boots, g.renewals
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

// Next waits for a message on Control that want takes.
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
