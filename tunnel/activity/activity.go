// Package activity counts a session's connections, terminals and traffic, for idle rules.
package activity

import (
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"netvps/tunnel/api"
)

// Tracker is safe for concurrent use; its zero value is ready.
type Tracker struct {
	channels  atomic.Int32
	terminals atomic.Int32
	lastByte  atomic.Int64 // Unix time in ns; 0: never
}

// Channel counts an open channel until the returned function is called.
func (t *Tracker) Channel() (closed func()) { return count(&t.channels) }

// Terminal counts an open terminal until the returned function is called.
func (t *Tracker) Terminal() (closed func()) { return count(&t.terminals) }

// Touch records that bytes were carried.
func (t *Tracker) Touch() { t.lastByte.Store(time.Now().UnixNano()) }

// Snapshot returns the message for the gateway.
func (t *Tracker) Snapshot() *api.Activity {
	activity := &api.Activity{Channels: uint32(t.channels.Load()), Terminals: uint32(t.terminals.Load())}
	if last := t.lastByte.Load(); last != 0 {
		activity.LastByteTime = timestamppb.New(time.Unix(0, last))
	}
	return activity
}

func count(counter *atomic.Int32) func() {
	counter.Add(1)
	return func() { counter.Add(-1) }
}
