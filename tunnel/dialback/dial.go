package dialback

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"

	"netvps/tunnel/api"
	"netvps/tunnel/forward"
)

// local is the address at which the agent's SSH server appears through the tunnel.
var local = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 22}

// open handles a DialRequest: first the target, then the DialBack stream, so that the stream tells the gateway that the
// target answers. ctx outlives control: streams continue when Control ends.
func (l *link) open(ctx, control context.Context, request *api.DialRequest) {
	if !l.client.dials.take() {
		l.refuse(control, request, "too many connections are being opened")
		return
	}
	if !l.client.streams.take() {
		l.client.dials.free()
		l.refuse(control, request, "too many connections are open")
		return
	}
	serve, dropped, err := l.client.server(request)
	if err != nil {
		l.client.dials.free()
		l.client.streams.free()
		l.refuse(control, request, err.Error())
		return
	}
	l.streams.Go(func() {
		defer l.client.streams.free()
		defer dropped()
		target, err := dialTarget(ctx, request.GetTarget())
		if err == nil && request.GetDirect() && l.client.directs.take() {
			conn, failed := l.client.direct(ctx, request)
			if failed == nil {
				l.client.dials.free()
				join(conn, target, serve)
				_ = conn.Close()
			}
			l.client.directs.free()
			if failed == nil {
				return
			}
			l.client.Log.Info("no direct connection: the slower way is taken", "origin", request.GetOrigin(), "error", failed)
		}
		var conn *Conn
		if err == nil {
			conn, err = l.connect(ctx, request)
		}
		l.client.dials.free()
		if err != nil {
			if target != nil {
				_ = target.Close()
			}
			l.refuse(control, request, forward.Reason(err))
			return
		}
		join(conn, target, serve)
		conn.Wait()
	})
}

// join serves a connection of the agent itself, or pipes it to its target.
func join(conn half, target forward.Duplex, serve func(net.Conn)) {
	if target == nil {
		serve(conn)
	} else {
		forward.Pipe(conn, target, func() {}) // no activity: the server counts requests, and knows a person's from a probe
	}
}

// half is a connection that can be half-closed.
type half interface {
	net.Conn
	CloseWrite() error
}

// server returns what serves a connection of the agent itself, nil for other targets, and what to call at the end.
func (c *Client) server(request *api.DialRequest) (serve func(net.Conn), dropped func(), err error) {
	switch kind := request.GetTarget().GetTarget().(type) {
	case *api.DialTarget_Ssh:
		return c.ServeSSH, func() {}, nil
	case *api.DialTarget_Resumable:
		kept, err := c.Kept.Attach(kind.Resumable.GetUser(), kind.Resumable.GetAttachment(), origin(request.GetOrigin()))
		if err != nil {
			return nil, nil, err
		}
		return func(conn net.Conn) { kept.Carry(conn) }, kept.Drop, nil
	default:
		return nil, func() {}, nil
	}
}

// connect answers a dial with a stream.
func (l *link) connect(ctx context.Context, request *api.DialRequest) (*Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	stream, err := api.NewTunnelServiceClient(l.conn).DialBack(ctx)
	if err == nil {
		err = stream.Send(&api.DialBackRequest{Frame: &api.DialBackRequest_Open{Open: request.GetDialId()}})
	}
	if err != nil {
		cancel()
		return nil, err
	}
	return newConn(stream, cancel, local, origin(request.GetOrigin())), nil
}

// dialTarget connects to what a dial is for; nil means a server of the agent's own.
func dialTarget(ctx context.Context, target *api.DialTarget) (forward.Duplex, error) {
	switch kind := target.GetTarget().(type) {
	case *api.DialTarget_Ssh, *api.DialTarget_Resumable:
		return nil, nil
	case *api.DialTarget_Tcp:
		return forward.Dial(ctx, "tcp", kind.Tcp)
	case *api.DialTarget_Unix:
		return forward.Dial(ctx, "unix", kind.Unix)
	default:
		return nil, errors.New("this agent does not know that kind of target")
	}
}

func (l *link) refuse(ctx context.Context, request *api.DialRequest, reason string) {
	l.client.Log.Info("dial failed", "origin", request.GetOrigin(), "reason", reason)
	l.say(ctx, &api.ControlRequest{Message: &api.ControlRequest_DialFailure{
		DialFailure: &api.DialFailure{DialId: request.GetDialId(), Reason: reason}}})
}

// someone is the address of a connection whose origin is not an IP address and port.
type someone string

func (s someone) Network() string { return "tunnel" }
func (s someone) String() string  { return string(s) }

// origin parses "alice@192.0.2.7:50312". With an address in it, certificates bound to a source address work.
func origin(text string) net.Addr {
	address := text[strings.LastIndexByte(text, '@')+1:]
	parsed, err := netip.ParseAddrPort(address)
	if err != nil {
		return someone(text)
	}
	return net.TCPAddrFromAddrPort(parsed)
}
