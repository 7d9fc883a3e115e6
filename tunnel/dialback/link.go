package dialback

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"netvps/tunnel/api"
	"netvps/tunnel/faults"
	"netvps/tunnel/rundir"
)

// activityLook is how often to look for a change of the activity.
const activityLook = time.Second

// activityAgain is after how many intervals a report is repeated without a change: a server that hears nothing takes the
// session for active.
const activityAgain = 6

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
		case *api.ControlResponse_Notice:
			l.client.Notify(kind.Notice)
		case *api.ControlResponse_SelfService:
			l.client.answered(kind.SelfService)
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
	every := l.client.ActivityEvery
	ticker := time.NewTicker(min(every, activityLook))
	defer ticker.Stop()
	var said *api.Activity
	var saidAt time.Time
	asked := l.client.asked()
	message := l.hello()
	for message == nil || send(message) == nil {
		select {
		case <-ctx.Done():
			return
		case message = <-l.out:
		case message = <-asked:
		case <-ticker.C:
			message = nil
			now := l.client.Activity.Snapshot()
			silent := time.Since(saidAt)
			// After a quiet time at once, then not too often; and again without a change, so that a dead link is noticed.
			if silent >= every && (!proto.Equal(now, said) || silent >= activityAgain*every) {
				said, saidAt = now, time.Now()
				report := proto.Clone(now).(*api.Activity)
				report.Time = timestamppb.New(saidAt)
				message = &api.ControlRequest{Message: &api.ControlRequest_Activity{Activity: report}}
			}
		}
	}
}

func (l *link) hello() *api.ControlRequest {
	return &api.ControlRequest{Message: &api.ControlRequest_Hello{Hello: &api.AgentHello{
		SessionUid: l.boot.SessionUID, Epoch: l.boot.Epoch, Version: l.client.Version, HostKey: l.client.HostKey,
		Direct: true, Resumable: true,
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
