// Package activity knows what goes on in a session, for its idle rules: connections, terminals, traffic and CPU time.
package activity

import (
	"math"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"netvps/tunnel/api"
)

// DefaultFloor is the number of busy CPUs that counts as activity until the gateway says another one.
const DefaultFloor = 0.05

// Tracker is safe for concurrent use; its zero value is ready.
type Tracker struct {
	channels, terminals, forwards    atomic.Int32
	lastByte, lastInput, lastForward atomic.Int64 // Unix time in ns; 0: never
	cpus                             atomic.Pointer[float64]
	floor                            atomic.Uint64 // bits of a float64; 0: DefaultFloor
	busy                             atomic.Int64
}

// Channel counts an open channel until the returned function is called.
func (t *Tracker) Channel() (closed func()) { return count(&t.channels) }

// Terminal counts an open terminal until the returned function is called.
func (t *Tracker) Terminal() (closed func()) { return count(&t.terminals) }

// Forward counts an open channel that is a forward until the returned function is called.
func (t *Tracker) Forward() (closed func()) {
	channel, forward := count(&t.channels), count(&t.forwards)
	return func() { channel(); forward() }
}

// Touch records that bytes were carried.
func (t *Tracker) Touch() { t.lastByte.Store(time.Now().UnixNano()) }

// TouchInput records input on a terminal. Its output is no activity: a clock or a log may write there for days.
func (t *Tracker) TouchInput() { t.touch(&t.lastInput) }

// TouchForward records that bytes were carried on a forward.
func (t *Tracker) TouchForward() { t.touch(&t.lastForward) }

func (t *Tracker) touch(also *atomic.Int64) {
	now := time.Now().UnixNano()
	t.lastByte.Store(now)
	also.Store(now)
}

// SetFloor sets how many busy CPUs count as activity; 0 is the default.
func (t *Tracker) SetFloor(cpus float64) { t.floor.Store(math.Float64bits(cpus)) }

// Busy records how many CPUs were busy on average over the last minute; nil: that is not known.
func (t *Tracker) Busy(cpus *float64) {
	t.cpus.Store(cpus)
	floor := math.Float64frombits(t.floor.Load())
	if floor <= 0 {
		floor = DefaultFloor
	}
	if cpus == nil || *cpus >= floor {
		t.busy.Store(time.Now().UnixNano())
	}
}

// Snapshot returns the message for the gateway, without its time.
func (t *Tracker) Snapshot() *api.Activity {
	return &api.Activity{
		Channels: uint32(t.channels.Load()), Terminals: uint32(t.terminals.Load()), Forwards: uint32(t.forwards.Load()),
		LastByteTime: moment(&t.lastByte), LastInputTime: moment(&t.lastInput), LastForwardTime: moment(&t.lastForward),
		Cpus: t.cpus.Load(), BusyTime: moment(&t.busy),
	}
}

func moment(at *atomic.Int64) *timestamppb.Timestamp {
	if last := at.Load(); last != 0 {
		return timestamppb.New(time.Unix(0, last))
	}
	return nil
}

func count(counter *atomic.Int32) func() {
	counter.Add(1)
	return func() { counter.Add(-1) }
}
