package dialback

import (
	"context"
	"net"
	"time"

	"netvps/tunnel/api"
	"netvps/tunnel/direct"
	"netvps/tunnel/identity"
	"netvps/tunnel/rundir"
)

// directWait is the time for a direct connection. The gateway waits for 10 s: then the slower way has to be ready.
const directWait = 4 * time.Second

// directConn is a direct connection with the addresses that its user expects.
type directConn struct {
	*direct.Conn
	remote net.Addr
}

func (c *directConn) LocalAddr() net.Addr  { return local }
func (c *directConn) RemoteAddr() net.Addr { return c.remote }

// Reset ends it without a close_notify, by which the gateway's side tells a break from an end.
func (c *directConn) Reset(string) { _ = c.NetConn().Close() }

// direct answers a dial with a connection of its own. The certificate may be newer than that of Control.
func (c *Client) direct(ctx context.Context, request *api.DialRequest) (*directConn, error) {
	ctx, cancel := context.WithTimeout(ctx, directWait)
	defer cancel()
	boot, err := c.Dir.Boot()
	if err != nil {
		return nil, err
	}
	own, err := identity.Load(c.Dir, boot)
	if err != nil {
		return nil, err
	}
	config, err := configOf(boot, own)
	if err != nil {
		return nil, err
	}
	raw, err := c.Dir.Dial(ctx, rundir.TunnelSocket)
	if err != nil {
		return nil, err
	}
	conn, err := direct.Dial(ctx, raw, config, request.GetDialId())
	if err != nil {
		return nil, err
	}
	return &directConn{Conn: conn, remote: origin(request.GetOrigin())}, nil
}
