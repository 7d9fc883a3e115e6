package dialback

import (
	"context"
	"math/rand/v2"
	"time"

	"netvps/tunnel/faults"
)

const (
	firstWait = 200 * time.Millisecond
	longWait  = 10 * time.Second
)

// pauses are the backoff: exponential with full jitter, so that agents do not reconnect all at once.
type pauses struct{ failures int }

// wait waits before the next attempt; returns false if the context ended meanwhile. The time since the failed one began
// counts: an attempt for which runner or control plane were awaited needs no further pause.
func (b *pauses) wait(ctx context.Context, began time.Time) bool {
	longest := longWait
	if faults.Enabled {
		longest = time.Second // tests restart their servers often
	}
	ceiling := min(firstWait<<min(b.failures, 10), longest)
	b.failures++
	timer := time.NewTimer(rand.N(ceiling) - time.Since(began))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
