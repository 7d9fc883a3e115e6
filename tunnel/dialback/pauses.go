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

// wait returns false if the context ended meanwhile.
func (b *pauses) wait(ctx context.Context) bool {
	longest := longWait
	if faults.Enabled {
		longest = time.Second // tests restart their servers often
	}
	ceiling := min(firstWait<<min(b.failures, 10), longest)
	b.failures++
	timer := time.NewTimer(rand.N(ceiling))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
