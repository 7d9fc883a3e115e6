package dialback

import (
	"context"
	"math/rand/v2"
	"time"
)

const (
	firstWait = 200 * time.Millisecond
	longWait  = 10 * time.Second
)

// pauses spaces attempts: exponential with full jitter, so that agents do not come back all at once.
type pauses struct{ failures int }

// wait returns false if the context ended meanwhile.
func (b *pauses) wait(ctx context.Context) bool {
	ceiling := min(firstWait<<min(b.failures, 10), longWait)
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
