package activity

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const (
	sampleEvery = 10 * time.Second
	samples     = 7 // the oldest is a minute old
)

// Meter measures the CPU time of all processes in the container, by its cgroup (cgroups(7)).
type Meter struct {
	Root  string // "/" except in tests
	taken []sample
}

type sample struct {
	at   time.Time
	used time.Duration
}

// Watch tells the tracker how busy the CPUs are, until the context ends.
func (m *Meter) Watch(ctx context.Context, tracker *Tracker) {
	m.measure(time.Now())
	tracker.Busy(nil) // nothing is known of the time before
	ticker := time.NewTicker(sampleEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			tracker.Busy(m.measure(now))
		}
	}
}

// measure takes a sample; returns the busy CPUs since the oldest one, to two digits; nil if they are not known.
func (m *Meter) measure(now time.Time) *float64 {
	used, found := m.used()
	if !found {
		m.taken = nil
		return nil
	}
	m.taken = append(m.taken, sample{now, used})
	if len(m.taken) > samples {
		m.taken = m.taken[1:]
	}
	first := m.taken[0]
	if elapsed := now.Sub(first.at); elapsed > 0 && used >= first.used {
		cpus := math.Round(float64(used-first.used)/float64(elapsed)*100) / 100
		return &cpus
	}
	return nil
}

// used reads the CPU time that the container has used. In version 2, the machine's own root has no cgroup.events: what
// is mounted there is not the container's.
func (m *Meter) used() (time.Duration, bool) {
	folder := filepath.Join(m.Root, "sys/fs/cgroup")
	if text, err := os.ReadFile(filepath.Join(folder, "cpuacct/cpuacct.usage")); err == nil {
		nanoseconds, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
		return time.Duration(nanoseconds), err == nil
	}
	if _, err := os.Stat(filepath.Join(folder, "cgroup.events")); err != nil {
		return 0, false
	}
	text, err := os.ReadFile(filepath.Join(folder, "cpu.stat"))
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(text)) {
		if value, is := strings.CutPrefix(strings.TrimSpace(line), "usage_usec "); is {
			microseconds, err := strconv.ParseInt(value, 10, 64)
			return time.Duration(microseconds) * time.Microsecond, err == nil
		}
	}
	return 0, false
}
