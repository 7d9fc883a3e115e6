package dialback

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"netvps/tunnel/api"
	"netvps/tunnel/faults"
	"netvps/tunnel/rundir"
)

// link is one connection to a gateway.
type link struct {
	client  *Client
	conn    *grpc.ClientConn
	boot    rundir.Boot
	out     chan *api.ControlRequest // to send on Control, by one goroutine
	streams sync.WaitGroup           // DialBack streams
}

// run serves Control until it ends (the error says why) or the gateway drains (nil).
func (l *link) run(ctx context.Context) error {
	control, cancel := context.WithCancel(ctx)
	stream, err := api.NewTunnelServiceClient(l.conn).Control(control)
	if err != nil {
		cancel()
		return err
	}
	var tasks sync.WaitGroup
	defer tasks.Wait()
	defer cancel()
	tasks.Go(func() { l.speak(control, stream.Send) })
	for {
		message, err := stream.Recv()
		if err != nil {
			return err
		}
		switch kind := message.GetMessage().(type) {
		case *api.ControlResponse_Config:
			l.configure(control, kind.Config)
		case *api.ControlResponse_Dial:
			l.open(ctx, control, kind.Dial)
		case *api.ControlResponse_Drain:
			return nil
		}
	}
}

// retire closes the connection once its last stream has ended.
func (l *link) retire() {
	l.streams.Wait()
	_ = l.conn.Close()
}

// speak sends the agent's messages, Hello first.
func (l *link) speak(ctx context.Context, send func(*api.ControlRequest) error) {
	ticker := time.NewTicker(l.client.ActivityEvery)
	defer ticker.Stop()
	var said *api.Activity
	message := l.hello()
	for message == nil || send(message) == nil {
		select {
		case <-ctx.Done():
			return
		case message = <-l.out:
		case <-ticker.C:
			message = nil
			if now := l.client.Activity.Snapshot(); !proto.Equal(now, said) {
				said = now
				message = &api.ControlRequest{Message: &api.ControlRequest_Activity{Activity: now}}
			}
		}
	}
}

func (l *link) hello() *api.ControlRequest {
	return &api.ControlRequest{Message: &api.ControlRequest_Hello{Hello: &api.AgentHello{
		SessionUid: l.boot.SessionUID, Epoch: l.boot.Epoch, Version: l.client.Version, HostKey: l.client.HostKey,
		Direct: true,
	}}}
}

// say queues a message; drops it if Control ends before it can be sent.
func (l *link) say(ctx context.Context, message *api.ControlRequest) {
	select {
	case l.out <- message:
	case <-ctx.Done():
	}
}

func (l *link) configure(ctx context.Context, config *api.AgentConfig) {
	l.client.Apply(config)
	faults.Point("agent.config_applied")
	if err := l.client.Private.SaveConfig(config); err != nil {
		l.client.Log.Warn("config not kept", "error", err)
	}
	l.client.Log.Info("config applied", "generation", config.GetGeneration(), "keys", len(config.GetAuthorizedKeys()))
	l.say(ctx, &api.ControlRequest{Message: &api.ControlRequest_ConfigApplied{ConfigApplied: config.GetGeneration()}})
}
