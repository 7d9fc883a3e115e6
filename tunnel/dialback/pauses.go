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

// pauses spaces attempts: exponential with full jitter, so that agents do not come back all at once.
type pauses struct{ failures int }

// wait returns false if the context ended meanwhile.
func (b *pauses) wait(ctx context.Context) bool {
	longest := longWait
	if faults.Enabled {
		longest = time.Second // nobody waits for a test's server but the test
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
